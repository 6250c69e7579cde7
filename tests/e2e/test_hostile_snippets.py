# SPDX-License-Identifier: MIT
"""Snippets that take all they can get: each ends in time, with the right result.

FLASHVM_MILLION=1 lets the million files be a million, for an hour by hand.
"""

from __future__ import annotations

import os

from hostile import Run


def test_an_endless_loop_ends_at_the_timeout(run: Run) -> None:
    res = run("print('begun', flush=True)\nwhile True:\n    pass", timeout_seconds=1)
    assert (res.exit_code, res.timed_out, res.ended_by_limit) == (124, True, "timeout")
    assert (res.stdout, res.term_signal) == ("begun\n", 9)
    assert 1000 <= res.execution_time_ms < 4000


def test_a_process_tree_that_ignores_signals_ends_with_the_run(run: Run) -> None:
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
    res = run(code, timeout_seconds=2)
    assert (res.exit_code, res.timed_out) == (124, True)


def test_a_fork_bomb_ends_at_the_timeout(run: Run) -> None:
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
    res = run(code, timeout_seconds=2, expect=["out/*"])
    assert (res.exit_code, res.timed_out, res.stdout) == (124, True, "begun\n")
    assert [a.guest_path for a in res.artifacts] == ["out/begun"]


def test_a_memory_hog_is_killed_and_its_output_kept(run: Run) -> None:
    res = run("print('begun')\nhog = []\nwhile True:\n    hog.append(b'x' * (1 << 20))")
    assert (res.exit_code, res.term_signal, res.stdout) == (137, 9, "begun\n")
    assert (res.oom_killed, res.ended_by_limit, res.timed_out) == (True, "memory", False)


def test_a_disk_filler_gets_an_error_everywhere(run: Run) -> None:
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
    res = run(code, timeout_seconds=60)
    assert res.stdout.splitlines() == [
        "/work/full ENOSPC",
        "/tmp/full ENOSPC",
        "/dev/shm/full ENOSPC",
        "still here True",
    ], res


def test_an_output_flood_is_cut_and_counted(run: Run) -> None:
    """Gigabytes come from the stand-in guest, which is not emulated: test_hostile_guest.py."""
    code = "import os\nwhile True:\n    os.write(1, b'x' * 65536)"
    res = run(code, timeout_seconds=4, max_stdout_bytes=1 << 20)
    assert (res.exit_code, res.timed_out) == (124, True)
    assert len(res.stdout_raw) == 1 << 20 < res.stdout_bytes
    assert res.stdout_truncated


MANY_FILES = """
import errno
made = 0
try:
    while made < 1000000:
        open(f"out/{made:07}", "w").close()
        made += 1
except OSError as error:
    print(errno.errorcode[error.errno], made)
print(made, flush=True)
"""


def test_a_million_small_files(run: Run) -> None:
    """As many as there is time for; by hand all of them, in a guest that has room for so many."""
    if "FLASHVM_MILLION" in os.environ:
        res = run(MANY_FILES, expect=["out/**"], timeout_seconds=3000, memory_mb=9000)
        assert (res.exit_code, res.timed_out, res.stdout) == (0, False, "1000000\n")
    else:
        code = MANY_FILES + "import time\ntime.sleep(1000)"
        res = run(code, expect=["out/**"], timeout_seconds=8)
        assert (res.exit_code, res.timed_out) == (124, True)
    assert [a.guest_path for a in res.artifacts] == [f"out/{n:07}" for n in range(1000)]
    assert res.artifacts_note
    assert "over the limit of artifacts" in res.artifacts_note


def test_there_is_an_end_to_small_files(run: Run) -> None:
    """Files without a byte take memory all the same."""
    res = run(MANY_FILES, memory_mb=128)
    error, made = res.stdout.splitlines()[0].split()
    assert error == "ENOSPC" and int(made) > 2000
    assert res.exit_code == 0, res


def test_deep_and_enormous_trees(run: Run) -> None:
    code = """
import os, time
os.chdir("out")
for n in range(2000):
    os.mkdir(f"wide{n}")
    open(f"wide{n}/file", "w").close()
for n in range(5000):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
open("file", "w").close()
"""
    res = run(code, expect=["out/**"], timeout_seconds=60)
    assert (res.exit_code, len(res.artifacts)) == (0, 1000)
    assert res.artifacts_note == "1000 over the limit of artifacts; 1 nested too deeply"


def test_any_name_comes_back(run: Run) -> None:
    code = """
import os
os.chdir("out")
names = [b"new\\nline", b"\\xff\\xfe", b"\\x1b]0;title\\x07", b" ", b"-rf", b"caf\\xc3\\xa9"]
for name in [*names, b"n" * 255]:
    with open(name, "wb") as file:
        file.write(name)
"""
    res = run(code, expect=["out/*"])
    names = [os.fsencode(a.guest_path) for a in res.artifacts]
    assert names == sorted(names) and len(names) == 7
    assert {b"out/" + (a.content or b"") for a in res.artifacts} == set(names)
