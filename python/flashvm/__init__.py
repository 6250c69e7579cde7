# SPDX-License-Identifier: MIT
r"""Run a Python snippet in a microVM of its own.

>>> import flashvm
>>> result = flashvm.run("print('hi')")
>>> result.exit_code, result.stdout
(0, 'hi\n')

`run` runs a snippet (`run_with_config` takes its options as a dict), `prepare_image` does the work
of the first run ahead of time (`list_cached_images` and `clear_cache` look after what it leaves),
and `doctor` tells what this machine can do. Every error is a `FlashVMError`.
"""

from ._api import (
    clear_cache,
    doctor,
    find_embedded_data_path,
    list_cached_images,
    prepare_image,
    run,
    run_with_config,
)
from ._doctor import DoctorReport, EngineReport
from ._errors import (
    BootFailed,
    CacheUnsafe,
    Cancelled,
    EngineUnavailable,
    FlashVMError,
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
from ._images import CachedImage
from ._result import Artifact, Result, Timings

__version__ = _version()

__all__ = [
    "Artifact",
    "BootFailed",
    "CacheUnsafe",
    "CachedImage",
    "Cancelled",
    "DoctorReport",
    "EngineReport",
    "EngineUnavailable",
    "FlashVMError",
    "GuestFailed",
    "HostError",
    "ImageInvalid",
    "InternalError",
    "InvalidArgument",
    "InvalidArgumentType",
    "NotFound",
    "Result",
    "Timings",
    "Unsupported",
    "__version__",
    "clear_cache",
    "doctor",
    "find_embedded_data_path",
    "list_cached_images",
    "prepare_image",
    "run",
    "run_with_config",
]
