# SPDX-License-Identifier: MIT
"""Signals during a run: Ctrl-C ends it at once, other handlers run in time, nothing is left set.

(The stand-in guest. Each program has a process of its own, since signals are a process's.)
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Tuple

import pytest
from callers import Terminal, python, start, start_python, wait_until_running
from processes import descendants, wait_until

pytestmark = pytest.mark.usefixtures("stand_in")

# For programs that interrupt themselves: what is open and set must be the same afterwards.
PRELUDE = """
import flashvm, os, signal, threading, time
flashvm.doctor()  # the library is open
def descriptors():
    files = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            files.add((number, os.readlink(f"/proc/self/fd/{number}")))
        except OSError:
            pass  # what listed them
    return sorted(file for file in files if "flashvm-template" not in file[1])  # those stay
def after(seconds, number):
    signal.setitimer(signal.ITIMER_REAL, 0)
    threading.Timer(seconds, os.kill, (os.getpid(), number)).start()
before = descriptors()
"""


def interrupt(caller: subprocess.Popen[bytes]) -> Tuple[str, str]:
    """Ctrl-C, which must end the program within a second. Return: its stdout and stderr."""
    wait_until_running(caller.pid)
    begin = time.monotonic()
    caller.send_signal(signal.SIGINT)
    out, errors = caller.communicate(timeout=10)
    assert time.monotonic() - begin < 1
    return out.decode(), errors.decode()


def result_of(code: str) -> str:
    done = python(PRELUDE + code)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_ctrl_c_raises_keyboard_interrupt_at_once() -> None:
    caller = start_python("import flashvm; flashvm.run('hang')")
    _, errors = interrupt(caller)
    assert errors.endswith("\nKeyboardInterrupt\n")
    assert caller.returncode == -signal.SIGINT
    assert not descendants(caller.pid)


def test_ctrl_c_leaves_nothing_set_and_nothing_open() -> None:
    code = """
try:
    flashvm.run("hang", expect=["*"])
except KeyboardInterrupt as error:
    print(error.__context__, signal.set_wakeup_fd(-1), descriptors() == before)
print(flashvm.run("stdout again").stdout)
"""
    out, _ = interrupt(start_python(PRELUDE + code))
    assert out == "None -1 True\nagain\n\n"


def test_ctrl_c_that_comes_before_the_wait_is_not_lost() -> None:
    """It comes when the library has been called, but does not wait yet."""
    code = """
def show(stage):
    if stage == "starting a microVM":
        os.kill(os.getpid(), signal.SIGINT)
flashvm._library._progress_line.show = show
begin = time.monotonic()
try:
    flashvm.run("hang")
except KeyboardInterrupt:
    print(time.monotonic() - begin < 1)
"""
    assert result_of(code) == "True\n"


def test_ctrl_c_ends_the_preparation_of_an_image(tmp_path: Path) -> None:
    """By itself and as the beginning of a run; it can be made ready afterwards."""
    code = f"""
os.environ["FLASHVM_CACHE_DIR"] = "{tmp_path}/cache"
flashvm._library._begin_anew()
def show(stage):
    if stage == "unpacking the image":
        os.kill(os.getpid(), signal.SIGINT)
flashvm._library._progress_line.show = show
for call in (flashvm.prepare_image, lambda: flashvm.run("")):
    try:
        call()
    except KeyboardInterrupt:
        print(os.listdir("{tmp_path}/cache/rootfs")[0][64:])
flashvm._library._progress_line.show = lambda stage: None
print(flashvm.prepare_image()[:17])
"""
    assert result_of(code) == "-v2.lock\n-v2.lock\nlocalhost/flashvm\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_commands_preparation_of_an_image(
    command: str, tmp_path: Path, number: signal.Signals
) -> None:
    caller = start([command, "image", "prepare"], {"FLASHVM_CACHE_DIR": str(tmp_path / "cache")})
    wait_until(lambda: [*tmp_path.glob("cache/rootfs/*.tmp")] != [], "it does not begin", 20)
    caller.send_signal(number)
    assert caller.communicate(timeout=10) == (b"", b"")
    assert caller.returncode == 128 + number
    assert [path.suffix for path in tmp_path.glob("cache/rootfs/*")] == [".lock"]


def test_ctrl_c_that_another_thread_takes_is_not_lost() -> None:
    """No system call of the main thread is interrupted then."""
    code = """
after(0.2, signal.SIGINT)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
begin = time.monotonic()
try:
    flashvm.run("hang")
except KeyboardInterrupt:
    print(time.monotonic() - begin < 1)
"""
    assert result_of(code) == "True\n"


def test_ctrl_c_on_the_terminal_ends_the_run_and_not_the_program() -> None:
    code = "import flashvm\ntry: flashvm.run('hang')\nexcept KeyboardInterrupt: print('goes on')"
    terminal = Terminal([sys.executable, "-c", code])
    wait_until_running(terminal.process.pid)
    terminal.type(b"\x03")
    assert terminal.finish() == (b"^Cgoes on\r\n", 0)


def test_ctrl_c_leaves_the_runs_of_other_threads_to_their_end() -> None:
    code = """
def work():
    print(flashvm.run("sleep 0.5\\nstdout done").stdout)
other = threading.Thread(target=work)
other.start()
after(0.2, signal.SIGINT)
try:
    flashvm.run("hang")
except KeyboardInterrupt:
    print("interrupted", flush=True)
other.join()
"""
    assert result_of(code) == "interrupted\ndone\n\n"


def test_a_handler_that_returns_lets_the_run_go_on() -> None:
    code = """
calls = []
signal.signal(signal.SIGALRM, lambda *args: calls.append(args))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
result = flashvm.run("sleep 0.5\\nstdout done")
signal.setitimer(signal.ITIMER_REAL, 0)
print(result.stdout.strip(), len(calls) >= 5, descriptors() == before)
"""
    assert result_of(code) == "done True True\n"


def test_what_a_handler_raises_ends_the_run() -> None:
    code = """
class Alarm(Exception):
    pass
def handler(*args):
    raise Alarm
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    flashvm.run("hang")
except Alarm as alarm:
    print(alarm.__context__, descriptors() == before)
"""
    assert result_of(code) == "None True\n"


def test_a_handler_may_run_a_snippet_itself() -> None:
    code = """
inner = []
signal.signal(signal.SIGALRM, lambda *args: inner.append(flashvm.run("stdout inner").stdout))
signal.setitimer(signal.ITIMER_REAL, 0.1)
outer = flashvm.run("sleep 0.3\\nstdout outer").stdout
print(outer, *inner, descriptors() == before)
"""
    assert result_of(code) == "outer\n inner\n True\n"


def test_the_wakeup_descriptor_of_the_program_is_still_served() -> None:
    code = """
import socket
mine, theirs = socket.socketpair()
mine.setblocking(False)
theirs.setblocking(False)
signal.signal(signal.SIGALRM, lambda *args: None)
signal.set_wakeup_fd(theirs.fileno())
signal.setitimer(signal.ITIMER_REAL, 0.1)
flashvm.run("sleep 0.2")
print(mine.recv(99) == bytes([signal.SIGALRM]), signal.set_wakeup_fd(-1) == theirs.fileno())
"""
    assert result_of(code) == "True True\n"


def test_a_wakeup_descriptor_that_is_closed_meanwhile_does_no_harm() -> None:
    code = """
import socket
mine, theirs = socket.socketpair()
theirs.setblocking(False)
signal.signal(signal.SIGALRM, lambda *args: theirs.close())
signal.set_wakeup_fd(theirs.fileno())
signal.setitimer(signal.ITIMER_REAL, 0.1)
print(flashvm.run("sleep 0.2").exit_code, signal.set_wakeup_fd(-1))
"""
    assert result_of(code) == "0 -1\n"


def test_asyncio_hears_of_signals_and_runs_in_threads() -> None:
    code = """
import asyncio
async def main():
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, heard.set)
    after(0.1, signal.SIGUSR1)
    flashvm.run("sleep 0.2")  # blocks the loop
    await asyncio.wait_for(heard.wait(), 5)
    runs = [loop.run_in_executor(None, flashvm.run, f"sleep 0.2\\nexit {n}") for n in range(3)]
    print([result.exit_code for result in await asyncio.gather(*runs)])
asyncio.run(main())
"""
    assert result_of(code) == "[0, 1, 2]\n"


def test_runs_in_threads_do_not_wait_for_each_other() -> None:
    code = """
codes, turns = [], 0
threads = [
    threading.Thread(target=lambda: codes.append(flashvm.run("sleep 0.5").exit_code))
    for _ in range(8)
]
begin = time.monotonic()
for thread in threads:
    thread.start()
while any(thread.is_alive() for thread in threads):
    turns += 1
    time.sleep(0.01)  # Python goes on meanwhile
print(codes == [0] * 8, time.monotonic() - begin < 2.5, turns > 20)
"""
    assert result_of(code) == "True True True\n"


def test_a_storm_of_interrupts_at_all_moments_gives_nothing_but_keyboard_interrupts() -> None:
    code = """
import random
storming, hits, end = True, 0, time.monotonic() + 2
def storm():
    while storming:
        time.sleep(random.random() * 0.03)
        os.kill(os.getpid(), signal.SIGINT)
thread = threading.Thread(target=storm)
while True:
    try:
        if not thread.ident:
            thread.start()
        while time.monotonic() < end:
            try:
                flashvm.run("exit 0", expect=["*"])
            except KeyboardInterrupt:
                hits += 1
        break
    except KeyboardInterrupt:  # between two runs
        pass
while thread.is_alive():
    try:
        storming = False
        thread.join()
    except KeyboardInterrupt:
        pass
print(hits > 20, signal.set_wakeup_fd(-1), descriptors() == before, flashvm.run("exit 7").exit_code)
"""
    assert result_of(code) == "True -1 True 7\n"
