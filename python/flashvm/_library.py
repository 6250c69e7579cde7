# SPDX-License-Identifier: MIT
"""The library handle of this process, and what is shown while a call lasts."""

from __future__ import annotations

import atexit
import os
import threading
import warnings
from contextlib import contextmanager
from typing import Callable, Iterator, List, Optional

from . import _flashvm, _paths
from ._errors import FlashVMWarning
from ._progress import ProgressLine

_lock = threading.RLock()  # reentrant: a signal handler may call us while its thread is in here
_handle: Optional[_flashvm.Handle] = None
_progress_line = ProgressLine()


def _show_progress(stage: Optional[str]) -> None:
    _progress_line.show(stage)


def _warn(text: str) -> None:
    warnings.warn(text, FlashVMWarning, stacklevel=3)  # of whoever called our caller


def library() -> _flashvm.Handle:
    """The process's handle, opened by the first call."""
    global _handle
    with _lock:
        if _handle is None:
            cache_dir = _paths.cache_dir()
            _handle = _flashvm.open(
                os.fsencode(_paths.data_dir()),
                os.fsencode(_paths.libexec_dir()),
                None if cache_dir is None else os.fsencode(cache_dir),
                _show_progress,
                _warn,
            )
        return _handle


@contextmanager
def progress() -> Iterator[None]:
    """Whatever a call has shown is gone at its end, however it ends."""
    try:
        yield
    finally:
        _progress_line.show(None)


_at_end: List[Callable[[], None]] = []
_in_forked_child: List[Callable[[], None]] = []


def at_end(function: Callable[[], None]) -> Callable[[], None]:
    """Decorate what is to be called before the interpreter ends, while the library still works."""
    _at_end.append(function)
    return function


def in_forked_child(function: Callable[[], None]) -> Callable[[], None]:
    """Decorate what is to be called first in a forked child."""
    _in_forked_child.append(function)
    return function


@in_forked_child
def _begin_anew() -> None:
    """The handle is the parent's; a thread left behind may hold a lock."""
    global _lock, _handle, _progress_line
    _lock = threading.RLock()
    _handle = None
    _progress_line = ProgressLine()


def _end() -> None:
    global _handle
    for function in _at_end:
        function()
    _handle = None  # a call that is still under way holds it too, and closes it then


def _fork() -> None:
    for function in _in_forked_child:
        function()


os.register_at_fork(after_in_child=_fork)
atexit.register(_end)
