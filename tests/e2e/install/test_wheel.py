# SPDX-License-Identifier: MIT
"""The wheel on a machine that has never seen the source tree, and has nothing to compile with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict

import pytest
from interpreters import pythons

UID = 12345

CODE = """
import os, pathlib, sys, flashvm
assert flashvm.find_embedded_data_path() == pathlib.Path(sys.argv[1])
res = flashvm.run("open('out/x', 'w').write('made'); print('hi')", expect=["out/*"])
print(res.stdout, res.artifacts[0].content, os.getuid())
"""

Make = Callable[[Path], Path]


def install(venv: Path, wheel: Path) -> Path:
    """Return: the directory of the package."""
    pip = [str(venv / "bin/pip"), "install", "--quiet", "--no-index"]
    options = ["--disable-pip-version-check", str(wheel)]
    subprocess.run([*pip, *options], check=True, timeout=120)
    (package,) = venv.glob("lib/python3*/site-packages/flashvm")
    return package


def output_of(*argv: Any, **how: Any) -> str:
    done = subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=180, **how)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def assert_it_works(venv: Path, package: Path, **how: Any) -> None:
    uid = how.get("user", os.getuid())
    said = output_of(venv / "bin/python", "-c", CODE, package / "data", **how)
    assert said == f"hi\n b'made' {uid}\n"
    assert output_of(venv / "bin/flashvm", "--version", **how).startswith("flashvm ")
    output_of(venv / "bin/flashvm", "doctor", **how)  # and it says that a run would work


@pytest.mark.parametrize(
    "which", [pytest.param("3.8", marks=pytest.mark.needs("python3.8")), "the newest"]
)
def test_it_serves(which: str, environment: Make, strangers: Dict[str, str], wheel: Path) -> None:
    venv = environment(pythons()[(3, 8) if which == "3.8" else max(pythons())])
    package = install(venv, wheel)
    before = {path: path.stat().st_mtime_ns for path in package.rglob("*")}
    assert_it_works(venv, package, env=strangers)
    after = {path: path.stat().st_mtime_ns for path in package.rglob("*")}
    assert after == before, "it wrote where it is installed"


@pytest.mark.needs("root")
def test_it_serves_an_ordinary_user_who_cannot_write_to_it(
    environment: Make, strangers: Dict[str, str], wheel: Path
) -> None:
    venv = environment(Path("/usr/bin/python3"))
    package = install(venv, wheel)
    home = Path(strangers["HOME"])
    os.chown(home, UID, UID)
    env = {**strangers, "XDG_CACHE_HOME": str(home / "cache")}
    assert_it_works(venv, package, env=env, user=UID, group=UID, extra_groups=[])
    assert (home / "cache/flashvm").stat().st_uid == UID
