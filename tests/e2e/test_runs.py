# SPDX-License-Identifier: MIT
"""What a run gives its caller, in a real microVM."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict

import pytest

import flashvm as fvm

DATA = Path(fvm.__file__).parent / "data"


def test_the_quick_start_works_to_the_letter() -> None:
    fvm.prepare_image()
    res = fvm.run("print('Hello from microVM!')")
    assert (res["exit_code"], res["stdout"], res["stderr"]) == (0, "Hello from microVM!\n", "")
    digest = json.loads((DATA / "oci/index.json").read_text())["manifests"][0]["digest"]
    assert res["image_used"] == f"localhost/flashvm:python-basic@{digest}"
    assert res.engine == "qemu" and res.accelerator in ("kvm", "tcg")
    assert 0 < res.execution_time_ms < res.timings["run"] < res.timings["total"]


def test_artifacts_come_back_as_they_were_left(tmp_path: Path) -> None:
    code = """
import os
os.makedirs("out/deep/er")
open("out/result.txt", "w").write("result")
open("out/empty.txt", "w").close()
open("out/.hidden.txt", "w").close()
open(b"out/deep/er/\\xff\\n.bin", "wb").write(bytes(range(256)) * 10000)
os.symlink("/etc/passwd", "out/link.txt")
os.mkfifo("out/fifo.txt")
os.chmod("out/result.txt", 0)
open("elsewhere.txt", "w").close()
"""
    res = fvm.run(code, expect=["out/*.txt", "/work/out/deep/**/*.bin"], max_bytes_inline=1000)
    assert res.exit_code == 0, res.stderr
    by_path = {a["guest_path"]: a for a in res["artifacts"]}
    assert sorted(by_path) == ["out/deep/er/\udcff\n.bin", "out/empty.txt", "out/result.txt"]
    result = by_path["out/result.txt"]
    assert result.content == b"result" and result.size_bytes == 6
    assert result.sha256 == hashlib.sha256(b"result").hexdigest()
    large = by_path["out/deep/er/\udcff\n.bin"]
    assert large.content is None and large.size_bytes == 2560000
    assert Path(large.host_path).read_bytes() == bytes(range(256)) * 10000
    assert large.save(tmp_path).read_bytes() == bytes(range(256)) * 10000
    assert "2 not regular files" in res.artifacts_note
    host_path = large.host_path
    del res, by_path, result, large
    assert not os.path.exists(host_path)


def test_a_timeout_keeps_the_output_and_the_files_so_far() -> None:
    code = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "1000"])
open("out/part.txt", "w").write("so far")
print("begun")
print("trouble", file=sys.stderr)
time.sleep(1000)
"""
    begin = time.monotonic()
    res = fvm.run(code, timeout_seconds=1.5, expect=["out/*"])
    assert time.monotonic() - begin < 60
    assert (res.exit_code, res.timed_out, res.started) == (124, True, True)
    assert (res.stdout, res.stderr) == ("begun\n", "trouble\n")
    assert [a.content for a in res.artifacts] == [b"so far"]
    assert 1500 <= res.execution_time_ms < 5000


def test_the_run_is_over_when_its_own_process_is() -> None:
    code = """
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(1000)
print("parent leaves")
"""
    res = fvm.run(code)
    assert (res.exit_code, res.stdout, res.timed_out) == (0, "parent leaves\n", False)


def test_options_reach_the_guest() -> None:
    code = """
import os, sys
print(os.cpu_count(), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20)
print(os.getcwd(), sys.argv, os.environ["GREETING"], os.environ["TZ"])
import time; print(time.tzname, __file__, sys.path[0])
"""
    env = {"GREETING": "gr\u00fc\u00df=dich\n", "TZ": "Asia/Tokyo"}
    res = fvm.run(code, cpus=2, memory_mb=300, env=env, workdir="/srv/my work")
    lines = res.stdout.split("\n")
    cpus, memory = lines[0].split()
    assert cpus == "2" and 200 < int(memory) < 300
    assert lines[1] == "/srv/my work ['/work/main.py'] gr\u00fc\u00df=dich"
    assert lines[3] == "('JST', 'JST') /work/main.py /work"


def test_a_workdir_that_the_snippet_may_not_enter() -> None:
    with pytest.raises(
        fvm.InvalidArgument,
        match=r'^workdir is "/root", which .* user \(uid 1000\) cannot use: Permission denied$',
    ):
        fvm.run("", workdir="/root")


@pytest.mark.parametrize(
    "options",
    [
        {"python_args": ["-u", "-X", "dev"]},
        {"env": {"PYTHONDEVMODE": "1"}},
    ],
)
def test_what_an_interpreter_reads_at_its_start_makes_a_real_start(
    options: Dict[str, Any],
) -> None:
    res = fvm.run("import sys\nprint(sys.flags.dev_mode, sys.argv, __file__)", **options)
    assert res.stdout == "True ['main.py'] /work/main.py\n"


def test_a_snippet_is_an_ordinary_user_and_sees_no_way_to_the_host() -> None:
    code = """
import ctypes, glob, os
print(os.getuid(), os.getgid(), os.getgroups())
status = open("/proc/self/status").read()
fields = dict(line.split(":\\t") for line in status.splitlines())
print(fields["CapEff"], fields["NoNewPrivs"])
print(glob.glob("/dev/vport*") + glob.glob("/dev/vd*") + glob.glob("/dev/hvc*"))
for path in ("/proc/1/mem", "/proc/1/environ", "/dev/mem", "/proc/kcore"):
    try:
        open(path, "rb").read(1)
        print("readable", path)
    except OSError:
        pass
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(16, 1, 0, 0), libc.kill(1, 9), libc.unshare(0x10000000))
print(open("/proc/net/dev").read().count(":"))
"""
    res = fvm.run(code)
    assert res.exit_code == 0, res.stderr
    assert res.stdout.splitlines() == [
        "1000 1000 []",
        "0000000000000000 1",
        "[]",
        "-1 -1 -1",
        "1",
    ]


# Windows, macOS and iOS only; and left out of the image because they need a display or a network.
NOT_IN_THE_IMAGE = {
    *("_ios_support", "_overlapped", "_scproxy", "_winapi", "_wmi", "msvcrt", "nt", "winreg"),
    *("winsound", "_tkinter", "tkinter", "turtle", "turtledemo", "idlelib", "ensurepip"),
}


def test_the_whole_standard_library_can_be_imported() -> None:
    code = """
import importlib, sys
for name in sorted(sys.stdlib_module_names - {"this", "antigravity"}):
    try:
        importlib.import_module(name)
    except ImportError:
        print(name)
"""
    res = fvm.run(code, timeout_seconds=120)
    assert res.exit_code == 0, res.stderr
    assert set(res.stdout.split()) == NOT_IN_THE_IMAGE


def test_two_runs_share_neither_randomness_nor_clock_nor_files() -> None:
    code = """
import os, random, secrets, time, uuid
print(random.random(), uuid.uuid4(), os.urandom(8).hex(), secrets.token_hex(8))
print(time.time())
print(os.listdir("/work"), os.listdir("/tmp"))
open("/tmp/left", "w").close()
"""
    first, second = (fvm.run(code).stdout.splitlines() for _ in range(2))
    assert not set(first[0].split()) & set(second[0].split())
    assert abs(float(second[1]) - time.time()) < 3
    assert first[2].endswith(" []") and second[2] == first[2]


def test_two_vms_that_booted_do_not_even_share_the_interpreters_secret() -> None:
    first, second = (fvm.run('print(hash("a"))', cold_boot=True) for _ in range(2))
    assert not first.restored and first.stdout != second.stdout


def test_four_callers_at_once_do_not_disturb_each_other() -> None:
    def one(n: int) -> fvm.Result:
        code = f"open('out/n', 'w').write('{n}' * 100000)\nprint({n} * 11)"
        return fvm.run(code, expect=["out/n"])

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one, range(4)))
    assert [r.stdout for r in results] == ["0\n", "11\n", "22\n", "33\n"]
    assert [r.artifacts[0].content for r in results] == [b"%d" % n * 100000 for n in range(4)]


def test_boot_after_boot() -> None:
    """More in a row by hand: FLASHVM_BOOTS=50. The everyday snippets are sixty boots more."""
    for n in range(int(os.environ.get("FLASHVM_BOOTS", "5"))):
        assert fvm.run(f"print({n})").stdout == f"{n}\n"


def test_the_c_example_runs_with_the_installed_library(tmp_path: Path) -> None:
    """As its comment says: cc hello.c $(pkg-config --cflags --libs flashvm)."""
    root = Path(__file__).parents[2]
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "DESTDIR": str(tmp_path), "PATH": tools}
    install = ["meson", "install", "-C", str(root / "build/dev"), "--quiet"]
    subprocess.run(install, check=True, env=env, stdout=subprocess.DEVNULL)

    (pc_file,) = tmp_path.rglob("flashvm.pc")
    env.update(PKG_CONFIG_PATH=str(pc_file.parent), PKG_CONFIG_SYSROOT_DIR=str(tmp_path))
    query = ["pkg-config", "--cflags", "--libs", "flashvm"]
    flags = subprocess.run(query, check=True, env=env, capture_output=True, text=True).stdout
    program = tmp_path / "hello"
    compiler = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-D_DEFAULT_SOURCE"]
    example = str(root / "examples/hello.c")
    subprocess.run([*compiler, example, "-o", program, *flags.split()], check=True)

    env["LD_LIBRARY_PATH"] = str(pc_file.parents[1])
    prefix = tmp_path / "usr/local"
    directories = [prefix / "share/flashvm", prefix / "libexec/flashvm"]
    done = subprocess.run(
        [program, *directories], env=env, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Hello from microVM!\nout/result.txt (17 bytes)\n"


def test_python_is_the_installed_one() -> None:
    assert Path(fvm.__file__).is_relative_to(sys.prefix)
