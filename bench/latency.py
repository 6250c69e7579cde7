# SPDX-License-Identifier: MIT
"""How long one run takes: every way in one loop, so that what disturbs one disturbs all."""

from __future__ import annotations

import math
import random
import statistics
import time
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence

from .subjects import Subject

# Below so many samples a quantile would be the largest sample or near it, and says nothing.
P95_SAMPLES, P99_SAMPLES, P999_SAMPLES = 20, 100, 1000

SEED = 5  # of the order within the rounds


@dataclass(frozen=True)
class Sample:
    """One run. Times in milliseconds."""

    at_ms: float  # when it began, from the start of the loop
    ms: float  # from the call to its return
    phases: Dict[str, float]


@dataclass(frozen=True)
class Series:
    """All samples of one subject, in the order in which they were taken."""

    key: str
    title: str
    samples: List[Sample]


@dataclass(frozen=True)
class Summary:
    n: int
    p50: float
    p95: Optional[float]  # None: too few samples
    p99: Optional[float]
    p999: Optional[float]
    max: float
    phases: Dict[str, float]  # the median of each


def quantile(ordered: Sequence[float], q: float) -> float:
    """The smallest value that at least the part `q` of all values does not exceed."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def summarize(series: Series) -> Summary:
    ordered = sorted(sample.ms for sample in series.samples)
    n = len(ordered)
    names = series.samples[0].phases
    return Summary(
        n=n,
        p50=statistics.median(ordered),
        p95=quantile(ordered, 0.95) if n >= P95_SAMPLES else None,
        p99=quantile(ordered, 0.99) if n >= P99_SAMPLES else None,
        p999=quantile(ordered, 0.999) if n >= P999_SAMPLES else None,
        max=ordered[-1],
        phases={
            name: statistics.median(sample.phases[name] for sample in series.samples)
            for name in names
        },
    )


def _is_turn(subject: Subject, round_number: int, rounds: int, rare_samples: int) -> bool:
    """The rare samples are spread evenly over the rounds."""
    if not subject.rare:
        return True
    return (round_number + 1) * rare_samples // rounds > round_number * rare_samples // rounds


def measure(
    subjects: Sequence[Subject],
    rounds: int,
    rare_samples: int,
    settle: Callable[[], None],
    show: Callable[[str], None],
) -> List[Series]:
    """Time each subject once in each round, in another order each time.

    settle: called before each sample, outside of its time; returns when nothing of an earlier
        sample goes on any more.
    """
    order = list(subjects)
    shuffle = random.Random(SEED).shuffle
    taken: Dict[str, List[Sample]] = {subject.key: [] for subject in subjects}
    for subject in subjects:  # what is done once is not part of any sample
        if not subject.rare:
            settle()
            subject.call()
    begin = time.perf_counter()
    for round_number in range(rounds):
        show(f"one run: round {round_number + 1} of {rounds}")
        shuffle(order)
        for subject in order:
            if not _is_turn(subject, round_number, rounds, rare_samples):
                continue
            settle()
            start = time.perf_counter()
            phases = subject.call()
            end = time.perf_counter()
            taken[subject.key].append(
                Sample((start - begin) * 1000, (end - start) * 1000, dict(phases))
            )
    return [
        Series(subject.key, subject.title, taken[subject.key])
        for subject in subjects
        if taken[subject.key]
    ]
