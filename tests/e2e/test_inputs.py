# SPDX-License-Identifier: MIT
"""What a run takes in beside its code: files, standard input, arguments. (The stand-in guest.)"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from processes import descendants, wait_until

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in")


def echo(**options: Any) -> Dict[str, Any]:
    """What the guest was sent."""
    sent: Dict[str, Any] = json.loads(fvm.run("echo", **options).stdout_raw)
    return sent


def as_sent(path: str, content: bytes) -> List[Any]:
    return [path, len(content), hashlib.sha256(content).hexdigest()]


# ---- files_in ----


def test_files_come_as_a_dict(tmp_path: Path) -> None:
    (tmp_path / "host.bin").write_bytes(b"\0\xff" * 1000)
    files = {
        "text.txt": "caf\u00e9\n",
        "bytes": b"\0\xff",
        "array": bytearray(b"abc"),
        "view": memoryview(b"abcdef")[::2],
        "empty": b"",
        "sub/dir/host.bin": tmp_path / "host.bin",
        "/work/in/absolute": "x",
    }
    assert echo(files_in=files)["files"] == [
        as_sent("in/absolute", b"x"),
        as_sent("in/array", b"abc"),
        as_sent("in/bytes", b"\0\xff"),
        as_sent("in/empty", b""),
        as_sent("in/sub/dir/host.bin", b"\0\xff" * 1000),
        as_sent("in/text.txt", b"caf\xc3\xa9\n"),
        as_sent("in/view", b"ace"),
    ]


def test_files_come_as_pairs_of_host_and_guest_path(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    pairs = [(tmp_path / "a", "1"), (str(tmp_path / "b"), "2"), [os.fsencode(tmp_path / "a"), "3"]]
    expected = [as_sent("in/1", b"a"), as_sent("in/2", b"b"), as_sent("in/3", b"a")]
    assert echo(files_in=pairs)["files"] == expected
    assert echo(files_in=iter(pairs))["files"] == expected
    assert echo(files_in=[])["files"] == echo(files_in={})["files"] == echo(files_in=None)["files"]


def test_a_directory_comes_with_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "tree/sub/empty").mkdir(parents=True)
    (tmp_path / "tree/sub/x").write_text("x")
    (tmp_path / "tree/y").write_text("y")
    sent = echo(files_in={"data": tmp_path / "tree", "data/z": b"z"})["files"]
    assert sent == [
        as_sent("in/data/sub/x", b"x"),
        as_sent("in/data/y", b"y"),
        as_sent("in/data/z", b"z"),
    ]


ODD_NAMES = ["new\nline", "\"double\" 'single'", "-rf", "*", "...", "caf\u00e9", "\udcff\udcfe"]
ODD_NAMES += ["n" * 255, "/".join("d" * 100), "/".join(["q" * 250] * 12)]


def test_any_name_is_only_a_name(tmp_path: Path) -> None:
    sent = echo(files_in={name: name.encode("utf-8", "surrogateescape") for name in ODD_NAMES})
    assert {path for path, _, _ in sent["files"]} == {f"in/{name}" for name in ODD_NAMES}
    for name in ODD_NAMES:
        host = tmp_path / "tree" / name
        host.parent.mkdir(parents=True, exist_ok=True)
        host.write_text("x")
    sent = echo(files_in=[(tmp_path / "tree", "t")])
    assert {path for path, _, _ in sent["files"]} == {f"in/t/{name}" for name in ODD_NAMES}


def test_three_thousand_files() -> None:
    files = {f"{n % 50}/{n}": str(n) for n in range(3000)}
    sent = echo(files_in=files)["files"]
    assert len(sent) == 3000
    assert sorted(sent) == sorted(
        as_sent(f"in/{path}", text.encode()) for path, text in files.items()
    )


def peak_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_a_hundred_megabytes_arrive_and_cost_no_memory(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    with (tmp_path / "large").open("wb") as file:
        for _ in range(100):
            file.write(content)
    digest = hashlib.sha256()
    for _ in range(100):
        digest.update(content)
    before = peak_memory_mb()
    sent = echo(files_in={"large": tmp_path / "large"})["files"]
    assert sent == [["in/large", 100 * 2**20, digest.hexdigest()]]
    assert peak_memory_mb() < before + 20


def test_what_cannot_be_read_is_an_error_with_its_errno(tmp_path: Path) -> None:
    with pytest.raises(fvm.NotFound, match=r"files_in: cannot read .*missing: No such") as missing:
        fvm.run("", files_in={"a": tmp_path / "missing"})
    assert missing.value.errno == errno.ENOENT
    (tmp_path / "file").write_text("")
    with pytest.raises(fvm.HostError, match=r"files_in: cannot read .*x: Not a dir") as below:
        fvm.run("", files_in={"a": tmp_path / "file/x"})
    assert below.value.errno == errno.ENOTDIR


def test_a_file_that_changes_while_the_vm_boots_is_an_error(
    tmp_path: Path, stand_in_script: Any
) -> None:
    """What is sent is what was checked: not a symlink that took its place."""
    file, secret = tmp_path / "file", tmp_path / "secret"
    file.write_text("as checked")
    secret.write_text("no secret!")

    def swap() -> None:
        wait_until(lambda: any(p.is_vm for p in descendants(os.getpid())), "no VM", 20)
        file.unlink()
        file.symlink_to(secret)

    stand_in_script(f'sleep 1; exec "{shutil.which("qemu-system-x86_64")}" "$@"')
    swapper = threading.Thread(target=swap)
    swapper.start()
    with pytest.raises(fvm.HostError, match="file changed while the run was made ready; pass a"):
        fvm.run("echo", files_in={"a": file})
    swapper.join()


# ---- standard input ----


def digest_of_input(stdin: Any) -> str:
    return str(fvm.run("stdin-digest", stdin=stdin, timeout_seconds=60).stdout)


def as_digest(content: bytes) -> str:
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize(
    ("stdin", "arrives"),
    [
        (None, b""),
        ("", b""),
        (b"", b""),
        ("caf\u00e9\n", b"caf\xc3\xa9\n"),
        (b"\0\xff\n", b"\0\xff\n"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcdef")[1:3], b"bc"),
        ("x" * 5_000_000, b"x" * 5_000_000),
    ],
    ids=["None", "str", "bytes", "text", "binary", "bytearray", "memoryview", "long"],
)
def test_input_from_memory(stdin: Any, arrives: bytes) -> None:
    assert digest_of_input(stdin) == as_digest(arrives)


def test_input_from_a_file_goes_on_from_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb", buffering=0) as file:
        file.seek(4)
        assert fvm.run("stdin", stdin=file).stdout == "456789"
        assert fvm.run("stdin", stdin=file).stdout == ""
        assert not file.closed
    with (tmp_path / "file").open() as text_file:
        assert fvm.run("stdin", stdin=text_file).stdout == "0123456789"
    with open("/dev/null", "rb") as null:
        assert fvm.run("stdin", stdin=null).stdout == ""


def test_input_from_pipe_and_socket() -> None:
    content = bytes(range(256)) * 4000
    reader, writer = os.pipe()
    ours, theirs = socket.socketpair()

    def feed() -> None:
        with open(writer, "wb") as pipe:
            pipe.write(content)
        with theirs:
            theirs.sendall(content)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with open(reader, "rb") as pipe, ours:
        assert digest_of_input(pipe) == as_digest(content)
        assert digest_of_input(ours) == as_digest(content)
    feeder.join()


def test_input_from_another_process_is_a_pipeline() -> None:
    producer = subprocess.Popen(
        [sys.executable, "-c", "print('hello ' * 3)"], stdout=subprocess.PIPE
    )
    with producer:
        assert fvm.run("stdin", stdin=producer.stdout).stdout == "hello hello hello \n"


def test_input_is_passed_on_while_the_run_lasts() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe, open(writer, "wb", buffering=0) as ours:
        ours.write(b"first ")
        late = threading.Timer(0.5, ours.write, [b"second"])
        late.start()
        result = fvm.run("stdin-once\nstdin-once", stdin=pipe)
        late.join()
    assert result.stdout == "first second" and result.exit_code == 0


def test_a_run_ends_though_its_input_does_not() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe, open(writer, "wb"):
        begin = time.monotonic()
        assert fvm.run("exit 3", stdin=pipe).exit_code == 3
        assert time.monotonic() - begin < 10
        assert os.get_blocking(pipe.fileno())


def test_a_gigabyte_that_is_not_read_costs_nothing(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**30)
    with (tmp_path / "sparse").open("rb") as file:
        memory, cpu = peak_memory_mb(), time.process_time()
        assert fvm.run("sleep 1", stdin=file).exit_code == 0
        assert time.process_time() - cpu < 0.5
        assert peak_memory_mb() < memory + 20


class NoDescriptor:
    def __init__(self, number: object = "three") -> None:
        self.number = number

    def fileno(self) -> Any:
        return self.number


DIRECTORY = os.open("/", os.O_RDONLY)
PATH_ONLY = os.open("/etc/passwd", os.O_PATH)


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        (5, "stdin must be str, bytes or an open file, not 5 of type int"),
        (["line"], "stdin must be str, bytes or an open file"),
        (Path("/dev/null"), "stdin must be str, bytes or an open file, not PosixPath"),
        (io.BytesIO(b"x"), r"stdin must be an open file with a descriptor \(fileno\)"),
        (NoDescriptor(), r"stdin\.fileno\(\) must be a descriptor, not 'three'"),
        (NoDescriptor(DIRECTORY), "stdin must be a file and no directory, not <.*NoDescriptor"),
        (NoDescriptor(PATH_ONLY), "stdin must be a file that is open for reading"),
        (NoDescriptor(9999), r"stdin must be an open file \(Bad file descriptor\), not <.*NoDesc"),
        ("\ud800", "stdin must be a str that can be encoded as UTF-8"),
    ],
    ids=["int", "list", "path", "BytesIO", "fileno", "directory", "O_PATH", "closed", "surrogate"],
)
def test_an_input_that_is_none_is_refused(stdin: Any, says: str) -> None:
    with pytest.raises(fvm.InvalidArgument, match=says):
        fvm.run("", stdin=stdin)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(
        fvm.InvalidArgument, match=r"stdin must be a file that is open for reading, not <.*name='"
    ):
        fvm.run("", stdin=file)
    with pytest.raises(fvm.InvalidArgument, match="closed file"):
        fvm.run("", stdin=file)


# ---- arguments ----


@pytest.mark.parametrize(
    "args",
    [(), ("a", "b"), ("",), ("a", "", "b", ""), ("-c", "--", "-h"), ("caf\u00e9", "\u4e2d\n'\"")],
)
def test_arguments_reach_the_guest_as_they_are(args: Tuple[str, ...]) -> None:
    assert echo(args=args)["request"].get("args", []) == list(args)
    assert echo(args=iter(args))["request"].get("args", []) == list(args)


# ---- limits ----


def test_limits_reach_the_guest() -> None:
    request = echo(
        max_processes=9,
        max_disk_mb=7,
        max_artifacts=5,
        max_artifact_bytes=3,
        timeout_seconds=2,
        expect=["*"],
    )["request"]
    assert (request["max_processes"], request["max_disk_bytes"]) == (9, 7 * 2**20)
    assert (request["max_artifacts"], request["max_artifact_bytes"]) == (5, 3)
    request = echo(expect=["*"])["request"]
    assert (request["max_processes"], request.get("max_disk_bytes")) == (4096, None)
    assert (request["max_artifacts"], request["max_artifact_bytes"]) == (1000, 256 * 2**20)


def test_limits_of_output_are_the_hosts() -> None:
    result = fvm.run("flood 1000\nstderr 12345", max_stdout_bytes=10, max_stderr_bytes=3)
    assert (result.stdout, result.stdout_bytes, result.stdout_truncated) == ("x" * 10, 1000, True)
    assert (result.stderr, result.stderr_bytes, result.stderr_truncated) == ("123", 6, True)


def test_limits_of_files_in_count_what_is_in_directories(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / str(n)).write_text("12345")
    files = {"d": tmp_path}
    assert len(echo(files_in=files, max_files_in=3, max_files_in_bytes=15)["files"]) == 3
    with pytest.raises(fvm.InvalidArgument, match="more than 2 files; max_files_in raises"):
        fvm.run("", files_in=files, max_files_in=2)
    with pytest.raises(fvm.InvalidArgument, match=r"more than 14 bytes .* max_files_in_bytes rai"):
        fvm.run("", files_in=files, max_files_in_bytes=14)


def test_the_boot_has_a_timeout_of_its_own(stand_in_script: Any) -> None:
    stand_in_script("exec sleep 100")
    begin = time.monotonic()
    with pytest.raises(fvm.BootFailed, match=r"was not up after 0\.3 seconds"):
        fvm.run("", boot_timeout_seconds=0.3, timeout_seconds=50)
    assert time.monotonic() - begin < 10


# ---- results ----


def test_a_result_says_what_the_snippet_used_and_which_limit_ended_it() -> None:
    result = fvm.run("")
    assert (result.cpu_time_ms, result.peak_memory_bytes) == (1.0, 5_000_000)
    assert (result.oom_killed, result.ended_by_limit) == (False, None)
    killed = fvm.run("stdout so far\noom-killed")
    assert (killed.oom_killed, killed.ended_by_limit, killed.exit_code) == (True, "memory", 137)
    assert killed.stdout == "so far\n" and "oom_killed=True" in repr(killed)
    assert fvm.run("timed-out").ended_by_limit == "timeout"
    assert fvm.run("killed 9").ended_by_limit is None
