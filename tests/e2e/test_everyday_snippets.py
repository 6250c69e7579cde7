# SPDX-License-Identifier: MIT
"""A run behaves as `python3 -u main.py` does, with the image's own interpreter started cold."""

from __future__ import annotations

import base64
import json
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Dict, Iterator, NamedTuple

import flashvm as fvm
import pytest
from everyday import SNIPPETS


class Outcome(NamedTuple):
    exit_code: int
    stdout: bytes
    stderr: bytes


# Runs in one guest, and starts the interpreter anew for each snippet, in a /work that is clean.
COLD = """
import base64, json, os, shutil, subprocess, sys
snippets = json.loads({snippets!r})
outcomes = {{}}
for name, source in snippets.items():
    for entry in os.listdir("/work"):
        if entry != "out":
            shutil.rmtree(entry) if os.path.isdir(entry) else os.unlink(entry)
    with open("main.py", "wb") as file:
        file.write(base64.b64decode(source))
    done = subprocess.run([sys.executable, "-u", "main.py"], stdin=subprocess.DEVNULL, capture_output=True)
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    outcomes[name] = [code, base64.b64encode(done.stdout).decode(), base64.b64encode(done.stderr).decode()]
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
        name: Outcome(code, base64.b64decode(out), base64.b64decode(err))
        for name, (code, out, err) in outcomes.items()
    }


@pytest.fixture(scope="module")
def runs() -> Iterator[Dict[str, "Future[fvm.Result]"]]:
    """All of them, two at a time; no boot may fail."""
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(fvm.run, source) for name, source in SNIPPETS.items()}


@pytest.mark.parametrize("name", SNIPPETS)
def test_runs_as_a_cold_interpreter_does(
    name: str, runs: Dict[str, "Future[fvm.Result]"], cold: Dict[str, Outcome]
) -> None:
    res = runs[name].result()
    assert Outcome(res.exit_code, res.stdout_raw, res.stderr_raw) == cold[name]
    assert res.started and not res.timed_out
