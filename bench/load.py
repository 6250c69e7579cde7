# SPDX-License-Identifier: MIT
"""Many runs: how many a second with several callers, and whether anything grows over time."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Dict, List, Sequence

import flashvm

from . import processes
from .subjects import BenchError, Subject, wait_until_full

CALLERS = (1, 2, 4)
SLICES = 2  # parts of each measurement, interleaved with those of all others


@dataclass
class Rate:
    """Runs of one subject by so many callers at once."""

    key: str
    title: str
    callers: int
    runs: int = 0
    seconds: float = 0

    @property
    def per_second(self) -> float:
        return self.runs / self.seconds


def _slice(
    rate: Rate, call: Callable[[], object], seconds: float, settle: Callable[[], None]
) -> None:
    """Add runs to it. The time lasts until all VMs that were used up have been replaced."""
    settle()
    start = time.perf_counter()
    deadline = start + seconds

    def caller(_: int) -> int:
        runs = 0
        while time.perf_counter() < deadline:
            call()
            runs += 1
        return runs

    with ThreadPoolExecutor(rate.callers) as executor:
        rate.runs += sum(executor.map(caller, range(rate.callers)))
    settle()
    rate.seconds += time.perf_counter() - start


def measure_rates(
    subjects: Sequence[Subject],
    seconds: float,
    settle: Callable[[], None],
    show: Callable[[str], None],
) -> List[Rate]:
    """Let each subject be run by 1, 2 and 4 callers, for `seconds` each."""
    calls = {subject.key: subject.call for subject in subjects}
    rates = [
        Rate(subject.key, subject.title, callers) for callers in CALLERS for subject in subjects
    ]
    for number in range(SLICES):
        for rate in rates:
            show(f"runs a second: {rate.callers} callers, {rate.title}, {number + 1} of {SLICES}")
            _slice(rate, calls[rate.key], seconds / SLICES, settle)
    return rates


# ---- what grows ----------------------------------------------------------------------------------

# Every kind of thing that a run makes on the host: output, and a file that comes back.
LEAVER = "open('out/file', 'w').write('x' * 100_000); print(1)"
EXPECT = ["out/*"]
WARM_UP_RUNS = 10


@dataclass(frozen=True)
class State:
    """What this process has and has left behind."""

    rss_bytes: int
    descriptors: int
    threads: int
    vms: int
    temporary_files: int
    cache_files: int


@dataclass(frozen=True)
class Endurance:
    """Runs in a pool and without one in turn, by one caller; times in milliseconds."""

    runs_ms: List[float]
    before: State
    after: State

    def tenth_ms(self, number: int) -> float:
        """The mean of the first (0) to the last (9) tenth of the runs."""
        count = len(self.runs_ms)
        part = self.runs_ms[count * number // 10 : count * (number + 1) // 10]
        return sum(part) / len(part)

    def growth(self) -> Dict[str, int]:
        before = asdict(self.before)
        return {name: value - before[name] for name, value in asdict(self.after).items()}


def _state(pool: flashvm.Pool, temporary: Path, cache: Path) -> State:
    wait_until_full(pool)
    gc.collect()
    return State(
        rss_bytes=processes.own_rss(),
        descriptors=processes.own_descriptors(),
        threads=processes.own_threads(),
        vms=len(processes.own_vms()),
        temporary_files=len(processes.files_below(temporary)),
        cache_files=len(processes.files_below(cache)),
    )


def _leaving_run(run: Callable[..., flashvm.Result]) -> float:
    start = time.perf_counter()
    result = run(LEAVER, expect=EXPECT)
    milliseconds = (time.perf_counter() - start) * 1000
    if result.exit_code != 0 or [a.size_bytes for a in result.artifacts] != [100_000]:
        raise BenchError(f"a run gave {result!r}")
    return milliseconds


def endure(
    pool: flashvm.Pool, runs: int, temporary: Path, cache: Path, show: Callable[[str], None]
) -> Endurance:
    """Run so many snippets, without a pause; compare what there is before and after."""
    ways: List[Callable[..., flashvm.Result]] = [pool.run, flashvm.run]
    for number in range(WARM_UP_RUNS):
        _leaving_run(ways[number % 2])
    before = _state(pool, temporary, cache)
    times = []
    for number in range(runs):
        show(f"what grows: run {number + 1} of {runs}")
        times.append(_leaving_run(ways[number % 2]))
    return Endurance(times, before, _state(pool, temporary, cache))
