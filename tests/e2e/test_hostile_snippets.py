# SPDX-License-Identifier: MIT
"""Snippets that take all they can get: each ends in time, with the right result."""

from __future__ import annotations

import time

import flashvm as fvm


def test_a_fork_bomb_ends_at_the_timeout() -> None:
    code = """
import os
open("out/begun", "w").close()
print("begun")
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
    begin = time.monotonic()
    res = fvm.run(code, timeout_seconds=2, expect=["out/*"])
    assert (res.exit_code, res.timed_out, res.stdout) == (124, True, "begun\n")
    assert [a.guest_path for a in res.artifacts] == ["out/begun"]
    assert time.monotonic() - begin < 60


def test_a_memory_hog_is_killed_and_its_output_kept() -> None:
    res = fvm.run("print('begun')\nhog = []\nwhile True:\n    hog.append(b'x' * (1 << 20))")
    assert (res.exit_code, res.term_signal, res.stdout) == (137, 9, "begun\n")
    assert not res.timed_out


def test_a_disk_filler_gets_an_error_everywhere() -> None:
    code = """
import errno, os
for place in ("/work/full", "/tmp/full", "/dev/shm/full"):
    try:
        with open(place, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
    except OSError as error:
        print(place, errno.errorcode[error.errno])
print("still here", len(os.listdir("/")) > 5)
"""
    res = fvm.run(code, timeout_seconds=60)
    assert res.stdout.splitlines() == [
        "/work/full ENOSPC",
        "/tmp/full ENOSPC",
        "/dev/shm/full ENOSPC",
        "still here True",
    ], res


def test_an_output_flood_is_cut_and_counted() -> None:
    code = "import os\nwhile True:\n    os.write(1, b'x' * 65536)"
    res = fvm.run(code, timeout_seconds=4)
    assert (res.exit_code, res.timed_out) == (124, True)
    assert len(res.stdout_raw) == min(res.stdout_bytes, 64 << 20) > 0
    assert res.stdout_truncated == (res.stdout_bytes > 64 << 20)


def test_a_process_tree_that_ignores_signals_ends_with_the_run() -> None:
    code = """
import os, signal, time
for n in range(1, 65):
    try:
        signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
for _ in range(4):
    os.fork()
os.setsid() if os.getpgrp() != os.getpid() else None
time.sleep(1000)
"""
    res = fvm.run(code, timeout_seconds=2)
    assert (res.exit_code, res.timed_out) == (124, True)


def test_odd_and_many_names_come_back_or_are_counted() -> None:
    code = """
import os
for n in range(1500):
    open(f"out/{n:05}", "w").close()
deep = "out/" + "/".join(["d" * 200] * 12)
os.makedirs(deep)
open(deep + "/file", "w").close()
"""
    res = fvm.run(code, expect=["out/**"], timeout_seconds=60)
    assert len(res.artifacts) == 1000
    assert "501 over the limit of artifacts" in res.artifacts_note
