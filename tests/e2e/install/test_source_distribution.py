# SPDX-License-Identifier: MIT
"""The source distribution, for a machine with a compiler and the libraries."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

CODE = """
import pathlib, sys, flashvm
assert flashvm.find_embedded_data_path() == pathlib.Path(sys.argv[1])
print(flashvm.run("print('hi')").stdout)
"""

Done = subprocess.CompletedProcess[str]


def run(*argv: Any, **env: str) -> Done:
    return subprocess.run(
        argv, env={**os.environ, **env}, cwd="/", capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def source(place: Path, sdist: Path) -> Path:
    shutil.unpack_archive(sdist, place)
    return place / sdist.name[: -len(".tar.gz")]


@pytest.fixture
def venv(environment: Callable[[Path], Path]) -> Path:
    """An environment that has the build tools of this one: no registry is asked for them."""
    venv = environment(Path(sys.base_prefix, "bin/python3"))
    (packages,) = venv.glob("lib/python3*/site-packages")
    (packages / "tools.pth").write_text("\n".join(site.getsitepackages()))
    return venv


def pip_install(venv: Path, *argv: Any) -> Done:
    options = ["--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return run(venv / "bin/pip", "install", *options, *argv, PATH=path)


def test_it_can_be_installed_in_place(venv: Path, source: Path) -> None:
    done = pip_install(venv, "--editable", source)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(venv / "bin/python", "-c", CODE, source / "python/flashvm/data")
    assert done.stdout == "hi\n\n", done.stderr
    done = run(venv / "bin/flashvm", "doctor")
    assert done.returncode == 0, done.stderr


def test_without_the_guest_it_says_what_to_do(source: Path) -> None:
    shutil.rmtree(source / "python/flashvm/data")
    done = pip_install(Path(sys.prefix), "--dry-run", source)
    assert done.returncode != 0
    assert "Make them first, with: make guest" in done.stdout + done.stderr
