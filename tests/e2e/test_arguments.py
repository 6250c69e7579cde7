# SPDX-License-Identifier: MIT
"""Arguments that make no sense: each is refused with an exception that names it. No VM starts."""

from __future__ import annotations

import decimal
import math
import pickle
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in", "_no_vm")


@pytest.fixture
def _no_vm(stand_in_script: Callable[[str], None]) -> None:
    """A check that is missing shows as a BootFailed."""
    stand_in_script("exit 1")


Case = Tuple[Dict[str, Any], str]

# What is passed, and what the message must say (a regular expression).
WRONG_TYPES: List[Case] = [
    ({"code": 5}, "code must be str or bytes with Python source, not 5 of type int"),
    ({"code": None}, "code must be str or bytes"),
    ({"code": bytearray(b"")}, "code must be str or bytes .* bytearray"),
    ({"code": Path("main.py")}, "code must be str or bytes .* PosixPath"),
    ({"cpus": True}, "cpus must be an int from 1 to 64, not True of type bool"),
    ({"cpus": 1.0}, "cpus must be an int .* float"),
    ({"cpus": "1"}, "cpus must be an int .* str"),
    ({"cpus": None}, "cpus must be an int"),
    ({"memory_mb": None}, "memory_mb must be an int from 128 to 1048576"),
    ({"memory_mb": 512.0}, "memory_mb must be an int"),
    ({"timeout_seconds": True}, "timeout_seconds must be a number of seconds .* bool"),
    ({"timeout_seconds": "3"}, "timeout_seconds must be a number of seconds"),
    ({"timeout_seconds": None}, "timeout_seconds must be a number of seconds"),
    ({"timeout_seconds": decimal.Decimal(1)}, "timeout_seconds must be a number of seconds"),
    ({"timeout_seconds": 1j}, "timeout_seconds must be a number of seconds"),
    ({"env": ["A=1"]}, "env must be a dict of str to str"),
    ({"env": "A=1"}, "env must be a dict of str to str"),
    ({"env": {"A": 1}}, r"env\['A'\] must be a str, not 1 of type int"),
    ({"env": {"A": None}}, r"env\['A'\] must be a str"),
    ({"env": {1: "A"}}, "a name in env must be a str, not 1"),
    ({"env": {b"A": "B"}}, "a name in env must be a str, not b'A'"),
    ({"workdir": b"/work"}, "workdir must be an absolute path"),
    ({"workdir": 5}, "workdir must be an absolute path"),
    ({"image": b"oci:x"}, "image must be a str such as 'oci:PATH:REF', or None"),
    (
        {"python_args": "-u"},
        r"python_args must be a list of str, not one str; write python_args=\['-u'\]",
    ),
    ({"python_args": None}, "python_args must be a list of str"),
    ({"python_args": [1]}, r"python_args\[0\] must be a str"),
    ({"python_args": ["-u", b"-O"]}, r"python_args\[1\] must be a str"),
    ({"expect": "out/*"}, r"expect must be a list of str, not one str; write expect=\['out/\*'\]"),
    ({"expect": b"out/*"}, "expect must be a list of str, not one bytes"),
    ({"expect": [b"out/*"]}, r"expect\[0\] must be a str"),
    ({"expect": {"a": 1}}, "expect must be a list of str"),
    ({"expect": 5}, "expect must be a list of str"),
    ({"max_bytes_inline": None}, "max_bytes_inline must be an int of 0 or more"),
    ({"max_bytes_inline": 1.5}, "max_bytes_inline must be an int"),
    ({"engine": None}, "engine must be a str"),
    ({"engine": b"qemu"}, "engine must be a str"),
]

WRONG_VALUES: List[Case] = [
    ({"code": "a\ud800"}, "character 1 is the lone surrogate"),
    ({"code": b" " * (64 * 2**20 + 1)}, "code has 67108865 bytes; the limit is 67108864"),
    ({"cpus": 0}, "cpus must be an int from 1 to 64, not 0"),
    ({"cpus": 65}, "cpus .* not 65"),
    ({"cpus": -1}, "cpus .* not -1"),
    ({"cpus": 10**30}, "cpus .* not 1000"),
    ({"memory_mb": 127}, "memory_mb must be an int from 128 to 1048576, not 127"),
    ({"memory_mb": 1048577}, "memory_mb .* not 1048577"),
    ({"memory_mb": -(2**70)}, "memory_mb"),
    ({"timeout_seconds": 0}, "timeout_seconds must be a number of seconds above 0 .* not 0"),
    ({"timeout_seconds": -1}, "timeout_seconds .* not -1"),
    ({"timeout_seconds": math.nan}, "timeout_seconds .* not nan"),
    ({"timeout_seconds": math.inf}, "timeout_seconds .* not inf"),
    ({"timeout_seconds": 10**400}, "timeout_seconds .* not 1000"),
    ({"timeout_seconds": 365 * 24 * 3600 + 1}, "timeout_seconds .* up to 31536000"),
    ({"env": {"": "a"}}, "a name in env must be .* not empty, not ''"),
    ({"env": {"A=B": "a"}}, "a name in env must be a str without '=' .* not 'A=B'"),
    ({"env": {"A\0": "a"}}, "a name in env must be a str without '=' and NUL"),
    ({"env": {"A": "a\0b"}}, r"env\['A'\] must be a str without NUL"),
    ({"env": {"A": "\ud800"}}, r"env\['A'\] must be a str that can be encoded as UTF-8"),
    ({"env": {"A": "\udcff"}}, r"env\['A'\] must be a str that can be encoded as UTF-8"),
    ({"env": {"A": "a" * 2**20}}, "env has 1 entries of 1048579 bytes together; the limits are"),
    ({"env": {str(n): "" for n in range(4001)}}, "env has 4001 entries .* the limits are 4000"),
    ({"workdir": ""}, "workdir must be an absolute path"),
    ({"workdir": "work"}, "workdir must be an absolute path .* not 'work'"),
    ({"workdir": "/\udcff"}, "workdir must be a str that can be encoded as UTF-8"),
    ({"workdir": "/a\0"}, "workdir must be a str without NUL"),
    ({"workdir": "/" + "a" * 4095}, "workdir is .* at most 4095 bytes"),
    ({"python_args": ["\udcff"]}, r"python_args\[0\] must be a str that can be encoded as UTF-8"),
    ({"python_args": ["a\0"]}, r"python_args\[0\] must be a str without NUL"),
    ({"python_args": ["-u"] * 4001}, "python_args has 4001 entries"),
    ({"expect": ["\udcff"]}, r"expect\[0\] must be a str that can be encoded as UTF-8"),
    ({"expect": [""]}, r"expect\[0\] must be a glob such as 'out/\*.txt'"),
    ({"expect": ["out/*", "../x"]}, r'expect has "../x"; a glob is relative to /work'),
    ({"expect": ["a/../b"]}, 'expect has "a/../b"; a glob is relative to /work'),
    ({"expect": ["out/.."]}, 'expect has "out/.."; a glob is relative to /work'),
    ({"expect": ["/etc/passwd"]}, 'expect has "/etc/passwd"; a glob is relative to /work'),
    ({"expect": ["/work/"]}, 'expect has "/work/"; a glob '),
    ({"expect": ["a" * 4096]}, "expect has .* 4095 bytes"),
    ({"max_bytes_inline": -1}, "max_bytes_inline must be an int of 0 or more, not -1"),
    ({"engine": ""}, "engine must be 'auto' or the name of an engine, not ''"),
    ({"engine": "a\0"}, "engine must be a str without NUL"),
    ({"engine": "foo"}, 'there is no engine called "foo"; it can be auto, qemu'),
]


def name_of(value: object) -> str:
    """A short name for a case in pytest's list."""
    return repr(value)[:40] if isinstance(value, dict) else ""


def refusal(arguments: Dict[str, Any]) -> fvm.InvalidArgument:
    options = dict(arguments)
    code = options.pop("code", "")
    with pytest.raises(fvm.InvalidArgument) as raised:
        fvm.run(code, **options)
    return raised.value


@pytest.mark.parametrize(("arguments", "says"), WRONG_TYPES, ids=name_of)
def test_a_wrong_type_is_refused(arguments: Dict[str, Any], says: str) -> None:
    error = refusal(arguments)
    assert isinstance(error, TypeError) and isinstance(error, fvm.InvalidArgumentType)
    assert error.status == 240
    with pytest.raises(TypeError, match=says):
        raise error


@pytest.mark.parametrize(("arguments", "says"), WRONG_VALUES, ids=name_of)
def test_a_wrong_value_is_refused(arguments: Dict[str, Any], says: str) -> None:
    error = refusal(arguments)
    assert not isinstance(error, TypeError)
    assert error.status == 240
    with pytest.raises(ValueError, match=says):
        raise error


def test_a_long_value_is_cut_in_the_message() -> None:
    assert len(str(refusal({"workdir": "x" * 10000}))) < 200


def test_options_are_given_by_name() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        fvm.run("", 1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'memory'"):
        fvm.run("", memory=512)  # type: ignore[call-arg]


@pytest.mark.parametrize("directory", [5, b"x", None])
def test_save_takes_the_path_of_a_directory(directory: Any) -> None:
    with pytest.raises(fvm.InvalidArgumentType, match="directory must be the path of a directory"):
        fvm.Artifact({}).save(directory)


@pytest.mark.parametrize("directory", ["", "a\0"])
def test_save_refuses_what_is_no_path(directory: str) -> None:
    with pytest.raises(fvm.InvalidArgument, match="directory must be"):
        fvm.Artifact({}).save(directory)


ERRORS = [
    (fvm.InvalidArgument, 240, ValueError),
    (fvm.NotFound, 241, FileNotFoundError),
    (fvm.HostError, 242, OSError),
    (fvm.Unsupported, 243, Exception),
    (fvm.EngineUnavailable, 244, Exception),
    (fvm.BootFailed, 245, Exception),
    (fvm.GuestFailed, 246, Exception),
    (fvm.ImageInvalid, 247, Exception),
    (fvm.CacheUnsafe, 248, PermissionError),
    (fvm.Cancelled, 249, Exception),
    (fvm.InternalError, 250, Exception),
]


@pytest.mark.parametrize(("cls", "status", "builtin"), ERRORS)
def test_each_cause_has_an_exception_class(cls: Any, status: int, builtin: Any) -> None:
    error = cls("what, why, what to do")
    assert error.status == status
    assert isinstance(error, fvm.FlashVMError) and isinstance(error, builtin)
    assert str(error) == "what, why, what to do"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls and str(copy) == str(error)
