# SPDX-License-Identifier: MIT
"""The installed package serves an ordinary user as it serves root."""

from __future__ import annotations

import os
import subprocess

import pytest
from ordinary_user import UID, User, as_user

CODE = """
import os, flashvm
assert os.getuid() != 0
res = flashvm.run("open('out/x', 'w').write('made'); print('hi')", expect=["out/*"])
print(res.stdout, res.artifacts[0].content, flashvm.doctor()["ready"])
"""


@pytest.mark.needs("root")
def test_an_ordinary_user_runs_a_snippet(user: User) -> None:
    done = subprocess.run(
        as_user(["/usr/bin/python3", "-c", CODE]),
        env={**user.env, "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "hi\n b'made' True\n", done.stderr
    assert user.cache.stat().st_uid == UID
