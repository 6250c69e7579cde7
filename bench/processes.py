# SPDX-License-Identifier: MIT
"""What the kernel says of this process and of the VMs that it has: /proc, read and nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Dict, List, NamedTuple

PROC = Path("/proc")
BLOCK = 512  # bytes, in st_blocks


class Vm(NamedTuple):
    """The processes of one VM: its jail, and below that QEMU."""

    pids: List[int]


class MemoryUse(NamedTuple):
    """As smaps_rollup has it, in bytes. A page that n processes map counts 1/n in `pss`."""

    pss: int
    private: int
    anonymous: int  # the part of pss that is of no file
    shared_memory: int  # the part of pss that is of memfds: the template's memory
    files: int  # the part of pss that is of programs and libraries


def _children() -> Dict[int, Dict[int, str]]:
    """Names by pid, by parent."""
    children: Dict[int, Dict[int, str]] = {}
    for directory in PROC.iterdir():
        if not directory.name.isdigit():
            continue
        try:
            text = (directory / "stat").read_text()
        except OSError:
            continue  # it has just ended
        # The name stands in parentheses and may have any character, ")" too.
        name = text[text.index("(") + 1 : text.rindex(")")]
        state, parent = text[text.rindex(")") + 2 :].split()[:2]
        if state != "Z":
            children.setdefault(int(parent), {})[int(directory.name)] = name
    return children


def own_vms() -> List[Vm]:
    """The VMs of this process, and of no other."""
    children = _children()
    vms = []
    for pid, name in children.get(os.getpid(), {}).items():
        if not name.startswith("flashvm-jail"):
            continue
        pids, todo = [], [pid]
        while todo:
            pids.append(todo.pop())
            todo += children.get(pids[-1], {})
        vms.append(Vm(pids))
    return vms


def memory_of(vm: Vm) -> MemoryUse:
    sums: Dict[str, int] = {}
    for pid in vm.pids:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]:
            name, kilobytes = line.split()[:2]
            sums[name] = sums.get(name, 0) + int(kilobytes) * 1024
    return MemoryUse(
        pss=sums["Pss:"],
        private=sums["Private_Clean:"] + sums["Private_Dirty:"],
        anonymous=sums["Pss_Anon:"],
        shared_memory=sums["Pss_Shmem:"],
        files=sums["Pss_File:"],
    )


def own_rss() -> int:
    """Bytes of memory that this process has."""
    pages = int((PROC / "self" / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def own_descriptors() -> int:
    return len(os.listdir(PROC / "self" / "fd")) - 1  # the one that reads the directory


def own_threads() -> int:
    return len(os.listdir(PROC / "self" / "task"))


def own_memory_files() -> int:
    """Bytes in the memfds that this process has open: templates. Each file counts once."""
    sizes: Dict[int, int] = {}
    for name in os.listdir(PROC / "self" / "fd"):
        path = PROC / "self" / "fd" / name
        try:
            if not os.readlink(path).startswith("/memfd:"):
                continue
            status = path.stat()
        except OSError:
            continue
        sizes[status.st_ino] = status.st_blocks * BLOCK
    return sum(sizes.values())


def files_below(directory: Path) -> Dict[str, int]:
    """Every file there, and the bytes that it takes on disk (holes take none)."""
    found = {}
    for path in sorted(directory.rglob("*")):
        try:
            status = path.lstat()
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            found[str(path.relative_to(directory))] = status.st_blocks * BLOCK
    return found


def processor() -> str:
    for line in (PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"
