# SPDX-License-Identifier: MIT
"""OCI image layouts as other tools make them: skopeo, umoci, buildah, GNU tar."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import List

import flashvm as fvm


def tool(*argv: object) -> str:
    """Run a tool to its end; what it said is shown when it fails."""
    done = subprocess.run(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}"
    return done.stdout


def copy_embedded(layout: Path, tag: str) -> None:
    """The embedded image with a gzip layer: umoci 0.4.7 reads no zstd."""
    embedded = f"oci:{fvm.find_embedded_data_path()}/oci:python-basic"
    options = ["--quiet", "--dest-compress-format", "gzip", "--dest-compress-level", "1"]
    tool("skopeo", "copy", *options, embedded, f"oci:{layout}:{tag}")


def new_image(layout: Path, tag: str) -> None:
    """An image with nothing in it."""
    if not layout.exists():
        tool("umoci", "init", "--layout", layout)
    tool("umoci", "new", "--image", f"{layout}:{tag}")


def insert(image: str, *arguments: object) -> None:
    """One layer more: [--opaque] SOURCE TARGET, or --whiteout TARGET."""
    tool("umoci", "insert", "--image", image, *arguments)


def configure(image: str, *options: str) -> None:
    tool("umoci", "config", "--image", image, *options)


def add_gnu_tar(image: str, directory: Path, scratch: Path, *options: str) -> None:
    """A layer as GNU tar writes it."""
    layer = scratch / "layer.tar"
    tool("tar", "--create", "--file", layer, "--directory", directory, *options, ".")
    tool("umoci", "raw", "add-layer", "--image", image, layer)


class Buildah:
    """buildah with a storage of its own."""

    def __init__(self, directory: Path) -> None:
        self._storage: List[object] = ["--root", directory / "root", "--runroot", directory / "run"]

    def __call__(self, *argv: object) -> str:
        output = tool("buildah", *self._storage, "--storage-driver", "vfs", *argv)
        return output.strip().rpartition("\n")[2]
