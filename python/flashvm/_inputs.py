# SPDX-License-Identifier: MIT
"""What a run takes in beside its code: files, and standard input."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Iterable, Iterator, List, Mapping, Optional, Tuple, Union

from ._arguments import check_str, shown, wrong_type, wrong_value
from ._errors import InvalidArgument

FilesIn = Union[
    Mapping[str, Union[bytes, str, "os.PathLike[str]"]],
    Iterable[Tuple[Union[str, "os.PathLike[str]"], str]],
]

_File = Tuple[bytes, Optional[bytes], Optional[bytes]]  # guest path, host path or content


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
    if isinstance(value, (bytes, bytearray, memoryview)):
        return guest, None, bytes(value)
    if isinstance(value, str):
        try:
            return guest, None, value.encode("utf-8")
        except UnicodeEncodeError:
            raise wrong_value(item_name, value, "a str that can be encoded as UTF-8") from None
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


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def open_stdin(name: str, value: Any) -> Iterator[int]:
    """A descriptor that gives the snippet's standard input; -1 for none."""
    allowed = "str, bytes or an open file"
    if value is None:
        yield -1
    elif isinstance(value, (str, bytes, bytearray, memoryview)):
        content = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        descriptor = os.memfd_create("flashvm-stdin")
        try:
            _write_all(descriptor, bytes(content))
            os.lseek(descriptor, 0, os.SEEK_SET)
            yield descriptor
        finally:
            os.close(descriptor)
    elif hasattr(value, "fileno"):
        try:
            descriptor = value.fileno()
        except (OSError, ValueError) as error:
            raise InvalidArgument(
                f"{name} must be {allowed}, and {shown(value)} has no file descriptor "
                f"({error}); pass its content"
            ) from None
        yield descriptor
    else:
        raise wrong_type(name, value, allowed)
