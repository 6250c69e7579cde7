#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""clang-tidy over every C file of the given build directories, each file once.

    tidy.py BUILD...

As many files at a time as there are processors. Shows findings only; any of them is a failure.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys


def sources(builds: list[pathlib.Path]) -> dict[pathlib.Path, pathlib.Path]:
    """Each file and the first build directory that compiles it."""
    found: dict[pathlib.Path, pathlib.Path] = {}
    for build in builds:
        for entry in json.loads((build / "compile_commands.json").read_text()):
            found.setdefault((build / entry["file"]).resolve(), build)
    return found


def check(file: pathlib.Path, build: pathlib.Path) -> str:
    """What clang-tidy finds in one file; "" if that is nothing."""
    # One process per file: clang-tidy 14 takes state of its analyzer from one file to the next.
    command = ["clang-tidy", "--quiet", "-p", str(build), str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def main() -> int:
    files = sources([pathlib.Path(build) for build in sys.argv[1:]])
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        findings = [text for text in pool.map(check, files, files.values()) if text]
    print("".join(findings), end="")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
