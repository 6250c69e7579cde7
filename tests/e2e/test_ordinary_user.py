# SPDX-License-Identifier: MIT
"""The installed package serves an ordinary user as it serves root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

import flashvm as fvm

UID = 12345

CODE = """
import os, flashvm
assert os.getuid() != 0
res = flashvm.run("open('out/x', 'w').write('made'); print('hi')", expect=["out/*"])
print(res.stdout, res.artifacts[0].content, flashvm.doctor()["ready"])
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home that only the user can enter, and the package where the user can read it."""
    directory = Path(tempfile.mkdtemp(prefix="flashvm-user-"))
    shutil.copytree(Path(fvm.__file__).parent, directory / "site/flashvm")
    os.chown(directory, UID, UID)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.needs("root")
def test_an_ordinary_user_runs_a_snippet(home: Path) -> None:
    env = {"HOME": str(home), "PYTHONPATH": str(home / "site"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["/usr/bin/python3", "-c", CODE],
        env=env,
        cwd="/",
        user=UID,
        group=UID,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "hi\n b'made' True\n", done.stderr
    assert (home / ".cache/flashvm").stat().st_uid == UID
