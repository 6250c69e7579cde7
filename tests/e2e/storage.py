# SPDX-License-Identifier: MIT
"""A containers-storage of a test's own, and a PATH with chosen tools: the real skopeo, buildah."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Sequence

from layouts import tool
from ordinary_user import UID

import flashvm as fvm

MAPPERS = ["newuidmap", "newgidmap"]
PASSWD = f"""cp /etc/passwd /mnt/passwd
echo 'alice:x:{UID}:{UID}::/:/bin/sh' >>/mnt/passwd
mount --bind /mnt/passwd /etc/passwd
"""
IDS = """echo 'alice:200000:65536' >/mnt/ids
mount --bind /mnt/ids /etc/subuid
mount --bind /mnt/ids /etc/subgid
"""

# Of hosts.on_host: the storage is the user's own; the user exists; has ids of its own.
STORAGE_OF_A_USER = "mount -t tmpfs none /mnt\nunset CONTAINERS_STORAGE_CONF\n"
# The program runs in a user namespace that has all ids, and in which no other can be made.
FORBID_NAMESPACES = """cat >/mnt/forbid.py <<'END'
import ctypes, os, sys
ready, done = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert ctypes.CDLL(None).unshare(0x10000000) == 0  # CLONE_NEWUSER
    os.write(ready[1], b"x")
    os.read(done[0], 1)
    os.setresuid(0, 0, 0)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(ready[0], 1)
for name in "uid_map", "gid_map":
    open(f"/proc/{child}/{name}", "w").write("0 0 300000")
os.write(done[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
END
set -- /usr/bin/python3 /mnt/forbid.py "$@"
"""
# The storage is to be mounted by a fuse-overlayfs that is not there.
NO_FUSE = """printf '[storage]\\ndriver = "overlay"\\n[storage.options.overlay]\\n%s\\n' \\
    'mount_program = "/nonexistent/fuse-overlayfs"' >/mnt/storage.conf
export CONTAINERS_STORAGE_CONF=/mnt/storage.conf
"""

OURS = "localhost/flashvm:"
EMBEDDED = OURS + "python-basic"


def make_small_data(directory: Path) -> Path:
    """Data of an installation whose embedded image is small: it cannot run, but be imported."""
    blobs = directory / "oci/blobs/sha256"
    blobs.mkdir(parents=True)

    def add(data: bytes, media_type: str) -> Dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        kind = f"application/vnd.oci.image.{media_type}"
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        program = tarfile.TarInfo("usr/bin/python3")
        program.size, program.mode = 8_000_000, 0o755
        archive.addfile(program, io.BytesIO(b"x" * program.size))
    diff_id = "sha256:" + hashlib.sha256(tar.getvalue()).hexdigest()
    config = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    manifest = {
        "schemaVersion": 2,
        "config": add(json.dumps(config).encode(), "config.v1+json"),
        "layers": [add(gzip.compress(tar.getvalue()), "layer.v1.tar+gzip")],
    }
    entry = add(json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "python-basic"}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (directory / "oci/index.json").write_text(json.dumps(index))
    (directory / "oci/oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return directory


class Storage:
    """A containers-storage in a directory.

    With the data of `make_small_data`, flashVM's cache is beside it; else it is the session's.
    """

    def __init__(self, directory: Path, data: Path | None = None, driver: str = "vfs") -> None:
        self.data = data or fvm.find_embedded_data_path()
        self.root = directory / "root"
        self.conf = directory / "storage.conf"
        self.conf.write_text(
            f'[storage]\ndriver = "{driver}"\n'
            f'graphroot = "{self.root}"\nrunroot = "{directory}/run"\n'
        )
        self.env = {"CONTAINERS_STORAGE_CONF": str(self.conf)}
        if data:
            self.env["FLASHVM_CACHE_DIR"] = str(directory / "cache")
            self.env["FLASHVM_DATA_DIR"] = str(data)

    def image_id(self) -> str:
        """The ID that the embedded image must have: its config's digest."""
        manifest = json.loads((self.data / "oci/index.json").read_text())["manifests"][0]["digest"]
        blob = self.data / "oci/blobs" / manifest.replace(":", "/")
        config: str = json.loads(blob.read_text())["config"]["digest"]
        return config.rpartition(":")[2]

    def unmount(self) -> None:
        """The overlay driver leaves a mount on its directory, which nobody could remove then."""
        subprocess.run(["umount", self.root / "overlay"], stderr=subprocess.DEVNULL)

    def tool(self, *argv: object) -> str:
        return tool("env", *(f"{key}={value}" for key, value in self.env.items()), *argv)

    def images(self) -> List[Dict[str, Any]]:
        done = self.flashvm("buildah", "images", "--json", "--no-trunc")  # which may warn
        listed: List[Dict[str, Any]] = json.loads(done.stdout)
        return listed

    def names(self) -> Dict[str, str]:
        """Each name with the ID of its image."""
        return {
            name: image["id"].rpartition(":")[2]
            for image in self.images()
            for name in image["names"] or []
        }

    def commit(self, *names: str) -> str:
        """A small image of somebody else's. Return: its ID."""
        container = self.tool("buildah", "from", "scratch").strip()
        self.tool("buildah", "config", "--label", f"name={names[0]}", container)
        self.tool("buildah", "commit", "--quiet", container, names[0])
        self.tool("buildah", "rm", container)
        for name in names[1:]:
            self.tool("buildah", "tag", names[0], name)
        return self.names()[names[0]]

    def flashvm(
        self, command: str, *args: str, env: Dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *args],
            env={**os.environ, **self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )


def path_with(directory: Path, tools: Sequence[str]) -> Dict[str, str]:
    """An environment in which these are the only programs on PATH."""
    directory.mkdir()
    for name in tools:
        found = shutil.which(name)
        assert found
        (directory / name).symlink_to(found)
    return {"PATH": str(directory)}
