# SPDX-License-Identifier: MIT
"""The `flashvm` command: arguments, sources, output, files, exit codes. (The stand-in guest.)"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from callers import on_terminal

pytestmark = pytest.mark.usefixtures("stand_in")

Flashvm = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def flashvm(command: str) -> Flashvm:
    """Run the command to its end."""

    def run(*args: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        return subprocess.run([command, *args], stderr=subprocess.PIPE, timeout=30, **options)

    return run


def result_json(done: subprocess.CompletedProcess[bytes]) -> Dict[str, Any]:
    result: Dict[str, Any] = json.loads(done.stdout)
    return result


# ---- wrong use ----

FLAGS = ["--json", "--quiet", "--help", "--network"]
FLAGS += ["--cold-boot"]
COUNTS = ["--max-disk", "--max-stdout", "--max-stderr", "--max-artifacts", "--max-artifact-bytes"]
COUNTS += ["--max-files-in", "--max-files-in-bytes"]

WRONG_USE = [
    (["run", "--timeout", "0"], "--timeout must be a number of seconds above 0"),
    (["run", "--timeout", "-1"], "--timeout must be .* not '-1'"),
    (["run", "--timeout", "nan"], "--timeout must be .* not 'nan'"),
    (["run", "--timeout", "inf"], "--timeout must be .* not 'inf'"),
    (["run", "--timeout", "1e5"], "--timeout must be .* not '1e5'"),
    (["run", "--timeout", "0x10"], "--timeout must be .* not '0x10'"),
    (["run", "--timeout", "1.2.3"], "--timeout must be .* not '1.2.3'"),
    (["run", "--timeout", ""], "--timeout must be .* not ''"),
    (["run", "--timeout", "9" * 23], "--timeout must be .* up to 31536000"),
    (["run", "--timeout"], "the option '--timeout' needs a value"),
    (["run", "-c"], "the option '-c' needs a value"),
    (["run", "--nope"], "'--nope' is not an option"),
    (["run", "-z"], "'-z' is not an option"),
    (["run", "-qzq"], "'-z' is not an option"),
    (
        ["run", "--max", "5"],
        "'--max' is short for more than one option: --max-artifact-bytes, --ma",
    ),
    (["run", "--c=x"], "'--c' is short for more than one option: --code, --cold-boot, --cpus"),
    (["run", ""], "the snippet's file has an empty name; give -c CODE, a file, or '-'"),
    (["run", "--memory", "127"], "--memory must be a whole number from 128 to 1048576, not '127'"),
    (["run", "--memory", "-5"], "--memory must be .* not '-5'"),
    (["run", "--memory", "9" * 23], "--memory must be"),
    (["run", "--memory", "512M"], "--memory must be .* not '512M'"),
    (["run", "--cpus", "0"], "--cpus must be a whole number from 1 to 64, not '0'"),
    (["run", "--cpus", "65"], "--cpus must be .* not '65'"),
    (["run", "--cpus", "1.5"], "--cpus must be .* not '1.5'"),
    (["run", "--cpus", " 1"], "--cpus must be .* not ' 1'"),
    (["run", "--env", "A"], "--env must be NAME=VALUE, not 'A'"),
    (["run", "--env", "=A"], "--env must be NAME=VALUE, not '=A'"),
    (["run", "--workdir", "x"], "--workdir must be an absolute path in the guest, not 'x'"),
    (["run", "--expect", "", "-c", ""], "--expect must be a glob"),
    (["run", "--expect", "../x", "-c", ""], '--expect has "../x"; a glob is relative to /work'),
    (["run", "--out", "", "-c", ""], "--out must be a directory"),
    (["run", "--out", "d", "-c", ""], "say which ones, with --expect"),
    (["run", "--engine", "foo", "-c", ""], 'no engine called "foo"; it can be auto, native, '),
    (["run", "-c", "x", "-c", "y"], "-c can be given only once"),
    (["run", "--code"], "the option '--code' needs a value"),
    (
        ["run", "--boot-timeout", "0"],
        "--boot-timeout must be a number of seconds above 0 .* not '0'",
    ),
    (["run", "--boot-timeout", "1m"], "--boot-timeout must be .* not '1m'"),
    (["run", "--boot-timeout", "1e9"], "--boot-timeout must be .* up to 31536000, not '1e9'"),
    (["run", "--in", ""], "--in must be HOST or HOST:GUEST, .* not ''"),
    (["run", "--in", ":x"], "--in must be HOST or HOST:GUEST, .* not ':x'"),
    (["run", "--in", "x:"], "--in must be HOST or HOST:GUEST, .* not 'x:'"),
    (["run", "--in", "/"], "--in must be HOST or HOST:GUEST, .* not '/'"),
    (["run", "--in", ".."], r"--in must be HOST or HOST:GUEST, .* not '\.\.'"),
    (["run", "--in", "/etc/passwd:../x", "-c", ""], r'--in has the guest path "\.\./x"'),
    (["run", "--in", "/dev/null", "-c", ""], "/dev/null is neither a regular file nor a directory"),
    (
        ["run", "--in", "/etc/passwd:a", "--in", "/etc/group:a", "-c", ""],
        "--in has more than one file for /work/in/a",
    ),
    (
        ["run", "--in", "/etc/passwd:a", "--in", "/etc/group", "--max-files-in", "1", "-c", ""],
        "--in has more than 1 files; --max-files-in raises the limit",
    ),
    (
        ["run", "--in", "/etc/passwd", "--max-files-in-bytes", "1", "-c", ""],
        "more than 1 bytes .* --max-files-in-bytes raises the limit",
    ),
    (["run", "--python-arg", "\udcff", "-c", ""], "--python-arg has .*; it must be valid UTF-8"),
    (["run", "--env", "A=\udcff", "-c", ""], "--env has .*; it must be valid UTF-8"),
    (["run", "--workdir", "/\udcff", "-c", ""], "--workdir has .*; it must be valid UTF-8"),
    (["run", "--expect", "\udcff", "-c", ""], "--expect has .*; it must be valid UTF-8"),
    (["run", "-c", "", "--", "\udcff"], "the list of arguments has .*; it must be valid UTF-8"),
    *(
        (["run", f"{flag}=1"], f"the option '{flag}' takes no value, so leave out '=1'")
        for flag in FLAGS
    ),
    *(
        (["run", option, value], f"{option} must be a whole number from 1 to .*, not '{value}'")
        for option in COUNTS
        for value in ("0", "-1", "x", "", "1.5", "9" * 30)
    ),
    (["run", "--max-processes", "7"], "--max-processes must be a whole number from 8 to 32768"),
    (["run", "--max-processes", "32769"], "--max-processes must be .* not '32769'"),
    (["run", "--max-processes", ""], "--max-processes must be .* not ''"),
    (["run", "--max-disk", "1048577"], "--max-disk must be .* from 1 to 1048576, not '1048577'"),
    (["run", "--max-artifacts", "4294967296"], "--max-artifacts must be .* to 4294967295"),
    (["run", "--max-files-in", "4294967296"], "--max-files-in must be .* to 4294967295"),
    (["nope"], "there is no command 'nope'"),
    (["--nope"], "there is no command '--nope'"),
    (["help", "nope"], "there is no command 'nope'"),
    (["help", "run", "x"], "'x' is one argument too many"),
    (["doctor", "x"], "doctor: 'x' is one argument too many"),
    (["doctor", "--j=2"], "the option '--json' takes no value, so leave out '=2'"),
    (["image"], "say what to do: list, prepare or clear"),
    (["image", "pull"], "'pull' is not known; it can be list, prepare or clear"),
    (["image", "prepare", "x", "y"], "'y' is one argument too many"),
    (["image", "list", "x"], "'x' is one argument too many"),
    (["image", "clear", "x"], "'x' is one argument too many"),
    (["image", "prepare", "--json"], "--json is for 'flashvm image list'"),
    (["image", "--nope"], "'--nope' is not an option"),
    (["run", "--image"], "the option '--image' needs a value"),
    (["run", "--image", "oci:", "-c", ""], '--image is "oci:": it has no path'),
    (["run", "--image", "", "-c", ""], '--image is "": it is empty; leave it out'),
    (["version", "x"], "version: 'x' is one argument too many"),
]


@pytest.mark.parametrize(("args", "says"), WRONG_USE, ids=lambda value: " ".join(value)[:40])
def test_wrong_use_is_240_and_names_what_is_wrong(
    flashvm: Flashvm, args: List[str], says: str
) -> None:
    done = flashvm(*args)
    assert (done.returncode, done.stdout) == (240, b"")
    assert_matches(rf"flashvm: error: .*{says}", done.stderr.decode())


UNSUPPORTED = [
    (
        ["run", "--network", "-c", ""],
        "--network is not supported yet: .* with --in, and take files out with --expect",
    ),
    (
        ["run", "--port", "8080:80", "-c", ""],
        "--port is not supported yet: a microVM has no network",
    ),
]


@pytest.mark.parametrize(("args", "says"), UNSUPPORTED, ids=lambda value: " ".join(value)[:20])
def test_what_no_engine_can_do_is_243(flashvm: Flashvm, args: List[str], says: str) -> None:
    done = flashvm(*args)
    assert (done.returncode, done.stdout) == (243, b"")
    assert_matches(f"^flashvm: error: {says}", done.stderr.decode())


def assert_matches(pattern: str, text: str) -> None:
    with pytest.raises(ValueError, match=pattern):
        raise ValueError(text)


def test_without_a_command_the_commands_are_listed(flashvm: Flashvm) -> None:
    done = flashvm()
    assert (done.returncode, done.stdout) == (240, b"")
    assert done.stderr.startswith(b"Usage: flashvm COMMAND")


def test_a_terminal_is_not_waited_for_without_a_dash(command: str) -> None:
    written, exit_code = on_terminal([command, "run"])
    assert exit_code == 240 and b"no snippet: give -c CODE, a file, or '-'" in written


# ---- help and version ----


@pytest.mark.parametrize("name", ["run", "doctor", "image", "version"])
def test_each_command_has_a_help(flashvm: Flashvm, name: str) -> None:
    one, other = flashvm("help", name), flashvm(name, "--help")
    assert one.stdout == other.stdout
    assert one.stdout.startswith(f"Usage: flashvm {name}".encode())
    assert (one.returncode, one.stderr, other.returncode) == (0, b"", 0)
    assert max(map(len, one.stdout.decode().splitlines())) <= 80


def test_the_help_of_run_names_every_exit_code(flashvm: Flashvm) -> None:
    text = flashvm("help", "run").stdout.decode()
    assert all(str(code) in text for code in range(240, 251))


def test_the_overview_lists_the_commands(flashvm: Flashvm) -> None:
    text = flashvm("help").stdout
    assert flashvm("--help").stdout == text
    assert max(map(len, text.decode().splitlines())) <= 80
    for name in (b"run", b"doctor", b"image", b"version", b"help"):
        assert b"\n  " + name + b" " in text


def test_version(flashvm: Flashvm) -> None:
    assert flashvm("version").stdout == b"flashvm 0.1.0\n"
    assert flashvm("--version").stdout == b"flashvm 0.1.0\n"


def test_image_prepare_prints_the_reference(flashvm: Flashvm) -> None:
    done = flashvm("image", "prepare")
    assert_matches(r"^localhost/flashvm:python-basic@sha256:[0-9a-f]{64}\n$", done.stdout.decode())


# ---- where the snippet comes from ----


def test_sources_of_a_snippet(flashvm: Flashvm, command: str, tmp_path: Path) -> None:
    file = tmp_path / "main.py"
    file.write_text("exit 5")
    assert flashvm("run", file).returncode == 5
    assert flashvm("run", "--", file).returncode == 5
    assert flashvm("run", "-c", "exit 6").returncode == 6
    assert flashvm("run", "-", input=b"exit 7").returncode == 7
    assert flashvm("run", input=b"exit 8").returncode == 8
    assert flashvm("run", "-", input=b"").returncode == 0
    shell = ["bash", "-c", '"$0" run <(echo exit 9)', command]
    assert subprocess.run(shell, timeout=30).returncode == 9


@pytest.mark.parametrize(
    ("path", "exit_code", "says"),
    [
        ("no/such/file", 241, "cannot read no/such/file: No such file or directory"),
        ("/", 242, "cannot read /: Is a directory"),
        ("/dev/zero", 240, "cannot run /dev/zero: a snippet may have at most 67108864 bytes"),
    ],
)
def test_a_source_that_is_none(flashvm: Flashvm, path: str, exit_code: int, says: str) -> None:
    done = flashvm("run", path)
    assert (done.returncode, done.stderr.decode()) == (exit_code, f"flashvm: error: {says}\n")


def test_a_closed_standard_input_is_an_error(command: str) -> None:
    done = subprocess.run(["sh", "-c", '"$0" run - <&-', command], stderr=subprocess.PIPE)
    assert done.returncode == 242 and b"the snippet from standard input: Bad file" in done.stderr


# ---- what comes back ----


def test_output_and_exit_code_are_the_snippets_own(flashvm: Flashvm) -> None:
    data = b"ok\0\xff\xfe\xe2\x82x\xc3\xa9\r\n"
    done = flashvm("run", "-c", f"exactly {data.hex()}\nstderr trouble\nexit 77")
    assert (done.returncode, done.stdout, done.stderr) == (77, data, b"trouble\n")
    assert flashvm("run", "-c", "killed 9").returncode == 137


def test_options_reach_the_guest(flashvm: Flashvm) -> None:
    options = "--timeout 0.0015 --memory=1024 --cpus 3 --env A=1=2 --env B= --workdir /w"
    options += " --engine qemu --python-arg -O --python-arg -u --expect a --expect b/*"
    done = flashvm("run", "-c", "echo", *options.split())
    sent = json.loads(done.stdout)
    request, argv = sent["request"], sent["argv"]
    assert request["timeout_ms"] == 2 and request["env"] == ["A=1=2", "B="]
    assert request["workdir"] == "/w" and request["python_args"] == ["-O", "-u"]
    assert request["expect"] == ["a", "b/*"]
    assert argv[argv.index("-smp") + 1] == "3" and argv[argv.index("-m") + 1] == "1024M"
    assert done.stderr == b"flashvm: no file matches --expect\n"
    assert flashvm("run", "-q", "-c", "", "--expect", "a").stderr == b""


def test_a_timeout_is_124_with_a_note(flashvm: Flashvm) -> None:
    done = flashvm("run", "-c", "stdout so far\ntimed-out", "--timeout", "0.5")
    assert (done.returncode, done.stdout) == (124, b"so far\n")
    assert done.stderr == b"flashvm: the snippet was ended at its timeout of 0.5 s\n"


def test_output_that_is_cut_is_noted(flashvm: Flashvm) -> None:
    done = flashvm("run", "-c", "flood 67108869", stdout=subprocess.DEVNULL)
    assert done.stderr == b"flashvm: stdout was cut: 67108864 of its 67108869 bytes are here\n"


def test_what_the_guest_says_cannot_steer_the_terminal(flashvm: Flashvm) -> None:
    done = flashvm("run", "-", input=b"fail \x1b[31mred \xff")
    assert done.returncode == 246
    assert done.stderr.endswith(b"cannot do the run: \\x1b[31mred \\xff\n")


def test_json_has_the_whole_result(flashvm: Flashvm) -> None:
    data = b"ok\xff"
    result = result_json(flashvm("run", "--json", "-c", f"exactly {data.hex()}\nstderr no\nexit 3"))
    assert result["exit_code"] == 3 and result["timed_out"] is False and result["started"] is True
    assert result["stdout"] == "ok\ufffd" and base64.b64decode(result["stdout_base64"]) == data
    assert result["stderr"] == "no\n" and "stderr_base64" not in result
    assert (result["stdout_bytes"], result["stdout_truncated"]) == (3, False)
    assert result["execution_time_ms"] == result["timings"]["execute"] == 1.234
    assert result["image_used"].startswith("localhost/flashvm:python-basic@sha256:")
    assert result["artifacts"] == [] and result["artifacts_note"] is None


def test_json_says_how_the_vm_came_to_be(flashvm: Flashvm) -> None:
    copied = result_json(flashvm("run", "--json", "-c", ""))
    booted = result_json(flashvm("run", "--json", "--cold-boot", "-c", ""))
    assert (copied["restored"], copied["pooled"]) == (True, False)
    assert (booted["restored"], booted["pooled"]) == (False, False)
    for result in copied, booted:
        assert result["reseeded"] and result["clock_set"]


def test_an_error_names_options_and_leaves_the_guests_words(flashvm: Flashvm) -> None:
    """Those of the library name its fields; what follows the first line is the guest's own."""
    done = flashvm(
        "run", "--json", "-c", "unstarted\nrefuse files_in are too much; raise memory_mb"
    )
    assert done.returncode == 240
    assert done.stderr == b"flashvm: error: --in are too much; raise --memory\n"
    assert result_json(done)["error"]["message"] == "--in are too much; raise --memory"
    broken = flashvm("run", "-c", "console memory_mb and files_in\ndie").stderr
    assert broken.endswith(b"memory_mb and files_in\n")


def test_json_of_a_failure_has_its_cause(flashvm: Flashvm) -> None:
    done = flashvm("run", "--json", "-c", "fail no python")
    error = result_json(done)["error"]
    assert done.returncode == error["status"] == 246
    assert error["name"] == "guest-failed" and "no python" in error["message"]


# ---- artifacts ----

FILES = b"file out/a.txt hello\nfile out/deep/b\xff deep\nzeros big 1048577\nleft-out 1 too large"


def test_artifacts_are_saved_with_out(flashvm: Flashvm, tmp_path: Path) -> None:
    target = tmp_path / "new/target"
    done = flashvm("run", "-", "--expect", "**", "--out", target, input=FILES)
    assert done.returncode == 0
    assert (target / "out/a.txt").read_bytes() == b"hello"
    assert (target / "out/deep/b\udcff").read_bytes() == b"deep"
    assert (target / "big").stat().st_size == 1048577
    assert (target / "big").stat().st_mode & 0o777 == 0o666 & ~umask()
    notes = done.stderr.decode().splitlines()
    assert notes == [
        f"flashvm: saved {target}/out/a.txt (5 bytes)",
        f"flashvm: saved {target}/out/deep/b\\xff (4 bytes)",
        f"flashvm: saved {target}/big (1048577 bytes)",
        "flashvm: not all artifacts are here: 1 too large",
    ]


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_artifacts_are_only_listed_without_out(flashvm: Flashvm) -> None:
    done = flashvm("run", "-", "--expect", "**", input=FILES)
    assert b"artifact out/a.txt (5 bytes)" in done.stderr and b"only with --out DIR" in done.stderr


def test_json_has_artifacts(flashvm: Flashvm, tmp_path: Path) -> None:
    small, strange, big = result_json(flashvm("run", "-", "--json", "--expect", "**", input=FILES))[
        "artifacts"
    ]
    assert base64.b64decode(small["content_base64"]) == b"hello"
    assert base64.b64decode(strange["guest_path_base64"]) == b"out/deep/b\xff"
    assert big["content_base64"] is None and big["size_bytes"] == 1048577
    saved = flashvm("run", "-", "--json", "--expect", "**", "--out", tmp_path, input=FILES)
    assert result_json(saved)["artifacts"][0]["saved_to"] == f"{tmp_path}/out/a.txt"


def test_saving_follows_no_link(flashvm: Flashvm, tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (target / "link").symlink_to(outside)
    save = ("--expect", "**", "--out", target)
    done = flashvm("run", "-c", "stdout kept\nfile link/x evil", *save)
    assert (done.returncode, done.stdout) == (242, b"kept\n")
    assert b"cannot save the artifact 'link/x'" in done.stderr
    assert list(outside.iterdir()) == []
    assert flashvm("run", "-c", "file link new", *save).returncode == 0
    assert (target / "link").read_text() == "new" and not (target / "link").is_symlink()
    assert flashvm("run", "-c", "file ../x evil", *save).returncode == 246
    assert not (tmp_path / "x").exists()


# ---- the package's entry point ----


def test_the_command_says_when_its_program_is_missing() -> None:
    code = (
        "import flashvm._command as command, flashvm._paths as paths\n"
        "paths.command_program = lambda: '/nonexistent/flashvm'\n"
        "raise SystemExit(command.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert done.returncode == 241
    assert b"cannot start /nonexistent/flashvm: No such file" in done.stderr
