# SPDX-License-Identifier: MIT
"""However a caller ends, its VMs end with it, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import List

import pytest
from processes import Process, descendants, is_alive, wait_until

import flashvm as fvm

SLEEPS = """
import flashvm, sys, threading
CODE = "print('begun', flush=True); import time; time.sleep(1000)"
def run():
    flashvm.run(CODE, expect=["out/*"], timeout_seconds=900)
"""
IN_MAIN = SLEEPS + "run()"
IN_THREADS = SLEEPS + (
    "threads = [threading.Thread(target=run) for _ in range(2)]\n"
    "for thread in threads: thread.start()\n"
    "for thread in threads: thread.join()\n"
)
# The child holds copies of all descriptors, and lives on.
WITH_A_CHILD = SLEEPS + (
    "import os, time\n"
    "t = threading.Thread(target=run, daemon=True); t.start(); time.sleep(3)\n"
    "if os.fork() == 0: time.sleep(30); os._exit(0)\n"
    "t.join()"
)


@pytest.fixture(scope="module", autouse=True)
def _template() -> None:
    """The VMs that are seen here are those of the snippets."""
    fvm.run("")


def start(code: str, tmp_path: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    # To a file: a pipe would stay open as long as a forked child has it.
    with open(tmp_path.with_suffix(".stderr"), "wb") as errors:
        return subprocess.Popen([sys.executable, "-c", code], env=env, stderr=errors)


def wait_for_vms(pid: int, count: int) -> List[Process]:
    def vms() -> List[Process]:
        return [p for p in descendants(pid) if p.is_vm]

    # The jail and QEMU for each.
    wait_until(lambda: len(vms()) >= 2 * count, "no VM came up", 30)
    time.sleep(1)  # the snippet begins
    return vms()


@pytest.mark.parametrize(("code", "count"), [(IN_MAIN, 1), (IN_THREADS, 2), (WITH_A_CHILD, 1)])
def test_a_killed_caller_leaves_no_process_and_no_file(
    code: str, count: int, tmp_path: Path
) -> None:
    caller = start(code, tmp_path)
    vms = wait_for_vms(caller.pid, count)
    assert len(list(tmp_path.iterdir())) == count  # the directories for artifacts
    if code == WITH_A_CHILD:
        wait_until(
            lambda: [p for p in descendants(caller.pid) if not p.is_vm] != [], "it did not fork", 10
        )
    children = [p.pid for p in descendants(caller.pid) if not p.is_vm]
    caller.kill()
    caller.wait()
    wait_until(lambda: not any(is_alive(p.pid) for p in vms), "a VM outlived its caller")
    wait_until(lambda: not list(tmp_path.iterdir()), "files were left")
    for child in children:
        os.kill(child, signal.SIGKILL)


def test_ctrl_c_ends_a_run_at_once(tmp_path: Path) -> None:
    caller = start(IN_MAIN, tmp_path)
    vms = wait_for_vms(caller.pid, 1)
    begin = time.monotonic()
    caller.send_signal(signal.SIGINT)
    caller.wait(timeout=10)
    errors = tmp_path.with_suffix(".stderr").read_bytes()
    assert time.monotonic() - begin < 2
    assert errors.rstrip().endswith(b"KeyboardInterrupt")
    assert not any(is_alive(p.pid) for p in vms)
    assert not list(tmp_path.iterdir())


def test_a_killed_vm_is_an_error_that_says_so() -> None:
    code = (
        "import flashvm\n"
        "try:\n"
        "    flashvm.run('import time; time.sleep(1000)', timeout_seconds=900)\n"
        "except flashvm.FlashVMError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    (qemu,) = (p for p in wait_for_vms(caller.pid, 1) if p.name.startswith("qemu"))
    os.kill(qemu.pid, signal.SIGKILL)
    out, _ = caller.communicate(timeout=10)
    assert "the microVM ended before" in out


@pytest.mark.needs("root")
def test_the_vm_is_not_root_and_has_no_network(tmp_path: Path) -> None:
    caller = start(IN_THREADS, tmp_path)
    qemus = [p for p in wait_for_vms(caller.pid, 2) if p.name.startswith("qemu")]
    status = [Path(f"/proc/{p.pid}/status").read_text() for p in qemus]
    namespaces = [os.readlink(f"/proc/{p.pid}/ns/net") for p in qemus]
    caller.kill()
    caller.wait()
    users = {line for text in status for line in text.splitlines() if line.startswith("Uid:")}
    assert len(users) == 2 and "Uid:\t0\t0\t0\t0" not in users
    for text in status:
        assert "CapEff:\t0000000000000000" in text and "NoNewPrivs:\t1" in text
        assert "Seccomp:\t2" in text
    assert os.readlink("/proc/self/ns/net") not in namespaces
