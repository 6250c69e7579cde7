# SPDX-License-Identifier: MIT
"""What is the native engine's own: its monitor, its mailbox, its snapshots.

What it has in common with the others is tests/conformance.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import List

import pytest

import flashvm as fvm

PATIENCE = 300

# `in (%dx),%eax; ret`, called with the port.
READ_A_PORT = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("89faedc3"))
read = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_uint)(
    ctypes.addressof(ctypes.c_char.from_buffer(code)))
print("begun", flush=True)
print(read(PORT))
"""


def run(code: str, **options: object) -> fvm.Result:
    options.setdefault("boot_timeout_seconds", PATIENCE)
    result = fvm.run(code, engine="native", **options)  # type: ignore[arg-type]
    assert (result.engine, result.accelerator) == ("native", "kvm")
    return result


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def monitors(caller: int) -> List[int]:
    """The processes of our monitor that a caller has."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "exe").endswith("flashvm-vmm"):
                jail = parent_of(int(process.name))
                if parent_of(jail) == caller:
                    found.append(int(process.name))
        except OSError:
            continue
    return found


def test_it_is_what_auto_takes() -> None:
    assert fvm.run("", boot_timeout_seconds=PATIENCE).engine == "native"


@pytest.mark.parametrize("port", [0x510, 0x514, 0x518, 0x51C, 0x3F8, 0xCF8])
def test_a_snippet_cannot_use_the_monitors_ports(port: int) -> None:
    result = run(READ_A_PORT.replace("PORT", str(port)))
    assert (result.stdout, result.exit_code) == ("begun\n", 128 + signal.SIGSEGV), result


@pytest.mark.parametrize("cold_boot", [True, False])
def test_more_processors(cold_boot: bool) -> None:
    code = """
import os
print(os.cpu_count())
for cpu in range(2):
    os.sched_setaffinity(0, {cpu})
    print(sum(range(1000)))
"""
    result = run(code, cpus=2, cold_boot=cold_boot)
    assert (result.stdout, result.stderr) == ("2\n499500\n499500\n", ""), result
    assert result.restored is not cold_boot


def test_memory_beyond_the_hole_below_4_gib() -> None:
    """3 GiB lie below it; the snippet writes to more than that."""
    code = """
import mmap, os
print(os.sysconf("SC_PHYS_PAGES") * 4096 >> 20 > 3200)
area = mmap.mmap(-1, 3150 << 20)
for offset in range(0, len(area), 1 << 20):
    area[offset:offset + 8] = offset.to_bytes(8, "little")
print(all(area[o:o + 8] == o.to_bytes(8, "little") for o in range(0, len(area), 1 << 20)))
"""
    result = run(code, memory_mb=3400, timeout_seconds=PATIENCE)
    assert (result.stdout, result.stderr) == ("True\nTrue\n", ""), result


def test_its_time_goes_on_where_the_template_stood_and_its_clock_is_right() -> None:
    code = """
import time
print(time.time(), time.monotonic())
time.sleep(1)
print(time.monotonic())
"""
    run("")
    time.sleep(3)
    result = run(code)
    wall, before, after = map(float, result.stdout.split())
    assert abs(wall - time.time()) < 10
    assert before < 120 and 0.9 < after - before < 3, result


def test_output_and_input_stream_while_the_snippet_runs() -> None:
    """More than the mailbox holds, in both directions."""
    code = "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data[::-1])"
    data = os.urandom(500_000)
    result = run(code, stdin=data, timeout_seconds=PATIENCE)
    assert result.stdout_raw == data[::-1]


def test_a_monitor_that_is_killed_is_an_error_that_says_so() -> None:
    code = f"""
import flashvm
options = {{"engine": "native", "boot_timeout_seconds": {PATIENCE}}}
flashvm.run("", **options)
print("begin", flush=True)
try:
    flashvm.run("import time; time.sleep(1000)", **options)
except flashvm.GuestFailed as error:
    print(error)
"""
    caller = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "FLASHVM_POOL_SIZE": "0"},
    )
    assert caller.stdout and caller.stdout.readline() == "begin\n"
    time.sleep(5)
    (monitor,) = monitors(caller.pid)
    os.kill(monitor, signal.SIGKILL)
    out, _ = caller.communicate(timeout=60)
    assert "flashvm-vmm was killed by signal 9" in out, out
