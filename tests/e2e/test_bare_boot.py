# SPDX-License-Identifier: MIT
"""How little a host must have for a real microVM."""

from __future__ import annotations

from pathlib import Path

import pytest
from hosts import on_host

import flashvm as fvm


@pytest.mark.needs("root")
def test_dev_null_and_proc_are_enough(command: str, cache_home: Path) -> None:
    """A real microVM: no /dev/shm, no /dev/urandom, no /dev/kvm, no /sys, a read-only cache."""
    fvm.prepare_image()
    empty = "mount -t tmpfs -o ro empty"
    script = (
        f"mount --bind -o ro {cache_home} /mnt; {empty} /run; {empty} /sys; "
        "mount -t tmpfs bare /dev; mknod -m 666 /dev/null c 1 3"
    )
    done = on_host(script, [command, "run", "-c", "print('hi')"], {"XDG_CACHE_HOME": "/mnt"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\n", "")
