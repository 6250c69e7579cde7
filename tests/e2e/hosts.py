# SPDX-License-Identifier: MIT
"""Hosts that lack something: a program runs where a script has changed the mounts or the limits.

The script runs in a mount namespace of its own, so that nobody else sees what it does, and the
namespace goes with the program.
"""

from __future__ import annotations

import os
import subprocess
from typing import Dict, Optional, Sequence

Done = subprocess.CompletedProcess[str]


def on_host(script: str, argv: Sequence[str], env: Optional[Dict[str, str]] = None) -> Done:
    """Run the script as root, in a namespace of its own, and then the program."""
    unshare = ["unshare", "--mount", "--propagation", "private"]
    return after(script, argv, env, unshare)


def after(
    script: str,
    argv: Sequence[str],
    env: Optional[Dict[str, str]] = None,
    wrapper: Sequence[str] = (),
) -> Done:
    """Run the program where a shell has done that: limits, closed descriptors, ignored signals."""
    return subprocess.run(
        [*wrapper, "bash", "-ec", f'{script}\nexec "$@"', "bash", *argv],
        env={**os.environ, **(env or {})},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
