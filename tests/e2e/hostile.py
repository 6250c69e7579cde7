# SPDX-License-Identifier: MIT
"""Fixture: runs a snippet for root or for an ordinary user, and looks for what it has left.

Each run is the next one of its user after the hostile snippet before it, which so is seen to have
done no harm.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set, Union

import pytest
from ordinary_user import UID, User, as_user
from processes import wait_until

import flashvm as fvm

CALLER = """
import pickle, sys, flashvm
code, options = pickle.load(sys.stdin.buffer)
try:
    result = flashvm.run(code, **options)
except flashvm.FlashVMError as error:
    result = error
pickle.dump(result, sys.stdout.buffer)
"""

# What a run may take beside its timeout: a boot on a busy machine, the guest's grace, collection.
OVERHEAD_SECONDS = 75


class Run:
    """One hostile run, in a process of its own."""

    def __init__(self, prefix: List[str], python: str, env: Dict[str, str]) -> None:
        self._argv = [*prefix, python, "-c", CALLER]
        self.env = env
        self.pid = 0

    def begin(self, code: Union[str, bytes], **options: Any) -> subprocess.Popen[bytes]:
        caller = subprocess.Popen(
            self._argv,
            env=self.env,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert caller.stdin
        caller.stdin.write(pickle.dumps((code, options)))
        caller.stdin.close()
        caller.stdin = None  # or communicate() would flush it
        return caller

    def end(self, caller: subprocess.Popen[bytes], seconds: float) -> Any:
        out, err = caller.communicate(timeout=seconds)
        assert caller.returncode == 0, err.decode()
        return pickle.loads(out)

    def __call__(self, code: Union[str, bytes], **options: Any) -> fvm.Result:
        begin = time.monotonic()
        limit = options.get("timeout_seconds", 30) + OVERHEAD_SECONDS
        outcome = self.end(self.begin(code, **options), limit)
        assert isinstance(outcome, fvm.Result), outcome
        assert time.monotonic() - begin < limit
        return outcome


def _shared_memory() -> Set[str]:
    """Of a fuzz run that is going on, nobody thinks here."""
    return {name for name in os.listdir("/dev/shm") if not name.startswith("flashvm-fuzz-")}


@pytest.fixture(params=["root", pytest.param("user", marks=pytest.mark.needs("root"))])
def run(request: pytest.FixtureRequest, cache_home: Path) -> Iterator[Run]:
    scratch = Path(tempfile.mkdtemp(prefix="flashvm-hostile-", dir="/tmp"))
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(scratch)}
    if request.param == "root":
        caller = Run([], sys.executable, {**env, "XDG_CACHE_HOME": str(cache_home)})
    else:
        user: User = request.getfixturevalue("user")
        os.chown(scratch, UID, UID)
        caller = Run(as_user([]), "/usr/bin/python3", {**user.env, **env})
    shared = _shared_memory()
    yield caller
    wait_until(lambda: os.listdir(scratch) == [], "files were left")
    assert _shared_memory() == shared
    shutil.rmtree(scratch)
