# SPDX-License-Identifier: MIT
"""Limits hold, the result says which one it was, and the next run works."""

from __future__ import annotations

import pytest
from conftest import Run


@pytest.mark.core
def test_memory(run: Run) -> None:
    res = run("print('a')\nx = []\nwhile True: x.append(bytes(10_000_000))\n", memory_mb=256)
    assert res.oom_killed and res.ended_by_limit == "memory", res
    assert (res.stdout, res.exit_code) == ("a\n", 137)


def test_processes(run: Run) -> None:
    res = run(
        "import os, sys\n"
        "made = 0\n"
        "try:\n"
        "    while made < 200:\n"
        "        if os.fork() == 0:\n"
        "            import signal; signal.pause()\n"
        "        made += 1\n"
        "except BlockingIOError:\n"
        "    print(10 < made < 50)\n"
        "os._exit(0)\n",
        max_processes=40,
    )
    assert (res.exit_code, res.stdout) == (0, "True\n"), res


def test_a_fork_bomb_ends_with_its_run(run: Run) -> None:
    res = run(
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n", timeout_seconds=10
    )
    assert res.exit_code in (124, 137), res
    assert run("print(1)").stdout == "1\n"


def test_disk(run: Run) -> None:
    res = run(
        "try:\n"
        "    with open('f', 'wb') as f:\n"
        "        while True: f.write(bytes(1 << 20))\n"
        "except OSError as error:\n"
        "    print(error.strerror)\n",
        max_disk_mb=20,
    )
    assert (res.exit_code, res.stdout) == (0, "No space left on device\n"), res


def test_output(run: Run) -> None:
    res = run(
        "import sys\nfor _ in range(200): sys.stdout.write('x' * 100_000)\n",
        max_stdout_bytes=50_000,
    )
    assert res.stdout_truncated and res.stdout_bytes == 20_000_000
    assert res.stdout == "x" * 50_000
