# SPDX-License-Identifier: MIT
"""Directories that are full, read-only or not there: cache, home, TMPDIR.

Mounts are real; each test's are its own.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hosts import Done, on_host
from ordinary_user import UID, User, as_user

import flashvm as fvm

pytestmark = [pytest.mark.usefixtures("stand_in"), pytest.mark.needs("root")]

SMALL = "mount -t tmpfs -o size=1m,mode=1777 small /mnt; "
WITHOUT_INODES = "mount -t tmpfs -o nr_inodes=1,mode=1777 small /mnt; "
READ_ONLY = "mount -t tmpfs -o ro empty /mnt; "


def said(done: Done) -> str:
    assert done.stdout == "", done.stdout
    return done.stderr


# ---- the cache ----


@pytest.fixture
def filled(tmp_path: Path, cache_home: Path) -> Path:
    """A cache with everything in it, in a directory of its own."""
    fvm.run("")
    shutil.copytree(cache_home / "flashvm", tmp_path / "cache")
    return tmp_path / "cache"


def test_a_read_only_cache_that_has_the_image_is_enough(command: str, filled: Path) -> None:
    mount = f"mount --bind {filled} {filled}; mount -o remount,bind,ro {filled}"
    before = {path: path.stat().st_mtime_ns for path in filled.rglob("*")}
    env = {"FLASHVM_CACHE_DIR": str(filled)}
    done = on_host(mount, [command, "run", "-c", "stdout hi"], env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\n", "")
    assert {path: path.stat().st_mtime_ns for path in filled.rglob("*")} == before


def test_a_read_only_cache_without_the_image(command: str) -> None:
    env = {"FLASHVM_CACHE_DIR": "/mnt"}
    mount = "mount -t tmpfs -o mode=700 empty /mnt; mount -o remount,ro /mnt"
    done = on_host(mount, [command, "run", "-c", ""], env=env)
    assert done.returncode == 242
    assert said(done) == (
        "flashvm: error: cannot make the cache directory /mnt/rootfs "
        "(FLASHVM_CACHE_DIR can name another): Read-only file system\n"
    )
    mount = "mount -t tmpfs -o mode=700 x /mnt; mkdir -m 700 /mnt/rootfs; mount -o remount,ro /mnt"
    done = on_host(mount, [command, "run", "-c", ""], env=env)
    assert done.returncode == 242
    assert (
        "no image in the cache /mnt/rootfs, and no place for it "
        "(FLASHVM_CACHE_DIR can name another): cannot open the lock "
    ) in said(done)


# The image needs 71 MB.
@pytest.mark.parametrize("options", ["size=20m", "nr_inodes=2", "nr_inodes=3", "size=8k"])
def test_a_full_cache_fails_once_and_leaves_nothing(command: str, options: str) -> None:
    """And when there is room the next call succeeds."""
    script = (
        f"mount -t tmpfs -o {options},mode=700 small /mnt; "
        '"$@" 2>&1 && exit 99; find /mnt -type f ! -name "*.lock" >&2; '
        "mount -o remount,size=200m,nr_inodes=1000 /mnt"
    )
    argv = [command, "image", "prepare"]
    done = on_host(script, argv, env={"FLASHVM_CACHE_DIR": "/mnt"})
    assert done.returncode == 0 and done.stderr == ""
    failure, success = done.stdout.splitlines()
    assert "/mnt/rootfs" in failure
    assert "No space left on device (free some space there, or use another place)" in failure
    assert success == fvm.prepare_image()


# ---- home ----


def no_cache_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("FLASHVM_CACHE_DIR", raising=False)


def test_a_read_only_home(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    no_cache_variables(monkeypatch)
    done = on_host(READ_ONLY, [command, "run", "-c", ""], env={"HOME": "/mnt"})
    assert done.returncode == 242
    assert said(done) == (
        "flashvm: error: no place for the cache (FLASHVM_CACHE_DIR can name a directory for it): "
        "cannot make the directory /mnt/.cache: Read-only file system\n"
    )


def test_a_relative_xdg_cache_home_is_ignored(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    done = on_host(
        f"cd {tmp_path}", [command, "image", "prepare"], env={"XDG_CACHE_HOME": "relative"}
    )
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == [".cache"]


# ---- TMPDIR ----


def test_a_full_tmpdir_fails_the_run_and_is_empty_after(command: str) -> None:
    argv = [command, "run", "--expect", "*", "-c", "file a first\nzeros b 2000000\ncollect\nhang"]
    script = SMALL + '"$@" || echo $?; ls -A /mnt; set -- true'
    done = on_host(script, argv, env={"TMPDIR": "/mnt"})
    assert done.stdout == "242\n"
    assert "cannot write /mnt/flashvm-0-" in done.stderr and "/b: No space left" in done.stderr


@pytest.mark.parametrize("mount", [WITHOUT_INODES, READ_ONLY])
def test_a_tmpdir_that_takes_nothing(command: str, mount: str) -> None:
    """What needs no artifacts needs no TMPDIR."""
    argv = [command, "run", "--expect", "*", "-c", "exit 3"]
    env = {"TMPDIR": "/mnt"}
    done = on_host(mount, argv, env=env)
    assert done.returncode == 242
    assert "artifacts in /mnt (TMPDIR can name another place): " in said(done)
    assert on_host(mount, [command, "run", "-c", "exit 3"], env=env).returncode == 3


@pytest.mark.parametrize(
    ("directory", "says"),
    [
        ("/nonexistent", "in /nonexistent (TMPDIR can name another place): No such file"),
        ("/etc/passwd", "in /etc/passwd (TMPDIR can name another place): Not a directory"),
        ("/mnt/" + "x" * 250 + "/..", "No such file"),
        ("/" + "x/" * 2000, "which is too long; set TMPDIR to another"),
    ],
)
def test_a_tmpdir_that_is_none(command: str, directory: str, says: str) -> None:
    argv = [command, "run", "--expect", "*", "-c", ""]
    done = on_host("", argv, env={"TMPDIR": directory})
    assert done.returncode in (241, 242) and says in said(done)


def test_a_relative_tmpdir_is_ignored(command: str, tmp_path: Path) -> None:
    argv = [command, "run", "--quiet", "--expect", "*", "-c", "file a x"]
    done = on_host(f"cd {tmp_path}; mkdir relative", argv, env={"TMPDIR": "relative"})
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path / "relative") == []


# ---- where artifacts are saved ----


@pytest.mark.parametrize("mount", [SMALL, WITHOUT_INODES, READ_ONLY])
def test_a_place_for_saving_that_is_full(command: str, mount: str) -> None:
    code = "stdout kept\nzeros a 2000000"
    argv = [command, "run", "--expect", "*", "--out", "/mnt", "-c", code]
    done = on_host(mount + '"$@" || echo $?; ls -A /mnt; set -- true', argv)
    assert done.stdout == "kept\n242\n"  # the output is not lost
    assert "cannot save the artifact 'a' in /mnt: " in done.stderr


# ---- the same as an ordinary user ----


def test_a_user_without_home_and_entry_in_the_password_database(user: User) -> None:
    argv = as_user([user.command, "image", "prepare"])
    done = on_host("unset HOME", argv, user.env)
    assert done.returncode == 241
    assert f"user id {UID} has no home directory; set XDG_CACHE_HOME" in said(done)


def test_a_users_home_that_became_read_only_still_serves(user: User) -> None:
    run = as_user([user.command, "run", "-c", "stdout hi"])
    assert on_host("", run, user.env).stdout == "hi\n"
    mount = f"mount --bind {user.home} {user.home}; mount -o remount,bind,ro {user.home}"
    done = on_host(mount, run, user.env)
    assert (done.stdout, done.stderr) == ("hi\n", "")
    (user.cache / "rootfs").chmod(0o500)
    user.cache.chmod(0o500)
    done = on_host("", run, user.env)
    user.cache.chmod(0o700)
    (user.cache / "rootfs").chmod(0o700)
    assert (done.stdout, done.stderr) == ("hi\n", "")


def test_a_users_home_that_cannot_be_written(user: User) -> None:
    argv = as_user([user.command, "image", "prepare"])
    done = on_host("", argv, {**user.env, "HOME": "/usr"})
    assert done.returncode == 242
    assert said(done).endswith("cannot make the directory /usr/.cache: Permission denied\n")


def test_a_users_tmpdir_that_belongs_to_root(user: User) -> None:
    argv = as_user([user.command, "run", "--expect", "*", "-c", ""])
    done = on_host("", argv, {**user.env, "TMPDIR": "/usr"})
    assert done.returncode == 242
    assert "artifacts in /usr (TMPDIR can name another place): Permission denied" in said(done)
