"""Write the initramfs: a cpio archive in the kernel's newc format, the same bytes every time.

Everything belongs to root and has no time. There is no compression: the kernel would spend longer
unpacking it than reading it.
"""

import argparse
import stat
from pathlib import Path
from typing import BinaryIO

ELF_MAGIC = b"\x7fELF"
PT_INTERP = 3
EMPTY_DIRECTORIES = ["dev", "newroot", "proc", "sys"]
TRAILER = "TRAILER!!!"


class CpioWriter:
    """One entry after another; `finish` writes the trailer."""

    def __init__(self, output: BinaryIO) -> None:
        self.output = output
        self.inode = 0

    def add(self, name: str, mode: int, content: bytes = b"") -> None:
        """The header's 13 fields: Documentation/driver-api/early-userspace/buffer-format.rst."""
        self.inode += 1
        encoded = name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = [self.inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(encoded), 0]
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self.write_padded(header + encoded)
        self.write_padded(content)

    def write_padded(self, data: bytes) -> None:
        self.output.write(data + b"\0" * (-len(data) % 4))

    def add_directory(self, name: str) -> None:
        self.add(name, stat.S_IFDIR | 0o755)

    def add_file(self, name: str, content: bytes, mode: int = 0o644) -> None:
        self.add(name, stat.S_IFREG | mode, content)

    def finish(self) -> None:
        self.inode = -1  # becomes 0
        self.add(TRAILER, 0)


def read_agent(path: Path) -> bytes:
    """The agent, refused when it needs a dynamic loader: the initramfs has none."""
    content = path.read_bytes()
    if not content.startswith(ELF_MAGIC):
        raise SystemExit(f"error: {path} is not an ELF program")
    offset = int.from_bytes(content[32:40], "little")
    size = int.from_bytes(content[54:56], "little")
    count = int.from_bytes(content[56:58], "little")
    for number in range(count):
        start = offset + number * size
        if int.from_bytes(content[start : start + 4], "little") == PT_INTERP:
            raise SystemExit(f"error: {path} is not linked statically")
    return content


def pack(output: BinaryIO, agent: Path, zygote: Path, modules: Path) -> None:
    archive = CpioWriter(output)
    for name in EMPTY_DIRECTORIES:
        archive.add_directory(name)
    archive.add_file("init", read_agent(agent), 0o755)
    archive.add_directory("modules")
    for file in sorted(modules.glob("order.*")) + sorted(modules.glob("*.ko")):
        archive.add_file(f"modules/{file.name}", file.read_bytes())
    archive.add_directory("zygote")
    for file in sorted(zygote.glob("*.py")):
        archive.add_file(f"zygote/{file.name}", file.read_bytes())
    archive.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agent", type=Path, required=True)
    parser.add_argument("--zygote", type=Path, required=True)
    parser.add_argument("--modules", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    with options.output.open("wb") as output:
        pack(output, options.agent, options.zygote, options.modules)


if __name__ == "__main__":
    main()
