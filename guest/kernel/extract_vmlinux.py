"""Extract the ELF kernel from a bzImage, for engines that boot by PVH.

The setup header says where the compressed payload is (Documentation/arch/x86/boot.rst:
payload_offset, payload_length, boot protocol 2.08); its first bytes say how it is compressed.
"""

import argparse
import lzma
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

SETUP_SECTS = 0x1F1
HEADER_MAGIC = 0x202
PROTOCOL_VERSION = 0x206
PAYLOAD_OFFSET = 0x248
PAYLOAD_LENGTH = 0x24C
SECTOR = 512

ELF_MAGIC = b"\x7fELF"
ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
PT_NOTE = 4
# The note that gives the 32-bit PVH entry point (Xen's XEN_ELFNOTE_PHYS32_ENTRY).
PVH_NOTE = struct.pack("<III4s", 4, 8, 18, b"Xen\0")
PVH_NOTE_SHORT = struct.pack("<III4s", 4, 4, 18, b"Xen\0")


def unpack_xz(payload: bytes) -> bytes:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)


def unpack_gzip(payload: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(payload)


def unpack_with(*command: str) -> Callable[[bytes], bytes]:
    """A command line tool; the payload's last four bytes (its unpacked size) are not for it."""

    def unpack(payload: bytes) -> bytes:
        return subprocess.run(
            command, input=payload[:-4], stdout=subprocess.PIPE, check=True
        ).stdout

    return unpack


COMPRESSIONS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\xfd7zXZ\x00": unpack_xz,
    b"\x1f\x8b": unpack_gzip,
    b"\x28\xb5\x2f\xfd": unpack_with("zstd", "--quiet", "-d", "--stdout"),
    b"\x02\x21\x4c\x18": unpack_with("lz4", "-q", "-d", "-c"),
}


def find_payload(image: bytes) -> bytes:
    if image[HEADER_MAGIC : HEADER_MAGIC + 4] != b"HdrS":
        raise SystemExit("error: not a bzImage: no HdrS magic")
    (version,) = struct.unpack_from("<H", image, PROTOCOL_VERSION)
    if version < 0x208:
        raise SystemExit(f"error: boot protocol {version:#x} has no payload fields")
    setup_sectors = image[SETUP_SECTS] or 4
    offset, length = struct.unpack_from("<II", image, PAYLOAD_OFFSET)
    start = (setup_sectors + 1) * SECTOR + offset
    if length == 0 or start + length > len(image):
        raise SystemExit("error: the payload lies outside the bzImage")
    return image[start : start + length]


def unpack(payload: bytes) -> bytes:
    for magic, unpacker in COMPRESSIONS.items():
        if payload.startswith(magic):
            return unpacker(payload)
    raise SystemExit(f"error: unknown compression, payload begins with {payload[:6].hex()}")


def trim_elf(kernel: bytes) -> bytes:
    """Cut what follows the ELF file: the relocations that only the bzImage's own loader reads."""
    if not kernel.startswith(ELF_MAGIC):
        raise SystemExit("error: the payload is not an ELF file")
    header = ELF_HEADER.unpack_from(kernel)
    program_offset, section_offset = header[5], header[6]
    program_size, program_count, section_size, section_count = header[9:13]
    end = max(
        program_offset + program_size * program_count,
        section_offset + section_size * section_count,
    )
    has_pvh_entry = False
    for number in range(program_count):
        fields = PROGRAM_HEADER.unpack_from(kernel, program_offset + number * program_size)
        kind, offset, size = fields[0], fields[2], fields[5]
        end = max(end, offset + size)
        if kind == PT_NOTE:
            notes = kernel[offset : offset + size]
            has_pvh_entry = has_pvh_entry or PVH_NOTE in notes or PVH_NOTE_SHORT in notes
    if end > len(kernel):
        raise SystemExit("error: the ELF file is cut short")
    if not has_pvh_entry:
        raise SystemExit("error: the kernel has no PVH entry point (CONFIG_PVH)")
    return kernel[:end]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bzimage", type=Path)
    parser.add_argument("vmlinux", type=Path)
    options = parser.parse_args()
    options.vmlinux.write_bytes(trim_elf(unpack(find_payload(options.bzimage.read_bytes()))))


if __name__ == "__main__":
    main()
