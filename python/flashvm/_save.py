# SPDX-License-Identifier: MIT
"""Write a file under a directory to a path that a hostile guest chose."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import secrets
import shutil
from typing import BinaryIO, List, Optional

from ._errors import GuestFailed, HostError

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20


def save_file(
    guest_path: str, content: Optional[bytes], host_path: Optional[str], directory: str
) -> pathlib.Path:
    """Write `content`, or else the file `host_path`, to `directory`/`guest_path`.

    The parents are opened one by one from a descriptor of `directory`, never through a symlink, so
    that not even somebody who changes the tree meanwhile can lead the way out of it.
    """
    path = guest_path.encode("utf-8", "surrogateescape")
    *parents, name = path.split(b"/")
    if b"\0" in path or any(part in (b"", b".", b"..") for part in (*parents, name)):
        raise GuestFailed(
            f"cannot save the artifact {guest_path!r}: that is not a plain relative path"
        )
    try:
        with contextlib.ExitStack() as stack:
            source: BinaryIO
            if content is not None:
                source = io.BytesIO(content)
            else:
                assert host_path is not None
                source = stack.enter_context(open(host_path, "rb"))
            os.makedirs(directory, exist_ok=True)
            parent_fd = _open_parent(directory, parents)
            stack.callback(os.close, parent_fd)
            _write_and_rename(source, name, parent_fd)
    except OSError as error:
        failure = HostError(
            f"cannot save the artifact {guest_path!r} in {directory}: {error.strerror}"
        )
        failure.errno = error.errno
        raise failure from error
    return pathlib.Path(os.fsdecode(os.path.join(os.fsencode(directory), path)))


def _open_parent(directory: str, parents: List[bytes]) -> int:
    fd = os.open(directory, _OPEN_DIRECTORY)
    try:
        for parent in parents:
            with contextlib.suppress(FileExistsError):
                os.mkdir(parent, dir_fd=fd)
            child_fd = os.open(parent, _OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = child_fd
    except BaseException:
        os.close(fd)
        raise
    return fd


def _write_and_rename(source: BinaryIO, name: bytes, parent_fd: int) -> None:
    temporary = f".flashvm-{secrets.token_hex(8)}"
    fd = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=parent_fd
    )
    try:
        with open(fd, "wb") as target:
            shutil.copyfileobj(source, target, _CHUNK_BYTES)
        os.rename(temporary, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
    except BaseException:
        os.unlink(temporary, dir_fd=parent_fd)
        raise
