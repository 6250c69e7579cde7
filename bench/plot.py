# SPDX-License-Identifier: MIT
"""The report as a picture: one panel for each question, below one another."""

from __future__ import annotations

import random
from typing import Dict, List, Optional, Tuple

from .latency import Summary, quantile
from .load import Endurance, Rate
from .report import Machine, Report, number
from .subjects import BASE, COLD, FRESH, IN_POOL, WAITING
from .svg import FAINT, GRAY, INK, Axis, Drawing, label, log_axis

WIDTH = 1000
LEFT, RIGHT = 290, 800  # of the part with an axis; titles left of it, numbers right of it
MARGIN = 24
ROW = 34
BLUE, ORANGE = "#1f6feb", "#c2570c"

COLORS = {BASE: GRAY, WAITING: BLUE, IN_POOL: BLUE, FRESH: BLUE, COLD: BLUE}  # rivals: ORANGE
PHASE_COLORS = {
    "prepare": "#8c959f",
    "boot": "#1f6feb",
    "run": "#54aeff",
    "execute": "#1a7f37",
    "destroy": "#cf222e",
    "outside": "#d0d7de",
}


def _color(key: str) -> str:
    return COLORS.get(key, ORANGE)


def _heading(drawing: Drawing, y: float, words: str, explained: str) -> float:
    drawing.title(MARGIN, y, words)
    drawing.text(MARGIN, y + 18, explained, 11, GRAY)
    return y + 32


def _machine(drawing: Drawing, machine: Machine) -> float:
    drawing.text(
        MARGIN,
        30,
        f"flashVM {machine.flashvm} ({machine.revision or 'no git'}), {machine.engine} "
        f"{machine.qemu} with {machine.accelerator}; {machine.processors} x {machine.processor}; "
        f"{machine.when}",
        11,
        GRAY,
    )
    return 62


def _latency(drawing: Drawing, report: Report, top: float) -> float:
    summaries = report.summaries()
    base = report.base_ms()
    y = _heading(
        drawing,
        top,
        "One run of print(1)",
        "Each dot is a run, from the call to its return; the tick is the median, the line goes to "
        "the 99th percentile. Logarithmic.",
    )
    axis = log_axis((s.ms for series in report.latency for s in series.samples), LEFT, RIGHT)
    drawing.grid(axis, y, y + ROW * len(report.latency), "ms")
    jitter = random.Random(1)
    for series in report.latency:
        own, middle, color = summaries[series.key], y + ROW / 2, _color(series.key)
        drawing.text(MARGIN, middle + 4, series.title)
        drawing.dots(
            [
                (axis.place(sample.ms), middle + jitter.uniform(-0.3, 0.3) * ROW)
                for sample in series.samples
            ],
            color,
            3.2,
            0.4 if own.n > 20 else 0.8,
        )
        end = quantile(sorted(sample.ms for sample in series.samples), 0.99)
        drawing.line(axis.place(own.p50), middle, axis.place(end), middle, INK)
        drawing.line(axis.place(own.p50), middle - 11, axis.place(own.p50), middle + 11, INK, 2.5)
        ratio = f", {number(own.p50 / base)}x" if base else ""
        drawing.text(RIGHT + 12, middle + 4, f"{number(own.p50)} ms{ratio}")
        y += ROW
    return y + 56


def _parts(own: Summary) -> Dict[str, float]:
    """Phases that follow one another: `execute` is taken out of `run`."""
    parts = {name: own.phases[name] for name in PHASE_COLORS if name in own.phases}
    parts["run"] = max(0.0, parts["run"] - parts["execute"])
    parts["outside"] = max(0.0, own.p50 - own.phases["total"])
    return parts


def _phases(drawing: Drawing, report: Report, top: float) -> float:
    summaries = report.summaries()
    shown = [s for s in report.latency if s.key in (WAITING, FRESH)]
    if not shown:
        return top
    y = _heading(
        drawing,
        top,
        "Where the time goes",
        "The median of each phase; execute: the snippet in the guest, run: the rest of its run.",
    )
    x: float = MARGIN
    for name, color in PHASE_COLORS.items():
        drawing.bar(x, y - 6, x + 11, y + 5, color)
        drawing.text(x + 16, y + 4, name, 11, GRAY)
        x += 90
    y += 18
    parts = [_parts(summaries[series.key]) for series in shown]
    axis = Axis(0, max(sum(part.values()) for part in parts) * 1.02, LEFT, RIGHT)
    drawing.grid(axis, y, y + ROW * len(shown), "ms")
    for series, part in zip(shown, parts):
        drawing.text(MARGIN, y + ROW / 2 + 4, series.title)
        end = 0.0
        for name, milliseconds in part.items():
            start, end = end, end + milliseconds
            hint = f"{name}: {milliseconds:.2f} ms"
            drawing.bar(
                axis.place(start), y + 7, axis.place(end), y + ROW - 7, PHASE_COLORS[name], hint
            )
        drawing.text(RIGHT + 12, y + ROW / 2 + 4, f"{number(summaries[series.key].p50)} ms")
        y += ROW
    return y + 56


def _rates(drawing: Drawing, rates: List[Rate], top: float) -> float:
    rows: Dict[str, List[Rate]] = {}
    for rate in rates:
        rows.setdefault(rate.key, []).append(rate)
    y = _heading(
        drawing,
        top,
        "Runs a second",
        "By 1, 2 and 4 callers at once, from the top of each row; the VMs that were used up are "
        "replaced within the time. Logarithmic.",
    )
    axis = log_axis((rate.per_second for rate in rates), LEFT, RIGHT)
    drawing.grid(axis, y, y + ROW * len(rows), "a second")
    for key, row in rows.items():
        drawing.text(MARGIN, y + ROW / 2 + 4, row[0].title)
        for place, rate in enumerate(row, 1):
            level = y + ROW * place / (len(row) + 1)
            drawing.line(LEFT, level, axis.place(rate.per_second), level, FAINT, 1)
            drawing.dots([(axis.place(rate.per_second), level)], _color(key), 8, 1)
        values = " / ".join(number(rate.per_second) for rate in row)
        drawing.text(RIGHT + 12, y + ROW / 2 + 4, values)
        y += ROW
    return y + 56


def _endurance(drawing: Drawing, endurance: Endurance, top: float) -> float:
    y = _heading(
        drawing,
        top,
        f"{len(endurance.runs_ms):,} runs without a pause",
        "Each dot is a run that leaves a file; blue: in the pool, orange: without it, in turn. "
        "The slowest hundredth lies on the upper edge.",
    )
    height = 130.0
    high = quantile(sorted(endurance.runs_ms), 0.99) * 1.1
    across = Axis(0, len(endurance.runs_ms), LEFT, RIGHT)
    upwards = Axis(0, high, y + height, y)
    drawing.grid(across, y, y + height, "runs")
    for value in upwards.ticks():
        drawing.line(LEFT, upwards.place(value), RIGHT, upwards.place(value), FAINT)
        drawing.text(LEFT - 8, upwards.place(value) + 4, f"{label(value)} ms", 11, GRAY, "end")
    kinds: List[Tuple[int, str]] = [(0, BLUE), (1, ORANGE)]
    for first, color in kinds:
        drawing.dots(
            [
                (across.place(run), upwards.place(endurance.runs_ms[run]))
                for run in range(first, len(endurance.runs_ms), 2)
            ],
            color,
            3.5,
            0.5,
        )
    ratio = endurance.tenth_ms(9) / endurance.tenth_ms(0)
    drawing.text(RIGHT + 12, y + 12, "last tenth:")
    drawing.text(RIGHT + 12, y + 28, f"{ratio:.2f}x the first")
    return y + height + 56


def draw(report: Report) -> str:
    """The SVG document."""
    drawing = Drawing(WIDTH)
    y = _machine(drawing, report.machine)
    if report.latency:
        y = _latency(drawing, report, y)
        y = _phases(drawing, report, y)
    if report.rates:
        y = _rates(drawing, report.rates, y)
    endurance: Optional[Endurance] = report.endurance
    if endurance is not None:
        y = _endurance(drawing, endurance, y)
    return drawing.finish(y - 24)
