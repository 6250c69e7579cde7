# SPDX-License-Identifier: MIT
"""Where the package's data and programs are.

The data (kernel, initramfs, embedded image) lies beside this file: in a wheel because it was
installed there, in the source tree because `make guest` writes it there. The programs lie in `bin`
beside this file in a wheel; an editable install runs them from the build directory, where its
extension module is loaded from as well.

FLASHVM_DATA_DIR, FLASHVM_LIBEXEC_DIR and FLASHVM_CACHE_DIR name other directories, here as for the
`flashvm` command; they are read at the first call in a process.
"""

from __future__ import annotations

import os
from typing import Optional

from . import _flashvm

_PACKAGE_DIR = os.path.dirname(os.path.abspath(__file__))
_EXTENSION_DIR = os.path.dirname(os.path.abspath(_flashvm.__file__))


def _build_dir() -> Optional[str]:
    """The build directory of an editable install; None when the package is installed as a whole."""
    return None if _EXTENSION_DIR == _PACKAGE_DIR else os.path.dirname(_EXTENSION_DIR)


def data_dir() -> str:
    return os.environ.get("FLASHVM_DATA_DIR") or os.path.join(_PACKAGE_DIR, "data")


def libexec_dir() -> str:
    """The directory of the programs that the library starts, flashvm-jail for one."""
    build = _build_dir()
    default = os.path.join(build, "src") if build else os.path.join(_PACKAGE_DIR, "bin")
    return os.environ.get("FLASHVM_LIBEXEC_DIR") or default


def cache_dir() -> Optional[str]:
    """None leaves the choice to the library: $XDG_CACHE_HOME/flashvm or ~/.cache/flashvm."""
    return os.environ.get("FLASHVM_CACHE_DIR") or None


def command_program() -> str:
    """The `flashvm` command, a C program."""
    build = _build_dir()
    directory = os.path.join(build, "src", "cli") if build else os.path.join(_PACKAGE_DIR, "bin")
    return os.path.join(directory, "flashvm")
