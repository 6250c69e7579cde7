# SPDX-License-Identifier: MIT
"""`flashvm run`: its standard input, files and arguments for the snippet. (The stand-in guest.)"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Dict, List

import pytest
from callers import Terminal, on_terminal

pytestmark = pytest.mark.usefixtures("stand_in")


def run(command: str, *args: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
    argv = [command, "run", *args]
    return subprocess.run(argv, capture_output=True, timeout=30, **options)


def request(command: str, *args: Any) -> Dict[str, Any]:
    """What the guest was asked for, with `echo` as the snippet."""
    sent: Dict[str, Any] = json.loads(run(command, *args, stdin=subprocess.DEVNULL).stdout)
    usual: Dict[str, Any] = {"args": []}
    return {**usual, **sent["request"], "files": [path for path, _, _ in sent["files"]]}


# ---- standard input ----


def test_piped_input_is_the_snippets(command: str, tmp_path: Path) -> None:
    assert run(command, "-c", "stdin", input=b"a\0\xff\n").stdout == b"a\0\xff\n"
    (tmp_path / "main.py").write_text("stdin")
    assert run(command, tmp_path / "main.py", input=b"piped").stdout == b"piped"
    content = b"0123456789" * 500_000
    assert run(command, "-c", "stdin", input=content).stdout == content
    with (tmp_path / "main.py").open("rb") as file:
        assert run(command, "-c", "stdin", stdin=file).stdout == b"stdin"


def test_an_input_that_gave_the_snippet_is_used_up(command: str) -> None:
    for args in ([], ["-"], ["-", "argument"]):
        assert run(command, *args, input=b"stdout code\nstdin").stdout == b"code\n"


@pytest.mark.parametrize("redirection", ["<&-", "</dev/null", "<&- <&-", "0>/dev/null"])
def test_a_closed_input_is_an_empty_one(command: str, redirection: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"\"$0\" run -c 'stdin\nstdout end' {redirection}", command],
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"end\n", b"")


def test_a_terminal_that_nobody_types_at_is_not_waited_for(command: str) -> None:
    assert on_terminal([command, "run", "-c", "stdout hi"]) == (b"hi\r\n", 0)


def test_what_is_typed_is_the_snippets(command: str) -> None:
    terminal = Terminal([command, "run", "-c", "stdin-once\nstdin-once"])
    terminal.type(b"one\n")
    terminal.wait_for(b"one\r\n")
    terminal.type(b"two\n")
    written, exit_code = terminal.finish()
    assert exit_code == 0
    assert written.replace(b"two\r\n", b"", 1).endswith(b"one\ntwo\n".replace(b"\n", b"\r\n"))


def test_a_writer_that_does_not_end_is_not_waited_for(command: str) -> None:
    reader, writer = os.pipe()
    assert run(command, "-c", "exit 3", stdin=reader).returncode == 3
    os.close(reader)
    os.close(writer)


# ---- arguments ----


@pytest.mark.parametrize(
    ("words", "args"),
    [
        (["-c", "echo"], []),
        (["-c", "echo", "a", "", "b"], ["a", "", "b"]),
        (["-c", "echo", "caf\u00e9", "\u4e2d\n"], ["caf\u00e9", "\u4e2d\n"]),
        (["-c", "echo", "--", "-c", "--timeout", "--", "-x"], ["-c", "--timeout", "--", "-x"]),
        (["-c", "echo", "a", "--timeout", "5", "b"], ["a", "b"]),  # as GNU programs do
        (["-c", "echo", "-"], ["-"]),
    ],
)
def test_what_follows_the_snippet_is_its_own(
    command: str, words: List[str], args: List[str]
) -> None:
    assert request(command, *words)["args"] == args


def test_what_follows_a_file_is_the_snippets_own(command: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("echo")
    assert request(command, tmp_path / "main.py", "a", "b")["args"] == ["a", "b"]
    assert request(command, "--", tmp_path / "main.py", "-a", "--b")["args"] == ["-a", "--b"]
    done = run(command, "-", "x", "--", "-y", input=b"echo")
    assert json.loads(done.stdout)["request"]["args"] == ["x", "-y"]


def test_an_argument_that_is_no_utf8_is_named(command: str) -> None:
    done = run(command, "-c", "", b"\xff", stdin=subprocess.DEVNULL)
    assert done.returncode == 240
    assert done.stderr == (
        b'flashvm: error: the list of arguments has "\\xff"; it must be valid UTF-8\n'
    )


# ---- files ----


def test_files_for_the_snippet(command: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for name in ("a", "tree/b", "with:colon", "new\nline", "caf\u00e9"):
        (tmp_path / name).write_text(name)

    def files(*values: str) -> List[str]:
        options = [word for value in values for word in ("--in", value)]
        sent: List[str] = request(command, "-c", "echo", *options)["files"]
        return sent

    assert files(f"{tmp_path}/a") == ["in/a"]
    assert files(f"{tmp_path}/a:x/y") == ["in/x/y"]
    assert files(f"{tmp_path}/tree") == files(f"{tmp_path}/tree//") == ["in/tree/b"]
    assert files(f"{tmp_path}/tree:t", f"{tmp_path}/a:t/a") == ["in/t/a", "in/t/b"]
    assert files(f"{tmp_path}/with:colon:c") == ["in/c"]
    assert files(f"{tmp_path}/new\nline") == ["in/new\nline"]
    assert files(f"{tmp_path}/caf\u00e9", f"{tmp_path}/a:/work/in/z") == ["in/caf\u00e9", "in/z"]


# ---- limits and results ----


def test_limits_reach_the_guest_and_the_host(command: str) -> None:
    limits = "--max-processes 9 --max-disk 7 --max-artifacts 5 --max-artifact-bytes 3 --expect x"
    sent = request(command, "-c", "echo", *limits.split())
    assert (sent["max_processes"], sent["max_disk_bytes"]) == (9, 7 * 2**20)
    assert (sent["max_artifacts"], sent["max_artifact_bytes"]) == (5, 3)
    options = ["--max-stdout", "4", "--max-stderr", "2"]
    done = run(command, "-c", "flood 10\nstderr 123456", *options, stdin=subprocess.DEVNULL)
    assert done.stdout == b"xxxx"
    assert done.stderr == (
        b"12flashvm: stdout was cut: 4 of its 10 bytes are here\n"
        b"flashvm: stderr was cut: 2 of its 7 bytes are here\n"
    )


def test_json_says_what_was_used_and_what_ended_the_run(command: str) -> None:
    def result(code: str) -> Dict[str, Any]:
        done = run(command, "--json", "-c", code, stdin=subprocess.DEVNULL)
        value: Dict[str, Any] = json.loads(done.stdout)
        return value

    well = result("")
    assert (well["cpu_time_ms"], well["peak_memory_bytes"]) == (1.0, 5_000_000)
    assert (well["oom_killed"], well["ended_by_limit"]) == (False, None)
    killed = result("oom-killed")
    assert (killed["oom_killed"], killed["ended_by_limit"]) == (True, "memory")
    assert result("timed-out")["ended_by_limit"] == "timeout"


def test_a_lack_of_memory_is_noted(command: str) -> None:
    done = run(command, "-c", "stdout kept\noom-killed", stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (137, b"kept\n")
    assert done.stderr == (
        b"flashvm: the snippet was ended because it took all memory; --memory gives it more\n"
    )
