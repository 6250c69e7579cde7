# SPDX-License-Identifier: MIT
"""The `flashvm` command in its surroundings: signals, trouble with stdout, a terminal."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from typing import Dict, List, Optional

import pytest
from callers import Terminal, on_terminal, start, wait_until_running
from processes import descendants, wait_until

pytestmark = pytest.mark.usefixtures("stand_in")

PIPE_BYTES = 65536  # what a pipe holds


# ---- signals ----


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_a_signal_ends_the_run_at_once(command: str, number: int, exit_code: int) -> None:
    caller = start([command, "run", "-c", "hang"])
    wait_until_running(caller.pid)
    begin = time.monotonic()
    caller.send_signal(number)
    assert caller.communicate(timeout=10) == (b"", b"")
    assert time.monotonic() - begin < 1
    assert caller.returncode == exit_code
    assert not descendants(caller.pid)


@pytest.mark.parametrize("name", ["HUP", "INT"])
def test_a_signal_that_was_ignored_stays_ignored(command: str, name: str) -> None:
    """As under nohup, or in the background of a script."""
    script = f"trap '' {name}; exec \"$0\" run -c 'sleep 0.3\nstdout done'"
    caller = start(["sh", "-c", script, command])
    wait_until_running(caller.pid)
    caller.send_signal(getattr(signal, f"SIG{name}"))
    assert caller.communicate(timeout=10) == (b"done\n", b"")


def bytes_waiting(fd: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_signal_ends_the_output_to_a_reader_that_is_stuck(
    command: str, options: List[str]
) -> None:
    caller = start([command, "run", *options, "-c", "flood 1000000"])
    assert caller.stdout is not None
    reader = caller.stdout.fileno()
    wait_until(lambda: bytes_waiting(reader) == PIPE_BYTES, "the pipe is not full")
    caller.send_signal(signal.SIGINT)
    assert caller.wait(5) == 130
    caller.communicate()


# ---- trouble with stdout ----


@pytest.mark.parametrize("args", [["run", "-c", "stdout x"], ["run", "--json", "-c", ""], ["help"]])
def test_output_that_cannot_be_written_is_an_error(command: str, args: List[str]) -> None:
    def ends_with(fd: int, says: bytes) -> None:
        done = subprocess.run([command, *args], stdout=fd, stderr=subprocess.PIPE, timeout=20)
        assert done.returncode == 242
        assert b"cannot write to standard output: " + says in done.stderr

    with open("/dev/full", "wb") as full:
        ends_with(full.fileno(), b"No space left on device")
    reader, writer = os.pipe()
    os.close(reader)
    ends_with(writer, b"Broken pipe")
    os.close(writer)


@pytest.mark.parametrize("args", ["version", "doctor", "image prepare", "run -c 'stdout x'"])
def test_a_closed_stdout_is_an_error(command: str, args: str) -> None:
    shell = ["sh", "-c", f'"$0" {args} >&-', command]
    done = subprocess.run(shell, stderr=subprocess.PIPE, timeout=20)
    assert done.returncode == 242
    assert b"cannot write to standard output: Bad file descriptor" in done.stderr


def test_a_stdout_that_does_not_block_gets_everything(command: str) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    argv = [command, "run", "-c", "flood 1000000"]
    caller = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=writer)
    os.close(writer)
    wait_until(lambda: bytes_waiting(reader) == PIPE_BYTES, "the pipe is not full")
    with open(reader, "rb") as stream:
        assert len(stream.read()) == 1000000
    assert caller.wait(10) == 0


# ---- progress on a terminal ----

ERASE = b"\r\x1b[K"


def python_terminal(code: str, env: Optional[Dict[str, str]] = None) -> Terminal:
    return Terminal([sys.executable, "-c", f"import flashvm, sys\n{code}"], env)


def test_work_over_a_second_is_shown(command: str) -> None:
    terminals = [
        Terminal([command, "run", "-c", "sleep 1.2\nstdout hi"]),
        python_terminal("print(flashvm.run('sleep 1.2\\nstdout hi').stdout, end='')"),
    ]
    for terminal in terminals:
        written, exit_code = terminal.finish()
        assert exit_code == 0
        assert written.startswith(ERASE + b"flashvm: ") and b"... 1 s" in written
        assert written.endswith(ERASE + b"hi\r\n")


def test_threads_share_the_line_and_none_is_left() -> None:
    written, _ = python_terminal(
        "import threading\n"
        "runs = [threading.Thread(target=flashvm.run, args=('sleep 1.2',)) for _ in range(4)]\n"
        "for run in runs: run.start()\n"
        "for run in runs: run.join()\n"
        "print('end', threading.active_count())"
    ).finish()
    assert written.count(b"... 1 s") == 1
    assert written.endswith(ERASE + b"end 1\r\n")


def test_quick_work_shows_nothing(command: str) -> None:
    assert on_terminal([command, "run", "-c", "stdout hi"]) == (b"hi\r\n", 0)
    python = python_terminal("print(flashvm.run('stdout hi').stdout, end='')")
    assert python.finish() == (b"hi\r\n", 0)


def test_no_progress_where_a_line_cannot_be_erased(command: str) -> None:
    snippet = "sleep 1.1\nstdout hi"
    code = f"flashvm.run({snippet!r}).stdout"
    terminals = [
        Terminal([command, "run", "-c", snippet], {"TERM": "dumb"}),
        python_terminal(f"print({code}, end='')", {"TERM": "dumb"}),
        python_terminal(f"sys.stderr = None; print({code}, end='')"),
        python_terminal(f"sys.stderr.close(); print({code}, end='')"),
    ]
    assert [terminal.finish() for terminal in terminals] == [(b"hi\r\n", 0)] * 4


def test_ctrl_c_on_the_terminal_erases_the_line(command: str) -> None:
    terminal = Terminal([command, "run", "-c", "hang"])
    wait_until_running(terminal.process.pid)
    terminal.wait_for(b"... 1 s")
    terminal.type(b"\x03")
    written, exit_code = terminal.finish()
    assert (written, exit_code) == (b"^C" + ERASE, 130)
