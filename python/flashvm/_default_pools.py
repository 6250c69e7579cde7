# SPDX-License-Identifier: MIT
"""The pools that `run` uses by itself: one for each kind of microVM that was run of late."""

from __future__ import annotations

import collections
import os
import threading
from typing import Any, Mapping, Optional, OrderedDict, Tuple

from . import _arguments
from ._errors import FlashVMError, InvalidArgument
from ._library import at_end, in_forked_child
from ._runs import POOL_SIZE_MAX, OpenPool, open_pool

_VARIABLE = "FLASHVM_POOL_SIZE"
_SIZE_DEFAULT = 2
_IDLE_SECONDS = 60
_KINDS_MAX = 2  # each takes memory

_Kind = Tuple[Any, ...]

_lock = threading.Lock()
_pools: OrderedDict[_Kind, OpenPool] = collections.OrderedDict()  # used last: at the end
_size: Optional[int] = None  # None: as the environment says
_idle_seconds: Optional[float] = _IDLE_SECONDS


def _size_wanted() -> int:
    if _size is not None:
        return _size
    text = os.environ.get(_VARIABLE, "")
    if not text:
        return _SIZE_DEFAULT
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= POOL_SIZE_MAX):
        raise InvalidArgument(
            f"{_VARIABLE} is {_arguments.shown(text)}; "
            f"it must be a number from 0 (no pool) to {POOL_SIZE_MAX}"
        )
    return int(text)


def _kind(guest: Mapping[str, Any]) -> _Kind:
    return tuple(sorted(guest.items()))


def find(guest: Mapping[str, Any]) -> Optional[OpenPool]:
    """The pool for such a guest, if there is one."""
    if _size_wanted() == 0:
        return None
    kind = _kind(guest)
    with _lock:
        pool = _pools.get(kind)
        if pool is not None:
            _pools.move_to_end(kind)
        return pool


def begin(guest: Mapping[str, Any]) -> None:
    """Have microVMs wait for the next runs with such a guest: there was one, more may follow."""
    size = _size_wanted()
    if size == 0:
        return
    kind = _kind(guest)
    with _lock:
        if kind in _pools:
            return
        try:
            _pools[kind] = open_pool(guest, size, _idle_seconds)
        except FlashVMError:
            return  # runs go on without, and say themselves what is wrong
        dropped = _pools.popitem(last=False)[1] if len(_pools) > _KINDS_MAX else None
    if dropped:
        dropped.close()


def set_default_pool(
    size: Optional[int] = None, idle_seconds: Optional[float] = _IDLE_SECONDS
) -> None:
    """Say how many microVMs wait for the next calls of `run`.

    After a run with some image, cpus and memory_mb, so many such microVMs are kept waiting, for up
    to two such kinds at once. A `Pool` of your own gives more control.

    size: 0 to 1000; 0: none. None: as the environment variable FLASHVM_POOL_SIZE says, or 2.
    idle_seconds: after so long without a run they are ended, until a run comes; None: never.

    Those that wait already are ended.
    """
    global _size, _idle_seconds
    if size is not None:
        size = _arguments.check_int("size", size, 0, POOL_SIZE_MAX)
    if idle_seconds is not None:
        _arguments.check_timeout("idle_seconds", idle_seconds)
    with _lock:
        _size, _idle_seconds = size, idle_seconds
    _close()


@at_end
def _close() -> None:
    with _lock:
        closed = list(_pools.values())
        _pools.clear()
    for pool in closed:  # outside of the lock: it takes a moment
        pool.close()


@in_forked_child
def _forget() -> None:
    """The pools are the parent's, and a thread of it may have held the lock."""
    global _lock, _pools
    _lock = threading.Lock()
    _pools = collections.OrderedDict()
