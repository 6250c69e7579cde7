# SPDX-License-Identifier: MIT
"""What VMs that wait take of the host's memory, and what flashVM keeps on disk."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

import flashvm

from . import processes
from .subjects import SNIPPET, BenchError, wait_until_full

VMS = 8
MEMORY_MB = 512
STILL_SECONDS = 2  # until a VM that has just been made waits quietly


@dataclass(frozen=True)
class Footprint:
    """VMs that wait, all of one template. Bytes."""

    vms: int
    memory_mb: int
    fill_seconds: float  # until they all waited
    used: List[processes.MemoryUse]  # of each VM, jail and QEMU together
    template: int  # its memory, which this process holds and all VMs map
    caller_rss_before: int
    caller_rss_waiting: int
    caller_rss_after: int  # when the pool is closed

    @property
    def pss(self) -> float:
        """Of one VM; of the template what it has touched, divided among those that did."""
        return statistics.mean(use.pss for use in self.used)

    @property
    def private(self) -> float:
        return statistics.mean(use.private for use in self.used)

    @property
    def with_whole_template(self) -> float:
        """Of one VM, when also what no VM touches of the template is divided among them."""
        untouched = self.template - sum(use.shared_memory for use in self.used)
        return self.pss + max(0, untouched) / self.vms


def measure_memory(vms: int = VMS, memory_mb: int = MEMORY_MB) -> Footprint:
    """Fill a pool, and look at its processes while they wait."""
    before = processes.own_rss()
    start = time.perf_counter()
    with flashvm.Pool(size=vms, memory_mb=memory_mb) as pool:
        wait_until_full(pool)
        fill_seconds = time.perf_counter() - start
        time.sleep(STILL_SECONDS)
        try:
            used = [processes.memory_of(vm) for vm in processes.own_vms()]
        except PermissionError as error:
            raise BenchError(f"the memory of VMs cannot be read: {error}") from error
        template = processes.own_memory_files()
        waiting = processes.own_rss()
        pool.run(SNIPPET)
    return Footprint(
        vms=vms,
        memory_mb=memory_mb,
        fill_seconds=fill_seconds,
        used=used,
        template=template,
        caller_rss_before=before,
        caller_rss_waiting=waiting,
        caller_rss_after=processes.own_rss(),
    )


@dataclass(frozen=True)
class Disk:
    """Bytes on disk."""

    installed: int  # kernel, initramfs and the embedded image
    images: int
    templates: Dict[str, int]  # by the guest that they are of
    cache: int  # all files in the cache's directory


def measure_disk(cache: Path) -> Disk:
    data = flashvm.find_embedded_data_path()
    return Disk(
        installed=sum(processes.files_below(data).values()),
        images=sum(image["size_bytes"] for image in flashvm.list_cached_images()),
        templates={
            f"{template['memory_mb']} MB, {template['cpus']} CPU": template["size_bytes"]
            for template in flashvm.list_cached_templates()
        },
        cache=sum(processes.files_below(cache).values()),
    )


@dataclass(frozen=True)
class FirstUse:
    """What is paid once, in seconds."""

    image: float  # unpacked and checked
    template: float  # booted, rehearsed, stored; with the run that needed it
    later_process: float  # the first run of a process that finds both in the cache


def measure_first_use() -> Tuple[float, float]:
    """In an empty cache: seconds for the image, and for the first run."""
    start = time.perf_counter()
    flashvm.prepare_image()
    prepared = time.perf_counter()
    flashvm.run(SNIPPET)
    return prepared - start, time.perf_counter() - prepared
