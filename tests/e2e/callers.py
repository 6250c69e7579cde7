# SPDX-License-Identifier: MIT
"""Programs that call flashVM, as a test starts and watches them."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from typing import Dict, List, Optional, Sequence, Tuple

from processes import descendants, wait_until

Command = Sequence[str]


def _environment(changes: Optional[Dict[str, str]]) -> Dict[str, str]:
    return {**os.environ, **(changes or {})}


def python(code: str, env: Optional[Dict[str, str]] = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=_environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def start(argv: Command, env: Optional[Dict[str, str]] = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        env=_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def start_python(code: str) -> subprocess.Popen[bytes]:
    return start([sys.executable, "-c", code])


def wait_until_running(pid: int, count: int = 1) -> None:
    """Until so many snippets of that caller have begun, in the stand-in guest."""

    def running() -> int:
        return sum(p.name == "qemu-system-run" for p in descendants(pid))

    wait_until(lambda: running() >= count, "no snippet began to run", 20)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, argv: Command, env: Optional[Dict[str, str]] = None) -> None:
        self.fd, programs_end = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *argv],
            env=_environment({"TERM": "xterm", **(env or {})}),
            stdin=programs_end,
            stdout=programs_end,
            stderr=programs_end,
        )
        os.close(programs_end)

    def wait_for(self, text: bytes) -> None:
        """Read until it has written that."""
        written = b""
        while text not in written:
            assert select.select([self.fd], [], [], 20)[0], f"it has written only {written!r}"
            written += os.read(self.fd, 65536)

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def finish(self, seconds: float = 20) -> Tuple[bytes, int]:
        """Wait for its end. Return: all that it wrote since, and its exit code."""
        written: List[bytes] = []
        end = time.monotonic() + seconds
        while select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
            try:
                written.append(os.read(self.fd, 65536))
            except OSError:  # EIO: nobody has the other end any more
                break
            if not written[-1]:
                break
        os.close(self.fd)
        return b"".join(written), self.process.wait(seconds)


def on_terminal(argv: Command, env: Optional[Dict[str, str]] = None) -> Tuple[bytes, int]:
    return Terminal(argv, env).finish()
