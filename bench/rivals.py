# SPDX-License-Identifier: MIT
"""Other ways to run a snippet apart from the rest of the machine. Those that are here take part.

To add one: an entry in RIVALS. `command` gets a directory of its own to put files into and gives
the command line that runs the snippet. What isolates with the host's own Python measures the
isolation; what brings a Python of its own measures that too, as flashVM does.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Tuple

from .subjects import OUTPUT, PYTHON, SNIPPET, BenchError, Call, Subject, spawn

TRIAL_SECONDS = 120  # the first run may have to fetch or unpack something
SERVER_SECONDS = 120  # likewise; one that has not answered then is ended


@dataclass(frozen=True)
class Rival:
    """One program. Its name is the command that is looked for."""

    program: str
    title: str
    command: Callable[[Path], List[str]]
    is_server: bool = False  # stays, and runs the snippet for each line that it reads


def _bubblewrap(_: Path) -> List[str]:
    return [
        *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--ro-bind", "/usr", "/usr", "--ro-bind-try", "/lib", "/lib"),
        *("--ro-bind-try", "/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev"),
        *("--tmpfs", "/tmp", "--", PYTHON, "-c", SNIPPET),
    ]


def _firejail(_: Path) -> List[str]:
    return [
        *("firejail", "--quiet", "--noprofile", "--private", "--net=none", "--caps.drop=all"),
        *("--seccomp", "--", PYTHON, "-c", SNIPPET),
    ]


def _write_bundle(directory: Path) -> None:
    """An OCI bundle that has the host's /usr and nothing else of it."""
    mounts: List[Dict[str, object]] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
    ]
    for source in ("/usr", "/lib", "/lib64"):
        if Path(source).exists():
            options = ["rbind", "ro"]
            mounts.append(
                {"destination": source, "type": "bind", "source": source, "options": options}
            )
    for mount in mounts:
        (directory / "rootfs" / str(mount["destination"])[1:]).mkdir(parents=True)
    namespaces = ("pid", "mount", "ipc", "uts", "network")
    config = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": True},
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": [PYTHON, "-c", SNIPPET],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "mounts": mounts,
        "linux": {"namespaces": [{"type": name} for name in namespaces]},
    }
    (directory / "config.json").write_text(json.dumps(config, indent=1))


def _oci_runtime(*runtime: str) -> Callable[[Path], List[str]]:
    def command(directory: Path) -> List[str]:
        _write_bundle(directory)
        name = f"flashvm-bench-{os.getpid()}-{runtime[0]}"
        return [*runtime, "run", "--bundle", str(directory), name]

    return command


def _podman(directory: Path) -> List[str]:
    # A root file system in a directory: no image is fetched.
    _write_bundle(directory)
    binds = [f"--volume={path}:{path}:ro" for path in ("/usr", "/lib", "/lib64")]
    rootfs = str(directory / "rootfs")
    options = ["--rm", "--quiet", "--network=none", *binds]
    return ["podman", "run", *options, "--rootfs", rootfs, PYTHON, "-c", SNIPPET]


def _exec_sandbox(_: Path) -> List[str]:
    # Its library belongs to the interpreter beside its command.
    command = shutil.which("sbx")
    assert command is not None
    worker = Path(__file__).with_name("exec_sandbox_worker.py")
    return [str(Path(command).resolve().with_name("python")), str(worker), SNIPPET]


RIVALS = [
    Rival("bwrap", "bubblewrap", _bubblewrap),
    Rival("firejail", "firejail", _firejail),
    Rival("crun", "crun", _oci_runtime("crun")),
    Rival("runc", "runc", _oci_runtime("runc")),
    Rival("podman", "podman", _podman),
    Rival("runsc", "gVisor", _oci_runtime("runsc", "--network=none", "--ignore-cgroups")),
    Rival("sbx", "exec-sandbox", _exec_sandbox, is_server=True),
]


@contextlib.contextmanager
def _serve(argv: List[str], messages: Path) -> Iterator[Call]:
    """Start it; each call has it run the snippet once."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(messages.open("wb"))
        server = stack.enter_context(
            subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        )  # which ends when its input does: leaving closes that, and waits
        requests, answers = server.stdin, server.stdout
        assert requests is not None
        assert answers is not None

        def call() -> Mapping[str, float]:
            with contextlib.suppress(BrokenPipeError):  # then there is no answer either
                os.write(requests.fileno(), b"run\n")
            if not select.select([answers], [], [], SERVER_SECONDS)[0]:
                server.kill()
            answer = answers.readline()
            if answer != OUTPUT:
                raise BenchError(f"{argv[0]} answered {answer!r}")
            return {}

        yield call


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return textwrap.shorten(lines[-1], 100) if lines else ""


def _trial(call: Call, messages: Path) -> str:
    """Run it once. Why it is of no use here; "" if it is."""
    try:
        call()
    except (OSError, BenchError, subprocess.TimeoutExpired) as error:
        return _last_line(messages.read_text(errors="replace")) or str(error)
    return ""


def _trial_command(argv: List[str], messages: Path) -> str:
    with messages.open("wb") as log:

        def call() -> Mapping[str, float]:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                timeout=TRIAL_SECONDS,
                check=False,
            )
            if done.returncode != 0 or done.stdout != OUTPUT:
                raise BenchError(f"exit code {done.returncode}, output {done.stdout!r}")
            return {}

        return _trial(call, messages)


def open_rivals(directory: Path, stack: contextlib.ExitStack) -> Tuple[List[Subject], List[str]]:
    """The rivals that work here, until the stack is closed; and a sentence for each other."""
    subjects, absent = [], []
    for rival in RIVALS:
        if shutil.which(rival.program) is None:
            absent.append(f"{rival.title}: not installed")
            continue
        own = directory / rival.program
        own.mkdir()
        argv, messages = rival.command(own), own / "messages"
        if rival.is_server:
            call = stack.enter_context(_serve(argv, messages))
            why_not = _trial(call, messages)
        else:
            call = functools.partial(spawn, argv)
            why_not = _trial_command(argv, messages)
        if why_not:
            absent.append(f"{rival.title}: does not work here: {why_not}")
        else:
            subjects.append(Subject(rival.program, rival.title, call))
    return subjects, absent
