# SPDX-License-Identifier: MIT
"""The zygote: an interpreter that has started, waits, and then becomes the snippet.

The agent starts ``python3 -u /work/main.py`` with this file's directory first in PYTHONPATH, so the
interpreter imports it as ``sitecustomize``. When it has started and all is imported, CPython asks
the functions in ``sys.path_hooks`` whether main.py is a directory or an archive to import from, and
then opens it. The first of them is ours: there the interpreter says that it is ready, and sleeps
until the agent has written main.py and sends the request. Then our traces are gone, and CPython
itself runs main.py. So ``__main__``, tracebacks, exit codes, atexit and the rest are its own.

FLASHVM_CONTROL has the number of a stream socket, the sign that leave.py gives, and 1 when the
guest becomes a template. On the socket: one byte "R" out when it waits; in, a u32 length and fields
with a NUL after each: "reseed" or nothing, working directory, argv[0], the number of further
arguments, these, then NAME=value for each variable to set; out, "S" and the time as a u64 when the
snippet's code begins. A length of 0 asks to seed all generators anew, and "R" answers.
"""

import os
import sys
import time

_MAIN_PATH = "/work/main.py"

# What snippets often import, in a template: it takes an emulated CPU long, and costs a restored
# guest nothing. Nothing here has threads, open files or random state that _reseed does not know.
_OFTEN_IMPORTED = [
    "argparse", "base64", "bisect", "calendar", "collections.abc", "contextlib", "copy", "csv",
    "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "glob", "hashlib",
    "heapq", "io", "itertools", "json", "logging", "math", "operator", "pathlib", "pickle",
    "random", "shutil", "statistics", "string", "struct", "subprocess", "tempfile", "textwrap",
    "threading", "typing", "urllib.parse", "uuid",
]  # fmt: skip


def _warm(for_template):
    """Import what most snippets import, and what printing a traceback needs."""
    import linecache  # noqa: F401
    import re  # noqa: F401
    import traceback  # noqa: F401

    if for_template:
        _import_more()
        _exercise()


def _import_more():
    from contextlib import suppress

    for name in _OFTEN_IMPORTED:
        with suppress(ImportError):  # the image has not all of the standard library
            __import__(name)


# Some of all that small snippets do.
_EXERCISE = """
import sys
def double(n, *rest, by=2):
    return [i * by for i in range(n) if i % 3] + list(rest)
class Point:
    def __init__(self, x):
        self.x = x
try:
    text = ', '.join(f'{i:>3}' for i in double(9, 4))
    print({'a': text.split(), 'b': Point(1.5).x}['b'], len(text), file=out)
    with open(__file__) as file:
        file.read()
    raise ValueError("x")
except (ValueError, KeyError) as error:
    print(error, file=out)
"""


def _exercise():
    """Have the interpreter touch what it needs to run a snippet: its compiler has not run yet, and
    its stack will grow for the paths that CPython looks at before it opens main.py.
    """
    import io

    nested = []
    for _ in range(500):
        nested = [nested]
    repr(nested)
    for _ in range(3):
        names = {"__name__": "__main__", "__file__": __file__, "out": io.StringIO()}
        exec(compile(_EXERCISE, "main.py", "exec"), names)
    sys.stdout.write("")
    sys.stdout.flush()


def _reseed():
    """Let the copies of a template differ. The kernel's generator is new already."""
    modules = sys.modules
    if "random" in modules:
        modules["random"].seed()
    if "tempfile" in modules:
        modules["tempfile"]._name_sequence = None
    if "uuid" in modules:
        modules["uuid"]._node = modules["uuid"]._last_timestamp = None
    if "_ssl" in modules:
        modules["_ssl"].RAND_add(os.urandom(32), 32.0)
    if "numpy.random" in modules:
        modules["numpy.random"].seed()


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
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # what site does then
        sys.stderr.write(
            "Error in sitecustomize; set PYTHONVERBOSE for traceback:\n"
            f"{type(error).__name__}: {error}\n"
        )


def _become(fields):
    reseed, workdir, argv0, count = *fields[:3], int(fields[3])
    if reseed:
        _reseed()
    for entry in fields[4 + count :]:
        name, _, value = entry.partition(b"=")
        os.environb[name] = value
    if "TZ" in os.environ:
        time.tzset()
    if workdir != b"/work":
        os.chdir(workdir)
    sys.argv[:] = map(os.fsdecode, (argv0, *fields[4 : 4 + count]))
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[-1:] = sys.argv


def _wait(control):
    """Until there is a run, and take it."""
    import gc

    size = 0
    while size == 0:
        os.write(control, b"R")
        size = int.from_bytes(_read_exactly(control, 4), "little")
        if size == 0:
            _reseed()
            _exercise()  # the pages that it writes to become this copy's own while there is time
            gc.collect()
    _become(_read_exactly(control, size).split(b"\0")[:-1])
    os.write(control, b"S" + time.monotonic_ns().to_bytes(8, "little"))
    os.close(control)


def _fail(error):
    """Nobody may go on with an interpreter that is not ready."""
    text = f"flashvm: the waiting interpreter failed: {type(error).__name__}: {error}\n"
    os.write(2, text.encode("utf-8", "backslashreplace"))
    os._exit(120)


def _start():
    import atexit

    control, sign, for_template = map(int, os.environ.pop("FLASHVM_CONTROL").split(","))
    way_out = [lambda: None]
    atexit.register(lambda: way_out[0]())  # the first to be registered is the last to be called
    import leave

    del sys.modules["leave"]

    def hook(path):
        if path != _MAIN_PATH:
            raise ImportError
        try:
            _warm(for_template)
            sys.path_hooks.remove(hook)
            way_out[0] = leave.prepare(sign)
            _wait(control)
        except BaseException as error:
            _fail(error)
        return  # it is neither a directory nor an archive

    sys.path_hooks.insert(0, hook)
    _restore_path(os.path.dirname(__file__))
    _run_images_own()


try:
    _start()
except BaseException as error:
    _fail(error)
