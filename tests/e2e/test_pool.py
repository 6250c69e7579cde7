# SPDX-License-Identifier: MIT
"""`Pool`: who is served by what, in which order, and what is refused. (The stand-in guest.)"""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from pools import vms, wait_until_waiting
from processes import descendants, is_alive, wait_until

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in")


@pytest.fixture
def pool() -> Iterator[fvm.Pool]:
    """Two VMs that wait."""
    with fvm.Pool(size=2) as pool:
        wait_until_waiting(pool, 2)
        yield pool


def running() -> int:
    """Snippets that have begun and not ended."""
    return sum(vm.name == "qemu-system-run" for vm in vms())


# ---- runs ----


def test_a_vm_that_waits_serves_a_run_and_is_replaced(pool: fvm.Pool) -> None:
    result = pool.run("stdout hi")
    assert (result.stdout, result.restored, result.pooled) == ("hi\n", True, True)
    assert (result.reseeded, result.clock_set) == (True, True)
    wait_until_waiting(pool, 2)
    assert pool.stats() == fvm.PoolStats(size=2, waiting=2, running=0, served=1, missed=0, failed=0)


def test_each_vm_serves_one_run(pool: fvm.Pool) -> None:
    before = {vm.pid for vm in vms()}
    for _ in before:
        assert pool.run("").pooled
    wait_until_waiting(pool, 2)
    assert len(before) == 2 and before.isdisjoint(vm.pid for vm in vms())


def test_a_run_that_finds_none_waiting_starts_its_own() -> None:
    with fvm.Pool(size=1) as pool:
        result = pool.run("stdout hi")  # it has only begun to fill
        assert (result.stdout, result.restored, result.pooled) == ("hi\n", True, False)
        stats = pool.stats()
        assert (stats.served, stats.missed, stats.failed) == (0, 1, 0)


def test_any_number_of_threads_may_use_a_pool(pool: fvm.Pool) -> None:
    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(pool.run, [f"stdout {n}" for n in range(36)]))
    assert [result.stdout for result in results] == [f"{n}\n" for n in range(36)]
    stats = pool.stats()
    assert stats.served == sum(result.pooled for result in results) >= 2
    assert (stats.served + stats.missed, stats.running, stats.failed) == (36, 0, 0)


def test_the_stats_tell_of_runs_that_go_on(pool: fvm.Pool) -> None:
    with ThreadPoolExecutor(3) as threads:
        flights = [threads.submit(pool.run, "sleep 0.7") for _ in range(3)]
        wait_until(lambda: running() == 3, "the three are not there at once")
        assert pool.stats().running == 3
        assert repr(pool).endswith(" of 2 waiting, 3 running)")
        assert [flight.result().exit_code for flight in flights] == [0, 0, 0]
    wait_until(lambda: pool.stats().running == 0, "they go on")


def test_a_run_of_a_pool_has_the_options_of_run(pool: fvm.Pool, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("from a file")
    with (tmp_path / "input").open() as stdin:
        result = pool.run(
            "stdin\nfile out/a made",
            stdin=stdin,
            expect=["out/*"],
            max_bytes_inline=0,
        )
    assert result.pooled and result.stdout == "from a file"
    (artifact,) = result.artifacts
    assert (artifact.guest_path, artifact.content) == ("out/a", None)
    assert Path(artifact.host_path).read_text() == "made"

    result = pool.run(
        "echo",
        args=["-x"],
        env={"NAME": "value"},
        workdir="/srv",
        python_args=["-O"],
        timeout_seconds=7,
        files_in={"name": b"content"},
        max_processes=50,
        max_stdout_bytes=100_000,
    )
    report = json.loads(result.stdout)
    request, (file,) = report["request"], report["files"]
    assert (request["args"], request["python_args"]) == (["-x"], ["-O"])
    assert "NAME=value" in request["env"] and request["workdir"] == "/srv"
    assert (request["timeout_ms"], request["max_processes"]) == (7000, 50)
    assert file[:2] == ["in/name", 7]


def test_a_run_may_boot_its_own_vm_all_the_same(pool: fvm.Pool) -> None:
    result = pool.run("", cold_boot=True)
    assert (result.restored, result.pooled) == (False, False)


def test_a_snippet_that_fails_does_no_harm_to_the_next(pool: fvm.Pool) -> None:
    assert pool.run("timed-out").exit_code == 124
    assert pool.run("killed 9").term_signal == 9
    for code in ("die", "raw ffffffffffffffff", "close"):
        with pytest.raises(fvm.GuestFailed):
            pool.run(code)
    wait_until_waiting(pool, 2)
    assert pool.run("exit 7").exit_code == 7
    stats = pool.stats()
    assert (stats.served + stats.missed, stats.running, stats.failed) == (6, 0, 0)


def test_the_vms_of_a_pool_are_of_one_kind() -> None:
    with fvm.Pool(size=1, memory_mb=192, cpus=2, engine="qemu") as pool:
        wait_until_waiting(pool, 1)
        results = [pool.run("echo"), pool.run("echo")]  # one that waited, and one that did not
        for result in results:
            words = json.loads(result.stdout)["argv"]
            assert (words[words.index("-m") + 1], words[words.index("-smp") + 1]) == ("192M", "2")


# ---- VMs that wait ----


def test_what_nobody_uses_is_given_back_until_a_run_comes() -> None:
    with fvm.Pool(size=2, idle_seconds=0.6) as pool:
        wait_until_waiting(pool, 2)
        wait_until_waiting(pool, 0)
        wait_until(lambda: vms() == [], "they are still there")
        assert pool.run("exit 3").exit_code == 3
        wait_until_waiting(pool, 2)
        assert pool.stats().failed == 0


@pytest.mark.parametrize("name", ["qemu-system", "flashvm-jail"])
def test_vms_that_are_killed_while_they_wait_are_replaced_and_no_run_fails(
    pool: fvm.Pool, name: str
) -> None:
    victims = [p.pid for p in descendants(os.getpid()) if p.name.startswith(name)]
    assert len(victims) == 2
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, victims)), "they do not die")
    assert pool.run("exit 7").exit_code == 7
    wait_until(lambda: len(vms()) == pool.stats().waiting == 2, "they are not replaced", 10)
    assert pool.stats().failed == 2
    assert pool.run("exit 7").pooled


def test_closing_ends_those_that_wait_and_no_run() -> None:
    pool = fvm.Pool(size=2)
    wait_until_waiting(pool, 2)
    with ThreadPoolExecutor(1) as thread:
        flight = thread.submit(pool.run, "sleep 0.5\nstdout done")
        wait_until(lambda: running() == 1, "it does not begin")
        pool.close()
        assert flight.result().stdout == "done\n"
    assert vms() == []


def test_a_closed_pool_says_so() -> None:
    with fvm.Pool(size=1) as pool:
        assert isinstance(pool, fvm.Pool)
    uses: List[Any] = [lambda: pool.run(""), lambda: pool.map([""]), pool.stats]
    for use in uses:
        with pytest.raises(fvm.InvalidArgument, match="this Pool is closed; open another"):
            use()
    pool.close()
    assert repr(pool) == "Pool(closed)"


def test_a_pool_is_closed_at_once_whatever_it_does() -> None:
    for wait_seconds in (0, 0.01, 0.02, 0.05, 0.1):
        pool = fvm.Pool(size=3)
        time.sleep(wait_seconds)
        begin = time.monotonic()
        pool.close()
        assert time.monotonic() - begin < 1
        assert vms() == []


def test_a_pool_is_closed_whatever_an_exception_holds() -> None:
    """The frames in its traceback."""
    with fvm.Pool(size=1) as pool:
        wait_until_waiting(pool, 1)
        with pytest.raises(fvm.GuestFailed) as raised:
            pool.run("die")
        results = pool.map(["die"])
        with pytest.raises(fvm.GuestFailed) as raised_by_map:
            next(results)
    assert raised.tb and raised_by_map.tb
    assert vms() == []


def test_a_pool_that_is_forgotten_is_closed() -> None:
    wait_until_waiting(fvm.Pool(size=1), 1)
    wait_until(lambda: vms() == [], "its VM is still there")


# ---- map ----


def test_results_come_in_the_order_of_the_snippets(pool: fvm.Pool) -> None:
    codes = [f"sleep {0.3 if n % 3 == 0 else 0}\nstdout {n}" for n in range(9)]
    results = list(pool.map(codes, in_flight=3))
    assert [result.stdout for result in results] == [f"{n}\n" for n in range(9)]
    assert list(pool.map([])) == []


def test_snippets_are_read_only_as_far_as_runs_are_begun(pool: fvm.Pool) -> None:
    """From an endless iterable."""
    read: List[int] = []

    def codes() -> Iterator[str]:
        for n in itertools.count():
            read.append(n)
            yield f"stdout {n}"

    results = pool.map(codes(), in_flight=3)
    assert read == []
    for n in range(5):
        assert next(results).stdout == f"{n}\n"
        assert len(read) == n + 3
    results.close()
    assert len(read) == 7


def test_no_more_than_in_flight_go_on_at_once(pool: fvm.Pool) -> None:
    most: Dict[int, int] = {}
    for in_flight in (1, 3):
        ends = threading.Event()
        counts: List[int] = []

        def watch(ends: threading.Event, counts: List[int]) -> None:
            while not ends.wait(0.01):
                counts.append(pool.stats().running)

        watcher = threading.Thread(target=watch, args=(ends, counts))
        watcher.start()
        list(pool.map(["sleep 0.2"] * 2 * in_flight, in_flight=in_flight))
        ends.set()
        watcher.join()
        most[in_flight] = max(counts)
    assert most == {1: 1, 3: 3}


def test_options_of_map_are_those_of_each_run(pool: fvm.Pool) -> None:
    for result in pool.map(["echo"] * 3, args=["x"], files_in={"name": "content"}):
        report = json.loads(result.stdout)
        assert report["request"]["args"] == ["x"] and report["files"][0][0] == "in/name"


def test_an_error_comes_in_its_turn_and_ends_the_rest(pool: fvm.Pool) -> None:
    results = pool.map(["sleep 0.2\nstdout a", "die", "hang", "hang"], in_flight=4)
    assert next(results).stdout == "a\n"
    begin = time.monotonic()
    with pytest.raises(fvm.GuestFailed):
        next(results)
    assert time.monotonic() - begin < 2
    assert (pool.stats().running, list(results)) == (0, [])
    wait_until(lambda: running() == 0, "they go on")


def test_a_snippet_that_is_none_is_an_error_in_its_turn(pool: fvm.Pool) -> None:
    results = pool.map(["stdout a", 5])  # type: ignore[list-item]
    assert next(results).stdout == "a\n"
    with pytest.raises(fvm.InvalidArgumentType, match="code must be str or bytes"):
        next(results)


def test_what_the_iterable_raises_ends_the_runs(pool: fvm.Pool) -> None:
    def codes() -> Iterator[str]:
        yield "hang"
        raise LookupError("no more")

    begin = time.monotonic()
    with pytest.raises(LookupError, match="no more"):
        list(pool.map(codes()))
    assert time.monotonic() - begin < 2
    wait_until(lambda: running() == 0, "it goes on")


def test_a_loop_that_is_left_ends_the_runs_that_go_on(pool: fvm.Pool) -> None:
    for result in pool.map(["stdout found", "hang", "hang", "hang"], in_flight=3):
        assert result.stdout == "found\n"
        begin = time.monotonic()
        break
    wait_until(lambda: running() == 0, "they go on")
    assert time.monotonic() - begin < 2
    assert pool.run("exit 7").exit_code == 7


def test_closing_the_iterator_ends_the_runs_that_go_on(pool: fvm.Pool) -> None:
    results = pool.map(["stdout first", *["hang"] * 9], in_flight=4)
    assert next(results).stdout == "first\n"
    wait_until(lambda: running() >= 2, "they do not begin")
    begin = time.monotonic()
    results.close()
    assert time.monotonic() - begin < 1
    assert pool.stats().running == 0
    wait_until(lambda: running() == 0, "they go on")
    results.close()


def test_a_map_whose_pool_is_closed_says_so(pool: fvm.Pool) -> None:
    results = pool.map(["stdout a", "stdout b", "stdout c"], in_flight=2)
    assert next(results).stdout == "a\n"
    pool.close()
    assert next(results).stdout == "b\n"  # which had begun
    with pytest.raises(fvm.InvalidArgument, match="this Pool is closed"):
        next(results)


# ---- what is refused ----

FIXED: Dict[str, Any] = {
    "image": None,
    "engine": "auto",
    "cpus": 1,
    "memory_mb": 512,
    "boot_timeout_seconds": 90,
}


@pytest.mark.parametrize("name", FIXED)
def test_what_is_fixed_for_a_pool_is_refused_by_name(pool: fvm.Pool, name: str) -> None:
    says = rf"^{name} is fixed for all runs of a Pool; give it to Pool\({name}=\.\.\.\)$"
    with pytest.raises(fvm.InvalidArgument, match=says):
        pool.run("", **{name: FIXED[name]})
    with pytest.raises(fvm.InvalidArgument, match=says):
        pool.map([""], **{name: FIXED[name]})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": 0}, "size must be an int from 1 to 1000, not 0"),
        ({"size": 1001}, "size must be an int from 1 to 1000, not 1001"),
        ({"idle_seconds": 0}, "idle_seconds must be a number of seconds above 0 .*, not 0"),
        ({"cpus": 65}, "cpus must be an int from 1 to 64, not 65"),
        ({"memory_mb": 100}, "memory_mb must be an int from 128 to 1048576, not 100"),
        ({"boot_timeout_seconds": -1}, "boot_timeout_seconds must be .*, not -1"),
        ({"engine": "hyperdrive"}, "hyperdrive"),
    ],
)
def test_a_wrong_value_is_named(arguments: Dict[str, Any], says: str) -> None:
    with pytest.raises(fvm.InvalidArgument, match=says):
        fvm.Pool(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        *({"size": "2"}, {"size": 2.0}, {"size": True}, {"size": None}),
        *({"idle_seconds": "60"}, {"cpus": 1.0}, {"image": 5}, {"memory_mb": None}),
    ],
)
def test_a_wrong_type_is_named(arguments: Dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(fvm.InvalidArgumentType, match=f"^{name} must be "):
        fvm.Pool(**arguments)


def test_an_image_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(fvm.NotFound, match="python:3"):
        fvm.Pool(image="python:3")


def test_wrong_options_of_a_run_are_named(pool: fvm.Pool) -> None:
    with pytest.raises(fvm.InvalidArgument, match=r"'timeout'.*did you mean 'timeout_seconds'"):
        pool.run("", timeout=5)
    with pytest.raises(fvm.InvalidArgument, match="timeout_seconds must be"):
        pool.run("", timeout_seconds=0)
    with pytest.raises(fvm.Unsupported, match="network"):
        pool.run("", network=True)
    for in_flight in (0, 1001):
        with pytest.raises(fvm.InvalidArgument, match=f"in_flight must be .*, not {in_flight}"):
            pool.map([""], in_flight=in_flight)
    with pytest.raises(fvm.InvalidArgumentType, match="in_flight must be an int"):
        pool.map([""], in_flight="2")  # type: ignore[arg-type]
    assert pool.stats().running == 0


def test_one_snippet_is_no_list_of_them(pool: fvm.Pool) -> None:
    """A str is an iterable of str, too."""
    with pytest.raises(fvm.InvalidArgumentType, match=r"; write codes=\['stdout a'\]$"):
        pool.map("stdout a")
    with pytest.raises(fvm.InvalidArgumentType, match=r"; write codes=\[b'stdout a'\]$"):
        pool.map(b"stdout a")  # type: ignore[arg-type]
    with pytest.raises(fvm.InvalidArgumentType, match=r"codes must be .*, not 5 of type int"):
        pool.map(5)  # type: ignore[arg-type]
