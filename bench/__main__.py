# SPDX-License-Identifier: MIT
"""Measure flashVM on this machine. `make bench ARGS="--long"`, or `python -m bench --help`."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List

import flashvm

from . import footprint, latency, load, plot
from .report import Report, describe_machine
from .rivals import open_rivals
from .subjects import SNIPPET, BenchError, Subject, alone, together, wait_until_full
from .table import table

PARTS = ("latency", "rates", "memory", "endurance")
POOL_SIZE = 2  # the usual one


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="of them (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help="samples of each way to run (200)")
    parser.add_argument("--cold", type=int, default=5, help="cold boots among them (%(default)s)")
    parser.add_argument("--no-rivals", action="store_true", help="without other programs")
    parser.add_argument("--seconds", type=float, default=8, help="of each rate (%(default)s)")
    parser.add_argument("--runs", type=int, help="to see what grows (200)")
    parser.add_argument("--long", action="store_true", help="1,000 rounds and 2,000 runs")
    parser.add_argument(
        "--output", type=Path, default=Path("build/bench"), help="a directory (%(default)s)"
    )
    arguments = parser.parse_args()
    arguments.parts = set(filter(None, arguments.parts.split(",")))
    unknown = arguments.parts - set(PARTS)
    if unknown:
        parser.error(f"--parts knows {', '.join(PARTS)}; not {', '.join(sorted(unknown))}")
    if arguments.rounds is None:
        arguments.rounds = 1000 if arguments.long else 200
    if arguments.runs is None:
        arguments.runs = 2000 if arguments.long else 200
    if arguments.rounds < 1 or arguments.cold < 0 or arguments.runs < 10:
        parser.error("--rounds must be 1 or more, --runs 10 or more")
    return arguments


class Progress:
    """One line on a terminal, and nothing elsewhere."""

    def __init__(self) -> None:
        self._shown_at = 0.0

    def show(self, text: str) -> None:
        if sys.stderr.isatty() and time.monotonic() > self._shown_at + 0.2:
            self._shown_at = time.monotonic()
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _later_process_seconds() -> float:
    """The first run of another process, its start not counted."""
    code = (
        "import time, flashvm; start = time.perf_counter(); "
        f"flashvm.run({SNIPPET!r}); print(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
    return float(done.stdout)


def _measure(arguments: argparse.Namespace, work: Path, progress: Progress, report: Report) -> None:
    """Fill in the report. In `work` lie the cache and TMPDIR: empty at first, and nobody else's."""
    progress.show("the first run")
    image, template = footprint.measure_first_use()
    report.first_use = footprint.FirstUse(image, template, _later_process_seconds())
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(flashvm.Pool(size=POOL_SIZE))

        def settle() -> None:
            wait_until_full(pool)

        rivals: List[Subject] = []
        if not arguments.no_rivals:
            progress.show("looking for rivals")
            rivals, report.absent = open_rivals(work, stack)
        if "latency" in arguments.parts:
            report.latency = latency.measure(
                alone(pool) + rivals, arguments.rounds, arguments.cold, settle, progress.show
            )
        if "rates" in arguments.parts:
            report.rates = load.measure_rates(
                together(pool) + rivals, arguments.seconds, settle, progress.show
            )
        if "endurance" in arguments.parts:
            report.endurance = load.endure(
                pool, arguments.runs, work / "tmp", work / "cache", progress.show
            )
    report.disk = footprint.measure_disk(work / "cache")
    if "memory" in arguments.parts:
        progress.show("memory of VMs that wait")
        report.footprint = footprint.measure_memory()


def _write(report: Report, directory: Path) -> List[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    contents = {
        "bench.json": report.as_json(),
        "bench.txt": table(report),
        "bench.svg": plot.draw(report),
    }
    for name, text in contents.items():
        (directory / name).write_text(text)
    return [directory / name for name in contents]


def main() -> int:
    arguments = _arguments()
    progress = Progress()
    with tempfile.TemporaryDirectory(prefix="flashvm-bench-") as name:
        work = Path(name)
        (work / "tmp").mkdir()
        os.environ["TMPDIR"] = str(work / "tmp")
        os.environ["FLASHVM_CACHE_DIR"] = str(work / "cache")
        os.environ["FLASHVM_POOL_SIZE"] = "0"  # flashvm.run() is to restore a VM by itself
        report, failure = Report(describe_machine()), ""
        try:
            _measure(arguments, work, progress, report)
        except BenchError as error:
            failure = str(error)
        except KeyboardInterrupt:
            failure = "interrupted"
        report.load_after = os.getloadavg()[0]
        progress.clear()
    written = _write(report, arguments.output)
    print(table(report))
    print("Written:", *written)
    if failure:
        print(f"bench: {failure}; the report has only what was measured before", file=sys.stderr)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
