# SPDX-License-Identifier: MIT
"""Fixture: an ordinary user, with a home and an installation that this user can read."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple

import pytest

import flashvm as fvm

UID = 12345  # without an entry in the password database


class User(NamedTuple):
    home: Path  # which nobody else can enter

    @property
    def package(self) -> Path:
        return self.home / "site/flashvm"

    @property
    def command(self) -> str:
        return str(self.package / "bin/flashvm")

    @property
    def cache(self) -> Path:
        return self.home / ".cache/flashvm"

    @property
    def env(self) -> Dict[str, str]:
        return {
            "HOME": str(self.home),
            "XDG_CACHE_HOME": "",  # as good as none
            "PYTHONPATH": str(self.home / "site"),
            "FLASHVM_DATA_DIR": str(self.package / "data"),
            "FLASHVM_LIBEXEC_DIR": str(self.package / "bin"),
        }


def as_user(argv: List[str]) -> List[str]:
    return ["/usr/bin/setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", *argv]


@pytest.fixture(scope="session")
def user() -> Iterator[User]:
    home = Path(tempfile.mkdtemp(prefix="flashvm-user-", dir="/tmp"))
    shutil.copytree(Path(fvm.__file__).parent, home / "site/flashvm")
    os.chown(home, UID, UID)
    yield User(home)
    shutil.rmtree(home)
