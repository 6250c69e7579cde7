# SPDX-License-Identifier: MIT
"""The calls of the package, over one library handle per process."""

from __future__ import annotations

import atexit
import inspect
import os
import pathlib
import threading
from typing import IO, Any, Iterable, List, Mapping, Optional, Union, cast

from . import _arguments, _flashvm, _paths
from ._doctor import DoctorReport
from ._errors import NotFound
from ._images import CachedImage
from ._inputs import FilesIn, check_files_in, open_stdin
from ._progress import ProgressLine
from ._result import Result, result_from_raw

_lock = threading.RLock()  # reentrant: a signal handler may call us while its thread is in here
_handle: Optional[_flashvm.Handle] = None
_progress_line = ProgressLine()


def _show_progress(stage: Optional[str]) -> None:
    _progress_line.show(stage)


def _library() -> _flashvm.Handle:
    """The process's handle, opened by the first call."""
    global _handle
    with _lock:
        if _handle is None:
            cache_dir = _paths.cache_dir()
            _handle = _flashvm.open(
                os.fsencode(_paths.data_dir()),
                os.fsencode(_paths.libexec_dir()),
                None if cache_dir is None else os.fsencode(cache_dir),
                _show_progress,
            )
        return _handle


def _begin_anew() -> None:
    """In a forked child the handle is its parent's; a thread left behind may hold a lock."""
    global _lock, _handle, _progress_line
    _lock = threading.RLock()
    _handle = None
    _progress_line = ProgressLine()


def _close() -> None:
    global _handle
    _handle = None  # a call that is still under way holds it too, and closes it then


os.register_at_fork(after_in_child=_begin_anew)
atexit.register(_close)


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
    checked_code = _arguments.check_code("code", code)
    checked_engine = _arguments.check_engine("engine", engine)
    checked_cpus = _arguments.check_int("cpus", cpus, 1, 64)
    checked_memory = _arguments.check_int("memory_mb", memory_mb, 128, 1_048_576)
    timeout_ms = _arguments.check_timeout("timeout_seconds", timeout_seconds)
    checked_workdir = _arguments.check_workdir("workdir", workdir)
    checked_env = _arguments.check_env("env", env)
    checked_python_args = _arguments.check_strings("python_args", python_args)
    checked_args = _arguments.check_strings("args", args)
    checked_expect = _arguments.check_expect("expect", expect)
    checked_files = check_files_in("files_in", files_in)
    checked_network = _arguments.check_bool("network", network)
    checked_ports = _arguments.check_ports("ports", ports)
    checked_image = _arguments.check_image("image", image)
    inline = _arguments.check_int("max_bytes_inline", max_bytes_inline, 0, None)
    boot_timeout_ms = _arguments.check_timeout("boot_timeout_seconds", boot_timeout_seconds)
    limits = {
        "max_processes": _arguments.check_limit("max_processes", max_processes, 8, 32768),
        "max_disk_mb": 0
        if max_disk_mb is None
        else _arguments.check_limit("max_disk_mb", max_disk_mb, 1, 1_048_576),
        "max_files_in": _arguments.check_limit("max_files_in", max_files_in, 1, 2**32 - 1),
        "max_files_in_bytes": _arguments.check_limit("max_files_in_bytes", max_files_in_bytes),
        "max_stdout_bytes": _arguments.check_limit("max_stdout_bytes", max_stdout_bytes),
        "max_stderr_bytes": _arguments.check_limit("max_stderr_bytes", max_stderr_bytes),
        "max_artifacts": _arguments.check_limit("max_artifacts", max_artifacts, 1, 2**32 - 1),
        "max_artifact_bytes": _arguments.check_limit("max_artifact_bytes", max_artifact_bytes),
    }
    try:
        with open_stdin("stdin", stdin) as stdin_fd:
            raw = _flashvm.run(
                _library(),
                checked_code,
                engine=checked_engine,
                cpus=checked_cpus,
                memory_mb=checked_memory,
                timeout_ms=timeout_ms,
                boot_timeout_ms=boot_timeout_ms,
                workdir=checked_workdir,
                env=checked_env,
                python_args=checked_python_args,
                args=checked_args,
                expect=checked_expect,
                files_in=checked_files,
                stdin_fd=stdin_fd,
                network=checked_network,
                ports=checked_ports,
                image=checked_image,
                **limits,
            )
    finally:
        _progress_line.show(None)
    return result_from_raw(raw, inline)


_RUN_OPTIONS = [
    name
    for name, parameter in inspect.signature(run).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
]


def run_with_config(code: Union[str, bytes], config: Mapping[str, Any]) -> Result:
    """As `run(code, **config)`: for options that come from a file or a request.

    Raises InvalidArgument for a key that is no option of `run`; the message names the nearest one.
    """
    return run(code, **_arguments.check_config("config", config, _RUN_OPTIONS))


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

    Returns the image's name with its digest, "localhost/flashvm:python-basic@sha256:...": the
    `image_used` of its runs, which may be passed as `image` again.

    Raises NotFound, or ImageInvalid for an image that is damaged, unsafe, for another architecture
    or without a Python that starts. flashVM fetches no images; skopeo does.
    """
    try:
        return _flashvm.prepare_image(_library(), _arguments.check_image("image", image))
    finally:
        _progress_line.show(None)


def list_cached_images() -> List[CachedImage]:
    """The images in the cache, those used last first."""
    return cast(List[CachedImage], _flashvm.list_cached_images(_library()))


def clear_cache() -> int:
    """Remove all images from the cache. Returns how many bytes that freed.

    Safe at any time: an image that another process is unpacking stays, and one that a microVM runs
    from goes when the run ends. Nothing but flashVM's own files is removed.
    """
    return _flashvm.clear_cache(_library())


def doctor() -> DoctorReport:
    """Tell what this machine can do: which programs are there, and which engines work, or why not.

    `doctor()["ready"]` says whether a run would work, `doctor()["note"]` what to do if not.
    """
    try:
        return cast(DoctorReport, _flashvm.doctor(_library()))
    finally:
        _progress_line.show(None)
