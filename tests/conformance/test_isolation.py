# SPDX-License-Identifier: MIT
"""What a snippet cannot reach: the host, its network, the agent, another run."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from typing import Iterator, List

import pytest
from capabilities import Capabilities
from conftest import Run
from forgery import FORGE
from processes import descendants, wait_until

pytestmark = pytest.mark.core


@pytest.fixture
def host_ports() -> Iterator[List[int]]:
    """Servers on this machine, on every interface, for IPv4 and IPv6."""
    servers = []
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):

        class Server(http.server.HTTPServer):
            address_family = family

        servers.append(Server((address, 0), http.server.SimpleHTTPRequestHandler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
    yield [server.server_address[1] for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def _addresses() -> List[str]:
    """Every address that this machine has."""
    text = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout
    return ["127.0.0.1", "::1", *text.split()]


def test_no_address_of_the_host_can_be_reached(run: Run, host_ports: List[int]) -> None:
    targets = [(address, port) for address in _addresses() for port in host_ports]
    here = sum(_reaches(address, port) for address, port in targets)
    assert here >= 2, "the servers themselves do not work"
    res = run(
        "import socket\n"
        f"for address, port in {targets!r}:\n"
        "    try:\n"
        "        with socket.create_connection((address, port), timeout=5):\n"
        "            print('reached', address, port)\n"
        "    except OSError: pass\n"
        "for cid in (0, 1, 2, 3):\n"
        f"    for port in {host_ports!r}:\n"
        "        try:\n"
        "            with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as s:\n"
        "                s.settimeout(5)\n"
        "                s.connect((cid, port))\n"
        "                print('reached vsock', cid, port)\n"
        "        except OSError: pass\n"
        "print('done')\n"
    )
    assert res.stdout == "done\n", res


def _reaches(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def test_its_own_loopback_works_or_ends_with_the_run(run: Run, capabilities: Capabilities) -> None:
    res = run(
        "import socket, threading\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "def answer():\n"
        "    peer, _ = server.accept()\n"
        "    peer.sendall(peer.recv(100)[::-1]); peer.close()\n"
        "threading.Thread(target=answer).start()\n"
        "with socket.create_connection(server.getsockname(), timeout=20) as s:\n"
        "    s.sendall(b'abc'); print(s.recv(100))\n",
        timeout_seconds=40,
    )
    if capabilities.loopback:
        assert res.stdout == "b'cba'\n", res
    else:
        assert (res.stdout, res.timed_out) == ("", True), res


def test_it_is_an_ordinary_user_who_sees_neither_the_agent_nor_a_device(run: Run) -> None:
    res = run(
        "import os, stat\n"
        "print(os.getuid() != 0, os.getgid() != 0)\n"
        "print([p for p in os.listdir('/proc') if p.isdigit()] == [str(os.getpid())])\n"
        "for path in ('/', '/etc', '/usr', '/flashvm', '/sys'):\n"
        "    try:\n"
        "        open(f'{path}/x', 'w'); print('wrote to', path)\n"
        "    except OSError: pass\n"
        "kinds = ('hvc', 'vport', 'vd', 'vsock', 'kvm', 'mem')\n"
        "found = [n for n in os.listdir('/dev') if n.startswith(kinds)]\n"
        "print(found)\n"
        "print(open('/proc/sys/kernel/hostname').read().strip())\n"
    )
    assert res.stdout == "True True\nTrue\n[]\nflashvm\n", res


def test_no_descriptor_and_no_device_takes_a_forged_frame(run: Run) -> None:
    res = run(FORGE)
    assert res.exit_code == 3, res
    assert res.artifacts == []
    assert "made a node" not in res.stderr


def test_two_runs_at_once_share_nothing(run: Run) -> None:
    code = (
        "import os, random, time, uuid\n"
        "print(os.urandom(8).hex(), random.random(), uuid.uuid4(), sep='\\n')\n"
        "print(os.path.exists('/tmp/mine'))\n"
        "open('/tmp/mine', 'w').close()\n"
        "print(time.time())\n"
    )
    outputs: List[str] = []
    errors: List[BaseException] = []

    def one() -> None:
        try:
            outputs.append(run(code).stdout)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    (*first, alone, then), (*second, alone_too, _) = (text.split() for text in outputs)
    assert not set(first) & set(second)
    assert (alone, alone_too) == ("False", "False")
    assert abs(time.time() - float(then)) < 600


def _vm_processes() -> List[str]:
    """Of this process and of callers that it outlived."""
    names = ("flashvm-jail", "flashvm-vmm", "qemu-system", "krunvm", "libkrun", "VM:")
    return [p.name for p in descendants(os.getpid()) if p.name.startswith(names)]


def test_a_caller_that_is_killed_leaves_no_vm(engine: str) -> None:
    code = (
        "import flashvm as fvm\n"
        f"fvm.run('import time; print(1, flush=True); time.sleep(600)', engine={engine!r},\n"
        "        timeout_seconds=600, boot_timeout_seconds=300)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_until(lambda: "flashvm-jail" in _vm_processes(), "no VM was started", 300)
        time.sleep(5)  # wherever it is then
    finally:
        caller.kill()
        caller.wait()
    wait_until(lambda: not _vm_processes(), "a VM's process is still there", 30)
