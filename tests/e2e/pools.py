# SPDX-License-Identifier: MIT
"""Pools, as tests watch them."""

from __future__ import annotations

import os
from typing import List

from processes import Process, descendants, wait_until

import flashvm as fvm


def vms(pid: int = 0) -> List[Process]:
    """What runs as QEMU under a process, this one by default."""
    return [p for p in descendants(pid or os.getpid()) if p.name.startswith("qemu-system")]


def wait_until_waiting(pool: fvm.Pool, count: int) -> None:
    wait_until(lambda: pool.stats().waiting == count, f"there are never {count} waiting", 20)


def wait_for_vms(count: int) -> None:
    wait_until(lambda: len(vms()) == count, f"there are never {count} VMs", 20)


def wait_until_default_pools_wait(count: int) -> None:
    """With so many VMs, and there are no others: how many programs cannot ask them."""

    def waiting() -> int:
        pools = list(fvm._default_pools._pools.values())
        return sum(pool.read_stats()["waiting"] for pool in pools)

    wait_until(
        lambda: waiting() == len(vms()) == count,
        f"there are never {count} waiting",
        20,
    )
