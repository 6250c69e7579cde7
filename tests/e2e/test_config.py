# SPDX-License-Identifier: MIT
"""Options as a dict, and where the data is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in")


def test_a_config_does_what_the_same_options_do() -> None:
    config = {"expect": ["*"], "max_bytes_inline": 0, "timeout_seconds": 7}
    assert fvm.run_with_config("exit 3", config).exit_code == 3
    assert fvm.run_with_config("exit 4", {}).exit_code == 4


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("timeout", "timeout_seconds"),
        ("memory", "memory_mb"),
        ("cpu", "cpus"),
        ("envs", "env"),
        ("code", "ports"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest_one(key: str, nearest: str) -> None:
    with pytest.raises(fvm.InvalidArgument) as caught:
        fvm.run_with_config("exit 0", {key: 1})
    assert str(caught.value).startswith(f"config has the key {key!r}, which is no option of run")
    if key != "code":  # nothing is near
        assert str(caught.value).endswith(f"did you mean {nearest!r}?")


@pytest.mark.parametrize("config", [None, "cpus=1", [("cpus", 1)], {1: 2}])
def test_a_config_is_a_dict_of_options(config: Any) -> None:
    with pytest.raises(fvm.InvalidArgumentType, match=r"config must be|a key in config must be"):
        fvm.run_with_config("exit 0", config)


def test_the_embedded_data_is_a_real_directory() -> None:
    path = fvm.find_embedded_data_path()
    assert path == Path(fvm.__file__).parent / "data"
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["image"]["reference"] == "localhost/flashvm:python-basic"


def test_missing_data_is_an_error_that_says_how_to_make_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLASHVM_DATA_DIR", str(tmp_path))
    with pytest.raises(fvm.NotFound, match="make guest"):
        fvm.find_embedded_data_path()
