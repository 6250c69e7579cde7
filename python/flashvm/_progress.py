# SPDX-License-Identifier: MIT
"""One line on the terminal for work that takes longer than a second.

The library names the stage of its work in the thread that called it. A ticker thread exists while
there is such work, and draws `flashvm: booting a microVM... 3 s` on stderr, if that is a terminal.
Several threads share the line; it shows the stage of the work that began first.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import Dict, NamedTuple, Optional, TextIO

_QUIET_SECONDS = 1.0
_ERASE_LINE = "\r\x1b[K"


class _Work(NamedTuple):
    began: float  # time.monotonic()
    stage: str


class ProgressLine:
    """The line, and the thread that draws it."""

    def __init__(self) -> None:
        # Reentrant: a signal handler may run a snippet while its thread is in here.
        self._changed = threading.Condition(threading.RLock())
        self._work: Dict[int, _Work] = {}
        self._ticker: Optional[threading.Thread] = None
        self._stream: Optional[TextIO] = None
        self._drawn = False

    def show(self, stage: Optional[str]) -> None:
        """The calling thread's work has come to `stage`; None: it has ended, the line goes."""
        if stage is None:
            self._end()
        elif _is_terminal(sys.stderr):
            self._begin(stage)

    def _begin(self, stage: str) -> None:
        thread = threading.get_ident()
        with self._changed:
            known = self._work.get(thread)
            self._work[thread] = _Work(known.began if known else time.monotonic(), stage)
            if self._ticker is None or not self._ticker.is_alive():
                self._stream = sys.stderr
                self._ticker = threading.Thread(
                    target=self._tick, name="flashvm-progress", daemon=True
                )
                self._ticker.start()

    def _end(self) -> None:
        with self._changed:
            if self._work.pop(threading.get_ident(), None) is None or self._work:
                return
            ended, self._ticker = self._ticker, None
            if self._drawn:
                self._draw("")
            self._changed.notify_all()
        if ended is not None and ended.is_alive():
            # Whoever forks next shall find no thread of ours.
            ended.join()

    def _tick(self) -> None:
        with self._changed:
            while self._work and self._ticker is threading.current_thread():
                work = min(self._work.values())
                seconds = time.monotonic() - work.began
                if seconds < _QUIET_SECONDS:
                    self._changed.wait(_QUIET_SECONDS - seconds)
                    continue
                self._draw(f"flashvm: {work.stage}... {int(seconds)} s")
                self._changed.wait(1 - seconds % 1)

    def _draw(self, text: str) -> None:
        # A terminal that went away must not end a run.
        with contextlib.suppress(OSError, ValueError):
            if self._stream is not None:
                width = os.get_terminal_size(self._stream.fileno()).columns
                if width > 0:
                    text = text[: width - 1]
                self._stream.write(_ERASE_LINE + text)
                self._stream.flush()
                self._drawn = text != ""


def _is_terminal(stream: Optional[TextIO]) -> bool:
    try:
        is_terminal = stream is not None and stream.isatty()
    except ValueError:  # closed
        return False
    return is_terminal and os.environ.get("TERM", "dumb") != "dumb"
