# SPDX-License-Identifier: MIT
"""One exception class for each status of the library (enum flashvm_status)."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple, Type, Union


class FlashVMError(Exception):
    """A call failed. A snippet that fails is a result, not an error.

    `str(error)` says what was wrong, why, and what to do. Where a builtin exception means the same
    thing, the subclass is one of those too, so that code which does not know flashVM can catch it.
    """

    status: int = 250
    """The number of the cause; the `flashvm` command exits with the same one."""

    def __str__(self) -> str:
        # OSError would put "[Errno 2]" before the message.
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> Union[str, Tuple[Any, ...]]:
        # OSError would lose its errno on the way to another process.
        return _unpickled, (type(self), self.args, getattr(self, "errno", None)), self.__dict__


class FlashVMWarning(UserWarning):
    """A part of a call failed that the caller can do without; the call itself succeeded."""


class InvalidArgument(FlashVMError, ValueError):
    """The caller asked for something that makes no sense."""

    status = 240


class InvalidArgumentType(InvalidArgument, TypeError):
    """An argument is of a wrong type."""


class NotFound(FlashVMError, FileNotFoundError):
    """A file, image or program that is needed is not there.

    `errno` is that of the system call that failed; None when something else was missing.
    """

    status = 241


class HostError(FlashVMError, OSError):
    """The host's operating system refused or failed.

    `errno` is that of the system call that failed; None when it was no system call.
    """

    status = 242


class Unsupported(FlashVMError):
    """The chosen engine cannot enforce what was asked."""

    status = 243


class EngineUnavailable(FlashVMError):
    """No engine is usable on this machine; `flashvm.doctor()` tells why."""

    status = 244


class BootFailed(FlashVMError):
    """The microVM did not come up in time."""

    status = 245


class GuestFailed(FlashVMError):
    """The microVM broke off, or spoke nonsense, before it gave a result."""

    status = 246


class ImageInvalid(FlashVMError):
    """An image is damaged, unsafe or lacks Python."""

    status = 247


class CacheUnsafe(FlashVMError, PermissionError):
    """The cache directory is not the caller's own, or others may write to it."""

    status = 248


class Cancelled(FlashVMError):
    """The run was ended by the caller.

    Ctrl-C does not come out as this: what its handler raised (KeyboardInterrupt) is raised.
    """

    status = 249


class InternalError(FlashVMError):
    """A defect of flashVM; please report it."""

    status = 250


_CLASS_OF_STATUS: Dict[int, Type[FlashVMError]] = {
    cls.status: cls
    for cls in (
        InvalidArgument,
        NotFound,
        HostError,
        Unsupported,
        EngineUnavailable,
        BootFailed,
        GuestFailed,
        ImageInvalid,
        CacheUnsafe,
        Cancelled,
        InternalError,
    )
}


def _unpickled(
    cls: Type[FlashVMError], args: Tuple[Any, ...], errno: Optional[int]
) -> FlashVMError:
    error = cls(*args)
    if isinstance(error, OSError):
        error.errno = errno
    return error


def from_status(status: int, message: str, os_errno: int) -> FlashVMError:
    """The exception for an error of the library. The extension module calls this."""
    return _unpickled(_CLASS_OF_STATUS.get(status, InternalError), (message,), os_errno or None)


def host_error(what: str, cause: OSError) -> HostError:
    """The exception for a failure that Python itself met."""
    error = HostError(f"{what}: {cause.strerror or cause}")
    error.errno = cause.errno
    return error
