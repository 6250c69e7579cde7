# SPDX-License-Identifier: MIT
"""Result and Artifact: what the guest sent, as a Python caller gets it. (The stand-in guest.)"""

from __future__ import annotations

import copy
import fractions
import gc
import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any, Dict

import pytest
from callers import python

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in")

# Two small files, one of a name that is no UTF-8, and one above max_bytes_inline.
FILES = b"file out/result.txt hello\nfile out/deep/er/b\xff.bin deep\nzeros big.bin 2097152"


def run_files(**options: Any) -> fvm.Result:
    return fvm.run(FILES, expect=["**"], **options)


def echo(**options: Any) -> Dict[str, Any]:
    """What the guest was sent."""
    report: Dict[str, Any] = json.loads(fvm.run("echo", **options).stdout_raw)
    return report


# ---- Result ----


def test_the_keys_of_a_result_are_its_attributes() -> None:
    result = fvm.run("stdout hi\nexit 7")
    assert isinstance(result, dict)
    assert result["exit_code"] == result.exit_code == 7
    assert set(result) == set(fvm.Result.__annotations__)
    assert set(result) <= set(dir(result))
    result.exit_code = 3
    assert result["exit_code"] == 3
    with pytest.raises(AttributeError, match="has no 'nope'; it has exit_code, stdout"):
        result.nope  # noqa: B018
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del result.stdout


def test_a_result_says_how_the_snippet_ended() -> None:
    result = fvm.run("stdout hi")
    assert (result.exit_code, result.term_signal) == (0, 0)
    assert result.started is True and result.timed_out is False
    assert result.execution_time_ms == result.timings["execute"] == 1.234
    assert result.engine == "qemu" and result.accelerator in ("kvm", "tcg")
    assert result.artifacts == [] and result.artifacts_note is None
    killed = fvm.run("killed 9")
    assert (killed.exit_code, killed.term_signal) == (137, 9)
    late = fvm.run("stdout so far\ntimed-out")
    assert (late.exit_code, late.timed_out, late.stdout) == (124, True, "so far\n")
    too_late = fvm.run("unstarted\ntimed-out")
    assert (too_late.exit_code, too_late.timed_out, too_late.started) == (124, True, False)


def test_timings_add_up() -> None:
    timings = fvm.run("sleep 0.1").timings
    assert set(timings) == {"prepare", "boot", "run", "execute", "destroy", "total"}
    assert timings["run"] >= 100
    parts = round(sum(timings[part] for part in ("prepare", "boot", "run", "destroy")), 3)
    assert 0 < parts <= timings["total"] < parts + 50


def test_output_is_exact_to_the_byte() -> None:
    data = b"ok\0\xff\xfe\xe2\x82x\xc3\xa9\r\n"
    result = fvm.run(f"exactly {data.hex()}\nstderr trouble")
    assert result.stdout_raw == data
    assert result.stdout == data.decode("utf-8", "replace")
    assert (result.stderr, result.stderr_raw) == ("trouble\n", b"trouble\n")
    assert (result.stdout_bytes, result.stdout_truncated) == (len(data), False)


def test_a_character_that_comes_in_two_parts_is_one() -> None:
    assert fvm.run("exactly c3\nexactly a9").stdout == "\u00e9"


def test_a_repr_is_short() -> None:
    assert repr(fvm.run("exit 3")) in (
        "<Result exit_code=3, qemu/tcg>",
        "<Result exit_code=3, qemu/kvm>",
    )
    assert "stdout='xxxx" in repr(fvm.run("flood 100000"))
    assert len(repr(fvm.run("flood 100000"))) < 120
    assert "artifacts=3" in repr(run_files())


# ---- what the guest is sent ----


def test_options_reach_the_guest() -> None:
    sent = echo(
        cpus=3,
        memory_mb=1024,
        timeout_seconds=0.0011,
        env={"A": "1=2", "\u00c9": "\u00e9"},
        workdir=Path("/srv/w"),
        python_args=["-O"],
        expect=("a", "/work/b/*"),
        engine="qemu",
    )
    request, argv = sent["request"], sent["argv"]
    assert request["env"] == ["A=1=2", "\u00c9=\u00e9"]
    assert (request["workdir"], request["python_args"]) == ("/srv/w", ["-O"])
    assert request["expect"] == ["a", "b/*"]
    assert request["timeout_ms"] == 2  # rounded up
    assert argv[argv.index("-smp") + 1] == "3"
    assert argv[argv.index("-m") + 1] == "1024M"


def test_defaults_reach_the_guest() -> None:
    sent = echo()
    assert sent["request"].keys() == {"timeout_ms", "max_processes", "clock_ns"}
    assert sent["request"]["timeout_ms"] == 30000
    assert sent["files"] == [] and sent["code_size"] == len("echo")
    assert echo(python_args=[])["request"]["python_args"] == []
    assert echo(timeout_seconds=fractions.Fraction(1))["request"]["timeout_ms"] == 1000


def test_any_text_is_a_snippet() -> None:
    assert fvm.run("").exit_code == 0
    assert fvm.run("stdout \u00e9").stdout_raw == "\u00e9\n".encode()
    assert fvm.run(b"stdout \xff\0").stdout_raw == b"\xff\0\n"
    assert json.loads(fvm.run("echo\n" + "\n" * 10**6).stdout)["code_size"] == 10**6 + 5


def test_qemu_gets_no_file_but_its_own() -> None:
    done = python(
        "import flashvm, os\n"
        "for fd in range(3, 20):\n"
        "    os.dup2(1, fd, inheritable=True)\n"
        "print(flashvm.run('echo').stdout)\n"
    )
    memory, rootfs = json.loads(done.stdout)["open_files"]
    assert memory.startswith("memfd:flashvm-template") and rootfs.endswith(".squashfs")
    rootfs, *others = echo(cold_boot=True)["open_files"]
    assert rootfs.endswith(".squashfs") and others == ["vmlinux", "initramfs.cpio"]


# ---- Artifact ----


def test_artifacts_are_exact() -> None:
    small, deep, big = run_files().artifacts
    assert (small.guest_path, small.content, small.size_bytes) == ("out/result.txt", b"hello", 5)
    assert small["sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert (deep.guest_path, deep.content) == ("out/deep/er/b\udcff.bin", b"deep")
    assert (big.size_bytes, big.content) == (2**21, None)
    assert Path(big.host_path).read_bytes() == bytes(2**21)
    assert set(small) == set(fvm.Artifact.__annotations__)
    assert repr(small) == "<Artifact 'out/result.txt', 5 bytes>"


def test_max_bytes_inline_is_the_largest_content() -> None:
    assert [a.content for a in run_files(max_bytes_inline=4).artifacts] == [None, b"deep", None]
    assert [a.content for a in run_files(max_bytes_inline=0).artifacts] == [None, None, None]
    assert len(run_files(max_bytes_inline=2**21).artifacts[2].content) == 2**21
    assert run_files(max_bytes_inline=10**30).artifacts[0].content == b"hello"


def test_the_note_says_what_was_left_out() -> None:
    result = fvm.run("left-out 1 file was too large", expect=["*"])
    assert result.artifacts_note == "1 file was too large"


def test_artifacts_are_saved_where_their_paths_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, deep, big = run_files().artifacts
    saved = small.save(tmp_path / "x/y")
    assert saved == tmp_path / "x/y/out/result.txt" and saved.read_bytes() == b"hello"
    assert deep.save(str(tmp_path)).read_bytes() == b"deep"
    assert big.save(tmp_path).stat().st_size == 2**21
    saved.write_text("older")
    assert small.save(tmp_path / "x/y").read_bytes() == b"hello"
    monkeypatch.chdir(tmp_path)
    assert small.save("relative") == Path("relative/out/result.txt")


def test_files_live_as_long_as_the_result_or_an_artifact(tmp_path: Path) -> None:
    result = run_files()
    big = result.artifacts[2]
    host_path = big.host_path
    del result
    gc.collect()
    shallow, deep = copy.copy(big), copy.deepcopy(big)
    del big
    assert os.path.exists(host_path)
    del shallow
    assert deep.save(tmp_path).exists()
    del deep
    assert not os.path.exists(host_path)


def test_a_copy_of_a_result_keeps_the_files() -> None:
    result = run_files()
    host_path = result.artifacts[0].host_path
    other, deep = copy.copy(result), copy.deepcopy(result)
    del result
    other.artifacts.clear()
    assert deep.artifacts[0].host_path == host_path
    del deep
    assert os.path.exists(host_path)
    del other
    assert not os.path.exists(host_path)


def test_a_pickled_result_carries_its_values_but_no_files(tmp_path: Path) -> None:
    result = run_files()
    loaded = pickle.loads(pickle.dumps(result))
    assert type(loaded) is fvm.Result
    assert loaded == {**result, "artifacts": loaded.artifacts}
    small, _, big = loaded.artifacts
    assert small.host_path is None
    assert small.save(tmp_path).read_bytes() == b"hello"
    with pytest.raises(fvm.NotFound, match=r"'big.bin': it was pickled, and its 2097152 bytes"):
        big.save(tmp_path)


def test_the_files_go_with_the_interpreter() -> None:
    """Even when the result is in a reference cycle, and in a place that is torn down last."""
    done = python(
        "import builtins, flashvm\n"
        "result = builtins.result = flashvm.run('file a b', expect=['*'])\n"
        "result['itself'] = result\n"
        "print(result.artifacts[0].host_path)\n"
    )
    path = Path(done.stdout.strip())
    assert (done.returncode, done.stderr, path.name) == (0, "", "a")
    assert not path.parent.exists()


def test_a_forked_child_leaves_its_parents_files_alone_and_runs_its_own() -> None:
    done = python(
        """
import flashvm, gc, multiprocessing, os, threading
result = flashvm.run("file a b", expect=["*"])
path = result.artifacts[0].host_path
child = os.fork()
if child == 0:
    del result
    gc.collect()
    assert os.path.exists(path)
    assert flashvm.run("stdout child").stdout == "child\\n"
    raise SystemExit(7)
assert os.waitpid(child, 0)[1] == 7 << 8
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert [r.exit_code for r in pool.map(flashvm.run, ["exit 1", "exit 2"])] == [1, 2]
busy = threading.Thread(target=flashvm.run, args=("sleep 0.2",))
busy.start()
child = os.fork()  # while another thread is in the library
if child == 0:
    os._exit(flashvm.run("exit 3").exit_code)
assert os.waitpid(child, 0)[1] == 3 << 8
busy.join()
print(os.path.exists(path))
del result
print(os.path.exists(path))
"""
    )
    assert (done.stdout, done.stderr) == ("True\nFalse\n", "")


def test_nothing_leaks() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    run_files()
    before = descriptors()
    for _ in range(10):
        run_files()
        with pytest.raises(fvm.GuestFailed):
            fvm.run("die", expect=["*"])
    assert descriptors() == before
