# SPDX-License-Identifier: MIT
"""A run costs what the snippet costs. (The benchmark, kept short: `make bench` tells more.)

All limits are ratios to a subprocess in the same loop, with room for a machine that is shared.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import pytest

ROOT = Path(__file__).parents[2]
SHORT = [
    *("--no-rivals", "--parts", "latency,memory,endurance"),
    *("--rounds", "40", "--cold", "0", "--runs", "100"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    """What the benchmark says, which is a process of its own with a cache of its own."""
    output = tmp_path_factory.mktemp("bench")
    argv = [sys.executable, "-m", "bench", *SHORT, "--output", str(output)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    parsed: Dict[str, Any] = json.loads((output / "bench.json").read_text())
    return parsed


def ratio(report: Dict[str, Any], way: str) -> float:
    """The median of that way to run, in medians of a subprocess."""
    summaries = report["summaries"]
    quotient: float = summaries[way]["p50"] / summaries["subprocess"]["p50"]
    return quotient


def test_a_run_in_a_vm_that_waits_takes_about_as_long_as_a_subprocess(
    report: Dict[str, Any],
) -> None:
    assert ratio(report, "waiting") <= 1.5


def test_a_run_that_restores_its_vm_takes_some_subprocesses(report: Dict[str, Any]) -> None:
    assert ratio(report, "fresh") <= 30


def test_a_vm_that_waits_takes_little_memory(report: Dict[str, Any]) -> None:
    assert len(report["footprint"]["used"]) == 8
    assert report["footprint"]["pss"] <= 90e6


def test_runs_leave_nothing_behind(report: Dict[str, Any]) -> None:
    endurance = report["endurance"]
    growth = endurance["growth"]
    assert len(endurance["runs_ms"]) == 100
    assert growth.pop("rss_bytes") < 20e6
    assert growth == dict.fromkeys(growth, 0)  # descriptors, threads, VMs, files
    assert endurance["before"]["temporary_files"] == 0


def test_runs_do_not_slow_down(report: Dict[str, Any]) -> None:
    """By the fastest of twenty, which others on the machine disturb least."""
    times = report["endurance"]["runs_ms"]
    for way in (0, 1):  # in the pool and without it, in turn
        assert min(times[80 + way :: 2]) <= 2.5 * min(times[way:20:2])
