# SPDX-License-Identifier: MIT
"""The calls of the package, over one library handle per process."""

from __future__ import annotations

import inspect
import os
import pathlib
from typing import IO, Any, Iterable, List, Mapping, Optional, Union, cast

from . import _arguments, _default_pools, _flashvm, _paths
from ._doctor import DoctorReport
from ._errors import NotFound
from ._images import CachedImage, CachedTemplate
from ._inputs import FilesIn
from ._library import library, progress
from ._result import Result
from ._runs import check_guest, run_with_options


def run(
    code: Union[str, bytes],
    *,
    cpus: int = 1,
    memory_mb: int = 512,
    env: Optional[Mapping[str, str]] = None,
    timeout_seconds: float = 30,
    workdir: Union[str, os.PathLike[str], None] = None,
    python_args: Iterable[str] = ("-u",),
    args: Iterable[str] = (),
    expect: Optional[Iterable[str]] = None,
    files_in: Optional[FilesIn] = None,
    stdin: Union[str, bytes, IO[Any], None] = None,
    max_bytes_inline: int = 1_048_576,
    engine: str = "auto",
    cold_boot: bool = False,
    network: bool = False,
    ports: Optional[Iterable[object]] = None,
    image: Optional[str] = None,
    boot_timeout_seconds: float = 90,
    max_processes: int = 4096,
    max_disk_mb: Optional[int] = None,
    max_files_in: int = 10_000,
    max_files_in_bytes: int = 256 * 2**20,
    max_stdout_bytes: int = 64 * 2**20,
    max_stderr_bytes: int = 64 * 2**20,
    max_artifacts: int = 1000,
    max_artifact_bytes: int = 256 * 2**20,
) -> Result:
    """Run a Python snippet in a fresh microVM, as `python -u main.py` would run it.

    code: Python source. A str is handed over as UTF-8, bytes as they are.
    cpus: virtual CPUs, 1 to 64.
    memory_mb: memory of the microVM in MiB, 128 to 1048576. The snippet gets what is left of it
        when the guest's kernel and 64 MiB for flashVM's own part are taken off: 398 of 512. Its
        files count.
    env: environment variables for the snippet, beside those it always has.
    timeout_seconds: from the snippet's first instruction (with other python_args from the start of
        its interpreter); then it is ended, with exit code 124.
    workdir: absolute path in the guest to start in; made if it is missing. None: the image's own
        (its WorkingDir), or /work.
    python_args: options of the interpreter.
    args: arguments of the snippet, its sys.argv[1:].
    expect: globs relative to /work; the files that match are returned as artifacts.
    files_in: files that the snippet finds below /work/in: a dict {guest_path: content or Path},
        or a list of (host_path, guest_path). A directory is taken with all files in it.
    stdin: the snippet's standard input: text, bytes, or an open file that is read to its end while
        the run lasts. None: it is empty.
    max_bytes_inline: an artifact up to this size has its bytes in `content`.
    engine: what makes the microVM; "auto" takes the fastest usable one. `doctor()` lists them.
    cold_boot: boot the microVM instead of copying one that has booted. It takes seconds, and the
        address layouts and the hash secret of its kernel and interpreter are shared with no other
        run.
    network, ports: not built yet; anything but False and no ports raises Unsupported.
    image: what to run in, see `prepare_image`; None: the embedded image.
    boot_timeout_seconds: for the microVM to come up, before the snippet begins.

    The limits: max_processes (at once, threads counted), max_disk_mb (MiB of files that the snippet
    writes; None: half of memory_mb), max_stdout_bytes, max_stderr_bytes, max_artifacts and
    max_artifact_bytes (what is over them is left out, and the result says so), max_files_in and
    max_files_in_bytes (more is an error).

    A snippet that fails (exception, signal, timeout) is a result. Raises InvalidArgument (which is
    a ValueError) or InvalidArgumentType (also a TypeError) for arguments that make no sense, and
    another FlashVMError when no result came about. May be called from any number of threads.

    Ctrl-C in the main thread ends the microVM at once and raises KeyboardInterrupt; the same goes
    for any exception that a signal handler raises. A handler that returns lets the run go on.
    """
    options = dict(locals())
    del options["code"]
    if options["cold_boot"] is not False:
        return run_with_options(None, code, options)
    guest = check_guest(options)
    pool = _default_pools.find(guest)
    result = run_with_options(pool, code, options)
    if pool is None and result.restored:
        _default_pools.begin(guest)
    return result


# Each option of run, with its default.
RUN_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(run).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
}


def run_with_config(code: Union[str, bytes], config: Mapping[str, Any]) -> Result:
    """As `run(code, **config)`: for options that come from a file or a request.

    Raises InvalidArgument for a key that is no option of `run`; the message names the nearest one.
    """
    return run(code, **_arguments.check_config("config", config, list(RUN_DEFAULTS)))


def find_embedded_data_path() -> pathlib.Path:
    """The directory of the guest's kernel, initramfs and embedded OCI image (its `oci`).

    A real directory, from a wheel and from an editable install. Raises NotFound when it is missing.
    """
    path = pathlib.Path(_paths.data_dir())
    if not (path / "oci" / "index.json").is_file():
        raise NotFound(f"the embedded image is missing in {path}; make it with: make guest")
    return path


def prepare_image(image: Optional[str] = None) -> str:
    """Get an image ready, so that its first run need not: unpack it into the cache. Idempotent.

    image: one of
        None, or "localhost/flashvm:python-basic": the embedded image;
        "oci:PATH[:REF]": an OCI image layout in a directory, as skopeo, umoci and buildah write it.
            The path ends at the first ":"; without REF the layout must have one image for
            linux/amd64;
        "sha256:...", also behind a name and "@": what the cache has under this digest;
        any other name: the image in the cache that was last used under it.

    Where skopeo or buildah is on PATH, the image is imported into their containers-storage too: the
    embedded one as localhost/flashvm:python-basic, others as localhost/flashvm:sha256-..., after
    their digest. Only the engine krunvm would need that, so a failure of it is a FlashVMWarning,
    and the image is ready all the same.

    Ctrl-C ends it as it ends a run.

    Returns the image's name with its digest, "localhost/flashvm:python-basic@sha256:...": the
    `image_used` of its runs, which may be passed as `image` again.

    Raises NotFound, or ImageInvalid for an image that is damaged, unsafe, for another architecture
    or without a Python that starts. flashVM fetches no images; skopeo does.
    """
    with progress():
        return _flashvm.prepare_image(library(), _arguments.check_image("image", image))


def list_cached_images() -> List[CachedImage]:
    """The images in the cache, those used last first, and those that only containers-storage has.

    skopeo or buildah is asked for the latter, if one is on PATH; a failure is a FlashVMWarning.
    """
    return cast(List[CachedImage], _flashvm.list_cached_images(library()))


def list_cached_templates() -> List[CachedTemplate]:
    """The templates in the cache, those used last first.

    A template is a guest that has booted and waits, of which a run gets a copy. It is made by the
    first run with such a guest (image, memory_mb, cpus, engine) and used for a day.
    """
    return cast(List[CachedTemplate], _flashvm.list_cached_templates(library()))


def clear_cache() -> int:
    """Remove all images and templates from the cache. Returns how many bytes that freed.

    Safe at any time: one that another process is making stays, and what a microVM runs from goes
    when the run ends. Nothing but flashVM's own files is removed.

    In containers-storage the names of localhost/flashvm are removed; an image goes with its last
    name. What cannot be removed there is a FlashVMWarning: skopeo without buildah removes nothing.
    """
    return _flashvm.clear_cache(library())


def doctor() -> DoctorReport:
    """Tell what this machine can do: which programs are there, and which engines work, or why not.

    `doctor()["ready"]` says whether a run would work, `doctor()["note"]` what to do if not.
    """
    with progress():
        return cast(DoctorReport, _flashvm.doctor(library()))
