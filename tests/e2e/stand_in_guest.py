#!/usr/bin/python3 -IS
# SPDX-License-Identifier: MIT
"""A stand-in for QEMU and the guest in it, for tests of the host's side: it is up in 20 ms.

Installed as `qemu-system-x86_64` it is started by flashvm-jail as QEMU would be, and speaks the
agent's part of the protocol (src/protocol/frame.h) on descriptor 4, and as much of QEMU's on
descriptor 5 as makes a template and restores it: the state of a stopped guest is the SETUP that it
got. Its standard output is the guest's console. The snippet, main.py, tells it what to do, one step
a line:

    stdout TEXT, stderr TEXT    write a line
    exactly HEX                 write these bytes to stdout
    flood COUNT                 write so many bytes to stdout
    file PATH TEXT              leave an artifact; spaces in PATH are no part of this language
    zeros PATH COUNT            leave an artifact of so many zero bytes
    left-out TEXT               the note about artifacts
    exit CODE, killed SIGNAL, timed-out, oom-killed     send the result and the artifacts
    collect                     the same with exit code 0, but go on: what follows comes behind them
    sleep SECONDS, hang         take time
    echo                        write what the host sent and how it started us, as JSON
    stdin                       write what comes on standard input, until its end
    stdin-once                  write what comes first
    stdin-digest                write its size and SHA-256, at its end
    console TEXT, log TEXT      write a line to the console, or to QEMU's standard error
    console-flood               never stop writing to the console
    unstarted                   (as the first line) the snippet has not begun
and what no agent would do:
    fail TEXT, refuse TEXT      send FAILED, or REFUSED
    frame TYPE HEX, raw HEX     send any frame, or any bytes
    result JSON                 send a result as it stands
    die                         end without a result
    close                       close the channel, but live on

After the last line comes a result with exit code 0, if there was none, and the end. A process whose
snippet has begun is called "qemu-system-run", so that a test can wait for that (callers.py).
"""

from __future__ import annotations

import os
import sys
import time

TYPES = """
SETUP REQUEST RUN STDIN STDIN_END CANCEL FILE FILE_DATA FILE_END
READY STARTED STDOUT STDERR RESULT FAILED REFUSED DONE REHEARSE RESEED
""".split()  # noqa: SIM905 (a table, in the order of enum fvm_frame_type)
MAX_PAYLOAD = 64 * 1024

if sys.argv[1:] == ["--version"]:
    print("QEMU emulator version 7.2.99 (a stand-in)")
    sys.exit()

incoming = open(4, "rb", closefd=False)  # noqa: SIM115
outgoing = open(4, "wb", closefd=False)  # noqa: SIM115
received = {"SETUP": b"", "REQUEST": b"", "STDIN": b"", "RESEED": b""}
files: list[File] = []  # main.py first
artifacts: list[tuple[bytes, bytes]] = []  # to be sent after the result
has_begun = has_result = False
left_out = b""


class File:
    """A file that the host sends: content of main.py, digests of the others."""

    def __init__(self, payload: bytes) -> None:
        self.announced = int.from_bytes(payload[:8], "little")
        self.is_program, self.path = payload[8] == 1, payload[9:]
        self.size, self.content, self.digest = 0, b"", None
        if files:
            import hashlib

            self.digest = hashlib.sha256()

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self.digest:
            self.digest.update(data)
        else:
            self.content += data

    def end(self) -> None:
        if self.size != self.announced:
            sys.exit(f"the host announced {self.announced} bytes and sent {self.size}")


def receive() -> str:
    """Take the next frame. Return: its type."""
    header = incoming.read(8)
    if len(header) < 8:
        sys.exit("the host has closed the channel")
    name = TYPES[header[0] - 1]
    payload = incoming.read(int.from_bytes(header[4:], "little"))
    if name in received:
        received[name] += payload
    elif name == "FILE":
        files.append(File(payload))
    elif name == "FILE_DATA":
        files[-1].add(payload)
    elif name == "FILE_END":
        files[-1].end()
    return name


def take_stdin() -> bytes:
    """What has come since the last call."""
    data, received["STDIN"] = received["STDIN"], b""
    return data


def send(name: str, payload: bytes = b"") -> None:
    header = bytes([TYPES.index(name) + 1, 0, 0, 0]) + len(payload).to_bytes(4, "little")
    outgoing.write(header + payload)
    outgoing.flush()


def send_chunks(name: str, payload: bytes) -> None:
    for start in range(0, len(payload), MAX_PAYLOAD):
        send(name, payload[start : start + MAX_PAYLOAD])


def send_artifacts() -> None:
    for path, content in artifacts:
        send("FILE", len(content).to_bytes(8, "little") + b"\0" + path)
        send_chunks("FILE_DATA", content)
        send("FILE_END")
    artifacts.clear()


def send_result(
    exit_code: int = 0, term_signal: int = 0, timed_out: bool = False, oom_killed: bool = False
) -> None:
    global has_result
    import json

    has_result = True
    result: dict[str, object] = {
        "exit_code": exit_code,
        "term_signal": term_signal,
        "started": has_begun,
        "timed_out": timed_out,
        "oom_killed": oom_killed,
        "reseeded": len(received["RESEED"]) == 32,
        "execute_us": 1234,
        "cpu_time_us": 1000,
        "peak_memory_bytes": 5_000_000,
    }
    send("RESULT", json.dumps(result).encode())
    send_artifacts()


def end() -> None:
    if not has_result:
        send_result()
    send_artifacts()
    if b'"expect":' in received["REQUEST"]:
        send("DONE", left_out)
    wait_for_the_end()


def wait_for_the_end() -> None:
    while True:
        time.sleep(1000)  # the jail ends us


def file_name(fd: int) -> str:
    try:
        return os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))
    except OSError:
        return ""  # it is not open


def echo() -> None:
    import json

    report = {
        "setup": json.loads(received["SETUP"]),
        "request": json.loads(received["REQUEST"]),
        "code_size": files[0].size,
        "files": [
            [os.fsdecode(file.path), file.size, file.digest.hexdigest()] for file in files[1:]
        ],
        "programs": [os.fsdecode(file.path) for file in files if file.is_program],
        "argv": sys.argv,
        "open_files": [name for name in map(file_name, range(6, 20)) if name],
    }
    send_chunks("STDOUT", json.dumps(report).encode())


def perform(step: bytes, rest: bytes) -> None:
    global left_out
    first, _, last = rest.partition(b" ")
    if step == b"stdout":
        send("STDOUT", rest + b"\n")
    elif step == b"stderr":
        send("STDERR", rest + b"\n")
    elif step == b"exactly":
        send("STDOUT", bytes.fromhex(rest.decode()))
    elif step == b"flood":
        piece = b"x" * min(int(rest), 2**20)
        for start in range(0, int(rest), 2**20):
            send_chunks("STDOUT", piece[: int(rest) - start])
    elif step == b"file":
        artifacts.append((first, last))
    elif step == b"zeros":
        artifacts.append((first, bytes(int(last))))
    elif step == b"left-out":
        left_out = rest
    elif step == b"exit":
        send_result(int(rest))
        end()
    elif step == b"killed":
        send_result(128 + int(rest), int(rest))
        end()
    elif step == b"timed-out":
        send_result(124, 9, timed_out=True)
        end()
    elif step == b"oom-killed":
        send_result(137, 9, oom_killed=True)
        end()
    elif step == b"collect":
        send_result()
    elif step == b"sleep":
        time.sleep(float(rest))
    elif step == b"hang":
        wait_for_the_end()
    elif step == b"echo":
        echo()
    elif step == b"stdin":
        while receive() != "STDIN_END":
            send_chunks("STDOUT", take_stdin())
    elif step == b"stdin-once":
        receive()
        send_chunks("STDOUT", take_stdin())
    elif step == b"stdin-digest":
        import hashlib

        size, digest = 0, hashlib.sha256()
        while receive() != "STDIN_END":
            size += len(received["STDIN"])
            digest.update(take_stdin())
        send("STDOUT", f"{size} {digest.hexdigest()}".encode())
    elif step == b"console":
        os.write(1, rest + b"\n")
    elif step == b"log":
        os.write(2, rest + b"\n")
    elif step == b"console-flood":
        while True:
            os.write(1, b"flood " * 10000)
    elif step == b"fail":
        send("FAILED", rest)
    elif step == b"refuse":
        send("REFUSED", rest)
    elif step == b"frame":
        send(first.decode(), bytes.fromhex(last.decode()))
    elif step == b"raw":
        os.write(4, bytes.fromhex(rest.decode()))
    elif step == b"result":
        send("RESULT", rest)
    elif step == b"die":
        sys.exit()
    elif step == b"close":
        os.close(4)
    elif step:
        sys.exit(f"the stand-in guest does not know {step!r}")


def answer_monitor() -> None:
    """Agree with all that QEMU's monitor is told, until a state was sent or has come."""
    import _socket  # quicker than the module above it

    monitor = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, 5)
    monitor.send(b'{"QMP": {"capabilities": []}}\r\n')
    state_fd, said = -1, b""
    while True:
        data, passed, _, _ = monitor.recvmsg(65536, _socket.CMSG_SPACE(4))
        if not data:
            return
        for _, _, descriptor in passed:
            state_fd = int.from_bytes(descriptor, "little")
        *commands, said = (said + data).split(b"\n")
        for command in commands:
            monitor.send(b'{"return": {}}\r\n')
            if b'"migrate"' in command:
                os.write(state_fd, received["SETUP"])
                os.close(state_fd)
                return
            if b'"migrate-incoming"' in command:
                received["SETUP"] = os.read(state_fd, MAX_PAYLOAD)
                os.close(state_fd)
                return


def boot() -> None:
    import _thread

    while receive() != "SETUP":
        pass
    os.write(1, b"the stand-in guest is up\n")
    _thread.start_new_thread(answer_monitor, ())
    send("READY")


def main() -> None:
    global has_begun
    if "-incoming" in sys.argv:
        answer_monitor()
    else:
        boot()
    while (name := receive()) != "RUN":
        if name == "REHEARSE":
            send("READY")
    with open("/proc/self/comm", "w") as comm:
        comm.write("qemu-system-run")
    lines = files[0].content.split(b"\n")
    if lines[0] == b"unstarted":
        lines.pop(0)
    else:
        send("STARTED")
        has_begun = True
    for line in lines:
        step, _, rest = line.partition(b" ")
        perform(step, rest)
    end()


main()
