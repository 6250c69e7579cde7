# SPDX-License-Identifier: MIT
"""Arguments that make no sense: each is refused with an exception that names it. No VM starts."""

from __future__ import annotations

import decimal
import math
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

# Those that may be any number from 1 on.
LIMITS = ["max_files_in", "max_files_in_bytes", "max_stdout_bytes", "max_stderr_bytes"]
LIMITS += ["max_artifacts", "max_artifact_bytes"]

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
    ({"args": "-v"}, r"args must be a list of str, not one str; write args=\['-v'\]"),
    ({"args": None}, "args must be a list of str"),
    ({"args": {"a": 1}}, "args must be a list of str"),
    ({"args": ["a", 1]}, r"args\[1\] must be a str, not 1 of type int"),
    ({"args": [b"a"]}, r"args\[0\] must be a str"),
    (
        {"files_in": "data.csv"},
        r"files_in must be a dict .* or a list of \(host_path, guest_path\)",
    ),
    ({"files_in": Path("data.csv")}, "files_in must be a dict"),
    ({"files_in": 5}, "files_in must be a dict"),
    ({"files_in": ["data.csv"]}, r"files_in\[0\] must be a pair \(host_path, guest_path\)"),
    ({"files_in": [("a", "b", "c")]}, r"files_in\[0\] must be a pair"),
    ({"files_in": [("/a", "b"), (1, "b")]}, r"files_in\[1\]\[0\] must be the path of a file"),
    ({"files_in": [("/a", b"b")]}, r"files_in\[0\]\[1\] must be a path relative to /work/in"),
    ({"files_in": {1: "x"}}, "a guest path in files_in must be a path relative to /work/in, not 1"),
    ({"files_in": {"a": 1}}, r"files_in\['a'\] must be content as bytes or str, or the Path of"),
    ({"files_in": {"a": None}}, r"files_in\['a'\] must be content"),
    ({"stdin": 0}, "stdin must be str, bytes or an open file, not 0 of type int"),
    ({"stdin": Path("x")}, "stdin must be str, bytes or an open file"),
    ({"cold_boot": 1}, "cold_boot must be a bool, not 1"),
    ({"cold_boot": None}, "cold_boot must be a bool"),
    ({"network": 1}, "network must be a bool, not 1"),
    ({"network": None}, "network must be a bool"),
    ({"ports": 80}, "ports must be a list of ports, not 80"),
    ({"ports": "80"}, "ports must be a list of ports"),
    ({"boot_timeout_seconds": None}, "boot_timeout_seconds must be a number of seconds"),
    ({"boot_timeout_seconds": "90"}, "boot_timeout_seconds must be a number of seconds"),
    *(({name: None}, f"{name} must be an int from 1 to") for name in LIMITS),
    *(({name: 1.0}, f"{name} must be an int from 1 to .* float") for name in LIMITS),
    *(({name: True}, f"{name} must be an int from 1 to .* bool") for name in LIMITS),
    ({"max_processes": None}, "max_processes must be an int from 8 to 32768"),
    ({"max_processes": "9"}, "max_processes must be an int from 8 to 32768"),
    ({"max_disk_mb": 1.0}, "max_disk_mb must be an int from 1 to 1048576"),
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
    ({"env": {"A": "a" * 131070}}, "env has a string of 131072 bytes, .* the limit is 131071"),
    ({"env": {"A" * 131071: ""}}, "env has .* files_in and stdin take more"),
    (
        {"env": {str(n): "a" * 2**16 for n in range(16)}},
        "env has 16 entries of .* bytes together; the limits are",
    ),
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
    ({"engine": "foo"}, 'there is no engine called "foo"; it can be auto, native, qemu, krunvm'),
    ({"image": "a\0"}, "image must be a str without NUL"),
    ({"image": "oci:\ud800"}, "image must be a str that can be encoded for the file system"),
    ({"image": ""}, 'image is "": it is empty; leave it out for the embedded image'),
    ({"image": "oci:"}, 'image is "oci:": it has no path'),
    ({"image": "a b"}, 'image is "a b": that is no reference'),
    ({"image": "docker://python"}, 'image is "docker://python": flashVM fetches no images'),
    ({"args": ["\udcff"]}, r"args\[0\] must be a str that can be encoded as UTF-8"),
    ({"args": ["a", "b\0"]}, r"args\[1\] must be a str without NUL"),
    ({"args": ["-u"] * 4001}, "args has 4001 entries"),
    ({"args": ["a" * 131072]}, "args has a string of 131072 bytes, .* the limit is 131071"),
    ({"args": ["a" * 2**16] * 16}, "args has 16 entries of 1048592 bytes together; the limits"),
    ({"files_in": {"": "x"}}, 'files_in has the guest path ""; it must be relative to /work/in'),
    ({"files_in": {"../x": "x"}}, r'files_in has the guest path "\.\./x"; it must be relative'),
    ({"files_in": {"/etc/x": "x"}}, 'files_in has the guest path "/etc/x"'),
    ({"files_in": {"a/..": "x"}}, 'files_in has the guest path "a/.."'),
    ({"files_in": {"n" * 256: "x"}}, "files_in has the guest path .* and 255 in each name"),
    ({"files_in": {"a\0b": "x"}}, "a guest path in files_in must be a str without NUL"),
    ({"files_in": {"\ud800": "x"}}, "a guest path in files_in must be a str that can be encoded"),
    ({"files_in": {"a": "\udcff"}}, r"files_in\['a'\] must be a str that can be encoded as UTF-8"),
    ({"files_in": [("", "a")]}, r"files_in\[0\]\[0\] must be the path of a file or directory"),
    ({"files_in": [("a\0", "a")]}, r"files_in\[0\]\[0\] must be the path of a file or directory"),
    ({"files_in": {"a": "x", "./a": "y"}}, "files_in has more than one file for /work/in/a"),
    ({"files_in": {"a": "x", "a/b": "y"}}, "files_in has a file for /work/in/a, and one below it"),
    ({"files_in": {"a": Path("/dev/null")}}, "files_in: /dev/null is neither a regular file nor"),
    (
        {"files_in": {"a": bytes(64 * 2**20 + 1)}, "memory_mb": 128},
        "files_in has 67108865 bytes, but a guest with a memory_mb of 128 holds at most half",
    ),
    ({"files_in": {"a": "", "b": ""}, "max_files_in": 1}, "more than 1 files; max_files_in raises"),
    ({"files_in": {"a": "xx"}, "max_files_in_bytes": 1}, "1 bytes .* max_files_in_bytes raises"),
    ({"stdin": "\ud800"}, "stdin must be a str that can be encoded as UTF-8"),
    ({"boot_timeout_seconds": 0}, "boot_timeout_seconds must be a number of seconds above 0"),
    ({"boot_timeout_seconds": math.nan}, "boot_timeout_seconds .* not nan"),
    ({"boot_timeout_seconds": 365 * 24 * 3600 + 1}, "boot_timeout_seconds .* up to 31536000"),
    *(({name: 0}, f"{name} must be an int from 1 to .*, not 0") for name in LIMITS),
    *(({name: -1}, f"{name} must be an int from 1 to .*, not -1") for name in LIMITS),
    *(({name: 2**63}, f"{name} must be an int from 1 to .*, not 9223372") for name in LIMITS),
    ({"max_files_in": 2**32}, "max_files_in must be an int from 1 to 4294967295"),
    ({"max_artifacts": 2**32}, "max_artifacts must be an int from 1 to 4294967295"),
    ({"max_processes": 7}, "max_processes must be an int from 8 to 32768, not 7"),
    ({"max_processes": 32769}, "max_processes must be an int from 8 to 32768, not 32769"),
    ({"max_disk_mb": 0}, "max_disk_mb must be an int from 1 to 1048576, not 0"),
    ({"max_disk_mb": 1048577}, "max_disk_mb must be an int from 1 to 1048576, not 1048577"),
]

# Nothing is wrong with the value, but no engine can do it.
UNSUPPORTED: List[Case] = [
    ({"network": True}, "network is not supported yet: a microVM has no network but its own loop"),
    ({"ports": [80, "8080:80"]}, "ports is not supported yet: a microVM has no network but its"),
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


@pytest.mark.parametrize(("arguments", "says"), UNSUPPORTED, ids=name_of)
def test_what_no_engine_can_do_is_refused(arguments: Dict[str, Any], says: str) -> None:
    with pytest.raises(fvm.Unsupported, match=says) as raised:
        fvm.run("", **arguments)
    assert raised.value.status == 243


@pytest.mark.parametrize(
    ("arguments", "says"), WRONG_TYPES + WRONG_VALUES + UNSUPPORTED, ids=name_of
)
def test_a_config_is_checked_as_the_arguments_are(arguments: Dict[str, Any], says: str) -> None:
    config = dict(arguments)
    code = config.pop("code", "")
    with pytest.raises(fvm.FlashVMError, match=says):
        fvm.run_with_config(code, config)


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
