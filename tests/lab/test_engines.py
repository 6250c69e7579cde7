# SPDX-License-Identifier: MIT
"""Each engine really runs snippets under KVM, and keeps its promises.

A few of those in tests/conformance, since every run of krunvm boots. All of them:
make lab LAB_TESTS=tests/conformance ARGS="--engine krunvm"
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import List

import pytest

FEW = "test_hello or no_address_of_the_host or caller_that_is_killed"


@pytest.mark.parametrize("engine", ["native", "qemu", "krunvm"])
def test_conformance(engine: str) -> None:
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/conformance"]
    done = subprocess.run(
        [*argv, "--engine", engine, "-k", FEW], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_krunvm_needs_no_root(as_user: List[str]) -> None:
    code = "import os; print(os.getuid()); open('out/x', 'w').write('x')"
    argv = ["flashvm", "run", "--json", "--engine", "krunvm", "--expect", "out/*", "--code", code]
    done = subprocess.run(
        [*as_user, *argv, "--boot-timeout", "300"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    result = json.loads(done.stdout)
    assert (result["stdout"], result["engine"]) == ("1000\n", "krunvm"), result
    assert [artifact["guest_path"] for artifact in result["artifacts"]] == ["out/x"]
    listed = subprocess.run(
        [*as_user, "buildah", "images"], capture_output=True, text=True, check=True
    ).stdout
    assert "localhost/flashvm" in listed and "python-basic" in listed
