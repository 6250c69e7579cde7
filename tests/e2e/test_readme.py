# SPDX-License-Identifier: MIT
"""The messages in README's troubleshooting are those that a user gets: each is provoked here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List

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
from layouts import insert, new_image
from ordinary_user import UID, User, as_user
from storage import FORBID_NAMESPACES, IDS, MAPPERS, NO_FUSE, PASSWD, STORAGE_OF_A_USER

pytestmark = [
    pytest.mark.usefixtures("stand_in"),
    pytest.mark.needs("root", "umoci", "skopeo", "buildah"),
]

ROOT = Path(__file__).parents[2]


class Scene:
    """An ordinary user's machine, to be made worse."""

    def __init__(self, user: User, directory: Path) -> None:
        self.user = user
        self.directory = directory  # which that user can read

    def command(self, arguments: str, script: str = "", **env: str) -> str:
        """What the command says after a script that root ran."""
        argv = as_user([self.user.command, *arguments.split()])
        done = on_host(script, argv, {**self.user.env, **env})
        return done.stdout + done.stderr

    def run(self, script: str = "", **env: str) -> str:
        return self.command("run --expect * -c die", script, **env)

    def python(self, options: str, script: str = "", **env: str) -> str:
        """What the exception of a run says, with the names that Python's options have."""
        code = f"import flashvm; flashvm.run('pass', {options})"
        argv = as_user(["/usr/bin/python3", "-c", code])
        return on_host(script, argv, {**self.user.env, **env}).stderr

    def prepare(self, script: str = "", **env: str) -> str:
        return self.command("image prepare", script, **env)

    def doctor_with_dev(self, kvm: str, **env: str) -> str:
        return self.command("doctor", BARE_DEV + kvm, **env)

    def doctor_with_bad_kvm(self, way: str) -> str:
        programs = make_bad_kvm(self.user.package / "bin", self.directory / "programs", way)
        cache = "\nmount -t tmpfs -o mode=700,uid=12345 none /mnt"  # where a slow one is remembered
        env = {"FLASHVM_LIBEXEC_DIR": str(programs), "FLASHVM_CACHE_DIR": "/mnt"}
        return self.doctor_with_dev(ANY_FILE + cache, **env)

    def run_with_qemu(
        self,
        text: str,
        mode: int = 0o755,
        others: str = ":$PATH",
        arguments: str = "run --expect * -c die",
    ) -> str:
        program = self.directory / "qemu-system-x86_64"
        program.write_text(text)
        program.chmod(mode)
        return self.command(arguments, f"PATH={self.directory}{others}")

    def data(self) -> Path:
        """A copy of the installation's, for a command with FLASHVM_DATA_DIR."""
        shutil.copytree(self.user.package / "data", self.directory / "data")
        return self.directory / "data"

    def run_without(self, name: str) -> str:
        data = self.data()
        os.rename(data / name, data / "aside")
        return self.run(FLASHVM_DATA_DIR=str(data))

    def run_with_damaged(self, pattern: str) -> str:
        data = self.data()
        file = max(data.glob(pattern), key=lambda path: path.stat().st_size)
        with file.open("r+b") as stream:
            stream.seek(1000)
            stream.write(b"damage")
        cache = "mount -t tmpfs -o mode=1777 none /mnt"
        return self.run(cache, FLASHVM_DATA_DIR=str(data), FLASHVM_CACHE_DIR="/mnt/own")

    def large_file(self, mib: int) -> str:
        with (self.directory / "large").open("wb") as file:
            file.truncate(mib << 20)
        return f"files_in={{'large': __import__('pathlib').Path('{file.name}')}}"

    def file_that_changes(self) -> str:
        """While the VM boots, which takes a second."""
        program = self.directory / "qemu-system-x86_64"
        program.write_text('#!/bin/sh\nsleep 1; PATH=${PATH#*:}; exec qemu-system-x86_64 "$@"')
        program.chmod(0o755)
        options = self.large_file(1)
        change = f"(sleep 0.5; echo more >>{self.directory}/large) &"
        return self.python(f"{options}, cold_boot=True", f"PATH={self.directory}:$PATH\n{change}")

    def run_in(self, *added: str) -> str:
        """In an image with that on the PATH alone."""
        layout = self.directory / "oci"
        new_image(layout, "x")
        (self.directory / "added").write_text("no program")
        for name in added:
            insert(f"{layout}:x", self.directory / "added", name)
        subprocess.run(["chmod", "-R", "a+rX", layout], check=True)
        return self.command(f"run --image oci:{layout}:x -c die")

    def build_without_data(self) -> str:
        """As pip does from a checkout."""
        source = self.directory / "source"
        ignored = shutil.ignore_patterns("data")
        for name in "include", "src", "python", "docs", "guest":
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        for path in [*ROOT.glob("meson*"), ROOT / "LICENSE", ROOT / "NOTICE"]:
            shutil.copy(path, source)
        meson = str(Path(sys.executable).with_name("meson"))
        argv = [meson, "setup", "-Dpython=true", f"{source}/build", f"{source}"]
        return subprocess.run(argv, stdout=subprocess.PIPE, text=True).stdout

    def storage(self, arguments: str, host: str, *tools: str) -> str:
        """With a containers-storage of the user's own, and these tools alone."""
        runtime = self.directory / "runtime"
        runtime.mkdir(mode=0o700, exist_ok=True)
        os.chown(runtime, UID, UID)
        links = "".join(f"ln -s {shutil.which(tool)} /mnt/bin/\n" for tool in tools)
        script = f"{STORAGE_OF_A_USER}{PASSWD}mkdir /mnt/bin\n{links}{host}\n"
        script += 'set -- /usr/bin/env PATH=/mnt/bin "$@"'
        return self.command(arguments, script, XDG_RUNTIME_DIR=str(runtime))

    def storage_that_skopeo_cannot_clear(self) -> str:
        tools = ["skopeo", *MAPPERS]
        assert self.storage("image prepare", IDS, *tools).startswith("localhost/flashvm:")
        return self.storage("image clear", IDS, *tools)

    def directory_in_the_cache(self) -> str:
        self.prepare()
        (rootfs,) = self.user.cache.glob("rootfs/*.squashfs")
        rootfs.rename(self.directory / "aside")
        rootfs.mkdir()
        said = self.run()
        rootfs.rmdir()
        return said


REAL_QEMU = "PATH=/usr/local/bin:/usr/bin:/bin"
FAILED = 15  # of enum fvm_frame_type
SAY_FAILED = f"""#!/usr/bin/python3 -IS
import os
os.write(4, bytes([{FAILED}, 0, 0, 0, 5, 0, 0, 0]) + b"so so")
while os.read(4, 1000):
    pass
"""
TMPFS = "mount -t tmpfs -o mode=700,uid=12345"

PROVOKED: Dict[str, Callable[[Scene], str]] = {
    "there is no qemu-system-x86_64 on PATH": lambda on: on.run("PATH=/nonexistent"),
    "… cannot be executed by this user": lambda on: on.run_with_qemu("", 0o644, ""),
    "… is QEMU …, and flashVM needs 7.2 or later": lambda on: on.run_with_qemu(
        "#!/bin/sh\necho QEMU emulator version 5.2.0"
    ),
    "… does not work as QEMU: to --version it answers …": lambda on: on.run_with_qemu(
        "#!/bin/sh\necho GNU Emacs"
    ),
    "there is no /proc, by which QEMU gets its files": lambda on: on.run("umount -l /proc"),
    "there is no krunvm on PATH": lambda on: on.command("doctor", "PATH=/nonexistent"),
    "there is no /dev/kvm: this VM's processor has no virtualization (vmx or svm)": (
        lambda on: on.doctor_with_dev(NO_DRIVER + cpu("hypervisor"))
    ),
    "there is no /dev/kvm: the processor has no virtualization (vmx or svm), or it is off": (
        lambda on: on.doctor_with_dev(NO_DRIVER + cpu(""))
    ),
    "there is no /dev/kvm: its module … is not loaded": (
        lambda on: on.doctor_with_dev(NO_DRIVER + cpu("svm"))
    ),
    "there is no /dev/kvm: this container was not given it": (
        lambda on: on.doctor_with_dev(DRIVER + CONTAINER)
    ),
    "there is no /dev/kvm: the kernel has KVM, only the device is missing here": (
        lambda on: on.doctor_with_dev(DRIVER + NO_CONTAINER)
    ),
    "KVM is not usable: cannot open /dev/kvm: Permission denied": (
        lambda on: on.doctor_with_dev(DEVICE)
    ),
    "/dev/kvm is no KVM device: …": lambda on: on.doctor_with_dev(ANY_FILE),
    "/dev/kvm does not make VMs: Device or resource busy": lambda on: on.doctor_with_bad_kvm(
        "busy"
    ),
    "/dev/kvm has the API version …, and not 12": lambda on: on.doctor_with_bad_kvm("old"),
    "KVM is not usable: it takes VMs but emulates their code far too slowly": (
        lambda on: on.doctor_with_bad_kvm("slow")
    ),
    "it needs KVM, which is not usable: …": lambda on: on.doctor_with_dev(
        "mount -t tmpfs none /mnt; PATH=$PATH:/mnt\n"
        "ln -s /bin/true /mnt/krunvm; ln -s /bin/true /mnt/buildah"
    ),
    "the guest's kernel or initramfs is missing in …": lambda on: on.run_without("vmlinux"),
    "there is no embedded image: the directory … is missing": lambda on: on.run_without("oci"),
    "… is damaged: its content is not what manifest.json beside it says": (
        lambda on: on.run_with_damaged("vmlinux")
    ),
    "the blob … is damaged: …": lambda on: on.run_with_damaged("oci/blobs/sha256/*"),
    "a part of flashVM is missing or damaged; install flashVM again: cannot start …": (
        lambda on: on.run(FLASHVM_LIBEXEC_DIR="/nonexistent")
    ),
    "the microVM ended before it was up": lambda on: on.run_with_qemu("#!/bin/sh\nexit 1"),
    "the microVM ended before it sent a result": lambda on: on.run(),
    "… was killed by signal 9 (Killed): was the host, or its control group, out of memory?": (
        lambda on: on.run_with_qemu("#!/bin/sh\nkill -9 $$")
    ),
    "the cache directory … can be written by other users": lambda on: on.run(
        "mount -t tmpfs -o mode=777,uid=12345 none /mnt", FLASHVM_CACHE_DIR="/mnt"
    ),
    "the cache directory … belongs to user id …": lambda on: on.run(FLASHVM_CACHE_DIR="/usr"),
    "no place for the cache (FLASHVM_CACHE_DIR can name a directory for it): …": (
        lambda on: on.run(HOME="/nonexistent")
    ),
    "cannot make the cache directory … (FLASHVM_CACHE_DIR can name another): …": lambda on: on.run(
        f"{TMPFS} none /mnt; mount -o remount,ro /mnt", FLASHVM_CACHE_DIR="/mnt"
    ),
    "no image in the cache …, and no place for it (FLASHVM_CACHE_DIR can name another): …": (
        lambda on: on.run(
            f"{TMPFS} none /mnt; mkdir -m 700 /mnt/rootfs; chown 12345 /mnt/rootfs; "
            "mount -o remount,ro /mnt",
            FLASHVM_CACHE_DIR="/mnt",
        )
    ),
    "… is in the way of a file of the cache: it is a directory; remove it": (
        Scene.directory_in_the_cache
    ),
    "the microVM was not up after … seconds and was ended": lambda on: on.run_with_qemu(
        "#!/bin/sh\nexec sleep 100", arguments="run --boot-timeout 0.5 -c die"
    ),
    "the host has not so much memory for a guest, so lower its memory_mb": lambda on: on.python(
        "memory_mb=1048576, cold_boot=True", REAL_QEMU
    ),
    "it has no Python: there is no python3 on its PATH": lambda on: on.run_in("/usr/bin/python4"),
    "it has no Python: … is no executable file, and no symlink to one in the image": (
        lambda on: on.run_in("/usr/bin/python3")
    ),
    "the image … cannot run Python: …": lambda on: on.run_with_qemu(SAY_FAILED),
    "files_in leave too little memory for the snippet": lambda on: on.python(
        f"{on.large_file(38)}, memory_mb=128, cold_boot=True", REAL_QEMU
    ),
    "files_in do not fit": lambda on: on.python(
        f"{on.large_file(60)}, memory_mb=128, cold_boot=True", REAL_QEMU
    ),
    "files_in: … changed while the run was made ready": Scene.file_that_changes,
    "python/flashvm/data has no kernel and image for the guest": Scene.build_without_data,
    "… is missing in …, or no program that this user can start. Install flashVM again": (
        lambda on: on.command("doctor", FLASHVM_LIBEXEC_DIR="/nonexistent")
    ),
    "… is no OCI image layout: it has no file oci-layout": lambda on: on.command(
        "run --image oci:/etc -c die"
    ),
    'the image "…" is not in the cache': lambda on: on.command("run --image nothing -c die"),
    "cannot make a directory for artifacts in … (TMPDIR can name another place): …": (
        lambda on: on.run(TMPDIR="/nonexistent")
    ),
    "No space left on device (free some space there, or use another place)": lambda on: on.prepare(
        f"{TMPFS},size=1m none /mnt", FLASHVM_CACHE_DIR="/mnt"
    ),
    "Too many open files (this process has too many: see ulimit -n)": lambda on: on.run(
        "ulimit -n 12"
    ),
    "there are too many processes (see ulimit -u)": lambda on: on.run("ulimit -u 1"),
    "File too large (the limit on the size of files is too low: see ulimit -f)": (
        lambda on: on.prepare(f"{TMPFS} none /mnt; ulimit -f 1", FLASHVM_CACHE_DIR="/mnt")
    ),
    "the image is ready, only not in containers-storage: …": Scene.prepare,
    "install newuidmap and newgidmap, which give a user more than one id": (
        lambda on: on.storage("image prepare", IDS, "skopeo")
    ),
    "newuidmap and newgidmap must be setuid root, …": lambda on: on.storage(
        "doctor", f"{IDS}cp $(which newuidmap) /mnt/bin/", "buildah", "cat", "newgidmap"
    ),
    "for this file system the storage needs fuse-overlayfs, …": lambda on: on.storage(
        "doctor", IDS + NO_FUSE, "buildah", "cat", *MAPPERS
    ),
    "log in as this user, since su and sudo leave XDG_RUNTIME_DIR another's; …": (
        lambda on: on.storage("doctor", f"{IDS}export XDG_RUNTIME_DIR=/mnt", "buildah", *MAPPERS)
    ),
    "give this user ids of its own, as root: …": (
        lambda on: on.storage("doctor", "", "buildah", "cat", *MAPPERS)
    ),
    "this kernel, or the container around, lets this user make no user namespaces: …": (
        lambda on: on.storage("image prepare", IDS + FORBID_NAMESPACES, "buildah", *MAPPERS)
    ),
    "… stays in containers-storage: skopeo removes an image with all its names, …": (
        Scene.storage_that_skopeo_cannot_clear
    ),
    "the list is without containers-storage: …": lambda on: on.command("image list"),
    "the VM may need … MiB of address space, and the caller's limit is … MiB (see ulimit -v)": (
        lambda on: on.run("ulimit -v 2000000")
    ),
}


def messages() -> List[str]:
    """What the table's first column quotes; what it says in words is not a message."""
    text = (ROOT / "README.md").read_text()
    section = text[text.index("\n## Troubleshooting\n") : text.index("\n## Security\n")]
    return re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE)


def test_each_message_of_the_readme_is_looked_at() -> None:
    assert len(messages()) > 25
    assert sorted(messages()) == sorted(PROVOKED)


@pytest.fixture
def scene(user: User) -> Scene:
    # The user's package shows where that user can read; pytest's directories are closed.
    directory = user.home / "scene"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return Scene(user, directory)


@pytest.mark.parametrize("message", PROVOKED)
def test_the_message_is_what_a_user_gets(scene: Scene, message: str) -> None:
    said = PROVOKED[message](scene)
    pattern = ".+".join(re.escape(part) for part in message.split("…"))
    assert re.search(pattern, said), said
