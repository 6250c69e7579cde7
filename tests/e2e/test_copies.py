# SPDX-License-Identifier: MIT
"""Copies of a template: what each gets anew, and what they share. (Real microVMs.)

FLASHVM_LONG=1 makes a thousand copies, in some minutes by hand, where CI makes thirty.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List

import pytest

import flashvm as fvm

RANDOM = """
import os, random, secrets, ssl, tempfile, time, uuid
print(os.urandom(8).hex())
print(random.random())
print(random.SystemRandom().random())
print(secrets.token_hex(8))
print(uuid.uuid4())
print(uuid.uuid1().node, uuid.uuid1().clock_seq)
print(tempfile.mktemp())
print(ssl.RAND_bytes(8).hex())
print(open("/proc/sys/kernel/random/uuid").read())
print(open("/proc/sys/kernel/random/boot_id").read())
"""


def lines(code: str, **options: Any) -> List[str]:
    result = fvm.run(code, **options)
    assert result.exit_code == 0, result.stderr
    assert (result.restored, result.reseeded, result.clock_set) == (
        not options.get("cold_boot"),
        True,
        True,
    )
    return [line for line in result.stdout.splitlines() if line]


def test_copies_have_randomness_of_their_own() -> None:
    runs = [lines(RANDOM) for _ in range(3)]
    for values in zip(*runs):
        assert len(set(values)) == 3, values


def test_a_copy_in_another_process_has_it_too() -> None:
    """Each process proves a template by a rehearsal, after which the interpreter waits again."""
    code = f"import flashvm; print(flashvm.run({RANDOM!r}).stdout)"
    argv = [sys.executable, "-c", code]
    runs = [subprocess.run(argv, stdout=subprocess.PIPE, text=True).stdout for _ in range(2)]
    for values in zip(*(text.splitlines() for text in runs)):
        assert len(set(values)) == 2 or values == ("", ""), values


def test_a_copy_knows_the_time() -> None:
    for _ in range(2):
        (now,) = lines("import time; print(time.time())")
        assert abs(float(now) - time.time()) < 3


MANY = """
import json, os, random, secrets, ssl, tempfile, time, uuid
values = {
    "time": time.time(),
    "random.random": random.random(),
    "SystemRandom": random.SystemRandom().random(),
    "os.urandom": os.urandom(8).hex(),
    "secrets": secrets.token_hex(8),
    "uuid1": str(uuid.uuid1()),
    "uuid4": str(uuid.uuid4()),
    "temp name": tempfile.mktemp(),
    "ssl": ssl.RAND_bytes(8).hex(),
    "kernel": open("/proc/sys/kernel/random/uuid").read(),
    "boot": open("/proc/sys/kernel/random/boot_id").read(),
}
try:
    import numpy
    values["numpy"] = float(numpy.random.random())
    values["numpy generator"] = float(numpy.random.default_rng().random())
except ImportError:
    pass
print(json.dumps(values))
"""


def test_no_two_of_many_copies_are_alike() -> None:
    """Of one template, by one pool: those that waited, and those that did not."""
    count = 1000 if "FLASHVM_LONG" in os.environ else 30

    def values_of_one(_: int) -> Dict[str, Any]:
        begin = time.time()
        result = pool.run(MANY)
        assert (result.exit_code, result.restored, result.reseeded) == (0, True, True)
        values: Dict[str, Any] = json.loads(result.stdout)
        assert begin - 1 < values["time"] < time.time() + 1
        return values

    with fvm.Pool(size=3) as pool, ThreadPoolExecutor(3) as threads:
        seen = list(threads.map(values_of_one, range(count)))
        stats = pool.stats()
    assert stats.served + stats.missed == count and stats.failed == 0
    for name in seen[0]:
        assert len({values[name] for values in seen}) == count, name


SHARED = """
print(hash("a"))
for line in open("/proc/self/maps"):
    if "[stack]" in line or "[heap]" in line or "[vdso]" in line:
        print(line.split("-")[0])
"""


@pytest.mark.parametrize(
    "options",
    [
        {"cold_boot": True},
        {"python_args": ["-u", "-B"]},  # a real interpreter in a copied guest
    ],
    ids=["cold_boot", "python_args"],
)
def test_what_copies_share_can_be_had_anew(options: Dict[str, Any]) -> None:
    assert lines(SHARED) == lines(SHARED)
    own = [lines(SHARED, **options), lines(SHARED, **options), lines(SHARED)]
    for values in zip(*own):
        assert len(set(values)) == 3, values
