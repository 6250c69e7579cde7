# SPDX-License-Identifier: MIT
"""No option is forgotten: Python, C and the command have the same ones, and each is tested.

The sources are read: the signature of `run`, the fields of flashvm_run_options, the help of
`flashvm run`, and the tables of wrong values in test_arguments.py, test_command.py and
tests/unit/test_options.c.
"""

from __future__ import annotations

import inspect
import re
import subprocess
from pathlib import Path
from typing import Dict, List, Set

import pytest
from test_arguments import UNSUPPORTED, WRONG_TYPES, WRONG_VALUES
from test_command import UNSUPPORTED as COMMAND_UNSUPPORTED
from test_command import WRONG_USE

import flashvm as fvm

ROOT = Path(__file__).parents[2]

# Of Python, of C, of the command. "": it has no such option there.
OPTIONS = [
    ("code", "", "--code"),
    ("cpus", "cpus", "--cpus"),
    ("memory_mb", "memory_mb", "--memory"),
    ("env", "env", "--env"),
    ("timeout_seconds", "timeout_ms", "--timeout"),
    ("workdir", "workdir", "--workdir"),
    ("python_args", "python_args", "--python-arg"),
    ("args", "args", ""),  # what follows the snippet
    ("expect", "expect", "--expect"),
    ("files_in", "files_in", "--in"),
    ("", "file_in_count", ""),
    ("stdin", "stdin_fd", ""),  # the command's own
    ("max_bytes_inline", "", ""),  # of Python's objects
    ("engine", "engine", "--engine"),
    ("image", "image", "--image"),
    ("cold_boot", "cold_boot", "--cold-boot"),
    ("network", "network", "--network"),
    ("ports", "ports", "--port"),
    ("boot_timeout_seconds", "boot_timeout_ms", "--boot-timeout"),
    ("max_processes", "max_processes", "--max-processes"),
    ("max_disk_mb", "max_disk_mb", "--max-disk"),
    ("max_files_in", "max_files_in", "--max-files-in"),
    ("max_files_in_bytes", "max_files_in_bytes", "--max-files-in-bytes"),
    ("max_stdout_bytes", "max_stdout_bytes", "--max-stdout"),
    ("max_stderr_bytes", "max_stderr_bytes", "--max-stderr"),
    ("max_artifacts", "max_artifacts", "--max-artifacts"),
    ("max_artifact_bytes", "max_artifact_bytes", "--max-artifact-bytes"),
    # How a program is told of signals, which the others do by themselves.
    ("", "struct_size", ""),
    ("", "interrupt_fd", ""),
    ("", "interrupted", ""),
    ("", "interrupted_data", ""),
    # What the command does with a result.
    ("", "", "--out"),
    ("", "", "--json"),
    ("", "", "--quiet"),
    ("", "", "--help"),
]

# In C no value of these is wrong (0 stands for the default), or another test has them.
NEVER_WRONG_IN_C = {
    "cold_boot",
    *("max_stdout_bytes", "max_stderr_bytes", "max_artifacts", "max_artifact_bytes"),
    *("interrupt_fd", "interrupted", "interrupted_data"),
    "engine",  # select.c
    "image",  # test_image_name.c
    *("network", "ports", "struct_size"),  # have tests of their own there
    "file_in_count",  # .files_in
}


def column(index: int) -> Set[str]:
    return {row[index] for row in OPTIONS} - {""}


def fields_of_c() -> Set[str]:
    header = (ROOT / "include/flashvm/flashvm.h").read_text()
    struct = re.search(r"struct flashvm_run_options \{(.*?)\n\};", header, re.S)
    assert struct
    text = re.sub(r"/\*.*?\*/", "", struct.group(1), flags=re.S)
    return set(re.findall(r"(\w+)(?:\)\([^)]*\))?;", text))


def options_of_help(command: str) -> Set[str]:
    text = subprocess.run([command, "help", "run"], capture_output=True, text=True).stdout
    return set(re.findall(r"--[a-z-]+[a-z]", text))


def test_python_c_and_the_command_have_the_same_options(command: str) -> None:
    assert set(inspect.signature(fvm.run).parameters) == column(0)
    assert fields_of_c() == column(1)
    assert options_of_help(command) == column(2)


def test_each_option_of_python_has_wrong_types_and_values() -> None:
    types = {name for arguments, _ in WRONG_TYPES for name in arguments}
    values = {name for arguments, _ in WRONG_VALUES + UNSUPPORTED for name in arguments}
    assert types == column(0)
    assert values == column(0) - {"cold_boot"}  # a bool can be any


def test_each_option_of_the_command_has_wrong_values() -> None:
    used = {
        word.split("=")[0]
        for args, _ in WRONG_USE + COMMAND_UNSUPPORTED
        for word in args
        if args[0] == "run"
    }
    assert column(2) <= used


def test_each_field_of_c_is_taken_and_has_wrong_values() -> None:
    text = (ROOT / "tests/unit/test_options.c").read_text()
    bodies: Dict[str, List[str]] = {
        name: re.findall(r"\.(\w+) = ", text.split(f"static void {name}(", 1)[1].split("\n}\n")[0])
        for name in ("what_is_given_is_taken", "every_wrong_option_is_named")
    }
    assert column(1) - {"file_in_count"} <= set(bodies["what_is_given_is_taken"])
    assert column(1) - NEVER_WRONG_IN_C <= set(bodies["every_wrong_option_is_named"])


@pytest.mark.parametrize("name", sorted(column(0) - {"code"}))
def test_each_option_is_explained(name: str) -> None:
    assert re.search(rf"\b{name}\b", fvm.run.__doc__ or "")
