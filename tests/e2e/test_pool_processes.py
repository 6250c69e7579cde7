# SPDX-License-Identifier: MIT
"""What becomes of a pool when its process is interrupted, forks, ends or is killed.

(The stand-in guest. Each program has a process of its own.)
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator

import pytest
from callers import Terminal, python, start_python, wait_until_running
from pools import vms, wait_for_vms

pytestmark = pytest.mark.usefixtures("stand_in")

PRELUDE = """
import flashvm, itertools, os, signal, sys, threading, time
def full(pool, count):
    while pool.stats().waiting < count:
        time.sleep(0.01)
"""


@pytest.fixture(autouse=True)
def _no_files_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []


def result_of(code: str) -> str:
    """What a program says that ends well; its VMs are gone when it has ended."""
    done = python(PRELUDE + code)
    assert (done.returncode, done.stderr) == (0, "")
    assert vms() == []
    return done.stdout


# ---- Ctrl-C ----

INTERRUPTED = """
with flashvm.Pool(size=3) as pool:
    full(pool, 3)
    try:
        BEGIN
    except KeyboardInterrupt:
        pass
    print(pool.run("stdout goes on").stdout.strip(), pool.stats().running)
    print(threading.active_count() - 1)
"""


@pytest.mark.parametrize(
    ("begin", "count"),
    [
        ("pool.run('hang', expect=['*'])", 1),
        ("list(pool.map(['hang'] * 20))", 3),
        ("list(pool.map(itertools.repeat('hang'), in_flight=5, expect=['*']))", 5),
    ],
)
def test_ctrl_c_ends_runs_and_not_the_pool(begin: str, count: int) -> None:
    caller = start_python(PRELUDE + INTERRUPTED.replace("BEGIN", begin))
    wait_until_running(caller.pid, count)
    begin_seconds = time.monotonic()
    caller.send_signal(signal.SIGINT)
    out, errors = caller.communicate(timeout=10)
    assert time.monotonic() - begin_seconds < 2
    assert (caller.returncode, errors, out) == (0, b"", b"goes on 0\n0\n")


def test_ctrl_c_on_the_terminal_leaves_those_that_wait() -> None:
    """It goes to all processes there."""
    code = """
with flashvm.Pool(size=2) as pool:
    full(pool, 2)
    try:
        next(pool.map(["hang", "hang"]))
    except KeyboardInterrupt:
        full(pool, 2)
        print(pool.run("").pooled, pool.stats().failed)
"""
    terminal = Terminal([sys.executable, "-c", PRELUDE + code])
    wait_until_running(terminal.process.pid, 2)
    terminal.type(b"\x03")
    assert terminal.finish() == (b"^CTrue 0\r\n", 0)


def test_a_storm_of_interrupts_does_no_harm_to_a_pool() -> None:
    code = """
import random
def handler(*args):
    raise InterruptedError
signal.signal(signal.SIGALRM, handler)
hits = 0
with flashvm.Pool(size=2) as pool:
    end = time.monotonic() + 2
    while time.monotonic() < end:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.random() * 0.05 + 0.001)
            pool.run("exit 0", expect=["*"])
            signal.setitimer(signal.ITIMER_REAL, 0)
        except InterruptedError:
            hits += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    full(pool, 2)
    stats = pool.stats()
    print(hits > 5, stats.running, stats.failed, pool.run("exit 7").exit_code)
"""
    assert result_of(code) == "True 0 0 7\n"


# ---- fork ----

FORKED = """
def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            sys.stdout.flush()
            END
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit()"])
def test_a_forked_child_has_no_pool_but_can_have_its_own(end: str) -> None:
    code = """
def work():
    for use in (lambda: pool.run(""), lambda: next(pool.map([""]))):
        try:
            use()
        except flashvm.InvalidArgument as error:
            print(f"belongs to process {os.getppid()}, of which this one is a fork" in str(error))
    print(pool.stats().waiting, flashvm.run("stdout own").stdout.strip())
    pool.close()
    with flashvm.Pool(size=1) as own:
        full(own, 1)
        print(own.run("").pooled)
pool = flashvm.Pool(size=2)
full(pool, 2)
print(child(work))
full(pool, 2)
print(pool.run("").pooled, pool.stats().failed)
"""
    said = result_of(PRELUDE + FORKED.replace("END", end) + code)
    assert said == "True\nTrue\n0 own\nTrue\n0\nTrue 0\n"


def test_a_child_can_be_forked_at_any_moment() -> None:
    """While other threads are anywhere in the pool, whatever locks they hold."""
    code = """
pool, going_on = flashvm.Pool(size=2), True
def work():
    while going_on:
        pool.run("")
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
codes = []
for n in range(20):
    time.sleep(0.01)
    codes.append(child(lambda: [pool.stats(), repr(pool), flashvm.run("stdout a").stdout]))
going_on = False
for thread in threads:
    thread.join()
print(codes == [0] * 20)
"""
    assert result_of(PRELUDE + FORKED.replace("END", "os._exit(0)") + code) == "True\n"


def test_a_child_that_lives_longer_keeps_no_vm() -> None:
    code = """
pool = flashvm.Pool(size=2)
full(pool, 2)
if os.fork() == 0:
    os.close(1)
    os.close(2)
    time.sleep(1000)
pool.close()
"""
    done = python(PRELUDE + code)
    assert (done.returncode, done.stderr) == (0, "")
    assert vms() == []
    _end_orphans()


def _end_orphans() -> None:
    """Those that a program has left to this process."""
    for path in Path("/proc/self/task").glob("*/children"):
        for pid in path.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
            os.waitpid(int(pid), 0)


def test_multiprocessing_may_fork() -> None:
    code = """
import multiprocessing
def work(number):
    with flashvm.Pool(size=1) as own:
        return own.run(f"stdout {number}").stdout + flashvm.run("stdout run").stdout
pool = flashvm.Pool(size=2)
full(pool, 2)
with multiprocessing.get_context("fork").Pool(2) as processes:
    print(processes.map(work, range(3)))
print(pool.run("").pooled)
"""
    assert result_of(code) == "['0\\nrun\\n', '1\\nrun\\n', '2\\nrun\\n']\nTrue\n"


# ---- the end of the process ----


@pytest.mark.parametrize(
    "code",
    [
        "full(pool, 2)",
        "pass",  # it has only begun to fill
        "full(pool, 2); sys.exit()",
        "results = pool.map(['stdout a', 'sleep 0.5', 'sleep 0.5']); next(results)",
        "threading.Thread(target=pool.run, args=['sleep 0.5']).start(); time.sleep(0.1)",
        "kept = pool; pool.itself = pool",
    ],
)
def test_the_interpreters_end_is_that_of_its_pools(code: str) -> None:
    assert result_of(f"pool = flashvm.Pool(size=2)\n{code}") == ""


def test_a_program_that_fails_leaves_no_pool() -> None:
    done = python(PRELUDE + "pool = flashvm.Pool(size=2)\nfull(pool, 2)\npool.run('die')")
    assert done.returncode == 1 and "flashvm._errors.GuestFailed: " in done.stderr
    assert vms() == []


def test_a_run_of_a_daemon_thread_ends_with_the_process() -> None:
    code = """
pool = flashvm.Pool(size=2)
full(pool, 2)
threading.Thread(target=pool.run, args=["hang"], daemon=True).start()
time.sleep(0.1)
"""
    done = python(PRELUDE + code)
    assert (done.returncode, done.stderr) == (0, "")
    wait_for_vms(0)


@pytest.mark.parametrize("way", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
@pytest.mark.parametrize("after", ["full(pool, 3)", "time.sleep(0.03)", "time.sleep(0.08)"])
def test_a_process_that_ends_in_a_moment_leaves_no_vm(way: str, after: str) -> None:
    done = python(PRELUDE + f"pool = flashvm.Pool(size=3)\n{after}\n{way}")
    assert done.stderr == "" and done.returncode in (0, -signal.SIGKILL)
    wait_for_vms(0)


def test_a_killed_process_leaves_no_vm_though_a_child_of_it_lives() -> None:
    """Which has a copy of all its descriptors."""
    code = """
pool = flashvm.Pool(size=2)
threading.Thread(target=pool.run, args=["hang"]).start()
full(pool, 2)
child = os.fork()
if child:
    print("ready", flush=True)
time.sleep(1000)
"""
    caller = start_python(PRELUDE + code)
    assert caller.stdout and caller.stdout.readline() == b"ready\n"
    wait_for_vms(3)
    caller.kill()
    wait_for_vms(0)
    _end_orphans()
    caller.communicate(timeout=10)


LIST_FILES = "import os; print(sorted(os.listdir('/proc/self/fd')))"


def test_subprocesses_of_the_caller_get_nothing_of_a_pool() -> None:
    code = f"""
import subprocess
pool = flashvm.Pool(size=2)
full(pool, 2)
argv = [sys.executable, "-c", {LIST_FILES!r}]
print(subprocess.check_output(argv, close_fds=False, text=True))
"""
    bare = subprocess.run(
        [sys.executable, "-c", LIST_FILES],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert result_of(code).strip() == bare.stdout.strip()


def test_a_pool_does_nothing_while_it_is_full() -> None:
    code = """
pool = flashvm.Pool(size=2)
full(pool, 2)
time.sleep(0.2)
before = time.process_time()
time.sleep(1)
print(time.process_time() - before < 0.02)
"""
    assert result_of(code) == "True\n"


def test_pools_that_are_closed_leave_nothing_open() -> None:
    code = """
counts = set()
for n in range(8):
    with flashvm.Pool(size=2) as pool:
        try:
            list(pool.map(["exit 0", "die"] if n % 2 else ["exit 0"] * 3, in_flight=1 + n % 3))
        except flashvm.GuestFailed:
            pass
    counts.add(len(os.listdir("/proc/self/fd")))
print(len(counts))
"""
    assert result_of(code) == "1\n"
