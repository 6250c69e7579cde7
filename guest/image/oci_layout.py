"""Write a root directory as an OCI image layout with one zstd layer.

Run by the guest's own Python (see build.sh). The same tree gives the same bytes: entries sorted,
one time stamp, owners from a table here and not from the file system.
"""

import argparse
import hashlib
import json
import os
import stat
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
PLATFORM = {"architecture": "amd64", "os": "linux"}

USER = 1000
# Everything else belongs to root.
OWNERS = {"home/user": USER, "work": USER, "work/out": USER}
MODES = {"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700}

# Threads change the bytes only between "none" and "some": a fixed number is as good as any.
ZSTD_OPTIONS = ["-19", "-T4", "--quiet", "--stdout"]


class HashingWriter:
    """The uncompressed layer on its way to the compressor; its digest is the diff id."""

    def __init__(self, target: IO[bytes]) -> None:
        self.target = target
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.target.write(data)


def sorted_paths(root: Path) -> list[str]:
    """Every path below root, relative, parents first, in one order everywhere."""
    found = []
    for directory, subdirectories, files in os.walk(root):
        for name in subdirectories + files:
            found.append(os.path.relpath(os.path.join(directory, name), root))
    return sorted(found, key=lambda path: path.split("/"))


def describe(root: Path, path: str, epoch: int) -> tarfile.TarInfo:
    """The tar header of one path. setuid, setgid and file capabilities do not survive."""
    status = os.lstat(root / path)
    entry = tarfile.TarInfo(path)
    entry.mtime = epoch
    entry.uid = entry.gid = OWNERS.get(path, 0)
    entry.mode = MODES.get(path, stat.S_IMODE(status.st_mode) & 0o755)
    if stat.S_ISDIR(status.st_mode):
        entry.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        entry.type = tarfile.SYMTYPE
        entry.linkname = os.readlink(root / path)
        entry.mode = 0o777
    elif stat.S_ISREG(status.st_mode):
        entry.size = status.st_size
    else:
        raise SystemExit(f"error: {path} is neither a file, a directory nor a symbolic link")
    return entry


def write_layer(root: Path, target: Path, epoch: int, zstd: str) -> str:
    """Write root as a compressed tar to target; return the diff id."""
    with target.open("wb") as output:
        compressor = subprocess.Popen([zstd, *ZSTD_OPTIONS], stdin=subprocess.PIPE, stdout=output)
        assert compressor.stdin is not None
        writer = HashingWriter(compressor.stdin)
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            for path in sorted_paths(root):
                entry = describe(root, path, epoch)
                if entry.isreg():
                    with (root / path).open("rb") as content:
                        tar.addfile(entry, content)
                else:
                    tar.addfile(entry)
        compressor.stdin.close()
        if compressor.wait() != 0:
            raise SystemExit(f"error: {zstd} failed with status {compressor.returncode}")
    return f"sha256:{writer.digest.hexdigest()}"


def add_blob(layout: Path, source: Path, media_type: str) -> dict[str, Any]:
    """Move a file into the layout under its digest; return its descriptor."""
    with source.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    size = source.stat().st_size
    source.rename(layout / "blobs" / "sha256" / digest)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def write_json(target: Path, value: dict[str, Any]) -> Path:
    target.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")))
    return target


def image_config(diff_id: str, created: str) -> dict[str, Any]:
    return {
        **PLATFORM,
        "created": created,
        "config": {
            "Cmd": ["python3"],
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
            ],
            "User": f"{USER}:{USER}",
            "WorkingDir": "/work",
        },
        "history": [{"created": created, "created_by": "guest/image/build.sh"}],
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }


def write_layout(root: Path, layout: Path, tag: str, epoch: int, zstd: str) -> None:
    (layout / "blobs" / "sha256").mkdir(parents=True)
    scratch = layout / "scratch"
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    diff_id = write_layer(root, scratch, epoch, zstd)
    layer = add_blob(layout, scratch, LAYER_TYPE)
    config_file = write_json(scratch, image_config(diff_id, created))
    config = add_blob(layout, config_file, CONFIG_TYPE)
    manifest_file = write_json(
        scratch,
        {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": [layer]},
    )
    manifest = add_blob(layout, manifest_file, MANIFEST_TYPE)
    manifest["platform"] = PLATFORM
    manifest["annotations"] = {"org.opencontainers.image.ref.name": tag}
    write_json(
        layout / "index.json",
        {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [manifest]},
    )
    write_json(layout / "oci-layout", {"imageLayoutVersion": "1.0.0"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("root", type=Path)
    parser.add_argument("layout", type=Path)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--zstd", required=True, help="the zstd command to compress with")
    options = parser.parse_args()
    write_layout(options.root, options.layout, options.tag, options.epoch, options.zstd)


if __name__ == "__main__":
    main()
