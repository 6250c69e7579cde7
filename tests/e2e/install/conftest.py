# SPDX-License-Identifier: MIT
"""What `make wheel` made, and environments to install it into."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Callable, Dict, Iterator

import pytest

TREE = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def wheel() -> Path:
    (found,) = (TREE / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="session")
def sdist() -> Path:
    (found,) = (TREE / "dist").glob("*.tar.gz")
    return found


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can enter; pytest's own are closed to others."""
    directory = Path(tempfile.mkdtemp(prefix="flashvm-install-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def environment(place: Path) -> Callable[[Path], Path]:
    """Makes a virtual environment that holds nothing but pip; returns it."""

    def make(python: Path) -> Path:
        subprocess.run([python, "-m", "venv", place / "venv"], check=True, timeout=120)
        return place / "venv"

    return make


@pytest.fixture
def strangers(place: Path) -> Dict[str, str]:
    """The environment variables of a machine with QEMU and nothing to compile with."""
    qemu = shutil.which("qemu-system-x86_64")
    assert qemu
    (place / "programs").mkdir()
    (place / "programs/qemu-system-x86_64").symlink_to(qemu)
    (place / "home").mkdir()
    return {
        "PATH": str(place / "programs"),
        "HOME": str(place / "home"),
        "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"],
    }
