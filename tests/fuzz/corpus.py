#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The kept inputs of the fuzz targets: corpus/TARGET.txt, a line for each.

    corpus.py unpack DIRECTORY        makes DIRECTORY/TARGET/NAME of all of them
    corpus.py keep TARGET NAME FILE   adds an input for good: what once was wrong
    corpus.py shrink BUILD TARGET     keeps of all known inputs the few that reach as much

A line is a name and the input's bytes (zlib, base64). The ones that were found by themselves have a
hash for a name; shrink may drop those, and no others.
"""

import base64
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zlib

HERE = pathlib.Path(__file__).resolve().parent
HASH_LENGTH = 16


def read(target: str) -> dict[str, bytes]:
    path = HERE / "corpus" / f"{target}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.split() for line in lines)
    return {name: zlib.decompress(base64.b64decode(data)) for name, data in pairs}


def write(target: str, inputs: dict[str, bytes]) -> None:
    lines = (
        f"{name} {base64.b64encode(zlib.compress(data, 9)).decode()}\n"
        for name, data in sorted(inputs.items())
    )
    (HERE / "corpus" / f"{target}.txt").write_text("".join(lines))


def is_hash(name: str) -> bool:
    return len(name) == HASH_LENGTH and all(digit in "0123456789abcdef" for digit in name)


def unpack(directory: pathlib.Path) -> None:
    for path in sorted((HERE / "corpus").glob("*.txt")):
        place = directory / path.stem
        place.mkdir(parents=True, exist_ok=True)
        for name, data in read(path.stem).items():
            (place / name).write_bytes(data)


def keep(target: str, name: str, file: pathlib.Path) -> None:
    write(target, {**read(target), name: file.read_bytes()})


def shrink(build: pathlib.Path, target: str) -> None:
    """By edges alone: with libFuzzer's counters ten times as many inputs would stay."""
    with tempfile.TemporaryDirectory() as kept:
        fuzzer = str(build / "tests/fuzz" / f"fuzz_{target}")
        known = [str(build / place / target) for place in ("inputs", "found")]
        subprocess.run([fuzzer, "-merge=1", "-use_counters=0", kept, *known], check=True)
        smallest = {
            hashlib.sha256(data).hexdigest()[:HASH_LENGTH]: data
            for data in (path.read_bytes() for path in pathlib.Path(kept).iterdir())
        }
    named = {name: data for name, data in read(target).items() if not is_hash(name)}
    write(target, {**smallest, **named})


def main() -> None:
    command, *arguments = sys.argv[1:]
    if command == "unpack":
        unpack(pathlib.Path(arguments[0]))
    elif command == "keep":
        keep(arguments[0], arguments[1], pathlib.Path(arguments[2]))
    elif command == "shrink":
        shrink(pathlib.Path(arguments[0]), arguments[1])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
