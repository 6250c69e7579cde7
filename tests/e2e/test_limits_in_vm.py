# SPDX-License-Identifier: MIT
"""The limits of a run and what a result says of its use, in real microVMs."""

from __future__ import annotations

import time

import pytest

import flashvm as fvm

MIB = 2**20

HOG = """
import os
hog = []
while True:
    hog.append(b"x" * (1 << 20))
    os.write(1, b"%d\\n" % len(hog))
"""

# What a snippet can take in MiB, by memory_mb; README.md has these numbers.
SNIPPETS_SHARE = {128: 43, 256: 148, 512: 398}


def taken_mib(result: fvm.Result) -> int:
    """How much the hog got before it was ended for it."""
    assert (result.exit_code, result.term_signal) == (137, 9), result
    assert (result.oom_killed, result.ended_by_limit, result.timed_out) == (True, "memory", False)
    return int(result.stdout.split()[-1])


def test_a_snippet_gets_what_the_documentation_says() -> None:
    """The smallest guest; seconds later it is told, where the kernel alone would let it crawl."""
    result = fvm.run(HOG, memory_mb=128, timeout_seconds=60)
    assert taken_mib(result) == pytest.approx(SNIPPETS_SHARE[128], abs=3)
    assert result.execution_time_ms < 30_000
    assert SNIPPETS_SHARE[128] * MIB < result.peak_memory_bytes < (SNIPPETS_SHARE[128] + 12) * MIB


def test_a_child_that_takes_all_memory_ends_the_run() -> None:
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {HOG!r}])\nprint('no')"
    result = fvm.run(code, memory_mb=256, timeout_seconds=60)
    assert taken_mib(result) == pytest.approx(SNIPPETS_SHARE[256], abs=8)  # there are two pythons
    assert result.execution_time_ms < 40_000


def test_files_in_are_taken_off_the_snippets_memory() -> None:
    """And libraries that only the snippet has loaded do not keep it alive without any."""
    code = "import ctypes, decimal, json, lzma, sqlite3, ssl, xml.etree.ElementTree\n" + HOG
    result = fvm.run(code, files_in={"large": bytes(220 * MIB)}, timeout_seconds=90)
    assert taken_mib(result) == pytest.approx(SNIPPETS_SHARE[512] - 220, abs=15)
    assert result.execution_time_ms < 60_000


USE = """
import errno, os, subprocess, sys, threading, time

def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

spin(0.5)
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.7: pass"])
block = bytearray(50 << 20)
del block

children = []
try:
    for _ in range(100):
        children.append(subprocess.Popen(["sleep", "100"]))
except OSError as error:
    print(len(children), errno.errorcode[error.errno])
for child in children:
    child.kill()
    child.wait()
threads = []
try:
    for _ in range(100):
        threads.append(threading.Thread(target=time.sleep, args=(1,)))
        threads[-1].start()
except RuntimeError as error:
    print(len(threads) - 1, error)

for place in ("/work", "/tmp"):
    written = 0
    try:
        with open(place + "/file", "wb", buffering=0) as file:
            while True:
                written += file.write(bytes(1 << 16))
    except OSError as error:
        print(place, written, errno.errorcode[error.errno])
os.truncate("/work/file", 0)
open("/work/file", "wb").write(bytes(1 << 20))
print(os.path.getsize("/work/in/given"))
"""


def test_use_is_counted_and_each_limit_holds() -> None:
    result = fvm.run(
        USE, files_in={"given": bytes(9 * MIB)}, max_processes=12, max_disk_mb=5, timeout_seconds=60
    )
    assert result.exit_code == 0, result.stderr
    children, threads, work, tmp, given = result.stdout.splitlines()
    assert children == "11 EAGAIN"
    assert threads == "11 can't start new thread"
    place, written, error = work.split()
    assert (place, error) == ("/work", "ENOSPC")
    assert 4.9 * MIB <= int(written) <= 5 * MIB  # beside the files it was given
    assert tmp == "/tmp 0 ENOSPC" and given == str(9 * MIB)
    assert 1200 <= result.cpu_time_ms <= 1200 + 8000
    assert result.cpu_time_ms <= result.execution_time_ms * 1.1
    assert 50 * MIB < result.peak_memory_bytes < 85 * MIB
    assert (result.oom_killed, result.ended_by_limit, result.timed_out) == (False, None, False)


def test_the_timeout_counts_from_the_first_instruction() -> None:
    """Not from the boot, nor from the transfer of files, each of which takes longer here."""
    code = (
        "import time\nbegin = time.monotonic()\nwhile True:\n    print(time.monotonic() - begin)\n"
    )
    code += "    time.sleep(0.1)"
    begin = time.monotonic()
    files = {"large": bytes(60 * MIB)}
    result = fvm.run(code, timeout_seconds=1.5, files_in=files, cold_boot=True)
    assert (result.exit_code, result.timed_out, result.ended_by_limit) == (124, True, "timeout")
    assert 1.0 <= float(result.stdout.split()[-1]) <= 1.6
    assert 1500 <= result.execution_time_ms < 4000
    assert time.monotonic() - begin > 2
    assert result.cpu_time_ms < 1500 and not result.oom_killed


def test_files_that_leave_no_memory_are_an_error() -> None:
    with pytest.raises(fvm.InvalidArgument, match=r"^files_in leave too little memory for the "):
        fvm.run("", files_in={"large": bytes(38 * MIB)}, memory_mb=128)
