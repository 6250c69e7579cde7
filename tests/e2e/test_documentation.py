# SPDX-License-Identifier: MIT
"""The tables of README.md say what the program does. (The stand-in guest.)"""

from __future__ import annotations

import inspect
import re
import subprocess
from pathlib import Path
from typing import Any, Dict, List

import pytest
from test_limits_in_vm import SNIPPETS_SHARE

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in")

README = (Path(__file__).parents[2] / "README.md").read_text()


def table(first_cell: str) -> Dict[str, List[str]]:
    """The rows of the table that begins with this cell, by their first cells; without backticks."""
    lines = README[README.index(f"| {first_cell} |") :].split("\n\n")[0].splitlines()
    rows = [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines
    ]
    return {row[0]: row[1:] for row in rows if set(row[0]) != {"-"}}


LIMITS = {name: row for name, row in table("option").items() if name != "option"}


def in_bytes(text: str) -> str:
    """A default as the help has it: `64 MiB` is 67108864."""
    return str(int(text[:-4]) * 2**20) if text.endswith(" MiB") else text


def test_the_table_of_limits_has_every_limit() -> None:
    limits = [name for name in inspect.signature(fvm.run).parameters if name.startswith("max_")]
    others = ["timeout_seconds", "boot_timeout_seconds", "cpus", "memory_mb"]
    assert set(LIMITS) == {*limits, *others} - {"max_bytes_inline"}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_has_the_default_of_the_table(command: str, name: str) -> None:
    option, default, _, _ = LIMITS[name]
    assert str(inspect.signature(fvm.run).parameters[name].default) == default
    text = subprocess.run([command, "help", "run"], capture_output=True, text=True).stdout
    explained = re.search(rf"  {option} .*?\(([^()]*)\)\n", text, re.S)
    assert explained
    helped = " ".join(explained.group(1).split())
    assert in_bytes(helped) == {"None": "half of the memory"}.get(default, default)


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_may_be_what_the_table_says(name: str) -> None:
    may_be = LIMITS[name][2]
    too_low: Any = {name: -1}
    with pytest.raises(fvm.InvalidArgument) as raised:
        fvm.run("", **too_low)
    assert f" {may_be}" in str(raised.value)


def test_the_table_of_memory_has_what_is_tested() -> None:
    rows = table("`memory_mb` | 128")
    shares = dict(zip(rows["memory_mb"], rows["the snippet's, in MiB"]))
    for size, share in SNIPPETS_SHARE.items():
        assert shares[str(size)] == str(share)


@pytest.mark.parametrize("field", fvm.Result.__annotations__)
def test_a_field_of_a_result_is_explained(field: str) -> None:
    explained = README[README.index("| key | is |") :].split("\n\n")[0]
    assert f"`{field}`" in explained
