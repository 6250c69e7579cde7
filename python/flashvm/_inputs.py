# SPDX-License-Identifier: MIT
"""What a run takes in beside its code: files, and standard input."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import Any, Iterable, Iterator, List, Mapping, Optional, Tuple, Union

from ._arguments import check_str, shown, to_guest_bytes, wrong_type, wrong_value
from ._memory_file import memory_file

FilesIn = Union[
    Mapping[str, Union[bytes, str, "os.PathLike[str]"]],
    Iterable[Tuple[Union[str, "os.PathLike[str]"], str]],
]

_File = Tuple[bytes, Optional[bytes], Optional[bytes]]  # guest path, host path or content


_CONTENT_TYPES = (str, bytes, bytearray, memoryview)


def _content(name: str, value: Union[str, bytes, bytearray, memoryview]) -> bytes:
    return to_guest_bytes(name, value) if isinstance(value, str) else bytes(value)


def _guest_path(name: str, value: object) -> bytes:
    allowed = "a path relative to /work/in"
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(path, str):
        raise wrong_type(name, value, allowed)
    try:
        # As the guest paths of artifacts: UTF-8, with surrogate escapes for other bytes.
        return check_str(name, path).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise wrong_value(name, path, "a str that can be encoded as UTF-8") from None


def _host_path(name: str, value: object) -> bytes:
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise wrong_type(name, value, "the path of a file or directory")
    path = os.fsencode(value)
    if not path or b"\0" in path:
        raise wrong_value(name, value, "the path of a file or directory")
    return path


def _file_from_item(name: str, guest_path: object, value: object) -> _File:
    guest = _guest_path(f"a guest path in {name}", guest_path)
    item_name = f"{name}[{shown(guest_path)}]"
    if isinstance(value, _CONTENT_TYPES):
        return guest, None, _content(item_name, value)
    if isinstance(value, os.PathLike):
        return guest, _host_path(item_name, value), None
    raise wrong_type(item_name, value, "content as bytes or str, or the Path of a file")


def _file_from_pair(name: str, pair: object) -> _File:
    if isinstance(pair, (str, bytes)) or not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise wrong_type(name, pair, "a pair (host_path, guest_path)")
    host_path, guest_path = pair
    return _guest_path(f"{name}[1]", guest_path), _host_path(f"{name}[0]", host_path), None


def check_files_in(name: str, value: object) -> Tuple[_File, ...]:
    """A dict {guest_path: content or Path}, or a list of (host_path, guest_path)."""
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return tuple(_file_from_item(name, key, item) for key, item in value.items())
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise wrong_type(
            name, value, "a dict {guest_path: content or Path} or a list of (host_path, guest_path)"
        )
    files: List[_File] = []
    for index, pair in enumerate(value):
        files.append(_file_from_pair(f"{name}[{index}]", pair))
    return tuple(files)


def _descriptor_of(name: str, file: Any) -> int:
    try:
        descriptor = file.fileno()
    except (OSError, ValueError) as error:
        raise wrong_value(
            name, file, f"an open file with a descriptor ({error}); or pass its content"
        ) from None
    if not isinstance(descriptor, int) or descriptor < 0:
        raise wrong_value(f"{name}.fileno()", descriptor, "a descriptor")
    _check_readable(name, file, descriptor)
    return descriptor


def _check_readable(name: str, file: object, descriptor: int) -> None:
    """The library checks it too, but knows no more than the descriptor's number."""
    try:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    except OSError as error:
        raise wrong_value(name, file, f"an open file ({error.strerror})") from None
    if flags & os.O_PATH or flags & os.O_ACCMODE == os.O_WRONLY:
        raise wrong_value(name, file, "a file that is open for reading")
    if is_directory:
        raise wrong_value(name, file, "a file and no directory")


@contextlib.contextmanager
def open_stdin(name: str, value: Any) -> Iterator[int]:
    """A descriptor that gives the snippet's standard input; -1 for none."""
    if value is None:
        yield -1
    elif isinstance(value, _CONTENT_TYPES):
        with memory_file(name, _content(name, value)) as descriptor:
            yield descriptor
    elif hasattr(value, "fileno"):
        yield _descriptor_of(name, value)
    else:
        raise wrong_type(name, value, "str, bytes or an open file")
