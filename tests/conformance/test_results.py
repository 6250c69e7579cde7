# SPDX-License-Identifier: MIT
"""What comes back from a run."""

from __future__ import annotations

import pytest
from capabilities import Capabilities
from conftest import Run

pytestmark = pytest.mark.core


def test_hello(run: Run, engine: str, capabilities: Capabilities) -> None:
    res = run(
        "import os, sys\n"
        "print('Hello from microVM!')\n"
        "print('oh', file=sys.stderr)\n"
        "os.makedirs('out/deep', exist_ok=True)\n"
        "open('out/a.bin', 'wb').write(bytes(range(256)) * 1000)\n"
        "open('out/deep/b.txt', 'w').write(os.uname().release)\n"
        "os.symlink('/etc/passwd', 'out/link')\n"
        "os.mkfifo('out/fifo')\n"
        "sys.exit(3)\n",
        expect=["out/**"],
    )
    assert (res.exit_code, res.stdout, res.stderr) == (3, "Hello from microVM!\n", "oh\n")
    assert (res.engine, res.restored) == (engine, capabilities.templates)
    assert res.image_used.startswith("localhost/flashvm:python-basic@sha256:")
    assert res.started and res.reseeded and res.clock_set and not res.timed_out
    contents = {artifact.guest_path: artifact.content for artifact in res.artifacts}
    assert set(contents) == {"out/a.bin", "out/deep/b.txt"}
    assert contents["out/a.bin"] == bytes(range(256)) * 1000
    assert capabilities.kernel in contents["out/deep/b.txt"].decode()
    assert 0 < res.cpu_time_ms < 120000 and res.peak_memory_bytes > 1 << 20


def test_a_traceback_and_a_signal_are_as_with_a_python_of_the_host(run: Run) -> None:
    res = run("def f():\n    return 1 / 0\n\nf()\n")
    assert res.exit_code == 1
    assert res.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert "return 1 / 0" in res.stderr
    res = run("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert (res.exit_code, res.term_signal) == (139, 11)


def test_a_timeout_keeps_what_there_was(run: Run) -> None:
    res = run(
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open('out/part', 'w').write('some')\n"
        "print('a')\n"
        "while True: time.sleep(1)\n",
        expect=["out/*"],
        timeout_seconds=3,
    )
    assert (res.exit_code, res.timed_out, res.stdout) == (124, True, "a\n")
    assert [artifact.content for artifact in res.artifacts] == [b"some"]
    assert res.ended_by_limit == "timeout"
