# SPDX-License-Identifier: MIT
"""What is measured: the ways to run `print(1)`, each as a call that can be timed."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Sequence

import flashvm

from .processes import own_vms

SNIPPET = "print(1)"
OUTPUT = b"1\n"
PYTHON = "/usr/bin/python3"

# Runs the snippet once and gives the parts of that time that are known, in milliseconds.
Call = Callable[[], Mapping[str, float]]


class BenchError(Exception):
    """A measurement would not be of what it says."""


@dataclass(frozen=True)
class Subject:
    """One way to run the snippet."""

    key: str  # in the JSON
    title: str  # for people
    call: Call
    rare: bool = False  # takes seconds: few samples


BASE = "subprocess"
WAITING = "waiting"
IN_POOL = "pool"
FRESH = "fresh"
COLD = "cold"


def spawn(argv: Sequence[str]) -> Mapping[str, float]:
    """Run a program that runs the snippet, and see it end."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0 or done.stdout != OUTPUT:
        raise BenchError(f"{argv[0]} gave exit code {done.returncode}, output {done.stdout!r}")
    return {}


def _subprocess_call() -> Mapping[str, float]:
    """What all else is compared with."""
    return spawn([PYTHON, "-c", SNIPPET])


def _phases(result: flashvm.Result, restored: bool, pooled: bool) -> Dict[str, float]:
    """Of a result that came about as it should have."""
    if result.exit_code != 0 or result.stdout_raw != OUTPUT:
        raise BenchError(f"a run gave {result!r}")
    if (result.restored, result.pooled) != (restored, pooled):
        raise BenchError(
            f"a run had restored={result.restored}, pooled={result.pooled}; "
            f"this measurement is of restored={restored}, pooled={pooled}"
        )
    timings = result.timings
    return {
        "prepare": timings["prepare"],
        "boot": timings["boot"],
        "run": timings["run"],
        "execute": timings["execute"],
        "destroy": timings["destroy"],
        "total": timings["total"],
    }


def _fresh_call() -> Mapping[str, float]:
    """A VM restored for this run; its end is waited for."""
    return _phases(flashvm.run(SNIPPET), restored=True, pooled=False)


def _cold_call() -> Mapping[str, float]:
    """A VM that boots for this run."""
    return _phases(flashvm.run(SNIPPET, cold_boot=True), restored=False, pooled=False)


def _waiting_call(pool: flashvm.Pool) -> Call:
    """A VM that waited for this run; it ends after the call."""
    return lambda: _phases(pool.run(SNIPPET), restored=True, pooled=True)


def _pool_call(pool: flashvm.Pool) -> Call:
    """A VM that waited, or one that is restored because none does."""

    def call() -> Mapping[str, float]:
        result = pool.run(SNIPPET)
        return _phases(result, restored=True, pooled=result.pooled)

    return call


def wait_until_full(pool: flashvm.Pool, seconds: float = 120) -> None:
    """Until all of the pool's VMs wait and those that have served are gone.

    After this nothing of ours uses a processor.
    """
    end = time.monotonic() + seconds
    while True:
        stats = pool.stats()
        if (stats.waiting, stats.running) == (stats.size, 0) and len(own_vms()) == stats.size:
            return
        if stats.failed or time.monotonic() > end:
            raise BenchError(f"the pool does not fill: {stats}")
        time.sleep(0.005)


def alone(pool: flashvm.Pool) -> List[Subject]:
    """The ways to be timed one run after another."""
    return [
        Subject(BASE, f"{PYTHON} -c '{SNIPPET}'", _subprocess_call),
        Subject(WAITING, "flashVM, in a VM that waits", _waiting_call(pool)),
        Subject(FRESH, "flashVM, VM restored for the run", _fresh_call),
        Subject(COLD, "flashVM, VM booted for the run", _cold_call, rare=True),
    ]


def together(pool: flashvm.Pool) -> List[Subject]:
    """The ways to be used by several callers at once."""
    return [
        Subject(BASE, f"{PYTHON} -c '{SNIPPET}'", _subprocess_call),
        Subject(IN_POOL, f"flashVM, pool of {pool.stats().size}", _pool_call(pool)),
        Subject(FRESH, "flashVM, VM restored for the run", _fresh_call),
    ]
