# SPDX-License-Identifier: MIT
"""Hosts whose KVM is missing or forbidden, as scripts for hosts.on_host; and a KVM that is bad."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

BARE_DEV = "mount -t tmpfs bare /dev; mknod -m 666 /dev/null c 1 3\n"
# Beside it:
DEVICE = "mknod /dev/kvm c 10 232; chmod 660 /dev/kvm\n"
ANY_FILE = "touch /dev/kvm; chmod 666 /dev/kvm\n"
NO_DRIVER = "mount -t tmpfs none /sys\n"
DRIVER = f"{NO_DRIVER}mkdir -p /sys/class/misc/kvm\n"
CONTAINER = "mount -t tmpfs none /run; touch /run/.containerenv\n"
# The last in a script: a root directory without the hidden files by which a container is known.
NO_CONTAINER = """mount -t tmpfs none /run
mount -t tmpfs none /srv
for entry in /*; do
    if [ -L $entry ]; then
        cp -P $entry /srv
    elif [ -d $entry ] && [ $entry != /srv ]; then
        mkdir /srv$entry
        mount --rbind $entry /srv$entry
    fi
done
set -- chroot /srv "$@"
"""


def cpu(flags: str) -> str:
    """A processor with these flags."""
    return f"""mount -t tmpfs none /mnt
echo 'flags : fpu {flags} sse2' >/mnt/cpuinfo
mount --bind /mnt/cpuinfo /proc/cpuinfo
"""


def make_bad_kvm(programs: Path, directory: Path, way: str) -> Path:
    """A copy of flashVM's own programs whose probe finds a KVM that is `way`: kvm_stand_in.c.

    It wants ANY_FILE as the device.
    """
    shutil.copytree(programs, directory)
    library = directory / "kvm_stand_in.so"
    source = Path(__file__).with_name("kvm_stand_in.c")
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", library], check=True)
    probe = directory / "flashvm-probe-kvm"
    probe.rename(directory / "probe")
    preload = f"KVM_STAND_IN={way} LD_PRELOAD={library}"
    probe.write_text(f"#!/bin/sh\n{preload} exec {directory}/probe\n")
    probe.chmod(0o755)
    return directory
