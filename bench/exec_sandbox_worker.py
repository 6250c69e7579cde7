# SPDX-License-Identifier: MIT
"""A rival that is a library for another Python: runs the snippet of argv[1] for each line of stdin.

Started by rivals.py with the interpreter that has exec-sandbox (versions 0.x).
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any


async def serve(code: str) -> None:
    sandbox: Any = importlib.import_module("exec_sandbox")
    async with sandbox.Scheduler() as scheduler:
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            result = await scheduler.run(code=code, language="python")
            print(result.stdout, end="", flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
