# SPDX-License-Identifier: MIT
"""What engines differ in, and no more than that."""

from __future__ import annotations

from typing import NamedTuple


class Capabilities(NamedTuple):
    templates: bool  # a run gets a copy of a guest that has booted
    loopback: (
        bool  # sockets of the guest's own 127.0.0.1 work; libkrun passes them on, and they hang
    )
    kernel: str  # a word of what the guest's kernel calls itself
    patience: int  # seconds for one run, under the lab's emulation


ENGINES = {
    "native": Capabilities(templates=True, loopback=True, kernel="cloud", patience=300),
    "qemu": Capabilities(templates=True, loopback=True, kernel="cloud", patience=300),
    "krunvm": Capabilities(templates=False, loopback=False, kernel="6.", patience=600),
}
