# SPDX-License-Identifier: MIT
"""The report as text for a terminal."""

from __future__ import annotations

from typing import Iterable, List, Optional, Sequence

from .footprint import Disk, FirstUse, Footprint
from .latency import Summary
from .load import CALLERS, Endurance, Rate
from .report import Machine, Report, number
from .subjects import BASE, COLD, FRESH, WAITING

MIB = 2**20
PHASES = ("prepare", "boot", "run", "execute", "destroy")
NOTHING = "-"


def _columns(rows: Sequence[Sequence[str]]) -> List[str]:
    """Aligned; the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  " + "   ".join(cells).rstrip())
    return lines


def _number(value: Optional[float]) -> str:
    return NOTHING if value is None else number(value)


def _ratio(value: Optional[float], base: Optional[float]) -> str:
    return NOTHING if value is None or not base else f"{_number(value / base)}x"


def _machine(machine: Machine, load_after: float) -> List[str]:
    processors = "1 processor" if machine.processors == 1 else f"{machine.processors} processors"
    return [
        f"flashVM {machine.flashvm} ({machine.revision or 'no git'}), {machine.engine} "
        f"{machine.qemu} with {machine.accelerator}; {machine.when}",
        f"{processors}: {machine.processor}; Linux {machine.kernel}",
        f"load average {machine.load_before:.1f} before, {load_after:.1f} after",
    ]


def _latency(report: Report) -> List[str]:
    summaries = report.summaries()
    base = summaries.get(BASE)
    base_p50, base_p99 = (None, None) if base is None else (base.p50, base.p99)
    head = ["ms", "n", "p50", "p95", "p99", "p99.9", "max", "p50/base", "p99/base", "p99/p50"]
    rows = [head]
    for series in report.latency:
        own = summaries[series.key]
        values = [_number(value) for value in (own.p50, own.p95, own.p99, own.p999, own.max)]
        ratios = [
            _ratio(own.p50, base_p50),
            _ratio(own.p99, base_p99),
            _ratio(own.p99, own.p50),
        ]
        rows.append([series.title, str(own.n), *values, *ratios])
    return [
        "One run of print(1), from the call to its return, in one loop",
        *_columns(rows),
        *(f"  {sentence}" for sentence in report.absent),
        "  base: the subprocess, its p50 and its p99. "
        f"{NOTHING}: too few samples (p95: 20, p99: 100, p99.9: 1,000).",
    ]


def _phases(report: Report) -> List[str]:
    rows = [["ms", *PHASES, "outside", "total"]]
    summaries = report.summaries()
    for series in report.latency:
        own: Summary = summaries[series.key]
        if own.phases:
            values = [own.phases[name] for name in PHASES]
            rows.append(
                [
                    series.title,
                    *(_number(value) for value in values),
                    _number(max(0, own.p50 - own.phases["total"])),
                    _number(own.p50),
                ]
            )
    return [
        "Where that time goes: the median of each phase",
        *_columns(rows),
        "  execute is a part of run; outside: the Python package around the library.",
    ]


def _rates(rates: Iterable[Rate]) -> List[str]:
    table = {(rate.key, rate.callers): rate for rate in rates}
    titles = {rate.key: rate.title for rate in rates}
    rows = [["", *("1 caller" if n == 1 else f"{n} callers" for n in CALLERS)]]
    rows += [
        [title, *(_number(table[key, callers].per_second) for callers in CALLERS)]
        for key, title in titles.items()
    ]
    return ["Runs a second, all VMs that were used up replaced within the time", *_columns(rows)]


def _megabytes(size: float) -> str:
    return f"{size / MIB:,.1f} MiB"


def _footprint(footprint: Footprint) -> List[str]:
    rows = [
        ["PSS, of the template what VMs have touched", _megabytes(footprint.pss)],
        ["PSS, with all of the template", _megabytes(footprint.with_whole_template)],
        ["its own alone", _megabytes(footprint.private)],
        ["the template in memory, once", _megabytes(footprint.template)],
        ["the calling process before (RSS)", _megabytes(footprint.caller_rss_before)],
        ["the calling process while they wait", _megabytes(footprint.caller_rss_waiting)],
        ["the calling process after", _megabytes(footprint.caller_rss_after)],
    ]
    return [
        f"Memory of one VM of {footprint.memory_mb} MB that waits, "
        f"of {footprint.vms} (all ready in {footprint.fill_seconds:.1f} s)",
        *_columns(rows),
    ]


def _disk(disk: Disk) -> List[str]:
    rows = [
        ["installed: kernel, initramfs, embedded image", _megabytes(disk.installed)],
        ["images", _megabytes(disk.images)],
        *([f"template, {name}", _megabytes(size)] for name, size in disk.templates.items()),
        ["all of the cache", _megabytes(disk.cache)],
    ]
    return ["Disk", *_columns(rows)]


def _first_use(first_use: FirstUse) -> List[str]:
    rows = [
        ["the image: checked, unpacked", f"{first_use.image:.2f} s"],
        ["the first run: makes the template", f"{first_use.template:.2f} s"],
        ["the first run of a later process", f"{first_use.later_process:.2f} s"],
    ]
    return ["Paid once", *_columns(rows)]


def _endurance(endurance: Endurance) -> List[str]:
    before, after, grown = endurance.before, endurance.after, endurance.growth()
    rows = [["", "before", "after", "more"]]
    rows.append(
        [
            "RSS",
            _megabytes(before.rss_bytes),
            _megabytes(after.rss_bytes),
            _megabytes(grown["rss_bytes"]),
        ]
    )
    for title, name in (
        ("descriptors", "descriptors"),
        ("threads", "threads"),
        ("VMs", "vms"),
        ("files in TMPDIR", "temporary_files"),
        ("files in the cache", "cache_files"),
    ):
        values = getattr(before, name), getattr(after, name), grown[name]
        rows.append([title, *map(str, values)])
    first, last = endurance.tenth_ms(0), endurance.tenth_ms(9)
    return [
        f"What {len(endurance.runs_ms):,} runs change, in the pool and without it in turn",
        *_columns(rows),
        f"  a run took {_number(first)} ms in the first tenth, {_number(last)} ms in the last: "
        f"{_ratio(last, first)}",
    ]


def table(report: Report) -> str:
    parts = [_machine(report.machine, report.load_after)]
    if report.latency:
        parts.append(_latency(report))
        if {WAITING, FRESH, COLD} & set(report.summaries()):
            parts.append(_phases(report))
    if report.rates:
        parts.append(_rates(report.rates))
    if report.footprint is not None:
        parts.append(_footprint(report.footprint))
    if report.disk is not None:
        parts.append(_disk(report.disk))
    if report.first_use is not None:
        parts.append(_first_use(report.first_use))
    if report.endurance is not None:
        parts.append(_endurance(report.endurance))
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"
