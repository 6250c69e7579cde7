# SPDX-License-Identifier: MIT
"""A host that lacks something, and VMs that do not come up: the error says what and why."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest
from callers import python

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in")

StandInScript = Callable[[str], None]


def failure_of(call: str, **env: str) -> Tuple[str, str]:
    """In a process of its own, since directories are read at the first call. Class and message."""
    done = python(
        "import flashvm, json\n"
        f"try: {call}\n"
        "except flashvm.FlashVMError as error:\n"
        "    print(json.dumps([type(error).__name__, str(error)]))",
        env,
    )
    assert done.stderr == ""
    name, message = json.loads(done.stdout)
    return name, message


def failure_of_run(**env: str) -> Tuple[str, str]:
    return failure_of("flashvm.run('', expect=['*'])", **env)


# ---- what is missing ----


def test_a_missing_data_directory() -> None:
    name, message = failure_of_run(FLASHVM_DATA_DIR="/nonexistent")
    assert name == "NotFound"
    assert "the directory /nonexistent/oci is missing" in message and "make guest" in message


def test_a_missing_jail() -> None:
    name, message = failure_of_run(FLASHVM_LIBEXEC_DIR="/nonexistent")
    assert name == "NotFound"
    assert "cannot start /nonexistent/flashvm-jail" in message


def test_a_missing_helper_is_not_remembered_as_an_answer_about_kvm(cache_home: Path) -> None:
    """Or KVM would stay unused until the next boot of the machine."""
    cache = cache_home / "for-a-missing-helper"
    env = {"FLASHVM_LIBEXEC_DIR": "/nonexistent", "FLASHVM_CACHE_DIR": str(cache)}
    failure_of_run(**env)
    assert not (cache / "kvm-probe").exists()


# ---- the cache ----


@pytest.mark.needs("root")
def test_a_cache_of_another_user(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    name, message = failure_of_run(FLASHVM_CACHE_DIR=str(tmp_path))
    assert name == "CacheUnsafe"
    assert f"the cache directory {tmp_path} belongs to user id 12345" in message


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_cache_that_others_can_write(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    name, message = failure_of_run(FLASHVM_CACHE_DIR=str(tmp_path))
    assert name == "CacheUnsafe"
    assert f"mode is 0{mode:o}" in message and f"chmod go-w {tmp_path}" in message


def test_a_directory_in_the_cache_that_others_can_write(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "rootfs").chmod(0o777)
    name, message = failure_of_run(FLASHVM_CACHE_DIR=str(tmp_path))
    assert name == "CacheUnsafe" and f"{tmp_path}/rootfs can be written" in message


def test_a_file_in_the_place_of_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    name, message = failure_of_run(FLASHVM_CACHE_DIR=str(tmp_path / "file"))
    assert name in ("CacheUnsafe", "HostError") and f"{tmp_path}/file" in message


def test_doctor_reports_an_unsafe_cache_and_does_not_fail(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    done = python(
        "import flashvm; report = flashvm.doctor(); print(report['ready'], report['note'])",
        {"FLASHVM_CACHE_DIR": str(tmp_path)},
    )
    assert done.stdout.startswith("False Not ready: the cache directory"), done.stderr


# ---- the directory for artifacts ----


@pytest.mark.parametrize(
    ("directory", "cls"), [("/sys", fvm.HostError), ("/nonexistent", fvm.NotFound)]
)
def test_a_tmpdir_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, directory: str, cls: type
) -> None:
    monkeypatch.setenv("TMPDIR", directory)
    with pytest.raises(cls, match=f"cannot make a directory for artifacts in {directory}"):
        fvm.run("", expect=["*"])
    assert fvm.run("exit 7").exit_code == 7  # without artifacts none is needed


# ---- a VM that does not come up ----


def test_a_kernel_that_panics(stand_in_script: StandInScript) -> None:
    stand_in_script("echo 'Booting'; echo '[    1.5] Kernel panic - not syncing: VFS'")
    with pytest.raises(fvm.BootFailed) as raised:
        fvm.run("")
    first, *others = str(raised.value).splitlines()
    assert first == "the microVM ended before it was up"
    assert others == [
        "--- the end of the guest's console ---",
        "Booting",
        "[    1.5] Kernel panic - not syncing: VFS",
    ]


def test_a_boot_that_fails_is_not_tried_again(stand_in_script: StandInScript) -> None:
    stand_in_script("exec sleep 100")
    begin = time.monotonic()
    with pytest.raises(fvm.BootFailed, match="the microVM was not up after 1 seconds"):
        fvm.run("", boot_timeout_seconds=1)
    assert time.monotonic() - begin < 2


def test_a_template_that_does_not_work_is_made_anew_once(
    stand_in_script: StandInScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here QEMU cannot read what it wrote."""
    guest = shutil.which("qemu-system-x86_64")
    stand_in_script(
        f'case "$*" in *-incoming*) echo no machine >&2; exit 1;; esac; exec {guest} "$@"'
    )
    told: List[str] = []
    monkeypatch.setattr(fvm._library._progress_line, "show", told.append)
    with pytest.raises(fvm.BootFailed, match=r"ended before it was up\n.*\nno machine"):
        fvm.run("")
    assert told.count("booting a microVM, once, to make a template of it") == 2


def test_a_qemu_that_refuses_to_start(stand_in_script: StandInScript) -> None:
    stand_in_script("echo 'qemu: could not open disk image' >&2; exit 1")
    with pytest.raises(fvm.BootFailed) as raised:
        fvm.run("")
    assert "--- the VM's process said ---\nqemu: could not open disk image" in str(raised.value)


def test_an_agent_that_cannot(stand_in_script: StandInScript) -> None:
    # A FAILED frame (15) of 14 bytes.
    stand_in_script(r"printf '\017\000\000\000\016\000\000\000no python here' >&4; sleep 100")
    with pytest.raises(fvm.ImageInvalid, match=r"python-basic cannot run Python: no python here"):
        fvm.run("")


def test_a_guest_that_greets_with_nonsense(stand_in_script: StandInScript) -> None:
    stand_in_script("echo 'HTTP/1.1 400 Bad Request' >&4; sleep 100")
    with pytest.raises(fvm.GuestFailed, match="bytes that are no frame"):
        fvm.run("")


def test_a_program_that_cannot_be_executed(stand_in_script: StandInScript) -> None:
    stand_in_script("exit 0")
    program = Path(shutil.which("qemu-system-x86_64") or "")
    program.write_text("#!/nonexistent/interpreter\n")
    with pytest.raises(fvm.BootFailed) as raised:
        fvm.run("")
    assert f"flashvm-jail: {program}: No such file or directory" in str(raised.value)


def test_a_failed_boot_leaves_no_file(stand_in_script: StandInScript, tmp_path: Path) -> None:
    stand_in_script("exit 1")
    env: Dict[str, str] = {"TMPDIR": str(tmp_path)}
    name, _ = failure_of_run(**env)
    assert name == "BootFailed" and list(tmp_path.iterdir()) == []
