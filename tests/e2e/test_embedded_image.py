# SPDX-License-Identifier: MIT
"""The embedded image is an ordinary OCI image, and what is made of it stays as it was made."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import flashvm as fvm


@pytest.mark.needs("skopeo")
def test_skopeo_reads_the_image_that_runs_name() -> None:
    image = f"oci:{fvm.find_embedded_data_path()}/oci:python-basic"
    inspect = ["skopeo", "inspect", image]
    seen = json.loads(subprocess.run(inspect, check=True, capture_output=True).stdout)
    assert fvm.prepare_image() == f"localhost/flashvm:python-basic@{seen['Digest']}"
    assert (seen["Os"], seen["Architecture"]) == ("linux", "amd64")


def test_zeros_inside_the_root_file_system_never_reach_a_guest(cache_home: Path) -> None:
    fvm.prepare_image()
    (rootfs,) = cache_home.glob("flashvm/rootfs/*.squashfs")
    made = rootfs.read_bytes()
    rootfs.chmod(0o644)
    with rootfs.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(len(made) // 2))
    assert fvm.run("print('as new')").stdout == "as new\n"
    assert rootfs.read_bytes() == made
