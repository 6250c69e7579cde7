# SPDX-License-Identifier: MIT
"""Templates of real microVMs: made once, and out of reach of the VMs that are copies of them."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Dict, Iterator, List

import pytest
from callers import python
from pools import vms, wait_until_waiting
from processes import wait_until

import flashvm as fvm

F_ADD_SEALS, F_GET_SEALS = 1033, 1034  # linux/fcntl.h
SEALS = 0x1 | 0x2 | 0x4 | 0x8  # F_SEAL_SEAL, _SHRINK, _GROW, _WRITE

CALLER = """
import flashvm, json
told = []
flashvm._library._progress_line.show = told.append
result = flashvm.run("print(6 * 7)")
print(json.dumps([told, result.stdout, result.restored]))
"""


@pytest.fixture
def pool() -> Iterator[fvm.Pool]:
    """Two VMs that wait."""
    with fvm.Pool(size=2) as pool:
        wait_until_waiting(pool, 2)
        yield pool


def test_two_processes_that_start_at_once_make_one_template(tmp_path: Path) -> None:
    """And unpack one image."""
    env = {**os.environ, "FLASHVM_CACHE_DIR": str(tmp_path / "cache")}
    argv = [sys.executable, "-c", CALLER]
    callers = [subprocess.Popen(argv, env=env, stdout=subprocess.PIPE) for _ in range(2)]
    said = [json.loads(caller.communicate(timeout=120)[0]) for caller in callers]
    assert [(stdout, restored) for _, stdout, restored in said] == [("42\n", True)] * 2
    stages: List[str] = [stage for told, _, _ in said for stage in told]
    assert stages.count("booting a microVM, once, to make a template of it") == 1
    assert stages.count("unpacking the image") == 1
    found = sorted(path.suffix for path in (tmp_path / "cache/templates").iterdir())
    assert found == [".json", ".lock", ".memory", ".state"]


# ---- what a VM holds of its template ----


def descriptors(pid: int) -> Dict[str, str]:
    """Paths by which to open them, and what they are."""
    files: Dict[str, str] = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            files[str(path)] = os.readlink(path)
        except FileNotFoundError:
            continue  # it has just been closed
    return files


def memory_files(pid: int) -> List[str]:
    return [path for path, name in descriptors(pid).items() if "flashvm-template" in name]


def assert_nobody_can_write(path: str) -> None:
    """Not even root, who may open it anew for writing."""
    fd = os.open(path, os.O_RDWR)
    size = min(os.stat(fd).st_size, 4096)
    try:
        assert fcntl.fcntl(fd, F_GET_SEALS) == SEALS
        with pytest.raises(PermissionError):
            os.write(fd, b"x")
        with pytest.raises(PermissionError):
            mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        for other_size in (0, 2**40):
            with pytest.raises(PermissionError):
                os.ftruncate(fd, other_size)
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, F_ADD_SEALS, 0x10)
        mmap.mmap(fd, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE).close()
    finally:
        os.close(fd)


@pytest.mark.needs("root")
@pytest.mark.usefixtures("pool")
def test_a_vm_can_write_to_its_template_by_no_descriptor() -> None:
    pids = [vm.pid for vm in vms()]
    assert len(pids) == 2
    for pid in pids:
        held = memory_files(pid)
        assert {os.stat(path).st_size for path in held} == {512 << 20}
        for path in held:
            assert_nobody_can_write(path)
        own = Path(f"/proc/{pid}/status").read_text().split("\nUid:\t")[1].split("\t")[0]
        for path in descriptors(pid):
            status = os.stat(path)
            if os.path.isfile(path) and path not in held:
                flags = Path(path.replace("/fd/", "/fdinfo/")).read_text().split("flags:\t")[1]
                assert int(flags.split()[0], 8) & os.O_ACCMODE == os.O_RDONLY
                assert status.st_uid != int(own) and status.st_mode & 0o022 == 0


@pytest.mark.usefixtures("pool")
def test_the_state_is_sealed_as_the_memory_is() -> None:
    """The VMs do not even hold it any more; their caller does."""
    held = memory_files(os.getpid())
    assert len({os.stat(path).st_ino for path in held}) == len(held) >= 2
    for path in held:
        assert_nobody_can_write(path)


@pytest.mark.needs("root")
def test_what_a_vm_writes_stays_its_own(pool: fvm.Pool) -> None:
    """Whether its snippet does, or who has broken out of it and writes all over its memory."""
    before = digest(memory_files(vms()[0].pid)[0])
    fill = "data = [bytearray(b'x') * (1 << 20) for _ in range(100)]; print(len(data))"
    assert pool.run(fill).stdout == "100\n"
    wait_until_waiting(pool, 2)

    victim = vms()[0].pid
    maps = Path(f"/proc/{victim}/maps").read_text().splitlines()
    mappings = [line.split() for line in maps if "flashvm-template" in line]
    assert mappings and all(mode.endswith("p") for _, mode, *_ in mappings)
    begin, end = (int(word, 16) for word in mappings[0][0].split("-"))
    with open(f"/proc/{victim}/mem", "r+b", buffering=0) as memory:
        for address in range(begin, end, 1 << 20):
            memory.seek(address)
            memory.write(b"\xff" * 8192)
    assert digest(memory_files(victim)[0]) == before
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{victim}"), "it does not die")
    assert pool.run("print('hi')").stdout == "hi\n"


def digest(path: str) -> int:
    value = 0
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            value = zlib.crc32(data, value)
    return value


# ---- a cache that is cleared ----


def test_images_that_are_cleared_are_there_as_long_as_a_vm_waits(
    cache_home: Path, tmp_path: Path
) -> None:
    """A snippet still finds files that were not read before."""
    fvm.run("")
    subprocess.run(["cp", "-r", "--sparse=always", cache_home / "flashvm", tmp_path / "cache"])
    code = """
import flashvm, time
with flashvm.Pool(size=2) as pool:
    while pool.stats().waiting < 2:
        time.sleep(0.01)
    print(flashvm.clear_cache() > 100e6)
    code = "import sqlite3, xml.dom.minidom, tomllib; print(tomllib.loads('a = 1'))"
    results = [pool.run(code) for _ in range(4)]
    print([result.pooled for result in results[:2]], {result.stdout for result in results})
"""
    done = python(code, {"FLASHVM_CACHE_DIR": str(tmp_path / "cache")})
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == "True" and second == "[True, True] {\"{'a': 1}\\n\"}"
    shutil.rmtree(tmp_path / "cache")
