# SPDX-License-Identifier: MIT
"""Fixtures: the stand-in guest in QEMU's place, and a cache that is this session's own."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Iterator

import pytest

import flashvm as fvm

PROGRAM = "qemu-system-x86_64"
VERSION = '[ "$1" = --version ] && echo "QEMU emulator version 7.2.99 (a stand-in)" && exit'


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tests' cache: the user's own is not touched, and the image is unpacked once for all."""
    directory = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory))
        patch.delenv("FLASHVM_CACHE_DIR", raising=False)
        yield directory


@pytest.fixture(scope="session", autouse=True)
def _qemu_is_what_auto_takes(cache_home: Path) -> Iterator[None]:
    """On a host with KVM, too: the suite is about QEMU. The others are in tests/conformance."""
    native = fvm.doctor()["engines"]["native"]
    with pytest.MonkeyPatch.context() as patch:
        if native["usable"]:
            programs = Path(fvm.__file__).parent / "bin"
            directory = cache_home.parent / "bin-without-native"
            directory.mkdir()
            for program in programs.iterdir():
                if program.name != "flashvm-vmm":
                    (directory / program.name).symlink_to(program)
            patch.setenv("FLASHVM_LIBEXEC_DIR", str(directory))
        yield


@pytest.fixture(scope="session", autouse=True)
def _containers_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Likewise: what a test's skopeo and buildah put into their storage goes with the session."""
    directory = tmp_path_factory.mktemp("storage")
    (directory / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{directory}/root"\nrunroot = "{directory}/run"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(directory / "storage.conf"))
        yield


@pytest.fixture(scope="session")
def _install() -> Iterator[Callable[[str], Path]]:
    """Puts a program where the unprivileged user of the jail can read it, under QEMU's name."""
    # Not a directory of pytest's: those are closed to other users.
    base = Path(tempfile.mkdtemp(prefix="flashvm-stand-in-", dir="/tmp"))
    base.chmod(0o755)

    def install(text: str) -> Path:
        directory = Path(tempfile.mkdtemp(dir=base))
        directory.chmod(0o755)
        program = directory / PROGRAM
        program.write_text(text)
        program.chmod(0o755)
        return directory

    yield install
    shutil.rmtree(base)


@pytest.fixture(scope="session")
def _stand_in_directory(_install: Callable[[str], Path]) -> Path:
    """Where the stand-in guest is; the cache has a template of it, which takes a second to make."""
    directory = _install(Path(__file__).with_name("stand_in_guest.py").read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(directory), prepend=os.pathsep)
        fvm.run("")
    return directory


@pytest.fixture(scope="module")
def stand_in(_stand_in_directory: Path) -> Iterator[None]:
    """In this module QEMU is the stand-in guest, for this process and those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(_stand_in_directory), prepend=os.pathsep)
        yield


@pytest.fixture
def stand_in_script(
    _install: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Called with a shell script: that is QEMU for the rest of the test, but for --version."""

    def use(script: str) -> None:
        directory = _install(f"#!/bin/sh\n{VERSION}\n{script}\n")
        monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)

    return use
