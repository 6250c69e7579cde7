# SPDX-License-Identifier: MIT
"""A run behaves as `python3 -u main.py` does, with the image's own interpreter started cold."""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterator, NamedTuple

import pytest

import flashvm as fvm

# Their output does not depend on chance, time or addresses.
SNIPPETS = {
    file.stem: file.read_bytes() for file in sorted((Path(__file__).parent / "everyday").iterdir())
}


class Outcome(NamedTuple):
    exit_code: int
    stdout: bytes
    stderr: bytes


def outcome(exit_code: int, stdout: bytes, stderr: bytes) -> Outcome:
    """Addresses, which CPython prints for some objects, are blotted out."""
    return Outcome(
        exit_code, *(re.sub(rb"\b0x[0-9a-f]{9,}", b"0x...", s) for s in (stdout, stderr))
    )


@pytest.fixture(autouse=True)
def _nothing_is_left() -> None:
    """Here the next runs have begun already when a test ends."""


# Runs in one guest, and starts the interpreter anew for each snippet, in a /work that is clean.
COLD = """
import base64, json, os, shutil, subprocess, sys
snippets = json.loads({snippets!r})
outcomes = {{}}
for name, source in snippets.items():
    for entry in os.listdir("/work"):
        if entry not in ("in", "out"):
            shutil.rmtree(entry) if os.path.isdir(entry) else os.unlink(entry)
    with open("main.py", "wb") as file:
        file.write(base64.b64decode(source))
    python = [sys.executable, "-u", "main.py"]
    done = subprocess.run(python, stdin=subprocess.DEVNULL, capture_output=True)
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    out, err = (base64.b64encode(s).decode() for s in (done.stdout, done.stderr))
    outcomes[name] = [code, out, err]
with open("/tmp/outcomes", "w") as file:
    json.dump(outcomes, file)
os.rename("/tmp/outcomes", "/work/out/outcomes.json")
"""


@pytest.fixture(scope="module")
def cold() -> Dict[str, Outcome]:
    sources = {name: base64.b64encode(source).decode() for name, source in SNIPPETS.items()}
    code = COLD.format(snippets=json.dumps(sources))
    res = fvm.run(code, timeout_seconds=400, expect=["out/outcomes.json"], max_bytes_inline=1 << 26)
    assert res.exit_code == 0, res.stderr
    outcomes = json.loads(res.artifacts[0].content)
    return {
        name: outcome(code, base64.b64decode(out), base64.b64decode(err))
        for name, (code, out, err) in outcomes.items()
    }


@pytest.fixture(scope="module")
def runs() -> Iterator[Dict[str, Future[fvm.Result]]]:
    """All of them, two at a time; no boot may fail."""
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(fvm.run, source) for name, source in SNIPPETS.items()}


@pytest.mark.parametrize("name", SNIPPETS)
def test_runs_as_a_cold_interpreter_does(
    name: str, runs: Dict[str, Future[fvm.Result]], cold: Dict[str, Outcome]
) -> None:
    res = runs[name].result()
    assert outcome(res.exit_code, res.stdout_raw, res.stderr_raw) == cold[name]
    assert res.started and not res.timed_out
