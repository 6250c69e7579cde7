# SPDX-License-Identifier: MIT
"""Write an artifact to where its guest path leads, below a directory of the caller's."""

from __future__ import annotations

import os
import pathlib
from typing import Optional

from . import _flashvm
from ._memory_file import memory_file


def save_artifact(
    guest_path: str, host_path: Optional[str], content: Optional[bytes], directory: str
) -> pathlib.Path:
    """Copy `host_path`, or else `content`, to `directory`/`guest_path` (see Artifact.save)."""
    if host_path is not None:
        return _save_file(guest_path, os.fsencode(host_path), directory)
    # A pickled artifact has no file any more.
    with memory_file("the artifact", content or b"") as fd:
        return _save_file(guest_path, b"/proc/self/fd/%d" % fd, directory)


def _save_file(guest_path: str, host_path: bytes, directory: str) -> pathlib.Path:
    saved = _flashvm.artifact_save(
        guest_path.encode("utf-8", "surrogateescape"), host_path, os.fsencode(directory)
    )
    return pathlib.Path(os.fsdecode(saved))
