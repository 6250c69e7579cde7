# SPDX-License-Identifier: MIT
"""The embedded image is an ordinary OCI image, as another tool reads it."""

from __future__ import annotations

import json
import subprocess

import pytest

import flashvm as fvm


@pytest.mark.needs("skopeo")
def test_skopeo_reads_the_image_that_runs_name() -> None:
    image = f"oci:{fvm.find_embedded_data_path()}/oci:python-basic"
    inspect = ["skopeo", "inspect", image]
    seen = json.loads(subprocess.run(inspect, check=True, capture_output=True).stdout)
    assert fvm.prepare_image() == f"localhost/flashvm:python-basic@{seen['Digest']}"
    assert (seen["Os"], seen["Architecture"]) == ("linux", "amd64")
