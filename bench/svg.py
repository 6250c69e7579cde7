# SPDX-License-Identifier: MIT
"""A small part of SVG: text, lines, bars, dots, and axes to place them by."""

from __future__ import annotations

import math
from typing import Iterable, List, Tuple
from xml.sax.saxutils import escape, quoteattr

INK, GRAY, FAINT = "#1f2328", "#6e7781", "#e4e7eb"
FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"


class Axis:
    """Values from left to right (or upwards), to places on the drawing."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def _part(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)

    def place(self, value: float) -> float:
        part = min(1.0, max(0.0, self._part(value)))
        return self.start + part * (self.end - self.start)

    def ticks(self) -> List[float]:
        """Some five round values."""
        rough = (self.high - self.low) / 5
        magnitude = 10.0 ** math.floor(math.log10(rough))
        step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


class LogAxis(Axis):
    """For values that differ by magnitudes; all above 0."""

    def _part(self, value: float) -> float:
        return math.log(value / self.low) / math.log(self.high / self.low)

    def ticks(self) -> List[float]:
        """1, 2 and 5 of each power of ten; of a long axis the powers alone."""
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1, 2, 5) if len(exponents) <= 5 else (1,)
        values = [step * 10.0**exponent for exponent in exponents for step in steps]
        return [value for value in values if self.low <= value <= self.high]


def log_axis(values: Iterable[float], start: float, end: float) -> LogAxis:
    """One that all values fit on, with a margin."""
    known = list(values)
    return LogAxis(min(known) / 1.3, max(known) * 1.3, start, end)


def label(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.3g}"


class Drawing:
    """What has been drawn so far, from the top of the page to the bottom."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._elements: List[str] = []

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: int = 12,
        color: str = INK,
        anchor: str = "start",
    ) -> None:
        self._elements.append(
            f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' fill='{color}' "
            f"text-anchor='{anchor}'>{escape(words)}</text>"
        )

    def title(self, x: float, y: float, words: str) -> None:
        self._elements.append(
            f"<text x='{x:.1f}' y='{y:.1f}' font-size='15' font-weight='bold' "
            f"fill='{INK}'>{escape(words)}</text>"
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, color: str = GRAY, width: float = 1
    ) -> None:
        self._elements.append(
            f"<path d='M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}' stroke='{color}' "
            f"stroke-width='{width}'/>"
        )

    def bar(self, x1: float, y1: float, x2: float, y2: float, color: str, hint: str = "") -> None:
        """A filled rectangle; `hint` is shown where a pointer rests on it."""
        self._elements.append(
            f"<rect x='{x1:.2f}' y='{y1:.2f}' width='{max(0.0, x2 - x1):.2f}' "
            f"height='{y2 - y1:.2f}' fill='{color}'><title>{escape(hint)}</title></rect>"
        )

    def dots(
        self, places: Iterable[Tuple[float, float]], color: str, size: float, opacity: float
    ) -> None:
        """Round points, as one path: thousands of elements would be a large file."""
        path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
        self._elements.append(
            f"<path d={quoteattr(path)} stroke='{color}' stroke-width='{size}' "
            f"stroke-linecap='round' stroke-opacity='{opacity}' fill='none'/>"
        )

    def grid(self, axis: Axis, top: float, bottom: float, unit: str) -> None:
        """Vertical lines at the ticks of a horizontal axis, with their values below."""
        for value in axis.ticks():
            x = axis.place(value)
            self.line(x, top, x, bottom, FAINT)
            self.text(x, bottom + 15, label(value), 11, GRAY, "middle")
        self.text(axis.end + 20, bottom + 15, unit, 11, GRAY)

    def finish(self, height: float) -> str:
        size = f"width='{self.width}' height='{height:.0f}'"
        box = f"viewBox='0 0 {self.width} {height:.0f}'"
        head = f"<svg xmlns='http://www.w3.org/2000/svg' {size} {box} {FONT}>"
        paper = "<rect width='100%' height='100%' fill='white'/>"
        return "\n".join([head, paper, *self._elements, "</svg>", ""])
