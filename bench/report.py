# SPDX-License-Identifier: MIT
"""All that was measured, and its JSON."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

import flashvm

from . import processes
from .footprint import Disk, FirstUse, Footprint
from .latency import Series, Summary, summarize
from .load import Endurance, Rate
from .subjects import BASE

FORM = 1  # of the JSON


@dataclass(frozen=True)
class Machine:
    """Where it was measured."""

    when: str
    flashvm: str
    revision: str  # of the sources, "+" when they were changed; "" if there is no git
    engine: str
    accelerator: str
    qemu: str
    python: str
    kernel: str
    processor: str
    processors: int
    load_before: float  # others that wanted the processors: the average of the last minute


def _output(*argv: str) -> str:
    """What a program says, or nothing."""
    if shutil.which(argv[0]) is None:
        return ""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _revision() -> str:
    here = str(Path(__file__).parent)
    revision = _output("git", "-C", here, "rev-parse", "--short", "HEAD")
    changed = _output("git", "-C", here, "status", "--porcelain")
    return revision + ("+" if changed else "")


def describe_machine() -> Machine:
    engines = flashvm.doctor()["engines"]
    usable = [(name, engine) for name, engine in engines.items() if engine["usable"]]
    engine, accelerator = "none", ""
    if usable:
        engine, accelerator = usable[0][0], usable[0][1]["accelerator"] or ""
    qemu = _output("qemu-system-x86_64", "--version").splitlines()
    return Machine(
        when=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        flashvm=flashvm.__version__,
        revision=_revision(),
        engine=engine,
        accelerator=accelerator,
        qemu=qemu[0].split()[3] if qemu else "",
        python=platform.python_version(),
        kernel=platform.release(),
        processor=processes.processor(),
        processors=len(os.sched_getaffinity(0)),
        load_before=os.getloadavg()[0],
    )


def number(value: float) -> str:
    """For people: with three digits that count."""
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{decimals}f}"


@dataclass
class Report:
    """What is None or empty was not measured."""

    machine: Machine
    first_use: Optional[FirstUse] = None
    latency: List[Series] = field(default_factory=list)
    absent: List[str] = field(default_factory=list)  # a sentence for each rival that took no part
    rates: List[Rate] = field(default_factory=list)
    footprint: Optional[Footprint] = None
    disk: Optional[Disk] = None
    endurance: Optional[Endurance] = None
    load_after: float = 0

    def summaries(self) -> Dict[str, Summary]:
        return {series.key: summarize(series) for series in self.latency}

    def base_ms(self) -> Optional[float]:
        """The median of what all else is compared with."""
        summary = self.summaries().get(BASE)
        return None if summary is None else summary.p50

    def as_json(self) -> str:
        """Raw samples, and what the table says of them."""
        document: Dict[str, Any] = {"form": FORM, **asdict(self)}
        document["summaries"] = {key: asdict(value) for key, value in self.summaries().items()}
        for rate, values in zip(self.rates, document["rates"]):
            values["per_second"] = rate.per_second
        if self.footprint is not None:
            document["footprint"].update(
                used=[use._asdict() for use in self.footprint.used],
                pss=self.footprint.pss,
                private=self.footprint.private,
                with_whole_template=self.footprint.with_whole_template,
            )
        if self.endurance is not None:
            document["endurance"].update(
                growth=self.endurance.growth(),
                tenths_ms=[self.endurance.tenth_ms(number) for number in range(10)],
            )
        return json.dumps(document, indent=1) + "\n"
