# SPDX-License-Identifier: MIT
"""One exception class for each status of the library, and what it carries. (The stand-in guest.)"""

from __future__ import annotations

import errno
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from callers import python

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in")

ROOT = Path(__file__).parents[2]

# Class, status, the builtin exception that means the same, its name in flashvm.h.
ERRORS = [
    (fvm.InvalidArgument, 240, ValueError, "INVALID_ARGUMENT"),
    (fvm.NotFound, 241, FileNotFoundError, "NOT_FOUND"),
    (fvm.HostError, 242, OSError, "IO"),
    (fvm.Unsupported, 243, Exception, "UNSUPPORTED"),
    (fvm.EngineUnavailable, 244, Exception, "ENGINE_UNAVAILABLE"),
    (fvm.BootFailed, 245, Exception, "BOOT_FAILED"),
    (fvm.GuestFailed, 246, Exception, "GUEST_FAILED"),
    (fvm.ImageInvalid, 247, Exception, "IMAGE_INVALID"),
    (fvm.CacheUnsafe, 248, PermissionError, "CACHE_UNSAFE"),
    (fvm.Cancelled, 249, Exception, "CANCELLED"),
    (fvm.InternalError, 250, Exception, "INTERNAL"),
]


@pytest.mark.parametrize(("cls", "status", "builtin"), [row[:3] for row in ERRORS])
def test_each_status_has_an_exception_class(cls: Any, status: int, builtin: Any) -> None:
    error = cls("what, why, what to do")
    assert error.status == status
    assert isinstance(error, fvm.FlashVMError) and isinstance(error, builtin)
    assert str(error) == "what, why, what to do"
    assert cls.__doc__ and cls.__name__ in fvm.__all__


def test_no_status_is_forgotten() -> None:
    header = (ROOT / "include/flashvm/flashvm.h").read_text()
    statuses = re.findall(r"FLASHVM_(\w+) = (2\d\d),", header)
    assert statuses == [(name, str(status)) for _, status, _, name in ERRORS]
    subclasses = set(fvm.FlashVMError.__subclasses__())
    assert subclasses == {cls for cls, _, _, _ in ERRORS}
    assert issubclass(fvm.InvalidArgumentType, (fvm.InvalidArgument, TypeError))
    assert fvm.InvalidArgumentType.status == 240


def test_an_error_survives_a_trip_to_another_process() -> None:
    for cls in (*(cls for cls, _, _, _ in ERRORS), fvm.InvalidArgumentType):
        error = cls("what and why")
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is cls and str(copy) == "what and why" and copy.args == error.args
    lost = fvm.HostError("no room")
    lost.errno = errno.ENOSPC
    assert pickle.loads(pickle.dumps(lost)).errno == errno.ENOSPC


# ---- errno ----


def test_a_failure_of_the_host_has_its_errno(tmp_path: Path) -> None:
    artifact = fvm.run("file a content", expect=["a"]).artifacts[0]
    (tmp_path / "file").write_text("")
    with pytest.raises(fvm.HostError, match=r"file: (Not a directory|File exists)") as raised:
        artifact.save(tmp_path / "file")
    assert raised.value.errno in (errno.ENOTDIR, errno.EEXIST)
    Path(artifact.host_path).unlink()
    with pytest.raises(fvm.NotFound, match="cannot save the artifact 'a'") as missing:
        artifact.save(tmp_path)
    assert missing.value.errno == errno.ENOENT


def test_an_error_that_is_no_system_calls_has_none() -> None:
    error = fvm.NotFound("the embedded image is missing")
    assert error.errno is None


def test_a_lack_of_descriptors_is_a_failure_of_the_host() -> None:
    done = python(
        """
import errno, flashvm, os, resource
flashvm.run("")
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), 4096))
for options in ({}, {"stdin": "x"}, {"expect": ["*"]}):
    try:
        flashvm.run("", **options)
    except flashvm.HostError as error:
        print(errno.errorcode[error.errno], error)
"""
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and done.stderr == ""
    assert all(line.startswith("EMFILE cannot ") for line in lines)
    assert all("Too many open files" in line for line in lines)
