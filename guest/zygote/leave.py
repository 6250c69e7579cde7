# SPDX-License-Identifier: MIT
"""A short way out for a snippet that ended well: no interpreter is taken down that nobody watches.

CPython's own end (Py_FinalizeEx) takes ten times as long as a small snippet when the CPU is
emulated. Most of it frees memory of a process whose memory goes with it. So the last function that
atexit calls, after all of the snippet's own, ends the process at once, if nobody could tell:

 - the snippet ran to its end, so that the exit code is 0 (CPython takes __file__ out of __main__
   then; it does not when it exits for SystemExit, and an exception leaves sys.last_value);
 - stdout and stderr can be flushed, here as there;
 - every object that was made since the interpreter waited is of a kind whose end has no effect: no
   __del__, no open file, no generator that stopped within a `finally`, no weak reference with a
   callback, nothing of an extension module that is not the standard library's.

In any other case, and whenever something is odd, nothing is done and CPython ends as it always
does.

Even so the kernel needs a while to take a process down, so the agent is told before that: by a sign
in a resource limit that nobody uses, and then by the ends of stdout and stderr.
"""

import _random
import collections
import collections.abc
import contextlib
import functools
import gc
import importlib.machinery
import itertools
import operator
import os
import re
import sys
import time
import types
import weakref

# Beyond so many objects to look at, the look takes as long as it saves.
_OBJECTS_MAX = 2000


def _classes_of(module):
    return [thing for thing in vars(module).values() if isinstance(thing, type)]


# Classes of C code whose instances do nothing at their end but free memory.
_INERT = frozenset(
    [
        *(dict, list, tuple, set, frozenset, property, classmethod, staticmethod, slice, super),
        *(enumerate, zip, map, filter, reversed, memoryview, type, object),
        *(types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.CodeType),
        *(types.MappingProxyType, types.GetSetDescriptorType, types.MemberDescriptorType),
        *(types.WrapperDescriptorType, types.MethodWrapperType, types.MethodDescriptorType),
        *(types.ClassMethodDescriptorType, types.TracebackType, types.SimpleNamespace),
        *(functools.partial, collections.deque, collections.defaultdict, collections.OrderedDict),
        *map(type, ((lambda x: lambda: x)(0).__closure__[0], {}.keys(), {}.values(), {}.items())),
        *map(type, (iter([]), iter({}), iter(()), iter(set()), iter(""), iter(range(0)))),
        *map(type, (re.compile(""), re.match("", ""), collections.namedtuple("_", "x").x)),
        *(type(collections.abc.Sized._abc_impl), type(functools.lru_cache(len))),
        *_classes_of(itertools),
        *_classes_of(operator),
        *_classes_of(_random),
    ]
)
_WEAK_REFERENCE = type(weakref.ref(_INERT))
_TO_BE_LOOKED_AT = frozenset([types.FunctionType, types.ModuleType, _WEAK_REFERENCE])
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE
_STANDARD_EXTENSIONS = os.path.dirname(os.__file__) + "/lib-dynload/"


def _is_python_class(cls):
    """Was it made by a class statement? Classes of C code may do anything at their end."""
    own = cls.__dict__
    module = sys.modules.get(own.get("__module__"))
    if not cls.__flags__ & _HEAP_TYPE or module is None:
        return False
    file = getattr(module, "__file__", None) or ""
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    if module is not sys.modules["__main__"] and origin != "frozen" and not file.endswith(".py"):
        return False
    # A class of C code may say that it is of a Python module, but has none of these.
    return (
        not own.keys().isdisjoint(("__dict__", "__weakref__", "__slots__"))
        or type in cls.__bases__
        or any(map(_is_python_class, cls.__bases__))
    )


@functools.lru_cache(maxsize=None)
def _ends_without_effect(cls):
    """Do instances of that class?"""
    for base in cls.__mro__:
        if base in _INERT or (not base.__flags__ & _HEAP_TYPE and issubclass(base, BaseException)):
            continue
        if "__del__" in base.__dict__ or not _is_python_class(base):
            return False
    return True


def _is_inert(thing):
    cls = type(thing)
    if cls is types.FunctionType:
        return thing.__name__ != "__del__"  # it may be put into any class
    if cls is types.ModuleType:
        file = getattr(thing, "__file__", None) or ""
        return not file.endswith(".so") or file.startswith(_STANDARD_EXTENSIONS)
    if cls is _WEAK_REFERENCE:
        callback = thing.__callback__
        return callback is None or type(callback) is types.BuiltinFunctionType
    return "__del__" not in thing.__dict__ and _ends_without_effect(cls)  # a class


def _are_inert(things):
    classes = set(map(type, things))
    if not all(map(_ends_without_effect, classes - _TO_BE_LOOKED_AT)):
        return False
    if _TO_BE_LOOKED_AT.isdisjoint(classes) and not any(issubclass(c, type) for c in classes):
        return True
    return all(
        _is_inert(thing)
        for thing in things
        if type(thing) in _TO_BE_LOOKED_AT or isinstance(thing, type)
    )


def _ran_to_its_end():
    main = sys.modules["__main__"].__dict__
    return (
        not {"__file__", "__cached__"} & main.keys()
        and {"__name__", "__loader__", "__spec__", "__builtins__"} <= main.keys()
        and not {"last_type", "last_value", "last_traceback", "last_exc"} & sys.__dict__.keys()
    )


def prepare(sign):
    """Call it when all is imported that a waiting interpreter needs. Return: the way out."""
    if sys.implementation.name != "cpython" or not (3, 8) <= sys.version_info < (3, 15):
        return lambda: None
    import resource

    signed = (sign, resource.getrlimit(resource.RLIMIT_MSGQUEUE)[1])
    process = os.getpid()
    main = sys.modules["__main__"]
    for cls in (*_INERT, importlib.machinery.SourceFileLoader):
        _ends_without_effect(cls)  # the answer is kept
    gc.collect()
    gc.freeze()

    def leave():
        """For atexit, before all others, so that it comes last."""
        if os.getpid() != process or not _ran_to_its_end():
            return
        made = gc.get_objects()
        if len(made) > _OBJECTS_MAX or not _are_inert(made):
            return
        # CPython made it after prepare(). Is it hidden now, then so is more: by gc.freeze().
        if not any(thing is main.__loader__ for thing in made):
            return
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
        # The sign tells the agent that there is no more to come; an end of output alone does not.
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, signed)
        os.close(1)
        os.close(2)
        time.sleep(0.02)
        os._exit(0)

    def leave_if_nothing_is_odd():
        with contextlib.suppress(BaseException):  # CPython's own way out will meet it again
            leave()

    return leave_if_nothing_is_odd
