# SPDX-License-Identifier: MIT
"""Bytes of Python's as a file that the library can read."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator

from ._errors import host_error


@contextlib.contextmanager
def memory_file(purpose: str, content: bytes) -> Iterator[int]:
    """The descriptor of a file in memory with these bytes, at its beginning."""
    failed = f"cannot make a file in memory for {purpose}"
    try:
        descriptor = os.memfd_create("flashvm")
    except OSError as error:
        raise host_error(failed, error) from error
    with open(descriptor, "w+b") as file:
        try:
            file.write(content)
            file.seek(0)
        except OSError as error:
            raise host_error(failed, error) from error
        yield descriptor
