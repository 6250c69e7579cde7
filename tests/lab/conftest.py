# SPDX-License-Identifier: MIT
"""Tests of the nested lab: what must be true of the machine before one of them says anything.

They run there as root, by `make lab`; tests/lab/README.md tells more.
"""

from __future__ import annotations

import os
import shutil
from typing import List

import pytest

TOOLS: List[str] = ["krunvm", "buildah", "skopeo", "qemu-system-x86_64"]


@pytest.fixture(autouse=True, scope="session")
def _in_the_lab() -> None:
    """Elsewhere these tests would fail for reasons of their own, or harm the machine."""
    if os.uname().nodename != "lab":
        pytest.exit("tests/lab runs in the nested lab: make lab", returncode=2)
    assert os.geteuid() == 0
    os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    assert not missing


@pytest.fixture
def as_user() -> List[str]:
    """What makes an argv one of the ordinary user, who is in the group kvm and has subuids."""
    environment = ["HOME=/home/lab", "USER=lab", "XDG_RUNTIME_DIR=/run/user/1000"]
    return ["runuser", "-u", "lab", "--", "env", "--chdir=/home/lab", *environment]
