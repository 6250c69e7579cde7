# SPDX-License-Identifier: MIT
"""End-to-end tests: the installed package, real microVMs.

FLASHVM_REQUIRE names, comma-separated, what must be there (in CI: everything): a test whose need is
not met is then a failure, elsewhere it is skipped.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Callable, Dict, Iterator, List

import pytest
from interpreters import pythons
from processes import descendants, wait_until

pytest_plugins = ["stand_in", "ordinary_user", "hostile"]

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

REQUIRED = set(filter(None, os.environ.get("FLASHVM_REQUIRE", "").split(",")))

NEEDS: Dict[str, Callable[[], bool]] = {
    "qemu": lambda: shutil.which("qemu-system-x86_64") is not None,
    "root": lambda: os.geteuid() == 0,
    "skopeo": lambda: shutil.which("skopeo") is not None,
    "umoci": lambda: shutil.which("umoci") is not None,
    "buildah": lambda: shutil.which("buildah") is not None,
    "python3.8": lambda: (3, 8) in pythons(),
}


@pytest.hookimpl
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*names): what the machine must have for this test")
    # As on a terminal, even when the tests are started in the background or under nohup: whoever
    # starts with a signal ignored keeps ignoring it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # The machine does what a test is about, and nothing ahead of time. test_pool.py has its own.
    os.environ["FLASHVM_POOL_SIZE"] = "0"
    # What a caller leaves behind becomes a child of ours, where _nothing_is_left sees it.
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


@pytest.fixture(autouse=True)
def _meet_needs(request: pytest.FixtureRequest) -> None:
    names: List[str] = ["qemu"]
    for mark in request.node.iter_markers("needs"):
        names += mark.args
    for name in names:
        if NEEDS[name]():
            continue
        if name in REQUIRED:
            pytest.fail(f"FLASHVM_REQUIRE says that {name} must be here, and it is not")
        pytest.skip(f"needs {name}")


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """After each test no process of a VM is left, whatever the test did."""
    yield
    wait_until(
        lambda: not [p for p in descendants(os.getpid()) if p.is_vm],
        "a VM's process is still there",
    )


@pytest.fixture(scope="session")
def command() -> str:
    """The installed `flashvm` command."""
    return str(Path(sys.executable).with_name("flashvm"))
