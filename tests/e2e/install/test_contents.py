# SPDX-License-Identifier: MIT
"""What is in the wheel and in the source distribution, and what must not be."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Dict, Iterator

import pytest

TREE = Path(__file__).parents[3]
DATA = "flashvm/data/"


@pytest.fixture(scope="module")
def files(wheel: Path) -> Iterator[Dict[str, bytes]]:
    with zipfile.ZipFile(wheel) as archive:
        yield {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_is_for_every_python_from_3_8_and_glibc_from_2_34(wheel: Path) -> None:
    assert wheel.name.split("-", 2)[2] == "cp38-abi3-manylinux_2_34_x86_64.whl"


def test_the_extension_keeps_to_the_limited_api_of_its_tag(wheel: Path) -> None:
    abi3audit = Path(sys.executable).with_name("abi3audit")
    subprocess.run([abi3audit, "--strict", "--summary", wheel], check=True, timeout=120)


def test_nothing_names_a_directory_of_the_machine_that_built_it(files: Dict[str, bytes]) -> None:
    for place in (f"{TREE}/", f"{Path.home()}/", "build-via-sdist", "/tmp/tmp"):
        assert [name for name, data in files.items() if place.encode() in data] == []


def test_programs_and_libraries_are_stripped(files: Dict[str, bytes]) -> None:
    elfs = {name: data for name, data in files.items() if data.startswith(b"\x7fELF")}
    del elfs[DATA + "vmlinux"]  # as Debian made it
    elfs["agent"] = files[DATA + "initramfs.cpio"].split(b"\x7fELF")[1]
    assert len(elfs) >= 6
    assert [name for name, data in elfs.items() if b".symtab" in data] == []
    assert [name for name, data in elfs.items() if b".debug_info" in data] == []


def test_every_library_that_is_brought_along_has_its_licence(files: Dict[str, bytes]) -> None:
    (info,) = {name.split("/")[0] for name in files if ".dist-info/" in name}
    notice = files[f"{info}/licenses/NOTICE"].decode()
    versions = files[f"{info}/licenses/debian-packages"].decode()
    texts = [name for name in files if name.startswith(f"{info}/licenses/lib")]
    libraries = [
        name.split("/")[1].split("-")[0] for name in files if name.startswith("flashvm.libs/")
    ]
    assert "libsquashfs" in libraries
    for library in [*libraries, "libarchive", "libc"]:
        assert library in notice
        assert f"\n{library}" in f"\n{versions}"
        assert [text for text in texts if f"/{library}" in text]
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/GPL-2"} <= set(files)


def test_both_carry_the_guest(files: Dict[str, bytes], sdist: Path) -> None:
    in_wheel = {name: len(data) for name, data in files.items() if name.startswith(DATA)}
    with tarfile.open(sdist) as archive:
        in_sdist = {
            member.name.split("/python/")[1]: member.size
            for member in archive
            if f"/python/{DATA}" in member.name
        }
    assert in_sdist == in_wheel
    assert {DATA + "vmlinux", DATA + "initramfs.cpio", DATA + "oci/index.json"} <= set(in_wheel)
