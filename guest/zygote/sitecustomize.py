# SPDX-License-Identifier: MIT
"""The zygote: an interpreter that has started, waits, and then becomes the snippet.

The agent starts ``python3 -u /work/main.py`` with this file's directory first in PYTHONPATH, so
the interpreter imports it as ``sitecustomize``: at the last moment before it would open main.py.
Here it warms up, says that it is ready, and sleeps until the agent has written main.py and sends
the request. Then it removes its own traces and returns, and CPython itself runs main.py. So
``__main__``, tracebacks, exit codes, atexit and the rest are the interpreter's own.

Control descriptor (FLASHVM_CONTROL_FD, a stream socket): one byte "R" out when it waits; in, a
u32 length and fields with a NUL after each: working directory, argv[0], the number of further
arguments, these, then NAME=value for each variable to set; one byte "S" out when the snippet's
code begins.
"""

import os
import sys
import time


def _warm():
    """Import what most snippets import, and what printing a traceback needs."""
    import linecache  # noqa: F401
    import re  # noqa: F401
    import traceback  # noqa: F401


def _read_exactly(descriptor, size):
    data = b""
    while len(data) < size:
        chunk = os.read(descriptor, size - len(data))
        if not chunk:
            os._exit(0)  # the agent has no use for this interpreter
        data += chunk
    return data


def _restore_path(own_directory):
    """Undo what brought this file here: its place in sys.path and in PYTHONPATH."""
    while own_directory in sys.path:
        sys.path.remove(own_directory)
    sys.path_importer_cache.pop(own_directory, None)
    rest = os.environ.get("PYTHONPATH", "").partition(":")[2]
    if rest:
        os.environ["PYTHONPATH"] = rest
    else:
        os.environ.pop("PYTHONPATH", None)


def _run_images_own():
    """An image may have a sitecustomize of its own, which this one stands before in sys.path."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


def _become(fields):
    workdir, argv0, count = fields[0], fields[1], int(fields[2])
    for entry in fields[3 + count :]:
        name, _, value = entry.partition(b"=")
        os.environb[name] = value
    if "TZ" in os.environ:
        time.tzset()
    os.chdir(workdir)
    sys.argv[:] = map(os.fsdecode, (argv0, *fields[3 : 3 + count]))
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[-1:] = sys.argv


def _wait():
    control = int(os.environ.pop("FLASHVM_CONTROL_FD"))
    _restore_path(os.path.dirname(__file__))
    _run_images_own()
    _warm()
    os.write(control, b"R")
    size = int.from_bytes(_read_exactly(control, 4), "little")
    _become(_read_exactly(control, size).split(b"\0")[:-1])
    os.write(control, b"S")
    os.close(control)


try:
    _wait()
except (
    BaseException
) as error:  # site would go on and run main.py in an interpreter that is not ready
    text = f"flashvm: the waiting interpreter failed: {type(error).__name__}: {error}\n"
    os.write(2, text.encode("utf-8", "backslashreplace"))
    os._exit(120)
