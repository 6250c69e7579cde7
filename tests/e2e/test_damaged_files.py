# SPDX-License-Identifier: MIT
"""Files of the installation or the cache that are damaged: named in the error, or made again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Tuple

import pytest

import flashvm as fvm

REMEDY = "Install flashVM again, or in its source tree run: make guest"

Damage = Callable[[Path], None]


# ---- ways of damage ----


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def zeros_inside(path: Path) -> None:
    """Size and times stay, as after a fault of the disk's."""
    before = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(before.st_size // 2)
        file.write(bytes(64 * 1024))
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def missing(path: Path) -> None:
    path.unlink()


def fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


# ---- an installation of our own, and one run on it ----


INSTALLED = Path(fvm.__file__).parent / "data"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the installation's data, used by what this test starts."""
    shutil.copytree(INSTALLED, tmp_path / "data")
    monkeypatch.setenv("FLASHVM_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLASHVM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def full_cache(tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that a run has filled: a copy of the session's."""
    run("run", "-c", "")
    shutil.copytree(cache_home / "flashvm", tmp_path / "cache")
    monkeypatch.setenv("FLASHVM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(*argv: str) -> Tuple[int, str]:
    """Exit code, and what the command said."""
    done = subprocess.run(
        [Path(sys.executable).with_name("flashvm"), *argv],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def assert_refused(path: Path, status: int, *parts: str) -> None:
    begin = time.monotonic()
    exit_code, said = run("run", "-c", "")
    assert time.monotonic() - begin < 10  # nothing was booted and waited for
    assert exit_code == status and str(path) in said
    assert all(part in said for part in parts), said


# ---- kernel and initramfs ----


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("vmlinux", empty),
        ("vmlinux", truncated),
        ("vmlinux", zeros_inside),
        ("initramfs.cpio", empty),
        ("initramfs.cpio", garbage),
        ("initramfs.cpio", fifo),
        ("initramfs.cpio", directory),
    ],
)
def test_a_damaged_kernel_or_initramfs(data: Path, name: str, damage: Damage) -> None:
    assert run("run", "-c", "exit 3") == (3, "")  # it was right, and is known to be
    damage(data / name)
    assert_refused(data / name, 244, f"{name} is damaged: ", REMEDY)
    assert run("doctor")[0] == 244
    (data / name).rename(data / "aside")
    shutil.copy(INSTALLED / name, data / name)
    assert run("run", "-c", "exit 3") == (3, "")


@pytest.mark.usefixtures("stand_in")
def test_a_damaged_manifest(data: Path) -> None:
    for damage in (truncated, garbage, empty):
        damage(data / "manifest.json")
        assert_refused(data / "manifest.json", 244, "it is no valid JSON", REMEDY)


@pytest.mark.usefixtures("stand_in")
def test_a_missing_file(data: Path) -> None:
    for name in ("initramfs.cpio", "vmlinux", "manifest.json"):
        missing(data / name)
        assert_refused(data, 244, f"kernel or initramfs is missing in {data}: no {name}", REMEDY)


@pytest.mark.usefixtures("stand_in")
def test_a_manifest_that_does_not_describe_the_kernel(data: Path) -> None:
    manifest = json.loads((data / "manifest.json").read_text())
    del manifest["kernel"]["vmlinux"]["sha256"]
    (data / "manifest.json").write_text(json.dumps(manifest))
    assert_refused(data / "manifest.json", 244, "does not describe vmlinux", REMEDY)


@pytest.mark.usefixtures("stand_in")
def test_what_was_found_right_is_only_a_note(full_cache: Path) -> None:
    """Not more: it may be damaged in any way, and need not be writable."""
    names = {path.name for path in full_cache.iterdir()}
    assert "guest-files" in names
    for damage in (empty, garbage, truncated, missing, fifo, missing, directory):
        damage(full_cache / "guest-files")
        assert run("run", "-c", "exit 3") == (3, "")
        assert {path.name for path in full_cache.iterdir()} == names


# ---- the embedded image ----


def largest_blob(oci: Path) -> Path:
    return max((oci / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("damage", [truncated, zeros_inside, missing, fifo])
def test_a_damaged_layer(data: Path, cache: Path, damage: Damage) -> None:
    blob = largest_blob(data / "oci")
    damage(blob)
    exit_code, said = run("image", "prepare")
    assert exit_code == 247 and blob.name in said and "make guest" in said
    assert [path.suffix for path in cache.rglob("*") if path.is_file()] == [".lock"]
    shutil.rmtree(data / "oci")
    shutil.copytree(INSTALLED / "oci", data / "oci")
    assert run("image", "prepare")[0] == 0


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
@pytest.mark.parametrize("damage", [empty, truncated, garbage, missing, directory])
def test_a_damaged_layout(data: Path, cache: Path, name: str, damage: Damage) -> None:
    damage(data / "oci" / name)
    exit_code, said = run("image", "prepare")
    assert exit_code in (241, 242, 247)
    assert f"{data}/oci" in said and name in said and "make guest" in said
    assert not cache.exists() or not list(cache.rglob("*.*"))


# ---- the cache's entry ----


def entry(cache: Path) -> Dict[str, Path]:
    """The files of the image, by what their names end with."""
    return {path.suffix: path for path in (cache / "rootfs").iterdir()}


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("suffix", "damage"),
    [(".squashfs", zeros_inside), (".squashfs", fifo), (".json", truncated), (".json", missing)],
)
def test_a_damaged_entry_is_made_again(full_cache: Path, suffix: str, damage: Damage) -> None:
    right = entry(full_cache)[".squashfs"].read_bytes()
    damage(entry(full_cache)[suffix])
    assert run("run", "-c", "exit 3") == (3, "")
    assert entry(full_cache)[".squashfs"].read_bytes() == right
    assert set(entry(full_cache)) == {".squashfs", ".json", ".lock"}


@pytest.mark.usefixtures("stand_in")
def test_a_copied_cache_is_not_made_again(full_cache: Path) -> None:
    before = entry(full_cache)[".squashfs"].stat()
    assert run("run", "-c", "exit 3") == (3, "")
    assert entry(full_cache)[".squashfs"].stat().st_ino == before.st_ino
