# SPDX-License-Identifier: MIT
"""What the guest's kernel keeps from a snippet, in a real microVM."""

from __future__ import annotations

import flashvm as fvm

ATTEMPTS = """
import ctypes, errno, os

libc = ctypes.CDLL(None, use_errno=True)

def attempt(name, *arguments):
    result = libc.syscall(*arguments)
    print(name, errno.errorcode[ctypes.get_errno()] if result < 0 else "worked")

attributes = ctypes.create_string_buffer(128)
attempt("userns", 272, 0x10000000)
attempt("io_uring", 425, 8, attributes)
attempt("bpf", 321, 5, attributes, 48)
attempt("perf", 298, attributes, 0, -1, -1, 0)
attempt("userfaultfd", 323, 0)
attempt("module", 313, 0, b"", 0)
attempt("kexec", 320, -1, -1, 0, b"", 0)
attempt("dmesg", 103, 3, attributes, 128)
attempt("mount", 165, b"none", b"/tmp", b"tmpfs", 0, None)
print("secrets", open("/proc/kallsyms").read(17).strip("0"))
for line in open("/proc/mounts"):
    source, target, kind, options = line.split()[:4]
    wanted = {"nosuid", "noexec"} if target in ("/dev", "/dev/pts") else {"nosuid", "nodev"}
    if not wanted <= set(options.split(",")):
        print("loose", target, options)
"""


def test_interfaces_that_snippets_do_not_need_are_closed() -> None:
    result = fvm.run(ATTEMPTS)
    assert result.exit_code == 0, result.stderr
    answers = dict(line.split(" ", 1) for line in result.stdout.splitlines())
    assert answers.pop("secrets").strip() == ""
    assert answers.pop("userns") == "ENOSPC"  # none is left
    assert set(answers.values()) <= {"EPERM", "EACCES"} and len(answers) == 8, answers


def test_the_mitigations_are_on() -> None:
    code = (
        "import pathlib\n"
        "for path in pathlib.Path('/sys/devices/system/cpu/vulnerabilities').glob('*'):\n"
        "    print(path.name, path.read_text().strip())\n"
        "print(open('/proc/cmdline').read())"
    )
    assert "mitigations" not in fvm.run(code).stdout
