# SPDX-License-Identifier: MIT
"""The extension module: arguments here have been checked, strings are bytes."""

from typing import Any, Callable, Dict, List, Optional, Tuple

class Handle:
    """An opaque capsule; the library is closed when its last reference goes."""

def open(
    data_dir: bytes,
    libexec_dir: bytes,
    cache_dir: Optional[bytes],
    progress: Callable[[Optional[str]], object],
    notice: Callable[[str], object],
    /,
) -> Handle: ...

class Pool:
    """An opaque capsule; the pool is closed when its last reference goes."""

def pool_open(
    handle: Handle,
    image: Optional[bytes],
    engine: bytes,
    cpus: int,
    memory_mb: int,
    boot_timeout_ms: int,
    size: int,
    idle_ms: int,
    /,
) -> Pool: ...
def pool_stats(pool: Pool, /) -> Dict[str, int]: ...
def run(
    handle: Handle,
    pool: Optional[Pool],
    code: bytes,
    engine: bytes,
    cpus: int,
    memory_mb: int,
    timeout_ms: int,
    boot_timeout_ms: int,
    workdir: Optional[bytes],
    env: Tuple[bytes, ...],
    python_args: Tuple[bytes, ...],
    args: Tuple[bytes, ...],
    expect: Tuple[bytes, ...],
    files_in: Tuple[Tuple[bytes, Optional[bytes], Optional[bytes]], ...],
    stdin_fd: int,
    cancel_fd: int,
    cold_boot: bool,
    network: bool,
    ports: Tuple[bytes, ...],
    image: Optional[bytes],
    max_processes: int,
    max_disk_mb: int,
    max_files_in: int,
    max_files_in_bytes: int,
    max_stdout_bytes: int,
    max_stderr_bytes: int,
    max_artifacts: int,
    max_artifact_bytes: int,
) -> Dict[str, Any]: ...
def artifact_save(guest_path: bytes, host_path: bytes, directory: bytes, /) -> bytes: ...
def prepare_image(handle: Handle, image: Optional[bytes], /) -> str: ...
def list_cached_images(handle: Handle, /) -> List[Dict[str, Any]]: ...
def list_cached_templates(handle: Handle, /) -> List[Dict[str, Any]]: ...
def clear_cache(handle: Handle, /) -> int: ...
def doctor(handle: Handle, /) -> Dict[str, Any]: ...
def version() -> str: ...
