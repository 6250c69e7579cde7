# SPDX-License-Identifier: MIT
"""Checks of what a caller passes in, and its conversion to what the extension module takes.

Every message names the argument, the value and what is allowed. What only the library can know (the
engines there are, what one of them can enforce) is left to the library.
"""

from __future__ import annotations

import difflib
import math
import numbers
import operator
import os
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from ._errors import InvalidArgument, InvalidArgumentType

_MAX_TIMEOUT_SECONDS = 365 * 24 * 3600


def shown(value: object) -> str:
    """A value for a message: its repr, cut where it gets long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def wrong_type(name: str, value: object, allowed: str) -> InvalidArgumentType:
    return InvalidArgumentType(
        f"{name} must be {allowed}, not {shown(value)} of type {type(value).__name__}"
    )


def wrong_value(name: str, value: object, allowed: str) -> InvalidArgument:
    return InvalidArgument(f"{name} must be {allowed}, not {shown(value)}")


def check_int(name: str, value: object, low: int, high: Optional[int]) -> int:
    """An int (or what acts as one, but no bool) from `low` to `high`."""
    allowed = f"an int from {low} to {high}" if high is not None else f"an int of {low} or more"
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise wrong_type(name, value, allowed) from None
    if number < low or (high is not None and number > high):
        raise wrong_value(name, number, allowed)
    return number


def check_timeout(name: str, value: object) -> int:
    """Seconds, as int or float, in whole milliseconds (rounded up)."""
    allowed = f"a number of seconds above 0 and up to {_MAX_TIMEOUT_SECONDS}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise wrong_type(name, value, allowed)
    try:
        seconds = float(value)
    except OverflowError:  # an int of more than 308 digits
        seconds = math.inf
    if not 0 < seconds <= _MAX_TIMEOUT_SECONDS:  # false for NaN as well
        raise wrong_value(name, value, allowed)
    return max(1, math.ceil(seconds * 1000))


def check_str(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise wrong_type(name, value, "a str")
    if "\0" in value:
        raise wrong_value(name, value, "a str without NUL characters")
    return value


def to_guest_bytes(name: str, text: str) -> bytes:
    """UTF-8, which is all that a request to the guest can carry."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise wrong_value(name, text, "a str that can be encoded as UTF-8") from None


def check_code(name: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise wrong_type(name, value, "str or bytes with Python source")
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{name} must be a str that can be encoded as UTF-8, but character {error.start} is "
            f"the lone surrogate {shown(value[error.start])}; pass bytes for another encoding"
        ) from None


def check_codes(name: str, value: object) -> Iterable[Any]:
    """Snippets, which are looked at when it is their turn; but not one of them."""
    if isinstance(value, (str, bytes)):
        raise InvalidArgumentType(
            f"{name} must be a list of snippets, not one {type(value).__name__}; "
            f"write {name}=[{shown(value)}]"
        )
    if not isinstance(value, Iterable):
        raise wrong_type(name, value, "a list, or another iterable, of snippets")
    return value


def check_strings(name: str, value: object) -> Tuple[bytes, ...]:
    """A list (or other iterable) of str, but not one str."""
    if isinstance(value, (str, bytes)):
        raise InvalidArgumentType(
            f"{name} must be a list of str, not one {type(value).__name__}; "
            f"write {name}=[{shown(value)}]"
        )
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise wrong_type(name, value, "a list of str")
    strings: List[bytes] = []
    for index, item in enumerate(value):
        item_name = f"{name}[{index}]"
        strings.append(to_guest_bytes(item_name, check_str(item_name, item)))
    return tuple(strings)


def check_expect(name: str, value: object) -> Tuple[bytes, ...]:
    globs = () if value is None else check_strings(name, value)
    for index, glob in enumerate(globs):
        if not glob:
            raise wrong_value(f"{name}[{index}]", "", "a glob such as 'out/*.txt'")
    return globs


def check_env(name: str, value: object) -> Tuple[bytes, ...]:
    """A mapping of str to str, as "NAME=value" strings."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise wrong_type(name, value, "a dict of str to str")
    strings: List[bytes] = []
    for key, item in value.items():
        if not isinstance(key, str):
            raise wrong_type(f"a name in {name}", key, "a str")
        if not key or "=" in key or "\0" in key:
            raise wrong_value(f"a name in {name}", key, "a str without '=' and NUL, and not empty")
        item_name = f"{name}[{shown(key)}]"
        strings.append(
            to_guest_bytes(f"a name in {name}", key)
            + b"="
            + to_guest_bytes(item_name, check_str(item_name, item))
        )
    return tuple(strings)


def check_workdir(name: str, value: object) -> Optional[bytes]:
    if value is None:
        return None
    allowed = "an absolute path in the guest such as '/work'"
    if not isinstance(value, (str, os.PathLike)):
        raise wrong_type(name, value, allowed)
    path: Union[str, bytes] = os.fspath(value)
    if not isinstance(path, str):
        raise wrong_type(name, value, allowed)
    if not check_str(name, path).startswith("/"):
        raise wrong_value(name, path, allowed)
    return to_guest_bytes(name, path)


def check_directory(name: str, value: object) -> str:
    allowed = "the path of a directory"
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(path, str):
        raise wrong_type(name, value, allowed)
    if not check_str(name, path):
        raise wrong_value(name, path, allowed)
    return path


def check_engine(name: str, value: object) -> bytes:
    if not check_str(name, value):
        raise wrong_value(name, value, "'auto' or the name of an engine")
    assert isinstance(value, str)
    return to_guest_bytes(name, value)


def check_image(name: str, value: object) -> Optional[bytes]:
    """What it may say is the library's matter. Paths of the host in it are bytes."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong_type(name, value, "a str such as 'oci:PATH:REF', or None")
    try:
        return os.fsencode(check_str(name, value))
    except UnicodeEncodeError:
        raise wrong_value(name, value, "a str that can be encoded for the file system") from None


def check_bool(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(name, value, "a bool")
    return value


def check_ports(name: str, value: object) -> Tuple[bytes, ...]:
    """Any list of ports. What one may be is for the library to say, when it can do something."""
    if value is None:
        return ()
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise wrong_type(name, value, "a list of ports")
    return check_strings(name, [str(port) for port in value])


def check_config(name: str, value: object, options: Sequence[str]) -> Dict[str, Any]:
    """A mapping whose keys are all among `options`."""
    if not isinstance(value, Mapping):
        raise wrong_type(name, value, "a dict with options of run")
    for key in value:
        if not isinstance(key, str):
            raise wrong_type(f"a key in {name}", key, "a str")
        if key not in options:
            nearest = difflib.get_close_matches(key, options, 1, 0)[0]
            raise InvalidArgument(
                f"{name} has the key {shown(key)}, which is no option of run; "
                f"did you mean {nearest!r}?"
            )
    return dict(value)
