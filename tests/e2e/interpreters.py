# SPDX-License-Identifier: MIT
"""The CPythons of this machine."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, List, Tuple

Version = Tuple[int, ...]


def _version(python: Path) -> Version:
    """(3, 8) and so on; () for one that does not start, or cannot make environments."""
    code = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return tuple(map(int, done.stdout.split()))


@functools.lru_cache(maxsize=None)
def pythons() -> Dict[Version, Path]:
    """Those from 3.8 on, by version: what is on PATH, and what pyenv has."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates: List[Path] = sorted(pyenv.glob("versions/3.*/bin/python3"))
    for minor in range(8, 20):
        on_path = shutil.which(f"python3.{minor}")
        candidates += [Path(on_path)] if on_path else []
    found = {_version(python): python for python in candidates}
    return {version: python for version, python in found.items() if version >= (3, 8)}
