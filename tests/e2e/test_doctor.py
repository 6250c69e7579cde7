# SPDX-License-Identifier: MIT
"""doctor(): what this machine can do, and what to do about the rest."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest
from callers import python

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in")

FLAGS = ["krunvm", "buildah", "skopeo", "qemu", "kvm"]
FLAGS += ["offline_mode", "embedded_imported", "ready"]


def doctor_command(command: str, *options: str) -> Tuple[int, str]:
    done = subprocess.run([command, "doctor", *options], capture_output=True, text=True, timeout=20)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture
def _no_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_the_report_has_these_keys_and_types() -> None:
    fvm.prepare_image()
    report: Dict[str, Any] = dict(fvm.doctor())
    assert {key for key, value in report.items() if isinstance(value, bool)} == set(FLAGS)
    others = {"note", "engines", "containers_storage", "data_dir", "cache_dir"}
    assert set(report) == {*FLAGS, *others}
    assert set(report["containers_storage"]) == set(fvm.StorageReport.__annotations__)
    assert report["ready"] and report["qemu"] and report["embedded_imported"]
    assert report["note"].startswith("Ready: engine qemu, accelerator ")
    qemu = report["engines"]["qemu"]
    assert qemu["usable"] is True and (qemu["remedy"] is None) == report["kvm"]
    assert qemu["accelerator"] == ("kvm" if report["kvm"] else "tcg")
    assert Path(report["data_dir"]).is_dir() and Path(report["cache_dir"]).is_dir()


def test_the_command_reports_the_same(command: str) -> None:
    exit_code, text = doctor_command(command, "--json")
    assert (exit_code, json.loads(text)) == (0, fvm.doctor())
    exit_code, text = doctor_command(command)
    report: Any = fvm.doctor()
    assert exit_code == 0
    for flag in FLAGS:
        assert f"{flag:17}  {'yes' if report[flag] else 'no ':3}  " in text
    assert report["note"] in text and report["engines"]["qemu"]["reason"] in text


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("0", False), ("", False)])
def test_offline_mode_is_an_environment_variable(
    monkeypatch: pytest.MonkeyPatch, value: str, offline: bool
) -> None:
    monkeypatch.setenv("FLASHVM_OFFLINE", value)
    assert fvm.doctor()["offline_mode"] is offline


@pytest.mark.usefixtures("_no_qemu")
def test_without_qemu_nothing_is_ready_and_the_remedy_is_named(command: str) -> None:
    report = fvm.doctor()
    assert (report["ready"], report["qemu"]) == (False, False)
    qemu = report["engines"]["qemu"]
    assert (qemu["usable"], qemu["accelerator"]) == (False, None)
    assert "there is no qemu-system-x86_64 on PATH" in qemu["reason"]
    assert "apt-get install qemu-system-x86" in (qemu["remedy"] or "")
    assert "apt-get install qemu-system-x86" in report["note"]
    exit_code, text = doctor_command(command)
    assert exit_code == 244 and "to do: Install it" in text


@pytest.mark.usefixtures("_no_qemu")
@pytest.mark.parametrize("engine", ["auto", "qemu"])
def test_without_qemu_a_run_says_what_to_install(engine: str) -> None:
    with pytest.raises(fvm.EngineUnavailable, match="apt-get install qemu-system-x86"):
        fvm.run("", engine=engine)


@pytest.mark.usefixtures("_no_qemu")
def test_the_image_can_be_prepared_without_qemu() -> None:
    assert fvm.prepare_image().startswith("localhost/flashvm:python-basic@sha256:")


@pytest.fixture
def libexec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with flashVM's own programs, of which one can be missing."""
    directory = tmp_path / "libexec"
    directory.mkdir()
    for name in ("flashvm-jail", "flashvm-probe-kvm"):
        (directory / name).symlink_to(Path(fvm.__file__).parent / "bin" / name)
    monkeypatch.setenv("FLASHVM_LIBEXEC_DIR", str(directory))
    return directory


def test_without_the_jail_nothing_is_ready(libexec: Path) -> None:
    (libexec / "flashvm-jail").unlink()
    done = python(
        "import flashvm; report = flashvm.doctor(); print(report['ready'], report['note'])"
    )
    assert done.stdout == (
        f"False Not ready: flashvm-jail is missing in {libexec}, or no program that this user can "
        "start. Install flashVM again\n"
    )


def test_without_the_probe_there_is_no_kvm(libexec: Path) -> None:
    (libexec / "flashvm-probe-kvm").unlink()
    done = python(
        "import flashvm; report = flashvm.doctor(); print(report['ready'], report['note'])"
    )
    assert done.stdout.startswith(
        f"True Ready, but KVM cannot be used: flashvm-probe-kvm is missing in {libexec}, or no "
    )
