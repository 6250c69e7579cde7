# SPDX-License-Identifier: MIT
"""The pool that `run` has by itself: when it fills, with what, and how it is told. (Stand-in.)"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, Iterator

import pytest
from callers import Terminal, on_terminal, python, start, wait_until_running
from pools import vms, wait_for_vms
from pools import wait_until_default_pools_wait as wait_until_waiting

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in")

VARIABLE = "FLASHVM_POOL_SIZE"
AS_INSTALLED = {VARIABLE: ""}  # as good as none

PRELUDE = """
import flashvm, os, sys, time
def full(count):
    while sum(p.read_stats()["waiting"] for p in flashvm._default_pools._pools.values()) < count:
        time.sleep(0.01)
"""


@pytest.fixture(autouse=True)
def _default_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(VARIABLE)
    yield
    fvm.set_default_pool()


def result_of(code: str) -> str:
    done = python(PRELUDE + code, AS_INSTALLED)
    assert (done.returncode, done.stderr) == (0, "")
    assert vms() == []
    return done.stdout


# ---- when ----


def test_it_fills_after_the_first_run_and_serves_the_next() -> None:
    first = fvm.run("stdout first")
    assert (first.stdout, first.restored, first.pooled) == ("first\n", True, False)
    wait_until_waiting(2)
    second = fvm.run("stdout second")
    assert (second.stdout, second.restored, second.pooled) == ("second\n", True, True)
    assert (second.reseeded, second.clock_set) == (True, True)
    wait_until_waiting(2)
    config = {"args": ["x"], "timeout_seconds": 5, "env": {"A": "b"}}
    assert fvm.run_with_config("exit 3", config).pooled  # options of the run, not of the VM
    wait_until_waiting(2)


def test_a_program_of_one_run_leaves_nothing() -> None:
    assert result_of("print(flashvm.run('exit 3').exit_code)") == "3\n"
    assert result_of("flashvm.run('')\ntime.sleep(0.05)") == ""
    assert result_of("flashvm.run('')\nfull(2)\nsys.exit()") == ""


def test_what_boots_or_fails_makes_no_pool() -> None:
    assert not fvm.run("", cold_boot=True).restored
    with pytest.raises(fvm.GuestFailed):
        fvm.run("die")
    with pytest.raises(fvm.InvalidArgument):
        fvm.run("", timeout_seconds=0)
    fvm.doctor()
    fvm.prepare_image()
    time.sleep(0.3)
    assert vms() == []


def test_threads_that_begin_at_once_make_one_pool() -> None:
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(fvm.run, [f"stdout {n}" for n in range(16)]))
    assert [result.stdout for result in results] == [f"{n}\n" for n in range(16)]
    wait_until_waiting(2)
    time.sleep(0.2)
    assert len(vms()) == 2


# ---- how many ----


def test_the_environment_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "3")
    fvm.run("")
    wait_until_waiting(3)
    monkeypatch.setenv(VARIABLE, "0")
    assert not fvm.run("").pooled
    fvm.set_default_pool()
    assert not fvm.run("").pooled
    time.sleep(0.3)
    assert vms() == []


def test_a_program_says_how_many_in_spite_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "nonsense")
    fvm.set_default_pool(1)
    assert not fvm.run("").pooled
    wait_until_waiting(1)
    assert fvm.run("").pooled
    fvm.set_default_pool(3)
    assert vms() == []  # those that waited were ended
    assert not fvm.run("").pooled
    wait_until_waiting(3)
    fvm.set_default_pool(0)
    assert vms() == []
    assert not fvm.run("").pooled
    time.sleep(0.3)
    assert vms() == []


@pytest.mark.parametrize(
    "text", ["-1", "two", "1001", "2.5", " 2", "1e2", "\u0663", "9" * 5000, "0x2"]
)
def test_a_wrong_number_in_the_environment_is_an_error(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(fvm.InvalidArgument) as raised:
        fvm.run("")
    assert str(raised.value).startswith(f"{VARIABLE} is ")
    assert str(raised.value).endswith("; it must be a number from 0 (no pool) to 1000")
    assert len(str(raised.value)) < 200
    with fvm.Pool(size=1) as pool:  # which does not read it
        assert pool.run("exit 3").exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": -1}, "size must be an int from 0 to 1000, not -1"),
        ({"size": 1001}, "size must be an int from 0 to 1000, not 1001"),
        ({"idle_seconds": 0}, "idle_seconds must be a number of seconds above 0"),
        ({"size": "2"}, "size must be an int from 0 to 1000, not '2' of type str"),
        ({"size": True}, "size must be an int"),
        ({"idle_seconds": "60"}, "idle_seconds must be a number of seconds"),
    ],
)
def test_wrong_arguments_are_named_and_change_nothing(arguments: Dict[str, Any], says: str) -> None:
    fvm.set_default_pool(1)
    fvm.run("")
    wait_until_waiting(1)
    with pytest.raises(fvm.InvalidArgument, match=says):
        fvm.set_default_pool(**arguments)
    assert fvm.run("").pooled


# ---- of what ----


def test_up_to_two_kinds_wait() -> None:
    """Those that were run last."""
    fvm.set_default_pool(1)
    for count, memory_mb in enumerate((200, 300, 400), 1):
        assert not fvm.run("", memory_mb=memory_mb).pooled
        wait_until_waiting(min(count, 2))
    assert fvm.run("", memory_mb=400).pooled
    assert fvm.run("", memory_mb=300).pooled
    wait_until_waiting(2)
    assert not fvm.run("", memory_mb=200).pooled  # in the place of 400
    wait_until_waiting(2)
    assert fvm.run("", memory_mb=300).pooled
    assert fvm.run("", memory_mb=200).pooled
    assert not fvm.run("", memory_mb=400).pooled


def test_what_nobody_uses_is_given_back_until_a_run_comes() -> None:
    fvm.set_default_pool(2, idle_seconds=0.6)
    fvm.run("")
    wait_until_waiting(2)
    wait_until_waiting(0)
    assert not fvm.run("").pooled
    wait_until_waiting(2)
    assert fvm.run("").pooled


def test_a_pool_of_ones_own_is_another() -> None:
    fvm.run("")
    wait_until_waiting(2)
    with fvm.Pool(size=1):
        wait_for_vms(3)
    wait_until_waiting(2)
    assert fvm.run("").pooled


# ---- beside other things ----


def test_an_exception_that_is_kept_keeps_no_vm() -> None:
    fvm.run("")
    wait_until_waiting(2)
    with pytest.raises(fvm.GuestFailed) as raised:
        fvm.run("die")
    fvm.set_default_pool(0)
    assert raised.tb and vms() == []


def test_the_pool_may_be_set_while_runs_go_on() -> None:
    with ThreadPoolExecutor(4) as threads:
        flights = [threads.submit(fvm.run, f"sleep 0.02\nstdout {n}") for n in range(40)]
        for size in (1, 0, 2, 0, 1, 3):
            fvm.set_default_pool(size)
            time.sleep(0.05)
        assert [flight.result().stdout for flight in flights] == [f"{n}\n" for n in range(40)]
    fvm.set_default_pool(0)
    assert vms() == []


def test_a_forked_child_fills_its_own() -> None:
    code = """
flashvm.run("")
full(2)
child = os.fork()
first, _ = flashvm.run("").pooled, full(2)
print(child == 0, first, flashvm.run("").pooled, flush=True)
if child:
    os.waitpid(child, 0)
"""
    lines = set(result_of(code).splitlines())
    assert lines == {"True False True", "False True True"}


def test_ctrl_c_ends_a_run_and_leaves_those_that_wait() -> None:
    code = """
flashvm.run("")
full(2)
print("ready")
try:
    flashvm.run("hang")
except KeyboardInterrupt:
    full(2)
    print(flashvm.run("").pooled)
"""
    terminal = Terminal([sys.executable, "-c", PRELUDE + code], AS_INSTALLED)
    terminal.wait_for(b"ready\r\n")
    wait_until_running(terminal.process.pid)
    begin = time.monotonic()
    terminal.type(b"\x03")
    assert terminal.finish() == (b"^CTrue\r\n", 0)
    assert time.monotonic() - begin < 2


def test_signals_are_for_the_callers_threads() -> None:
    """Else a handler would not run before the main thread woke by itself."""
    code = """
import signal
flashvm.run("")
full(2)
signal.signal(signal.SIGALRM, lambda *args: print("heard"))
signal.setitimer(signal.ITIMER_REAL, 0.1)
begin = time.monotonic()
signal.pause()
print(time.monotonic() - begin < 1)
"""
    assert result_of(code) == "heard\nTrue\n"


def test_a_pool_writes_nothing_on_the_terminal() -> None:
    """Not even while it makes a template for itself, longer than a second."""
    code = """
import flashvm, time
with flashvm.Pool(size=1, memory_mb=222):
    time.sleep(1.6)
for _ in range(3):
    flashvm.run("")
    time.sleep(0.3)
print("done")
"""
    assert on_terminal([sys.executable, "-c", code], AS_INSTALLED) == (b"done\r\n", 0)


def test_the_command_has_no_pool(command: str) -> None:
    caller = start([command, "run", "-c", "hang"], {VARIABLE: "nonsense"})
    wait_until_running(caller.pid)
    assert len(vms(caller.pid)) == 1
    caller.terminate()
    assert caller.communicate(timeout=10) == (b"", b"")
