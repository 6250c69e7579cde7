# SPDX-License-Identifier: MIT
"""Files, standard input and arguments, as a snippet in a real microVM finds them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Dict, Union

import pytest

import flashvm as fvm

REPORT = """
import hashlib, json, os, sys
def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
files = {}
for directory, _, names in os.walk(b"/work/in"):
    for name in names:
        path = os.path.join(directory, name)
        files[os.fsdecode(path)] = [os.stat(path).st_size, digest(path)]
first = os.lstat("/work/in")
open("/work/in/of the snippet", "w").close()  # it may write there
os.remove("/work/in/empty")
print(json.dumps({
    "files": files,
    "owner": [first.st_uid, first.st_gid] == [os.getuid(), os.getgid()],
    "argv": sys.argv, "orig_argv": sys.orig_argv[1:], "cwd": os.getcwd(),
    "input": [hashlib.sha256(sys.stdin.buffer.read()).hexdigest(), sys.stdin.read()],
    "flags": sys.flags.optimize,
}))
"""


def test_files_input_and_arguments_arrive(tmp_path: Path) -> None:
    """3,000 small files, one of 60 MB, names that are no text, and 20 MB of input."""
    (tmp_path / "tree").mkdir()
    for n in range(3000):
        (tmp_path / "tree" / str(n)).write_text(str(n))
    with (tmp_path / "large").open("wb") as large:
        large.truncate(60 * 2**20)
        large.write(b"begin")
    odd = ["new\nline", "q\"u'o", "\udcff\udcfe", "caf\u00e9", "n" * 255, "/".join("d" * 60)]
    content = {"empty": b"", **{name: name.encode("utf-8", "surrogateescape") for name in odd}}
    files: Dict[str, Union[bytes, str, os.PathLike[str]]] = {
        **content,
        "tree": tmp_path / "tree",
        "large": tmp_path / "large",
    }
    args = ["", "-c", "--", "caf\u00e9 \u4e2d", "a\nb", ""]
    stdin = bytes(range(256)) * 80_000

    result = fvm.run(REPORT, files_in=files, args=args, stdin=stdin, timeout_seconds=120)
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    expected = {f"/work/in/{name}": data for name, data in content.items()}
    expected.update({f"/work/in/tree/{n}": str(n).encode() for n in range(3000)})
    expected["/work/in/large"] = (tmp_path / "large").read_bytes()
    assert report["files"] == {
        path: [len(data), hashlib.sha256(data).hexdigest()] for path, data in expected.items()
    }
    assert report["owner"] is True
    assert report["argv"] == ["main.py", *args] and report["orig_argv"] == ["-u", "main.py", *args]
    assert report["input"] == [hashlib.sha256(stdin).hexdigest(), ""]


def test_the_command_passes_on_its_input_and_arguments(command: str, tmp_path: Path) -> None:
    """With an interpreter of its own options: not the one that waited."""
    (tmp_path / "main.py").write_text(REPORT)
    (tmp_path / "empty").write_text("")
    options = ["--python-arg", "-O", "--workdir", "/tmp", "--in", str(tmp_path / "empty")]
    done = subprocess.run(
        [command, "run", *options, tmp_path / "main.py", "a", "", "caf\u00e9", "--", "-x"],
        input=b"piped\n",
        capture_output=True,
        timeout=180,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    report = json.loads(done.stdout)
    assert report["argv"] == ["/work/main.py", "a", "", "caf\u00e9", "-x"]
    assert report["input"][0] == hashlib.sha256(b"piped\n").hexdigest()
    assert (report["flags"], report["cwd"]) == (1, "/tmp")
    assert list(report["files"]) == ["/work/in/empty"]


def test_input_that_is_not_read_does_not_keep_a_run_from_its_end() -> None:
    """Of an endless one; and the snippet closes it before the rest."""
    code = "import os, time\nprint(len(os.read(0, 10)))\nos.close(0)\ntime.sleep(0.5)\nprint('end')"
    with open("/dev/zero", "rb") as zeros:
        result = fvm.run(code, stdin=zeros)
    assert (result.exit_code, result.stdout) == (0, "10\nend\n")


BEGINNING = """
import os, sys
print(sys.flags.utf8_mode, "LD_LIBRARY_PATH" in open("/proc/self/environ").read(), hash("a"))
"""


def test_variables_that_are_read_at_an_interpreters_start_are_honoured() -> None:
    """It gets them from its parent, and not when it waits already."""
    waiting = fvm.run(BEGINNING).stdout.split()
    names = {"LC_ALL": "C", "LD_LIBRARY_PATH": "/nowhere", "PYTHONHASHSEED": "7"}
    started = [fvm.run(BEGINNING, env=names).stdout.split() for _ in range(2)]
    assert waiting[:2] == ["0", "False"]
    assert started[0][:2] == ["1", "True"]  # PEP 540: the C locale means UTF-8 mode
    assert started[0] == started[1] and started[0][2] != waiting[2]


@pytest.mark.needs("root")
def test_nothing_needs_a_network(command: str) -> None:
    """A namespace with not even a loopback that is up, and nothing in the cache."""
    code = "print(open('/proc/version').read())"
    with tempfile.TemporaryDirectory(prefix="flashvm-offline-", dir="/tmp") as cache:
        done = subprocess.run(
            ["unshare", "--net", command, "run", "-c", code],
            env={**os.environ, "FLASHVM_OFFLINE": "1", "FLASHVM_CACHE_DIR": cache},
            capture_output=True,
            text=True,
            timeout=180,
        )
    assert done.returncode == 0 and done.stdout.startswith("Linux version"), done.stderr
