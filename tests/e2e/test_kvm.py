# SPDX-License-Identifier: MIT
"""A KVM that is not usable: doctor says why, and what to do about it. (The stand-in guest.)

The conditions are real, in a /dev of the test's own; for a KVM that is there and bad, the real
probe talks to a stand-in for the kernel's.
"""

from __future__ import annotations

import json
import os
from typing import Dict, Tuple

import pytest
from hosts import on_host
from kvm_hosts import (
    ANY_FILE,
    BARE_DEV,
    CONTAINER,
    DEVICE,
    DRIVER,
    NO_CONTAINER,
    NO_DRIVER,
    cpu,
    make_bad_kvm,
)
from ordinary_user import User, as_user

pytestmark = [pytest.mark.usefixtures("stand_in"), pytest.mark.needs("root")]


def qemu_report(user: User, host: str, env: Dict[str, str]) -> Tuple[str, str]:
    """What doctor says of the engine that does without: reason and remedy."""
    script = BARE_DEV + host
    done = on_host(script, as_user([user.command, "doctor", "--json"]), {**user.env, **env})
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    qemu = report["engines"]["qemu"]
    assert (report["kvm"], qemu["usable"], qemu["accelerator"]) == (False, True, "tcg")
    before, _, reason = qemu["reason"].partition("KVM is not usable: ")
    assert before
    return reason, qemu["remedy"]


@pytest.mark.parametrize(
    ("host", "reason", "remedy"),
    [
        (
            NO_DRIVER + cpu("hypervisor") + NO_CONTAINER,
            "there is no /dev/kvm: this VM's processor has no virtualization (vmx or svm)",
            "Have nested virtualization switched on for this VM at its cloud or hypervisor",
        ),
        (
            NO_DRIVER + cpu("") + NO_CONTAINER,
            "there is no /dev/kvm: the processor has no virtualization (vmx or svm), or it is off",
            "Switch it on in the BIOS or UEFI",
        ),
        (
            NO_DRIVER + cpu("vmx") + NO_CONTAINER,
            "there is no /dev/kvm: its module kvm_intel is not loaded",
            "As root: modprobe kvm_intel. If that is refused, virtualization is disabled",
        ),
        (
            NO_DRIVER + CONTAINER + cpu("hypervisor svm"),
            "there is no /dev/kvm: its module kvm_amd is not loaded",
            "On the container's host: modprobe kvm_amd",
        ),
        (
            DRIVER + CONTAINER,
            "there is no /dev/kvm: this container was not given it",
            "Start the container with --device /dev/kvm",
        ),
        (
            DRIVER + NO_CONTAINER,
            "there is no /dev/kvm: the kernel has KVM, only the device is missing here",
            "mknod -m 660 /dev/kvm c 10 232",
        ),
        (
            f"{DEVICE}chgrp adm /dev/kvm\n{NO_CONTAINER}",
            "cannot open /dev/kvm: Permission denied",
            "Join the device's group: sudo usermod -aG adm $USER, and log in again",
        ),
        (
            DEVICE + NO_CONTAINER,
            "cannot open /dev/kvm: Permission denied",
            "sudo setfacl -m u:$USER:rw /dev/kvm",
        ),
        (
            f"{DEVICE}chgrp 54321 /dev/kvm\n{CONTAINER}",
            "cannot open /dev/kvm: Permission denied",
            "Start the container with --device /dev/kvm --group-add 54321",
        ),
        (
            "mount -t tmpfs -o nodev none /mnt; mknod -m 666 /mnt/kvm c 10 232\n"
            f"touch /dev/kvm; mount --bind /mnt/kvm /dev/kvm\n{NO_CONTAINER}",
            "cannot open /dev/kvm: Permission denied",
            "a file system mounted with nodev",
        ),
        (
            # A device without a driver: that number is nobody's.
            f"mknod /dev/kvm c 254 9999; chmod 666 /dev/kvm\n{cpu('vmx')}{NO_CONTAINER}",
            "cannot open /dev/kvm: No such device or address: its module kvm_intel is not loaded",
            "modprobe kvm_intel",
        ),
        (
            ANY_FILE,
            "/dev/kvm is no KVM device: Inappropriate ioctl for device",
            "Something else has the device's name: remove it",
        ),
        ("mkdir /dev/kvm", "cannot open /dev/kvm: Is a directory", "remove it"),
    ],
)
def test_what_keeps_a_host_from_kvm_is_told(
    user: User, host: str, reason: str, remedy: str
) -> None:
    said = qemu_report(user, host, {})
    assert said[0] == reason and remedy in said[1]


@pytest.mark.parametrize(
    ("way", "reason", "remedy"),
    [
        (
            "busy",
            "/dev/kvm does not make VMs: Device or resource busy",
            "Another hypervisor has the processor",
        ),
        ("old", "/dev/kvm has the API version 11, and not 12", "This kernel is too old"),
        (
            "slow",
            "it takes VMs but emulates their code far too slowly",
            "Only another machine type has one that works; here the engine qemu emulates",
        ),
    ],
)
def test_a_kvm_that_is_of_no_use_is_told(user: User, way: str, reason: str, remedy: str) -> None:
    programs = make_bad_kvm(user.package / "bin", user.home / f"programs-{way}", way)
    cache = user.home / f"cache-{way}"  # where a slow answer is kept
    cache.mkdir()
    os.chown(cache, user.home.stat().st_uid, user.home.stat().st_gid)
    env = {"FLASHVM_LIBEXEC_DIR": str(programs), "FLASHVM_CACHE_DIR": str(cache)}
    for _ in range(2):
        said = qemu_report(user, ANY_FILE, env)
        assert said[0] == reason and remedy in said[1]
    assert (cache / "kvm-probe").exists() == (way == "slow")


def test_an_engine_that_needs_kvm_says_the_same(user: User) -> None:
    tools = "mount -t tmpfs none /mnt; ln -s /bin/true /mnt/krunvm; ln -s /bin/true /mnt/buildah\n"
    host = f"{BARE_DEV}{DEVICE}chgrp adm /dev/kvm\n{tools}PATH=$PATH:/mnt\n{NO_CONTAINER}"
    argv = [user.command, "run", "--engine", "krunvm", "-c", ""]
    done = on_host(host, as_user(argv), user.env)
    assert done.returncode == 244
    assert (
        "the engine krunvm is not usable: it needs KVM, which is not usable: cannot open /dev/kvm: "
        "Permission denied. Join the device's group: sudo usermod -aG adm $USER, and log in again"
    ) in done.stderr
