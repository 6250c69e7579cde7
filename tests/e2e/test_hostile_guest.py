# SPDX-License-Identifier: MIT
"""A guest that breaks the rules: the caller gets the right exception, the host keeps its files.

The stand-in guest does what no agent would do; stand_in_guest.py explains its steps.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Iterator, List, Tuple, Union

import pytest
from callers import python, start_python, wait_until_running

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in")


@pytest.fixture(autouse=True)
def _no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Artifacts come to a directory of the run, and go with it."""
    temporary = tmp_path / "in/tmp"
    temporary.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(temporary))
    yield
    left = [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert list(temporary.iterdir()) == []
    assert all(path.is_relative_to(tmp_path / "out") for path in left)


def broken_rule(code: Union[str, bytes]) -> str:
    """Run it. Return: what the GuestFailed says, without the console."""
    with pytest.raises(fvm.GuestFailed) as raised:
        fvm.run(code, expect=["**"])
    return str(raised.value).split("\n")[0]


# ---- paths of artifacts ----

EVIL_PATHS = [
    b"../x",
    b"/x",
    b"a/../x",
    b"a/../../x",
    b"a//x",
    b"a/",
    b".",
    b"..",
    b"a/./b",
    b"a/..",
    b"a\0b",
    b"",
    b"n" * 256,
    b"/".join([b"n"] * 2049),
]


@pytest.mark.parametrize("path", EVIL_PATHS, ids=lambda path: repr(path[:12]))
def test_an_unsafe_path_ends_the_run(path: bytes) -> None:
    assert "an artifact has an unsafe name" in broken_rule(b"file " + path + b" evil")


@pytest.mark.parametrize("path", EVIL_PATHS[:10])
def test_save_checks_the_path_again(path: bytes, tmp_path: Path) -> None:
    artifact = fvm.run("file a evil", expect=["*"]).artifacts[0]
    artifact.guest_path = path.decode()
    with pytest.raises(fvm.GuestFailed, match="that is not a plain relative path"):
        artifact.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "path", ["n" * 255, "/".join("q" * 300), "...", "-rf", "~", "a b", "\udcff"]
)
def test_a_strange_path_is_only_a_path(path: str, tmp_path: Path) -> None:
    artifact = fvm.run("file a strange", expect=["*"]).artifacts[0]
    artifact.guest_path = path
    assert artifact.save(tmp_path / "out") == tmp_path / "out" / path
    assert (tmp_path / "out" / path).read_text() == "strange"


# What is sent, one after the other.
CLASHES = ["file a 1\nfile a 2", "file a 1\nfile a/b 2", "file a/b 1\nfile a 2"]


@pytest.mark.parametrize("code", CLASHES)
def test_two_artifacts_cannot_have_one_place(code: str) -> None:
    assert "two artifacts that cannot both be at a" in broken_rule(code)


# ---- saving into a tree with symlinks ----


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory beside the one that is saved to, which links lead to."""
    directory = tmp_path / "out/side"
    directory.mkdir(parents=True)
    (directory / "kept").write_text("kept")
    target = tmp_path / "out/target"
    target.mkdir()
    (target / "directory").symlink_to(directory)
    (target / "file").symlink_to(directory / "kept")
    return directory


def save(path: str, target: Path) -> Path:
    saved: Path = fvm.run(f"file {path} new", expect=["**"]).artifacts[0].save(target)
    return saved


def test_a_link_to_a_directory_is_not_followed(outside: Path) -> None:
    with pytest.raises(fvm.HostError, match=r"cannot save the artifact 'directory/x' in /.*target"):
        save("directory/x", outside.with_name("target"))
    assert [path.name for path in outside.iterdir()] == ["kept"]


def test_a_link_to_a_file_is_replaced(outside: Path) -> None:
    saved = save("file", outside.with_name("target"))
    assert saved.read_text() == "new" and not saved.is_symlink()
    assert (outside / "kept").read_text() == "kept"


def test_the_directory_itself_may_be_a_link(outside: Path) -> None:
    assert save("new", outside.with_name("target") / "directory").read_text() == "new"
    assert (outside / "new").read_text() == "new"


def test_a_directory_in_the_place_of_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "out/x").mkdir(parents=True)
    with pytest.raises(fvm.HostError, match="cannot save"):
        save("x", tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["x"]


def test_a_file_in_the_place_of_a_directory_stays(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x").write_text("kept")
    for path, target in (("x/y", tmp_path / "out"), ("y", tmp_path / "out/x")):
        with pytest.raises(fvm.HostError):
            save(path, target)
    assert (tmp_path / "out/x").read_text() == "kept"


# ---- frames ----

RESULT = '{"exit_code":0,"term_signal":0,"started":true,"timed_out":false,"execute_us":1'
RESULT += ',"oom_killed":false,"reseeded":true,"cpu_time_us":1,"peak_memory_bytes":1'

# An artifact is begun.
FOUR_BYTES = "collect\nframe FILE 04000000000000000061"

FORGED: List[Tuple[str, str]] = [
    # bytes that are no frame: an unknown type, reserved bytes, more than the largest payload
    ("raw 0000000000000000", "bytes that are no frame"),
    ("raw 1400000000000000", "bytes that are no frame"),
    ("raw ff00000000000000", "bytes that are no frame"),
    ("raw 0c01000000000000", "bytes that are no frame"),
    ("raw 0c00000001000100", "bytes that are no frame"),
    ("raw 0c000000ffffffff", "bytes that are no frame"),
    # frames that only the host sends, or out of turn
    ("frame SETUP", "a frame out of turn"),
    ("frame REQUEST", "a frame out of turn"),
    ("frame RUN", "a frame out of turn"),
    ("frame STDIN", "a frame out of turn"),
    ("frame CANCEL", "a frame out of turn"),
    ("frame REHEARSE", "a frame out of turn"),
    ("frame RESEED", "a frame out of turn"),
    ("frame READY", "a frame out of turn"),
    ("frame STARTED", "a frame out of turn"),
    ("unstarted\nstdout early", "a frame out of turn"),
    (f"unstarted\nresult {RESULT}}}", "differ on the start"),
    (f"result {RESULT}}}".replace("true", "false", 1), "differ on the start"),
    ("unstarted\nframe READY", "a frame out of turn"),
    ("frame DONE", "a frame out of turn"),
    ("refuse the snippet has begun", "a frame out of turn"),
    ("fail", "it refuses without a reason"),
    ("frame FILE 00000000000000000061", "a frame out of turn"),
    ("collect\nstdout late", "a frame out of turn"),
    ("collect\nframe STARTED", "a frame out of turn"),
    ("collect\nresult {}", "a frame out of turn"),
    # artifacts that do not hold together
    ("collect\nframe FILE", "an artifact has an unsafe name"),
    ("collect\nframe FILE 0000", "an artifact has an unsafe name"),
    ("collect\nframe FILE 01000000000000000261", "an artifact has an unsafe name"),
    ("collect\nframe FILE_DATA 00", "more of an artifact than it said"),
    ("collect\nframe FILE_END", "less of an artifact than it said"),
    (f"{FOUR_BYTES}\nframe FILE_DATA 0000000000", "more of an artifact"),
    (f"{FOUR_BYTES}\nframe FILE_DATA 00\nframe FILE_END", "less of an artifact"),
    (f"{FOUR_BYTES}\nfile b inside", "an artifact out of turn"),
    (f"{FOUR_BYTES}\nframe DONE", "it ends within an artifact"),
    ("collect\nframe FILE ffffffffffffffff0061", "more artifacts than it was told to"),
    ("collect\nframe FILE 01000010000000000061", "more artifacts than it was told to"),  # 256 MiB
    ("\n".join(f"file {n} x" for n in range(1001)), "more artifacts than it was told to"),
    # results that are none
    ("result", "no valid JSON"),
    ("result []", "no valid JSON"),
    ("result {}", "no valid JSON"),
    ("result \0", "no valid JSON"),
    ("result " + "[" * 60000, "no valid JSON"),
    ('result {"exit_code":0}', "no valid JSON"),
    (f"result {RESULT}", "no valid JSON"),
    (f"result {RESULT}}}}}", "no valid JSON"),
    (f'result {RESULT},"exit_code":1}}', "no valid JSON"),
    (f"result {RESULT}}}".replace('"reseeded":true', '"reseeded":1'), "no valid JSON"),
    (f"result {RESULT}}}".replace('"reseeded":true', '"reseeded":false'), "new randomness"),
    (f"result {RESULT}}}".replace("0,", "256,", 1), "out of range"),
    (f"result {RESULT}}}".replace("0,", "-1,", 1), "out of range"),
    (f"result {RESULT}}}".replace("0,", "0.5,", 1), "no valid JSON"),
    (f"result {RESULT}}}".replace("0,", "1e400,", 1), "no valid JSON"),
    (f"result {RESULT}}}".replace('l":0', 'l":65'), "out of range"),
    (f"result {RESULT}}}".replace('us":1', 'us":-1'), "out of range"),
    (f"result {RESULT}}}".replace("true", '"yes"'), "no valid JSON"),
]


@pytest.mark.parametrize(("code", "says"), FORGED, ids=lambda text: repr(text[:40]))
def test_a_forged_frame_ends_the_run(code: str, says: str) -> None:
    assert says in broken_rule(code)


def test_what_comes_after_the_end_is_no_part_of_the_result() -> None:
    """Where nobody asked for artifacts the result is the end."""
    assert fvm.run("stdout hi\ncollect\nsleep 0.1\nfile a b").stdout == "hi\n"
    result = fvm.run("file a b\ncollect\nframe DONE\nsleep 0.1\nfile c d", expect=["*"])
    assert [artifact.guest_path for artifact in result.artifacts] == ["a"]


# ---- too much ----


def test_output_is_kept_up_to_a_limit_and_counted_beyond() -> None:
    result = fvm.run("flood 67108869")
    assert len(result.stdout_raw) == 64 * 2**20 and result.stdout_bytes == 64 * 2**20 + 5
    assert result.stdout_truncated and not result.stderr_truncated


def test_gigabytes_of_output_cost_no_more_memory_than_is_kept() -> None:
    code = (
        "import flashvm, re\n"
        "r = flashvm.run('flood 3000000000', max_stdout_bytes=1000, timeout_seconds=60)\n"
        "print(r.exit_code, r.stdout_bytes, len(r.stdout_raw), r.stdout_truncated)\n"
        "print(*re.findall(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read()))"
    )
    said, kilobytes = python(code).stdout.splitlines()
    assert said == "0 3000000000 1000 True"
    assert int(kilobytes) < 100_000


def test_a_console_that_never_stops_does_not_keep_the_caller_from_the_rest() -> None:
    caller = start_python("import flashvm; flashvm.run('console-flood')")
    wait_until_running(caller.pid)
    caller.send_signal(signal.SIGINT)
    _, errors = caller.communicate(timeout=5)
    assert errors.endswith(b"\nKeyboardInterrupt\n")


def test_only_the_end_of_the_console_is_kept() -> None:
    with pytest.raises(fvm.GuestFailed) as raised:
        fvm.run("console " + "x" * 60000 + " the end\ndie")
    assert len(str(raised.value)) < 5000 and str(raised.value).rstrip().endswith("x the end")


# ---- a guest that ends early ----


@pytest.mark.parametrize("end", ["die", "close\nhang"])
@pytest.mark.parametrize(("begin", "says"), [("", "had begun"), ("unstarted\n", "had not begun")])
def test_a_guest_that_ends_early_is_an_error(begin: str, end: str, says: str) -> None:
    with pytest.raises(fvm.GuestFailed) as raised:
        fvm.run(f"{begin}console last words\nlog trouble in QEMU\n{end}")
    message = str(raised.value)
    assert message.startswith(
        f"the microVM ended before it sent a result (the snippet {says})\n"
        "--- the VM's process said ---\ntrouble in QEMU\n"
    )
    assert "--- the end of the guest's console ---\n" in message
    assert message.endswith("\nlast words")


@pytest.mark.parametrize("begin", ["", "unstarted\n"])
def test_a_guest_may_say_why_it_cannot(begin: str) -> None:
    with pytest.raises(fvm.GuestFailed, match="the guest cannot do the run: no python here"):
        fvm.run(f"{begin}fail no python here")


def test_a_guest_may_say_that_the_caller_is_at_fault() -> None:
    with pytest.raises(fvm.InvalidArgument, match=r"^files_in are too much$"):
        fvm.run("unstarted\nrefuse files_in are too much")


def test_what_the_guest_says_need_not_be_text() -> None:
    with pytest.raises(fvm.GuestFailed, match=r"red \\xff$"):
        fvm.run(b"fail \x1b[31mred \xff")


def test_a_guest_that_stops_answering_is_ended_with_the_output_so_far() -> None:
    """The only wait for a deadline: the timeout, and 15 seconds for the guest to tell of it."""
    done = python(
        "import flashvm\n"
        "result = flashvm.run('stdout so far\\nhang', timeout_seconds=0.1)\n"
        "print(result.exit_code, result.timed_out, result.stdout, result.artifacts_note)\n"
    )
    assert done.stdout.startswith("124 True so far\n the guest stopped answering"), done.stderr
