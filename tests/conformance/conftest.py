# SPDX-License-Identifier: MIT
"""The engine under test, and a `run` that uses it."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from capabilities import ENGINES, Capabilities

import flashvm as fvm

sys.path.append(str(Path(__file__).parents[1] / "e2e"))

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

Run = Callable[..., fvm.Result]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", default="qemu", choices=sorted(ENGINES), help="what to test")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "core: enough to see that an engine keeps its promises")
    os.environ["FLASHVM_POOL_SIZE"] = "0"
    # What a killed caller leaves behind becomes a child of ours, where a test sees it.
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.config.getoption("--engine")
    # Never a skip: whoever asks for an engine wants to see it tested.
    report = fvm.doctor()["engines"][name]
    assert report["usable"], report
    return name


@pytest.fixture(scope="session")
def capabilities(engine: str) -> Capabilities:
    return ENGINES[engine]


@pytest.fixture(scope="session")
def run(engine: str, capabilities: Capabilities) -> Run:
    """fvm.run() with that engine."""

    def run(code: str, **options: Any) -> fvm.Result:
        options.setdefault("timeout_seconds", 120)
        options.setdefault("boot_timeout_seconds", capabilities.patience)
        return fvm.run(code, engine=engine, **options)

    return run
