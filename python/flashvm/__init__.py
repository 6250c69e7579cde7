# SPDX-License-Identifier: MIT
r"""Run a Python snippet in a microVM of its own.

>>> import flashvm
>>> result = flashvm.run("print('hi')")
>>> result.exit_code, result.stdout
(0, 'hi\n')

`run` runs a snippet (`run_with_config` takes its options as a dict), `prepare_image` does the work
of the first run ahead of time (`list_cached_images`, `list_cached_templates` and `clear_cache` look
after what runs leave), and `doctor` tells what this machine can do. Every error is a
`FlashVMError`.
"""

from ._api import (
    clear_cache,
    doctor,
    find_embedded_data_path,
    list_cached_images,
    list_cached_templates,
    prepare_image,
    run,
    run_with_config,
)
from ._default_pools import set_default_pool
from ._doctor import DoctorReport, EngineReport, StorageReport
from ._errors import (
    BootFailed,
    CacheUnsafe,
    Cancelled,
    EngineUnavailable,
    FlashVMError,
    FlashVMWarning,
    GuestFailed,
    HostError,
    ImageInvalid,
    InternalError,
    InvalidArgument,
    InvalidArgumentType,
    NotFound,
    Unsupported,
)
from ._flashvm import version as _version
from ._images import CachedImage, CachedTemplate
from ._pool import Pool, PoolStats
from ._result import Artifact, Result, Timings

__version__ = _version()

__all__ = [
    "Artifact",
    "BootFailed",
    "CacheUnsafe",
    "CachedImage",
    "CachedTemplate",
    "Cancelled",
    "DoctorReport",
    "EngineReport",
    "EngineUnavailable",
    "FlashVMError",
    "FlashVMWarning",
    "GuestFailed",
    "HostError",
    "ImageInvalid",
    "InternalError",
    "InvalidArgument",
    "InvalidArgumentType",
    "NotFound",
    "Pool",
    "PoolStats",
    "Result",
    "StorageReport",
    "Timings",
    "Unsupported",
    "__version__",
    "clear_cache",
    "doctor",
    "find_embedded_data_path",
    "list_cached_images",
    "list_cached_templates",
    "prepare_image",
    "run",
    "run_with_config",
    "set_default_pool",
]
