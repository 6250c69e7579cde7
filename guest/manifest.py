"""Keep DATA_DIR/manifest.json: what the guest is made of, and of which recipe each part came.

Each step of the recipe writes its own part (image, kernel, initramfs); `check` says whether a part
is there and was made by the recipe of today.
"""

import argparse
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FIELDS = ["Package", "Version", "Architecture", "Source", "Built-Using"]
FILES: dict[str, list[str]] = {
    "image": [],
    "kernel": ["vmlinux"],
    "initramfs": ["initramfs.cpio"],
}


def read_manifest(data: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((data / "manifest.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def write_part(data: Path, name: str, part: dict[str, Any]) -> None:
    """Replace one part of the manifest; under a lock, as `make -j` runs the steps in parallel."""
    directory = os.open(data, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        manifest = read_manifest(data)
        manifest[name] = part
        scratch = data / ".manifest.json"
        scratch.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        scratch.rename(data / "manifest.json")
    finally:
        os.close(directory)


def describe_file(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def describe_package(deb: Path) -> dict[str, str]:
    """Name and version of a package, and of the source package the licences ask about."""
    output = subprocess.run(
        ["dpkg-deb", "-f", str(deb), *FIELDS], check=True, capture_output=True, text=True
    ).stdout
    fields = dict(line.split(": ", 1) for line in output.splitlines() if ": " in line)
    source, _, version = fields.get("Source", fields["Package"]).partition(" ")
    described = {
        "name": fields["Package"],
        "version": fields["Version"],
        "architecture": fields["Architecture"],
        "source": source,
        "source_version": version.strip("()") or fields["Version"],
    }
    if "Built-Using" in fields:
        described["built_using"] = fields["Built-Using"]
    return described


def describe_packages(directory: Path) -> list[dict[str, str]]:
    packages = [describe_package(deb) for deb in directory.glob("*.deb")]
    return sorted(packages, key=lambda package: package["name"])


def layout_digest(data: Path) -> str:
    """The digest of the image's manifest; empty when a blob of the layout is not there."""
    try:
        index = json.loads((data / "oci" / "index.json").read_text())
        digest = str(index["manifests"][0]["digest"])
        blobs = data / "oci" / "blobs" / "sha256"
        manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
        for blob in [manifest["config"], *manifest["layers"]]:
            if (blobs / blob["digest"].removeprefix("sha256:")).stat().st_size != blob["size"]:
                return ""
    except (OSError, ValueError, LookupError):
        return ""
    return digest


def is_current(data: Path, name: str, recipe: str) -> bool:
    part = read_manifest(data).get(name)
    if not isinstance(part, dict) or part.get("recipe") != recipe:
        return False
    if name == "image":
        return part.get("digest") == layout_digest(data)
    for file in FILES[name]:
        path = data / file
        if not path.is_file() or part.get(file) != describe_file(path):
            return False
    return True


def package_version(packages: list[dict[str, str]], name: str) -> str:
    return next(package["version"] for package in packages if package["name"] == name)


def image_part(options: argparse.Namespace) -> dict[str, Any]:
    packages = describe_packages(options.packages)
    return {
        "recipe": options.recipe,
        "reference": options.reference,
        "digest": layout_digest(options.data),
        "python_version": package_version(packages, "python3.13").split("-")[0],
        "packages": packages,
        "build_packages": describe_packages(options.build_packages),
    }


def kernel_part(options: argparse.Namespace) -> dict[str, Any]:
    part = {
        "recipe": options.recipe,
        "version": options.version,
        "packages": describe_packages(options.packages),
    }
    return part | {file: describe_file(options.data / file) for file in FILES["kernel"]}


def initramfs_part(options: argparse.Namespace) -> dict[str, Any]:
    return {file: describe_file(options.data / file) for file in FILES["initramfs"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parts = parser.add_subparsers(dest="part", required=True)
    check = parts.add_parser("check")
    check.add_argument("name", choices=FILES)
    check.add_argument("--recipe", required=True)
    image = parts.add_parser("image")
    image.add_argument("--recipe", required=True)
    image.add_argument("--reference", required=True)
    image.add_argument("--packages", type=Path, required=True)
    image.add_argument("--build-packages", type=Path, required=True)
    kernel = parts.add_parser("kernel")
    kernel.add_argument("--recipe", required=True)
    kernel.add_argument("--version", required=True)
    kernel.add_argument("--packages", type=Path, required=True)
    parts.add_parser("initramfs")
    options = parser.parse_args()

    if options.part == "check":
        sys.exit(0 if is_current(options.data, options.name, options.recipe) else 1)
    describe = {"image": image_part, "kernel": kernel_part, "initramfs": initramfs_part}
    write_part(options.data, options.part, describe[options.part](options))


if __name__ == "__main__":
    main()
