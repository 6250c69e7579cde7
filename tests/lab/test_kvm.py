# SPDX-License-Identifier: MIT
"""Where KVM is real, it is found and used."""

from __future__ import annotations

import json
import subprocess
from typing import List

import pytest

import flashvm as fvm


def test_doctor_finds_kvm() -> None:
    report = fvm.doctor()
    assert report["kvm"] and report["ready"], report
    assert report["engines"]["native"]["accelerator"] == "kvm", report


@pytest.mark.parametrize("n", range(2))
def test_run(n: int) -> None:
    res = fvm.run(f"open('out/n', 'w').write('{n}'); print({n})", expect=["out/*"])
    assert (res.exit_code, res.stdout, res.accelerator) == (0, f"{n}\n", "kvm"), res
    assert [artifact.content for artifact in res.artifacts] == [b"%d" % n]


def test_timeout() -> None:
    res = fvm.run("import time; print('a'); time.sleep(100)", timeout_seconds=2)
    assert (res.exit_code, res.stdout, res.timed_out) == (124, "a\n", True), res


def test_a_member_of_the_group_kvm_needs_no_root(as_user: List[str]) -> None:
    done = subprocess.run(
        [*as_user, "flashvm", "run", "--json", "--cold-boot", "--code", "print(1)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    result = json.loads(done.stdout)
    assert (result["stdout"], result["accelerator"]) == ("1\n", "kvm"), result


def test_without_the_group_kvm_doctor_says_why() -> None:
    done = subprocess.run(
        ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "flashvm", "doctor"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/home/lab"},
    )
    assert "tcg" in done.stdout and "/dev/kvm" in done.stdout, done
