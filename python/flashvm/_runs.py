# SPDX-License-Identifier: MIT
"""One run, from options as `run` takes them to a result; and a pool for such runs."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from . import _arguments, _flashvm
from ._errors import InvalidArgument
from ._inputs import check_files_in, open_stdin
from ._library import library, progress
from ._result import Result, result_from_raw

POOL_SIZE_MAX = 1000  # as the library says


def check_guest(options: Mapping[str, Any]) -> Dict[str, Any]:
    """The options that say what the microVM is, checked; those of a pool, too."""
    return {
        "engine": _arguments.check_engine("engine", options["engine"]),
        "cpus": _arguments.check_int("cpus", options["cpus"], 1, 64),
        "memory_mb": _arguments.check_int("memory_mb", options["memory_mb"], 128, 1_048_576),
        "image": _arguments.check_image("image", options["image"]),
        "boot_timeout_ms": _arguments.check_timeout(
            "boot_timeout_seconds", options["boot_timeout_seconds"]
        ),
    }


def _check_limits(options: Mapping[str, Any]) -> Dict[str, int]:
    def check(name: str, least: int = 1, most: int = 2**63 - 1) -> int:
        return _arguments.check_int(name, options[name], least, most)

    return {
        "max_processes": check("max_processes", 8, 32768),
        "max_disk_mb": 0 if options["max_disk_mb"] is None else check("max_disk_mb", 1, 1_048_576),
        "max_files_in": check("max_files_in", 1, 2**32 - 1),
        "max_files_in_bytes": check("max_files_in_bytes"),
        "max_stdout_bytes": check("max_stdout_bytes"),
        "max_stderr_bytes": check("max_stderr_bytes"),
        "max_artifacts": check("max_artifacts", 1, 2**32 - 1),
        "max_artifact_bytes": check("max_artifact_bytes"),
    }


def _check_options(options: Mapping[str, Any]) -> Dict[str, Any]:
    return {
        **check_guest(options),
        "timeout_ms": _arguments.check_timeout("timeout_seconds", options["timeout_seconds"]),
        "workdir": _arguments.check_workdir("workdir", options["workdir"]),
        "env": _arguments.check_env("env", options["env"]),
        "python_args": _arguments.check_strings("python_args", options["python_args"]),
        "args": _arguments.check_strings("args", options["args"]),
        "expect": _arguments.check_expect("expect", options["expect"]),
        "files_in": check_files_in("files_in", options["files_in"]),
        "cold_boot": _arguments.check_bool("cold_boot", options["cold_boot"]),
        "network": _arguments.check_bool("network", options["network"]),
        "ports": _arguments.check_ports("ports", options["ports"]),
        **_check_limits(options),
    }


class OpenPool:
    """A pool of the extension, until it is closed and the last run in it is over.

    Only this and the calls that go on hold it. Frames do not: an exception keeps those.
    """

    def __init__(self, pool: _flashvm.Pool) -> None:
        self.pool: Optional[_flashvm.Pool] = pool  # None: closed

    def check_open(self) -> _flashvm.Pool:
        if self.pool is None:
            raise InvalidArgument("this Pool is closed; open another")
        return self.pool

    def read_stats(self) -> Dict[str, int]:
        return _flashvm.pool_stats(self.check_open())

    def close(self) -> None:
        self.pool = None


def run_with_options(
    pool: Optional[OpenPool], code: object, options: Mapping[str, Any], cancel_fd: int = -1
) -> Result:
    """`run`, with each of its options given.

    pool: whose microVMs to use; None, or one that is closed: start one.
    cancel_fd: when it becomes readable the run ends with Cancelled; -1: signals end it.
    """
    checked_code = _arguments.check_code("code", code)
    checked = _check_options(options)
    inline = _arguments.check_int("max_bytes_inline", options["max_bytes_inline"], 0, None)
    with progress(), open_stdin("stdin", options["stdin"]) as stdin_fd:
        raw = _flashvm.run(
            library(),
            pool.pool if pool else None,
            checked_code,
            stdin_fd=stdin_fd,
            cancel_fd=cancel_fd,
            **checked,
        )
    return result_from_raw(raw, inline)


def open_pool(guest: Mapping[str, Any], size: int, idle_seconds: Optional[float]) -> OpenPool:
    """Open a pool. guest: as `check_guest` returns it."""
    idle_ms = 0
    if idle_seconds is not None:
        idle_ms = _arguments.check_timeout("idle_seconds", idle_seconds)
    with progress():
        return OpenPool(
            _flashvm.pool_open(
                library(),
                guest["image"],
                guest["engine"],
                guest["cpus"],
                guest["memory_mb"],
                guest["boot_timeout_ms"],
                size,
                idle_ms,
            )
        )
