# SPDX-License-Identifier: MIT
"""What a run gave: `Result`, and `Artifact` for each file that came back."""

from __future__ import annotations

import copy
import os
import pathlib
import weakref
from typing import Any, Dict, List, Mapping, Optional, Tuple, TypedDict, TypeVar, Union

from ._arguments import check_directory
from ._errors import NotFound, host_error
from ._save import save_artifact

_SHOWN_OUTPUT = 40  # characters of stdout and stderr in a repr

_R = TypeVar("_R", bound="_Record")


class _Files:
    """Keeps the files of a run's artifacts.

    They go with the last Result or Artifact that refers here, at the latest when the interpreter
    ends. A forked child leaves them alone: they are its parent's.
    """

    def __init__(self, owner: object) -> None:
        # The finalizer is what holds the owner, so it also runs at exit, where destructors may not.
        weakref.finalize(self, list.clear, [owner])


class _Record(Dict[str, Any]):
    """A dict whose keys are attributes too.

    A pickled record carries its values but no files: an unpickled artifact has the host_path None.
    `copy.copy` and `copy.deepcopy` keep the files.
    """

    __slots__ = ("__weakref__", "_files")

    def __init__(self, values: Mapping[str, Any], files: Optional[_Files] = None) -> None:
        super().__init__(values)
        object.__setattr__(self, "_files", files)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"a {type(self).__name__} has no {name!r}; it has {', '.join(self)}"
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value  # the two views never differ

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name!r} of a {type(self).__name__} cannot be deleted")

    def __dir__(self) -> List[str]:
        return sorted({*super().__dir__(), *self})

    def __copy__(self: _R) -> _R:
        return type(self)(self, object.__getattribute__(self, "_files"))

    def __deepcopy__(self: _R, memo: Dict[int, Any]) -> _R:
        values = {key: copy.deepcopy(value, memo) for key, value in self.items()}
        return type(self)(values, object.__getattribute__(self, "_files"))

    def __reduce__(self) -> Union[str, Tuple[Any, ...]]:
        return type(self), (dict(self),)

    def __reduce_ex__(self, protocol: Any) -> Union[str, Tuple[Any, ...]]:
        return self.__reduce__()


class Timings(TypedDict):
    """How long each part of a run took, in milliseconds."""

    prepare: float  # choosing an engine, finding or making the root file system
    boot: float  # from spawning the VM until its interpreter waits
    run: float  # from handing over the request until the result has arrived
    execute: float  # of that: the snippet, measured in the guest
    destroy: float  # ending the VM
    total: float


class Artifact(_Record):
    """A file that the snippet left under /work. Keys and attributes are the same."""

    __slots__ = ()

    guest_path: str  # relative to /work, as "out/result.txt"; surrogate escapes for non-UTF-8
    size_bytes: int
    sha256: str  # lower-case hex
    content: Optional[bytes]  # None when it is larger than max_bytes_inline
    host_path: Optional[str]  # lives as long as the Result or an Artifact of it does

    def save(self, directory: Union[str, os.PathLike[str]]) -> pathlib.Path:
        """Write the file to `directory`/`guest_path` and return that path.

        `directory` and missing parents are made, a file that is there is replaced. The guest chose
        the path, so: nothing is written outside of `directory`, no symlink inside of it is followed
        (one in the place of a parent is an error, one in the place of the file is replaced), and
        the file appears complete or not at all, with the mode of an ordinary new file. `directory`
        itself may be a symlink.

        Raises HostError (an OSError) when it cannot be written, NotFound when there is nothing to
        write (of a pickled artifact only `content` remains), GuestFailed when the path is not a
        plain relative one.
        """
        target = check_directory("directory", directory)
        if self.host_path is None and self.content is None:
            raise NotFound(
                f"cannot save the artifact {self.guest_path!r}: it was pickled, and its "
                f"{self.size_bytes} bytes were more than max_bytes_inline"
            )
        return save_artifact(self.guest_path, self.host_path, self.content, target)

    def __reduce__(self) -> Union[str, Tuple[Any, ...]]:
        return type(self), ({**self, "host_path": None},)

    def __repr__(self) -> str:
        return f"<Artifact {self.guest_path!r}, {self.size_bytes} bytes>"


class Result(_Record):
    """What a run gave. Keys and attributes are the same: `result["stdout"]`, `result.stdout`."""

    __slots__ = ()

    exit_code: int  # as a shell sees it: 128+n for death by signal n, 124 for a timeout
    term_signal: int  # the signal that ended the snippet, 0 if it exited
    started: bool  # did code of the snippet begin to run?
    timed_out: bool  # ended because timeout_seconds were over
    oom_killed: bool  # a process of it was killed for want of memory, and all with it
    ended_by_limit: Optional[str]  # the limit that ended the run: "timeout", "memory"; None: none
    stdout: str  # decoded as UTF-8, with U+FFFD for what is not
    stderr: str
    stdout_raw: bytes  # exactly what was written
    stderr_raw: bytes
    stdout_bytes: int  # how many bytes the snippet wrote; more than were kept when truncated
    stderr_bytes: int
    stdout_truncated: bool  # is something of it left out here?
    stderr_truncated: bool
    artifacts: List[Artifact]
    artifacts_note: Optional[str]  # what was left out and why; None: nothing was
    restored: bool  # from a template of a microVM that had booted; False: it booted itself
    pooled: bool  # restored before the run was asked for
    reseeded: bool  # its generators got new randomness before the snippet began
    clock_set: bool  # its clock was set to the host's then
    image_used: str  # "localhost/flashvm:python-basic@sha256:..."
    engine: str  # "native", "qemu" or "krunvm"
    accelerator: str  # "kvm" or "tcg"
    execution_time_ms: float  # the snippet alone, measured in the guest
    cpu_time_ms: float  # of the snippet and all that it started
    peak_memory_bytes: int  # likewise; with the interpreter, and with the files it wrote
    timings: Timings

    def __repr__(self) -> str:
        parts = [f"exit_code={self.exit_code}"]
        if self.timed_out:
            parts.append("timed_out=True")
        if self.oom_killed:
            parts.append("oom_killed=True")
        for name in ("stdout", "stderr"):
            text = self[name]
            if text:
                dots = "..." if len(text) > _SHOWN_OUTPUT else ""
                parts.append(f"{name}={text[:_SHOWN_OUTPUT]!r}{dots}")
        if self.artifacts:
            parts.append(f"artifacts={len(self.artifacts)}")
        return f"<Result {' '.join(parts)}, {self.engine}/{self.accelerator}>"


def _read_content(host_path: str, size_bytes: int) -> bytes:
    try:
        with open(host_path, "rb") as file:
            return file.read(size_bytes)
    except OSError as error:
        raise host_error(f"cannot read the artifact's file {host_path}", error) from error


def _artifact_from_raw(
    raw: Tuple[bytes, bytes, int, str], max_bytes_inline: int, files: Optional[_Files]
) -> Artifact:
    guest_path, host_path_bytes, size_bytes, sha256 = raw
    host_path = os.fsdecode(host_path_bytes)
    return Artifact(
        {
            # The guest's file names are UTF-8, whatever the host's locale says.
            "guest_path": guest_path.decode("utf-8", "surrogateescape"),
            "size_bytes": size_bytes,
            "sha256": sha256,
            "content": _read_content(host_path, size_bytes)
            if size_bytes <= max_bytes_inline
            else None,
            "host_path": host_path,
        },
        files,
    )


def result_from_raw(raw: Dict[str, Any], max_bytes_inline: int) -> Result:
    """The Result for what `_flashvm.run` returned."""
    files = None if raw["owner"] is None else _Files(raw["owner"])
    values: Dict[str, Any] = {
        "exit_code": raw["exit_code"],
        "stdout": raw["stdout_data"].decode("utf-8", "replace"),
        "stderr": raw["stderr_data"].decode("utf-8", "replace"),
        "image_used": raw["image_used"],
        "artifacts": [
            _artifact_from_raw(artifact, max_bytes_inline, files) for artifact in raw["artifacts"]
        ],
        "engine": raw["engine"],
        "accelerator": raw["accelerator"],
        "execution_time_ms": raw["timings"]["execute_us"] / 1000,
        "cpu_time_ms": raw["cpu_time_us"] / 1000,
        "peak_memory_bytes": raw["peak_memory_bytes"],
        "timed_out": raw["timed_out"],
        "oom_killed": raw["oom_killed"],
        "ended_by_limit": raw["ended_by_limit"],
        "started": raw["started"],
        "restored": raw["restored"],
        "pooled": raw["pooled"],
        "reseeded": raw["reseeded"],
        "clock_set": raw["clock_set"],
        "term_signal": raw["term_signal"],
    }
    for name in ("stdout", "stderr"):
        values[f"{name}_raw"] = raw[f"{name}_data"]
        values[f"{name}_bytes"] = raw[f"{name}_bytes"]
        values[f"{name}_truncated"] = raw[f"{name}_truncated"]
    values["artifacts_note"] = raw["artifacts_note"]
    values["timings"] = {
        name[: -len("_us")]: microseconds / 1000 for name, microseconds in raw["timings"].items()
    }
    return Result(values, files)
