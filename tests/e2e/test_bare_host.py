# SPDX-License-Identifier: MIT
"""Hosts that lack something of the system's, of QEMU or of flashVM's own programs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Callable, List

import pytest
from hosts import Done, after, on_host
from ordinary_user import User, as_user

import flashvm as fvm

needs_root = pytest.mark.needs("root")

StandInScript = Callable[[str], None]

NO_KVM = "/dev/kvm is no KVM device: Inappropriate ioctl for device"
BARE_DEV = "mount -t tmpfs bare /dev; mknod -m 666 /dev/null c 1 3; "


def assert_failed(done: Done, status: int, *parts: str) -> None:
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert all(part in done.stderr for part in parts), done.stderr


def first_line(done: Done) -> str:
    return done.stderr.split("\n")[0]


# ---- /proc and /dev ----


@needs_root
@pytest.mark.parametrize("script", ["umount -l /proc", "mount -t tmpfs empty /proc"])
def test_without_proc(command: str, script: str) -> None:
    said = "there is no /proc, by which QEMU gets its files. Mount it: mount -t proc proc /proc"
    assert_failed(on_host(script, [command, "run", "-c", ""]), 244, said)
    assert said in on_host(script, [command, "doctor"]).stdout


@needs_root
@pytest.mark.usefixtures("stand_in")
def test_without_dev_null(command: str) -> None:
    done = on_host("mount -t tmpfs empty /dev", [command, "run", "-c", ""])
    assert_failed(done, 242, "flashvm-jail: there is no /dev/null")


# ---- /dev/kvm ----


@needs_root
@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("", "there is no /dev/kvm"),
        ("touch /dev/kvm; chmod 666 /dev/kvm", NO_KVM),
        ("mkdir /dev/kvm", "cannot open /dev/kvm: Is a directory"),
        ("mkfifo -m 666 /dev/kvm", NO_KVM),
        ("mknod /dev/kvm c 10 232; chmod 0 /dev/kvm", "cannot open /dev/kvm: Permission denied"),
    ],
)
def test_a_kvm_that_is_none_is_done_without(user: User, device: str, reason: str) -> None:
    done = on_host(BARE_DEV + device, as_user([user.command, "doctor"]), user.env)
    assert done.returncode == 0 and f"KVM is not usable: {reason}" in done.stdout
    run = on_host(BARE_DEV + device, as_user([user.command, "run", "-c", "stdout hi"]), user.env)
    assert (run.stdout, run.stderr) == ("hi\n", "")


@needs_root
@pytest.mark.usefixtures("stand_in")
def test_a_quick_no_of_kvm_is_not_remembered(command: str, tmp_path: Path) -> None:
    """What can pass, as another hypervisor's hold on the processor, must not last until a boot."""
    env = {"FLASHVM_CACHE_DIR": str(tmp_path)}
    done = on_host(BARE_DEV + "touch /dev/kvm", [command, "run", "-c", "exit 3"], env)
    assert done.returncode == 3 and not (tmp_path / "kvm-probe").exists()


# ---- QEMU ----


def qemu(text: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_text(text)
        path.chmod(0o755)

    return make


OLD = '#!/bin/sh\n[ "$1" = --version ] && echo "QEMU emulator version 7.1.90"\n'
NOT_WORKING = "does not work as QEMU: to --version it answers"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (qemu("#!/bin/sh\nexit 1\n"), f'{NOT_WORKING} ""'),
        (qemu("#!/bin/sh\necho Illegal instruction >&2; kill -4 $$\n"), NOT_WORKING),
        (lambda path: path.symlink_to("/bin/true"), f'{NOT_WORKING} "true (GNU coreutils)'),
        (lambda path: path.symlink_to("/bin/cat"), f'{NOT_WORKING} "cat (GNU coreutils)'),
        (qemu("#!/nonexistent/sh\n"), "its interpreter or loader is missing"),
        (qemu(""), "Exec format error"),
        (qemu(OLD), "is QEMU 7.1, and flashVM needs 7.2 or later"),
    ],
)
def test_a_program_that_is_no_qemu_of_ours(
    command: str, tmp_path: Path, make: Callable[[Path], None], says: str
) -> None:
    tmp_path.chmod(0o755)
    tmp_path.parent.chmod(0o755)
    program = tmp_path / "qemu-system-x86_64"
    make(program)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    fvm.prepare_image()
    done = after("", [command, "run", "-c", ""], env)
    assert_failed(done, 245, "the microVM ended before it was up")
    assert str(program) in first_line(done) and says in first_line(done)
    report = after("", [command, "doctor"], env)
    assert report.returncode == 244 and says in report.stdout and "on PATH" in report.stdout


@needs_root
def test_a_qemu_that_may_not_be_executed(command: str, tmp_path: Path) -> None:
    program = tmp_path / "qemu-system-x86_64"
    program.write_bytes(b"")
    done = after(f"PATH={tmp_path}", [command, "run", "-c", ""])
    assert_failed(done, 244, f"{program} cannot be executed by this user", "apt-get install")


def test_a_qemu_that_the_kernel_killed_is_called_that(stand_in_script: StandInScript) -> None:
    stand_in_script("kill -9 $$")
    with pytest.raises(fvm.BootFailed, match=r"signal 9 \(Killed\): was the host, or its"):
        fvm.run("")
    stand_in_script("kill -31 $$")
    with pytest.raises(fvm.BootFailed, match=r"was killed by signal 31 \(Bad system call\)$"):
        fvm.run("")


# ---- flashVM's own programs ----


@pytest.fixture
def libexec(user: User, tmp_path: Path) -> Path:
    shutil.copytree(user.package / "bin", tmp_path / "bin")
    return tmp_path / "bin"


def not_executable(path: Path) -> None:
    path.chmod(0o644)


def missing(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    os.truncate(path, 20)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


WAYS: List[Callable[[Path], None]] = [not_executable, missing, truncated, directory]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("damage", WAYS)
def test_a_damaged_jail(command: str, libexec: Path, damage: Callable[[Path], None]) -> None:
    damage(libexec / "flashvm-jail")
    done = after("", [command, "run", "-c", ""], {"FLASHVM_LIBEXEC_DIR": str(libexec)})
    assert done.returncode in (241, 242)
    assert f"cannot start {libexec}/flashvm-jail: " in done.stderr
    assert damage is truncated or "install flashVM again" in done.stderr


@needs_root
@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("damage", WAYS)
def test_a_damaged_probe_costs_only_kvm(
    command: str, libexec: Path, damage: Callable[[Path], None], cache_home: Path, tmp_path: Path
) -> None:
    damage(libexec / "flashvm-probe-kvm")
    fvm.prepare_image()
    shutil.copytree(cache_home / "flashvm/rootfs", tmp_path / "cache/rootfs")
    env = {"FLASHVM_LIBEXEC_DIR": str(libexec), "FLASHVM_CACHE_DIR": str(tmp_path / "cache")}
    device = BARE_DEV + "touch /dev/kvm"
    assert on_host(device, [command, "run", "-c", "exit 3"], env).returncode == 3
    report = on_host(device, [command, "doctor"], env).stdout
    assert f"KVM is not usable: cannot start {libexec}/flashvm-probe-kvm: " in report
    assert not (tmp_path / "cache/kvm-probe").exists()
