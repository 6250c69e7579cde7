# SPDX-License-Identifier: MIT
"""What goes into a run arrives as it was."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from conftest import Run

HARD_TO_CARRY = "quotes \" ' \\ $HOME `id` %s; newline\\n, tab\t, é, 日本, 🙂, \x01\x7f"


@pytest.mark.core
def test_a_snippet_of_a_megabyte_with_all_that_a_command_line_would_break(run: Run) -> None:
    noise = "".join(chr(n) for n in range(32, 127)) * 10
    comment = "".join(f"# {noise} 🙂 {n}\n" for n in range(1000))
    code = (
        comment
        + "import hashlib\nprint(hashlib.sha256(open(__file__, 'rb').read()).hexdigest())\n"
        + f"print({HARD_TO_CARRY!r})\n"
    )
    assert len(code.encode()) > 950_000
    res = run(code)
    assert res.exit_code == 0, res
    digest, text = res.stdout.split("\n", 1)
    assert digest == hashlib.sha256(code.encode()).hexdigest()
    assert text == HARD_TO_CARRY + "\n"


@pytest.mark.core
def test_files_arguments_environment_and_standard_input(run: Run, tmp_path: Path) -> None:
    big = os.urandom(5_000_000)
    (tmp_path / "big").write_bytes(big)
    res = run(
        "import hashlib, os, sys\n"
        "print(sys.argv[1:])\n"
        "print(os.environ['NAME'], os.getcwd(), __debug__)\n"
        "print(sorted(os.listdir('/work/in')))\n"
        "print(hashlib.sha256(open('/work/in/big', 'rb').read()).hexdigest())\n"
        "print(open('/work/in/odd name', 'rb').read())\n"
        "print(len(sys.stdin.buffer.read()))\n",
        files_in={"big": tmp_path / "big", "odd name": b"\0\n\xff", "empty": b""},
        args=["-x", HARD_TO_CARRY],
        env={"NAME": HARD_TO_CARRY},
        workdir="/tmp/some where",
        python_args=["-u", "-O"],
        stdin=b"x" * 1_000_000,
    )
    assert res.exit_code == 0, res
    assert res.stdout.splitlines() == [
        *repr(["-x", HARD_TO_CARRY]).splitlines(),
        *f"{HARD_TO_CARRY} /tmp/some where False".splitlines(),
        "['big', 'empty', 'odd name']",
        hashlib.sha256(big).hexdigest(),
        repr(b"\0\n\xff"),
        "1000000",
    ]
