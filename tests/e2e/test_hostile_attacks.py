# SPDX-License-Identifier: MIT
"""Snippets that attack: their run's result, the agent, or the guest. None of them gets further."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import List

import pytest
from forgery import FORGE
from hostile import Run
from processes import descendants, wait_until

import flashvm as fvm

ROOT = Path(__file__).parents[2]


# ---- the result ----


def test_no_descriptor_and_no_device_takes_a_forged_frame(run: Run) -> None:
    res = run(FORGE)
    assert res.exit_code == 3, res
    assert b"exit_code" in res.stdout_raw and res.artifacts == []
    assert "made a node" not in res.stderr
    opened = eval(res.stderr)  # what may be written to: none leads anywhere
    nodes = {"full", "null", "ptmx", "pts/ptmx", "random", "stderr", "stdout", "urandom", "zero"}
    assert {path[len("/dev/") :] for path in opened} <= nodes | {f"fd/{n}" for n in range(64)}


RACE = """
import os, sys, time

def swap(n):
    name, other = f"out/{n}", f".other{n}"
    kinds = (lambda: os.symlink("/etc/passwd", other), lambda: os.mkfifo(other),
             lambda: open(other, "w").write("mine"), lambda: os.symlink("/dev/zero", other))
    while True:
        for make in kinds:
            make()
            os.rename(other, name)

for n in range(4):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            swap(n)
        os._exit(0)
time.sleep(1)
sys.stdout.flush()
os._exit(0)
"""


def test_files_that_change_into_links_give_nothing_away(run: Run) -> None:
    """The processes that change them are gone before the first file is looked at."""
    res = run(RACE, expect=["out/*"])
    assert res.exit_code == 0, res
    found = {a.guest_path: a.content for a in res.artifacts}
    assert set(found.values()) <= {b"mine", b""}
    assert len(found) == 4 or res.artifacts_note == (
        f"{4 - len(found)} not regular files (symlinks, devices, pipes, sockets)"
    )


# ---- the agent ----

AGENT = """
import ctypes, os, resource, signal
libc = ctypes.CDLL(None, use_errno=True)
def say(name, outcome):
    print(name, os.strerror(ctypes.get_errno()) if outcome < 0 else "done")
def attempt(name, call):
    try:
        call()
        print(name, "done")
    except OSError as error:
        print(name, error.strerror)

PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
say("attach", libc.ptrace(PTRACE_ATTACH, 1, 0, 0))
say("seize", libc.ptrace(PTRACE_SEIZE, 1, 0, 0))
vector = (ctypes.c_void_p * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
say("readv", libc.process_vm_readv(1, vector, 1, vector, 1, 0))
say("writev", libc.process_vm_writev(1, vector, 1, vector, 1, 0))
attempt("mem", lambda: open("/proc/1/mem", "r+b"))
attempt("environ", lambda: open("/proc/1/environ", "rb").read())
attempt("maps", lambda: open("/proc/1/maps", "rb").read())
attempt("root", lambda: os.listdir("/proc/1/root/"))
attempt("kill", lambda: os.kill(1, signal.SIGKILL))
attempt("prlimit", lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0)))
attempt("oom", lambda: open("/proc/1/oom_score_adj", "w").write("1000"))
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, 1, 19))
attempt("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(1), signal.SIGKILL))
say("getfd", libc.syscall(438, os.pidfd_open(1), 3, 0))
attempt("modules", lambda: libc.syscall(175, b"", 0, b"") == 0 or (_ for _ in ()).throw(
    OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))))
attempt("sysrq", lambda: open("/proc/sysrq-trigger", "w").write("c"))
say("reboot", libc.reboot(0x1234567))
"""


def test_the_agent_cannot_be_traced_read_or_ended(run: Run) -> None:
    res = run(AGENT)
    assert res.exit_code == 0, res
    answers = dict(line.split(" ", 1) for line in res.stdout.splitlines())
    assert len(answers) == 17
    # Its directory in /proc is not to be seen.
    hidden = {name for name, answer in answers.items() if answer == "No such file or directory"}
    assert hidden == {"mem", "environ", "maps", "root", "oom"}, answers
    seen = {answers[name] for name in answers.keys() - hidden}
    assert seen <= {"Operation not permitted", "Permission denied"}, answers


@pytest.mark.parametrize("python_args", [["-u"], ["-O"]], ids=["waiting", "started"])
@pytest.mark.parametrize("target", ["os.getpid()", "-1"])
def test_an_interpreter_that_is_killed_is_a_result(
    run: Run, target: str, python_args: List[str]
) -> None:
    code = f"import os\nprint('begun', flush=True)\nos.kill({target}, 9)\nos.abort()"
    if target == "-1":  # all but itself
        code = "import os\nprint('begun', flush=True)\nif os.fork():\n    os.wait()\nos.kill(-1, 9)"
    res = run(code, python_args=python_args)
    assert (res.exit_code, res.term_signal, res.stdout) == (137, 9, "begun\n")
    assert (res.oom_killed, res.ended_by_limit, res.timed_out) == (False, None, False)


# ---- the guest ----

# PID 1 of a guest whose kernel panics when the snippet says so: the agent is its child.
FRAGILE_INIT = """
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
    if (fork() == 0) {
        execl("/agent", "/agent", NULL);
        _exit(1);
    }
    while (access("/upper/data/work/out/panic", F_OK) < 0)
        usleep(10000);
    exit(1); /* "Attempted to kill init!" */
}
"""


def fragile_guest(data: Path, directory: Path) -> None:
    """Change that copy of the guest's files."""
    (directory / "init.c").write_text(FRAGILE_INIT)
    subprocess.run(
        ["cc", "-static", "-o", directory / "init", directory / "init.c"], check=True, timeout=60
    )
    shutil.copy(ROOT / "build/dev/guest/flashvm-agent", directory / "agent")
    # A second archive behind the first: its files replace those of the same name.
    archive = subprocess.run(
        ["cpio", "--quiet", "--create", "--format=newc"],
        cwd=directory,
        input=b"init\nagent\n",
        capture_output=True,
        check=True,
    ).stdout
    with (data / "initramfs.cpio").open("ab") as initramfs:
        initramfs.write(bytes(-initramfs.tell() % 512) + archive)
    tool = [sys.executable, str(ROOT / "guest/manifest.py"), str(data), "initramfs"]
    subprocess.run(tool, check=True, timeout=60)


def test_a_kernel_that_panics_is_an_error_with_its_last_words(run: Run, tmp_path: Path) -> None:
    scratch = Path(run.env["TMPDIR"])
    data = scratch / "data"
    shutil.copytree(Path(fvm.__file__).parent / "data", data)
    fragile_guest(data, tmp_path)
    run.env["FLASHVM_DATA_DIR"] = str(data)
    code = "import time\ntime.sleep(0.5)\nopen('/work/out/panic', 'w')\ntime.sleep(1000)"
    error = run.end(run.begin(code), 60)
    assert isinstance(error, fvm.GuestFailed)
    assert "ended before it sent a result (the snippet had begun)" in str(error)
    assert "Kernel panic - not syncing: Attempted to kill init!" in str(error)
    assert run("print('well')").stdout == "well\n"  # in the same guest, left in peace
    shutil.rmtree(data)


def test_a_guest_that_stops_answering_is_ended(run: Run) -> None:
    boot_seconds = run("").timings["boot"] / 1000
    begin = time.monotonic()
    caller = run.begin("print('begun', flush=True)\nwhile True: pass", timeout_seconds=8)

    def qemu() -> List[int]:
        return [p.pid for p in descendants(caller.pid) if p.name.startswith("qemu")]

    wait_until(lambda: qemu() != [], "no VM came up", 30)
    time.sleep(boot_seconds + 3)  # the middle of the run
    os.kill(qemu()[0], signal.SIGSTOP)
    result = run.end(caller, 60)
    assert isinstance(result, fvm.Result), result
    assert (result.exit_code, result.timed_out, result.stdout) == (124, True, "begun\n")
    assert "the guest stopped answering and was ended" in (result.artifacts_note or "")
    assert time.monotonic() - begin < 60
