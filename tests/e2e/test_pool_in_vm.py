# SPDX-License-Identifier: MIT
"""`Pool` with real microVMs: they wait ready, serve one run, and forget nothing and nobody."""

from __future__ import annotations

import time
from typing import Iterator

import pytest
from pools import vms, wait_until_waiting

import flashvm as fvm


@pytest.fixture(scope="module")
def _pool() -> Iterator[fvm.Pool]:
    with fvm.Pool(size=2) as pool:
        yield pool
    assert vms() == []


@pytest.fixture
def pool(_pool: fvm.Pool) -> fvm.Pool:
    """Two VMs that wait."""
    wait_until_waiting(_pool, 2)
    return _pool


@pytest.fixture(autouse=True)
def _nothing_is_left() -> None:
    """As long as the module's pool is open, its VMs are; see there."""


TRACES = """
import builtins, glob, os, subprocess, sys, threading
print(sorted(glob.glob("/work/**", recursive=True) + glob.glob("/tmp/*") + glob.glob("/dev/shm/*")))
print(sorted(os.environ), os.getcwd(), sys.argv, os.umask(0o22), os.nice(0))
print(hasattr(builtins, "trace"), "json" in dir(), len(sys.path), threading.active_count())
print(sorted(open(f"/proc/{pid}/comm").read() for pid in os.listdir("/proc") if pid.isdigit()
             and os.stat(f"/proc/{pid}").st_uid == os.getuid()))
"""
LEAVE = """
import builtins, json, os, subprocess, sys
builtins.trace = json.trace = True
sys.path.append("/tmp")
os.environ["TRACE"] = "1"
for path in ("/work/trace", "/work/in", "/tmp/trace", "/dev/shm/trace", "/work/main.py"):
    try:
        open(path, "a").write("trace")
    except OSError:
        pass
os.umask(0)
os.nice(5)
os.chdir("/tmp")
subprocess.Popen(["sleep", "1000"], start_new_session=True)
print("left")
"""


def test_each_vm_serves_one_run_and_nothing_of_it_is_there_in_the_next(pool: fvm.Pool) -> None:
    clean = pool.run(TRACES)
    assert (clean.exit_code, clean.stderr) == (0, "")
    for _ in range(2):
        wait_until_waiting(pool, 2)
        left = pool.run(LEAVE)
        assert (left.stdout, left.pooled) == ("left\n", True), left.stderr
        after = pool.run(TRACES)
        assert (after.stdout, after.pooled) == (clean.stdout, True)


def test_a_vm_that_waited_long_begins_at_once_and_knows_the_time(pool: fvm.Pool) -> None:
    time.sleep(2)
    begin = time.time()
    result = pool.run("import time; print(time.time())")
    assert (result.restored, result.pooled) == (True, True)
    assert (result.reseeded, result.clock_set) == (True, True)
    assert abs(float(result.stdout) - begin) < 1
    assert result.timings["boot"] < 100  # which a restore does not take less than


def test_a_run_of_a_pool_has_the_options_of_run(pool: fvm.Pool) -> None:
    code = """
import os, sys
print(sys.argv[1:], os.environ["NAME"], os.getcwd(), sys.stdin.read(), sys.flags.optimize)
print(open("/work/in/name").read(), file=sys.stderr)
open("/work/out/a", "w").write("made")
"""
    for python_args, optimize in ((["-u"], 0), (["-u", "-O"], 1)):
        wait_until_waiting(pool, 2)
        result = pool.run(
            code,
            args=["-x"],
            env={"NAME": "value"},
            workdir="/srv/app",
            stdin="input",
            files_in={"name": b"content"},
            expect=["out/*"],
            python_args=python_args,
        )
        assert (result.exit_code, result.pooled) == (0, True), result.stderr
        assert result.stdout == f"['-x'] value /srv/app input {optimize}\n"
        assert result.stderr == "content\n"
        assert [(a.guest_path, a.content) for a in result.artifacts] == [("out/a", b"made")]


def test_limits_hold_in_a_pool(pool: fvm.Pool) -> None:
    endless = pool.run("print('begun')\nwhile True: pass", timeout_seconds=1)
    assert (endless.exit_code, endless.timed_out, endless.stdout) == (124, True, "begun\n")
    hog = pool.run("hog = []\nwhile True: hog.append(b'x' * 2**20)")
    assert (hog.exit_code, hog.oom_killed) == (137, True)
    flood = pool.run("print('x' * 100_000)", max_stdout_bytes=1000)
    assert (flood.stdout, flood.stdout_truncated) == ("x" * 1000, True)
    wait_until_waiting(pool, 2)
    assert pool.run("print('still here')").stdout == "still here\n"


def test_map_runs_each_in_a_vm_of_its_own(pool: fvm.Pool) -> None:
    code = "open('/work/n', 'x'); print({}); raise SystemExit({} == 3)"
    results = list(pool.map(code.format(n, n) for n in range(6)))
    assert [result.stdout for result in results] == [f"{n}\n" for n in range(6)]
    assert [result.exit_code for result in results] == [0, 0, 0, 1, 0, 0]
    assert all(result.restored and result.reseeded for result in results)


def test_a_pool_may_be_of_any_image() -> None:
    image = f"oci:{fvm.find_embedded_data_path()}/oci:python-basic"
    with fvm.Pool(size=1, image=image) as other:
        wait_until_waiting(other, 1)
        result = other.run("print('hi')")
    assert (result.stdout, result.pooled) == ("hi\n", True)
    assert result.image_used.startswith(image + "@sha256:")


def test_the_stats_add_up(pool: fvm.Pool) -> None:
    stats = pool.stats()
    assert (stats.size, stats.waiting, stats.running, stats.failed) == (2, 2, 0, 0)
    before = stats.served + stats.missed
    results = [*pool.map(["print(1)"] * 4), pool.run("")]
    stats = pool.stats()
    assert stats.served + stats.missed == before + 5
    assert (stats.running, stats.failed) == (0, 0)
    assert sum(result.pooled for result in results) >= 2
