# SPDX-License-Identifier: MIT
"""Everyday snippets: each must behave in flashVM as in an interpreter started cold.

Their output must not depend on chance, time or addresses.
"""

from __future__ import annotations

from typing import Dict

SNIPPETS: Dict[str, bytes] = {}


def _add(name: str, source: str) -> None:
    SNIPPETS[name] = source.encode()


_add("print", "print('hi')\n")
_add("no newline at the end", "print('hi')")
SNIPPETS["empty"] = b""
SNIPPETS["only a comment"] = b"# nothing to do"
SNIPPETS["crlf"] = b"for i in range(2):\r\n    print(i)\r\nprint('''a\r\nb'''.encode())\r\n"
SNIPPETS["latin-1 cookie"] = "# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))\n".encode("latin-1")
SNIPPETS["byte order mark"] = b"\xef\xbb\xbfprint('marked')\n"
SNIPPETS["invalid utf-8 source"] = b"print('\xff')\n"
SNIPPETS["nul byte in the source"] = b"print('a')\n\0print('b')\n"
_add("unicode", "print('\u03b1\u03b2 \U0001f600', '\u4f60\u597d')\nimport sys\nprint('\u00e9', file=sys.stderr)\n")
_add("surrogate cannot be printed", "print('\\udc80')\n")
_add("bytes that are no text", "import sys\nsys.stdout.buffer.write(bytes(range(256)))\nsys.stderr.buffer.write(b'\\xff\\xfe')\n")
_add("a megabyte", "import sys\nsys.stdout.write('0123456789abcdef' * 65536)\nsys.stderr.write('e' * 300000)\n")
_add("both streams", "import sys\nfor i in range(200):\n    print(i, file=(sys.stdout, sys.stderr)[i % 2])\n")

_add("exception", "def f(x):\n    return 1 / x\n\nprint('before')\nf(0)\n")
_add("chained exceptions", "try:\n    {}['k']\nexcept KeyError as e:\n    raise ValueError('bad value') from e\n")
_add("exception group", "raise ExceptionGroup('two', [ValueError(1), TypeError('t')])\n")
_add("recursion", "def f(n):\n    return f(n + 1)\nf(0)\n")
_add("syntax error", "print('never')\nx = (1,\ny = 2\n")
_add("indentation error", "if True:\nprint('x')\n")
_add("name suggestion", "value = 1\nprint(valeu)\n")
_add("warnings", "import warnings\nwarnings.warn('old', DeprecationWarning)\nwarnings.warn('take care')\n'\\d'\n")
_add("error in a finalizer", "class C:\n    def __del__(self):\n        raise RuntimeError('in del')\nc = C()\ndel c\nprint('on')\n")
_add("raised KeyboardInterrupt", "raise KeyboardInterrupt\n")

_add("exit with a number", "import sys\nsys.exit(3)\n")
_add("exit with a text", "import sys\nsys.exit('that is wrong')\n")
_add("exit with nothing", "import sys\nsys.exit()\n")
_add("exit above 255", "raise SystemExit(263)\n")
_add("exit below 0", "raise SystemExit(-1)\n")
_add("exit with True", "raise SystemExit(True)\n")
_add("exit at once", "import os\nprint('unflushed?')\nos._exit(9)\n")
_add("abort", "import os\nos.abort()\n")
_add("kill", "import os, signal\nprint('x', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n")
_add("terminate", "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
_add("segmentation fault", "import ctypes\nctypes.string_at(0)\n")
_add("broken pipe signal", "import os, signal\nprint(signal.getsignal(signal.SIGPIPE))\nr, w = os.pipe()\nos.close(r)\nos.write(w, b'x')\n")
_add("signal handler", "import os, signal\nsignal.signal(signal.SIGUSR1, lambda n, f: print('got', n))\nos.kill(os.getpid(), signal.SIGUSR1)\nsignal.signal(signal.SIGALRM, lambda n, f: print('alarm'))\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\nsignal.pause()\nprint('done')\n")
_add("atexit", "import atexit, sys\natexit.register(print, 'bye')\natexit.register(print, 'last first')\nsys.exit(5)\n")

_add("threads", "import threading, time\nlock = threading.Lock()\ntotal = 0\ndef work():\n    global total\n    for _ in range(1000):\n        with lock:\n            total += 1\nts = [threading.Thread(target=work) for _ in range(8)]\n[t.start() for t in ts]; [t.join() for t in ts]\nprint(total)\nthreading.Thread(target=lambda: (time.sleep(0.1), print('after main'))).start()\nprint('main ends')\n")
_add("exception in a thread", "import threading\nt = threading.Thread(target=lambda: 1 / 0, name='worker')\nt.start()\nt.join()\nprint('main goes on')\n")
_add("daemon thread", "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nprint('leaves')\n")
_add("fork", "import os\npid = os.fork()\nif pid == 0:\n    print('child')\n    os._exit(7)\nprint('parent', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n")
_add("multiprocessing by fork", "import multiprocessing as mp\ndef f(x):\n    return x * x\nif __name__ == '__main__':\n    with mp.get_context('fork').Pool(2) as pool:\n        print(pool.map(f, range(10)))\n")
_add("multiprocessing by spawn", "import multiprocessing as mp\ndef f(q):\n    q.put(__name__)\nif __name__ == '__main__':\n    context = mp.get_context('spawn')\n    q = context.Queue()\n    p = context.Process(target=f, args=(q,))\n    p.start()\n    print(q.get(), __name__)\n    p.join()\n    print(p.exitcode)\n")
_add("process pool", "from concurrent.futures import ProcessPoolExecutor\nif __name__ == '__main__':\n    with ProcessPoolExecutor(2) as pool:\n        print(list(pool.map(abs, [-1, -2])))\n")
_add("asyncio", "import asyncio\nasync def f(n):\n    await asyncio.sleep(n / 100)\n    return n\nasync def main():\n    print(await asyncio.gather(*(f(n) for n in (3, 1, 2))))\n    p = await asyncio.create_subprocess_exec('echo', 'from a process', stdout=asyncio.subprocess.PIPE)\n    print(await p.communicate())\nasyncio.run(main())\n")
_add("sockets", "import socket, threading\ns = socket.create_server(('127.0.0.1', 0))\nthreading.Thread(target=lambda: s.accept()[0].sendall(b'hello')).start()\nprint(socket.create_connection(s.getsockname()).recv(10))\n")
_add("subprocess", "import subprocess\nprint(subprocess.run('echo out; echo err >&2; exit 4', shell=True, capture_output=True))\nsubprocess.run(['sh', '-c', 'echo direct'])\n")
_add("the null device", "import subprocess\nsubprocess.run(['echo', 'x'], stdout=subprocess.DEVNULL, check=True)\nprint(open('/dev/null', 'w').write('gone'), open('/dev/zero', 'rb').read(2))\n")
_add("sqlite", "import sqlite3\nc = sqlite3.connect('t.db')\nc.execute('create table t(a, b)')\nc.executemany('insert into t values (?, ?)', [(i, str(i)) for i in range(100)])\nc.commit()\nprint(c.execute('select sum(a), max(b) from t').fetchone())\n")
_add("ssl", "import hashlib, ssl\nc = ssl.create_default_context()\nprint(len(c.get_ca_certs()) > 50, c.verify_mode, hashlib.sha256(b'x').hexdigest())\n")
_add("compression", "import bz2, gzip, lzma, zlib\ndata = b'flash' * 1000\nprint([m.decompress(m.compress(data)) == data for m in (bz2, gzip, lzma, zlib)])\n")
_add("files and modules", "import os, pathlib\npathlib.Path('helper.py').write_text('def f():\\n    return __name__\\n')\nimport helper\nprint(helper.f(), helper.__file__, sorted(os.listdir()), os.listdir('out'))\n")
_add("pickle of main", "import pickle\nclass C:\n    x = 1\nprint(pickle.loads(pickle.dumps(C())).x, C)\n")
_add("source of itself", "import inspect\ndef f():\n    return 42  # the answer\nprint(inspect.getsource(f), open(__file__).read())\n")
_add("logging", "import logging\nlogging.basicConfig(level=logging.INFO)\nlogging.info('message')\nlogging.getLogger('x').error('bad')\n")

_add("what main is", "import sys\nprint(__name__, __file__, __doc__, __package__, __spec__, type(__loader__).__name__, __builtins__)\nprint(sorted(globals()))\nprint(sys.modules['__main__'].__dict__ is globals(), sys._getframe().f_back)\n")
_add("the interpreter", "import sys\nprint(sys.argv, sys.orig_argv, sys.path, sys.flags, sys.executable, sys.prefix)\nprint(sys.stdin.encoding, sys.stdout, sys.stderr, sys.getfilesystemencoding(), sys._xoptions, sys.warnoptions)\n")
_add("the process", "import os, signal, resource\nprint(os.getcwd(), os.getuid(), os.getgid(), os.getgroups(), oct(os.umask(0)), sorted(os.environ.items()))\nprint(sorted(os.listdir('/proc/self/fd')), [s for s in range(1, 65) if s not in (32, 33) and signal.getsignal(s) not in (signal.SIG_DFL,)])\nprint(signal.pthread_sigmask(signal.SIG_BLOCK, []), resource.getrlimit(resource.RLIMIT_CORE))\n")
_add("stdin is empty", "import sys\nprint(repr(sys.stdin.read()), sys.stdin.isatty())\n")
_add("input at the end", "input('name? ')\n")
_add("clocks and zones", "import datetime, time, zoneinfo\nprint(time.tzname, datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')).utcoffset(), 2025 < time.gmtime().tm_year < 2100)\n")
_add("locale", "import locale\nprint(locale.setlocale(locale.LC_ALL, ''), locale.getlocale(), f'{1234567:n}')\n")
_add("temporary files", "import os, tempfile\nwith tempfile.NamedTemporaryFile() as f:\n    print(os.path.dirname(f.name), os.path.exists(f.name))\nprint(os.path.expanduser('~'), tempfile.gettempdir())\n")
