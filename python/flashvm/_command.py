# SPDX-License-Identifier: MIT
"""The console command `flashvm`: becomes the C program, which does all the work."""

from __future__ import annotations

import os
import signal
import sys

from . import _errors, _paths


def main() -> int:
    """Become the program, with this package's directories unless the user named others.

    Return: an exit code, only when the program cannot be started.
    """
    program = _paths.command_program()
    environment = dict(os.environ)
    environment["FLASHVM_DATA_DIR"] = _paths.data_dir()
    environment["FLASHVM_LIBEXEC_DIR"] = _paths.libexec_dir()
    # Python ignores these, and what is ignored stays ignored in the program and all it starts.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(program, ["flashvm", *sys.argv[1:]], environment)
    except OSError as error:
        print(f"flashvm: error: cannot start {program}: {error.strerror}", file=sys.stderr)
    return _errors.NotFound.status
