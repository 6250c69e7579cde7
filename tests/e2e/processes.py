# SPDX-License-Identifier: MIT
"""What tests ask about processes of the host, by /proc."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple


class Process(NamedTuple):
    pid: int
    name: str

    @property
    def is_vm(self) -> bool:
        return self.name.startswith(("flashvm-jail", "qemu-system"))


def _table() -> Dict[int, List[Process]]:
    """Children by parent."""
    children: Dict[int, List[Process]] = {}
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            stat = (directory / "stat").read_text()
        except OSError:
            continue  # it has just ended
        name = stat[stat.index("(") + 1 : stat.rindex(")")]
        state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
        if state != "Z":
            children.setdefault(int(parent), []).append(Process(int(directory.name), name))
    return children


def descendants(pid: int) -> List[Process]:
    children, found, todo = _table(), [], [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child.pid)
    return found


def is_alive(pid: int) -> bool:
    return any(pid == child.pid for kin in _table().values() for child in kin)


def wait_until(condition: Callable[[], bool], complaint: str, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, complaint
        time.sleep(0.02)
