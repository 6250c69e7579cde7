# SPDX-License-Identifier: MIT
"""`Pool`: microVMs that wait for runs."""

from __future__ import annotations

import collections
import os
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import (
    Any,
    Deque,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    NamedTuple,
    Optional,
    Type,
    Union,
)

from . import _arguments
from ._api import RUN_DEFAULTS
from ._errors import InvalidArgument
from ._library import at_end
from ._result import Result
from ._runs import POOL_SIZE_MAX, check_guest, open_pool, run_with_options

_OF_POOL = ("image", "engine", "cpus", "memory_mb", "boot_timeout_seconds")

_open_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


class PoolStats(NamedTuple):
    """What a pool has, and what it has done."""

    size: int  # microVMs that are to wait
    waiting: int  # that wait now
    running: int  # runs that are going on
    served: int  # runs that found one waiting
    missed: int  # runs that had to start one
    failed: int  # microVMs that did not come to wait, or died while they did


class Pool:
    """microVMs of one kind that wait for runs: these then begin at once.

    >>> with Pool(size=4, memory_mb=256) as pool:
    ...     result = pool.run("print('hi')")
    ...     results = list(pool.map(f"print({i})" for i in range(100)))

    Each microVM serves one run and is replaced. They are copies of one template, see `run`. The
    pool begins to fill when it is opened, and a run that finds none waiting starts its own.

    size: how many wait, 1 to 1000. Each takes some 40 MB and, when it runs, what its snippet needs.
    image, engine, cpus, memory_mb, boot_timeout_seconds: as in `run`, for all runs of the pool.
    idle_seconds: after so long without a run those that wait are ended, until a run comes; None:
        never.

    May be used by any number of threads. A forked child has no pool: its runs raise
    InvalidArgument.
    """

    def __init__(
        self,
        size: int = 2,
        *,
        image: Optional[str] = None,
        engine: str = "auto",
        cpus: int = 1,
        memory_mb: int = 512,
        boot_timeout_seconds: float = 90,
        idle_seconds: Optional[float] = None,
    ) -> None:
        self._kind = {
            "image": image,
            "engine": engine,
            "cpus": cpus,
            "memory_mb": memory_mb,
            "boot_timeout_seconds": boot_timeout_seconds,
        }
        self._size = _arguments.check_int("size", size, 1, POOL_SIZE_MAX)
        self._pool = open_pool(check_guest(self._kind), self._size, idle_seconds)
        _open_pools.add(self)

    def _options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in _OF_POOL:
            if name in options:
                raise InvalidArgument(
                    f"{name} is fixed for all runs of a Pool; give it to Pool({name}=...)"
                )
        _arguments.check_config("options", options, list(RUN_DEFAULTS))
        return {**RUN_DEFAULTS, **self._kind, **options}

    def run(self, code: Union[str, bytes], **options: Any) -> Result:
        """`flashvm.run(code, **options)`, in a microVM of the pool.

        options: those of `run`, but for those that the pool was opened with. With cold_boot the
        run boots a microVM of its own.
        """
        self._pool.check_open()
        return run_with_options(self._pool, code, self._options(options))

    def map(
        self,
        codes: Iterable[Union[str, bytes]],
        *,
        in_flight: Optional[int] = None,
        **options: Any,
    ) -> Generator[Result, None, None]:
        """Run each of the snippets; yield their results in the same order.

        codes: any iterable; it is read only as far as runs are begun.
        in_flight: how many runs go on, or wait to be fetched, at once; None: the pool's size.
        options: as of `run`, for each of them.

        A run that raises, raises here when it is its turn. Then, and when the iterator is closed
        or interrupted, the runs that are still going on are ended.
        """
        snippets = iter(_arguments.check_codes("codes", codes))
        checked = self._options(options)
        count = self._size
        if in_flight is not None:
            count = _arguments.check_int("in_flight", in_flight, 1, POOL_SIZE_MAX)
        self._pool.check_open()
        return self._map(snippets, count, checked)

    def _run_in_map(
        self, code: Union[str, bytes], options: Mapping[str, Any], cancel_fd: int
    ) -> Result:
        self._pool.check_open()
        return run_with_options(self._pool, code, options, cancel_fd)

    def _map(
        self,
        codes: Iterator[Union[str, bytes]],
        in_flight: int,
        options: Mapping[str, Any],
    ) -> Generator[Result, None, None]:
        cancel_fd, cancel_end = os.pipe()
        flights: Deque[Future[Result]] = collections.deque()
        with ThreadPoolExecutor(in_flight) as executor:
            try:
                for code in codes:
                    flights.append(executor.submit(self._run_in_map, code, options, cancel_fd))
                    if len(flights) == in_flight:
                        yield flights.popleft().result()
                while flights:
                    yield flights.popleft().result()
            finally:
                for flight in flights:
                    flight.cancel()
                os.close(cancel_end)  # ends what is still going on
                executor.shutdown()
                os.close(cancel_fd)

    def stats(self) -> PoolStats:
        """What the pool has now, and what it has done so far."""
        return PoolStats(**self._pool.read_stats())

    def close(self) -> None:
        """End those that wait; runs that are going on end by themselves."""
        self._pool.close()
        _open_pools.discard(self)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._pool.pool is None:
            return "Pool(closed)"
        stats = self.stats()
        return f"Pool({stats.waiting} of {stats.size} waiting, {stats.running} running)"


@at_end
def _close_all() -> None:
    for pool in list(_open_pools):
        pool.close()
