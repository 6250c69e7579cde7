# SPDX-License-Identifier: MIT
"""Callers with little: low limits, closed descriptors, ignored signals."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hosts import after
from ordinary_user import User, as_user

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in")

LIMITED = "see ulimit -"


def run_prints(code: str, cold_boot: bool = False) -> str:
    """A Python program that runs the snippet and prints its output, or the error."""
    options = f"expect=['*'], cold_boot={cold_boot}"
    return (
        "import flashvm\n"
        f"try: print(flashvm.run({code!r}, {options}).stdout, end='')\n"
        "except flashvm.FlashVMError as error: print(error)\n"
    )


# ---- limits ----


def test_however_few_descriptors_it_works_or_the_limit_is_named(command: str) -> None:
    fvm.run("")
    argv = [command, "run", "--quiet", "--expect", "*", "-c", "file a b\nstdout hi"]
    worked = []
    for count in range(5, 34):
        done = after(f"ulimit -n {count}", argv)
        worked.append(done.returncode == 0)
        if done.returncode == 0:
            assert (done.stdout, done.stderr) == ("hi\n", "")
        else:
            assert done.stderr.count("(this process has too many: see ulimit -n)") == 1
    assert worked == sorted(worked) and worked[0] is False and worked[-1] is True


@pytest.mark.parametrize("blocks", [0, 1, 1000])  # of 1 KiB
def test_a_limit_on_the_size_of_files_is_an_error_and_no_death(
    command: str, tmp_path: Path, blocks: int
) -> None:
    cache = tmp_path / "cache"
    env = {"FLASHVM_CACHE_DIR": str(cache), "TMPDIR": str(tmp_path)}
    done = after(f"ulimit -f {blocks}", [command, "image", "prepare"], env)
    assert done.returncode == 242 and f"{LIMITED}f" in done.stderr
    assert {path.suffix for path in cache.rglob("*.*")} == {".lock"}
    for cold_boot, what in ((True, "/a"), (False, "cannot make a file in memory of 512 MiB")):
        program = [sys.executable, "-c", run_prints("zeros a 2000000", cold_boot)]
        done = after(f"ulimit -f {blocks}", program, {"TMPDIR": str(tmp_path)})
        assert (
            f"{what}: File too large (the limit on the size of files is too low: {LIMITED}f)"
            in done.stdout
        )
    assert list(tmp_path.glob("flashvm-*")) == []


@pytest.mark.needs("root")
def test_too_few_processes(user: User) -> None:
    argv = ["prlimit", "--nproc=1", *as_user([user.command, "run", "-c", ""])]
    done = after("", argv, user.env)
    assert done.returncode == 242
    assert f"flashvm-jail: there are too many processes ({LIMITED}u)" in done.stderr


# ---- descriptors and signals ----


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors(tmp_path: Path, closed: str) -> None:
    code = (
        "import flashvm\n"
        "result = flashvm.run('file a content\\nstdout hi', expect=['*'])\n"
        f"open({str(tmp_path / 'said')!r}, 'wb').write(result.artifacts[0].content)\n"
        "assert result.stdout == 'hi\\n'\n"
    )
    done = after(f"exec {closed}", [sys.executable, "-c", code])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "said").read_bytes() == b"content"


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_the_command_with_closed_descriptors(command: str, closed: str) -> None:
    done = after(f"exec {closed}", [command, "run", "-c", "stdout hi\nexit 3"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "hi\n", "")


@pytest.mark.parametrize("signals", ["CHLD", "PIPE", "XFSZ", "CHLD PIPE ALRM USR1 TERM"])
def test_ignored_signals(command: str, signals: str) -> None:
    done = after(f"trap '' {signals}", [command, "run", "-c", "stdout hi\nexit 3"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "hi\n", "")
    program = [sys.executable, "-c", run_prints("stdout hi")]
    assert after(f"trap '' {signals}", program).stdout == "hi\n"
