# SPDX-License-Identifier: MIT
"""Advice that depends on the machine: its distribution's packages, its settings. (Real tools.)"""

from __future__ import annotations

import json
from typing import Dict

import pytest
from hosts import on_host
from ordinary_user import UID, User, as_user
from storage import FORBID_NAMESPACES, IDS, NO_FUSE, PASSWD, STORAGE_OF_A_USER

pytestmark = pytest.mark.needs("root")

TMPFS = "mount -t tmpfs none /mnt\n"


def distribution(text: str) -> str:
    return f"{TMPFS}echo '{text}' >/mnt/os\nmount --bind /mnt/os $(realpath /etc/os-release)\n"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("ID=debian", "apt-get install qemu-system-x86"),
        ("ID=ubuntu", "apt-get install qemu-system-x86"),
        ("ID=fedora", "dnf install qemu-system-x86-core"),
        ("ID=arch", "pacman -S qemu-system-x86"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"', "zypper install qemu-x86"),
        ("ID=alpine", "apk add qemu-system-x86_64"),
        ("ID=gentoo", "look in this system's packages for qemu-system-x86_64"),
    ],
)
def test_a_missing_qemu_is_told_with_its_package(user: User, text: str, hint: str) -> None:
    host = distribution(text) + 'set -- /usr/bin/env PATH=/nonexistent "$@"'
    done = on_host(host, as_user([user.command, "run", "-c", ""]), user.env)
    assert done.returncode == 244
    assert "there is no qemu-system-x86_64 on PATH" in done.stderr
    assert f"Install it: {hint}" in done.stderr


@pytest.mark.parametrize(
    ("tools", "hint"),
    [("", "pacman -S krunvm"), ("ln -s /bin/true /mnt/krunvm", "pacman -S buildah")],
    ids=["krunvm", "buildah"],
)
def test_missing_tools_of_krunvm_are_told_with_their_packages(
    user: User, tools: str, hint: str
) -> None:
    host = f'{distribution("ID=arch")}{tools}\nset -- /usr/bin/env PATH=/mnt "$@"'
    done = on_host(host, as_user([user.command, "run", "--engine", "krunvm", "-c", ""]), user.env)
    assert done.returncode == 244
    assert f"there is no {hint.split()[-1]} on PATH. Install it: {hint}" in done.stderr


# ---- containers-storage of an ordinary user, by the real buildah ----

HOST = f"""{STORAGE_OF_A_USER}{PASSWD}{IDS}
mkdir -m 700 /mnt/run; chown {UID} /mnt/run
"""
NO_RIGHTS = "cp /usr/bin/newuidmap /mnt/mapper; mount --bind /mnt/mapper /usr/bin/newuidmap\n"


def storage_report(user: User, host: str) -> Dict[str, str]:
    env = {**user.env, "XDG_RUNTIME_DIR": "/mnt/run"}
    done = on_host(HOST + host, as_user([user.command, "doctor", "--json"]), env)
    report: Dict[str, str] = json.loads(done.stdout)["containers_storage"]
    return report


@pytest.mark.needs("buildah")
@pytest.mark.parametrize(
    ("host", "reason", "remedy"),
    [
        (NO_RIGHTS, "this user has no ids", "newuidmap and newgidmap must be setuid root"),
        (
            FORBID_NAMESPACES,
            "User namespaces are not enabled",
            "lets this user make no user namespaces: as root, sysctl -w "
            "user.max_user_namespaces=15000",
        ),
        (NO_FUSE, "fuse-overlayfs", 'or driver = "vfs" in storage.conf, which works everywhere'),
        ("chown root /mnt/run", "XDG_RUNTIME_DIR", "log in as this user"),
    ],
    ids=["setuid", "namespaces", "fuse-overlayfs", "runtime directory"],
)
def test_what_a_rootless_storage_lacks_is_told(
    user: User, host: str, reason: str, remedy: str
) -> None:
    report = storage_report(user, host)
    assert not report["usable"]
    assert reason in report["reason"] and remedy in report["remedy"]


@pytest.mark.needs("buildah")
def test_a_rootless_storage_that_lacks_nothing_is_usable(user: User) -> None:
    report = storage_report(user, "")
    assert report["usable"] and report["remedy"] is None
