#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The inputs that each fuzz target begins with: what a well-behaved other side would send.

    seeds.py DIRECTORY     makes DIRECTORY/TARGET/NAME for every seed

What the fuzzer found on its own is in corpus/; this is what it need not find.
"""

import gzip
import io
import json
import pathlib
import struct
import subprocess
import sys
import tarfile

Seeds = dict[str, bytes]

# ---- frames and conversations ----

SETUP, REQUEST, RUN, STDIN, STDIN_END, CANCEL, FILE, DATA, END = range(1, 10)
READY, STARTED, STDOUT, STDERR, RESULT, FAILED, REFUSED, DONE, REHEARSE, RESEED = range(10, 20)


def frame(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack("<B3xI", kind, len(payload)) + payload


def file_frames(path: str, content: bytes, more: int = 0, executable: int = 0) -> bytes:
    """A file, which says that it has `more` bytes than it has."""
    announced = struct.pack("<QB", len(content) + more, executable) + path.encode()
    data = frame(DATA, content) if content else b""
    return frame(FILE, announced) + data + frame(END)


def result(**changes: object) -> bytes:
    """A RESULT frame; None leaves a member out."""
    members = {
        "exit_code": 0,
        "oom_killed": False,
        "cpu_time_us": 1000,
        "peak_memory_bytes": 5000000,
        "term_signal": 0,
        "started": True,
        "timed_out": False,
        "reseeded": True,
        "execute_us": 1234,
        **changes,
    }
    kept = {name: value for name, value in members.items() if value is not None}
    return frame(RESULT, json.dumps(kept).encode())


TWO_FILES = file_frames("out/a.txt", b"first") + file_frames("out/sub/b", b"")


def frames() -> Seeds:
    streams = {
        "nothing": b"",
        "empty": frame(STARTED),
        "files": TWO_FILES,
        "programs": file_frames("a", b"x", 0, 1) + file_frames("b", b"x", 0, 2),
        "half": frame(STDOUT, b"x" * 300)[:200],
        "unknown_type": b"\x14\0\0\0\0\0\0\0",
        "too_long": b"\x0c\0\0\0\1\0\1\0",
        "bad_paths": b"".join(
            file_frames(path, b"") for path in ("../a", "/a", "a//b", "a/./b", "a/")
        ),
        "a_run": frame(SETUP, b"{}")
        + frame(REHEARSE, b"s")
        + frame(RESEED, bytes(32))
        + frame(REQUEST, b"{}")
        + TWO_FILES
        + frame(RUN),
    }
    return {
        f"{name}_{pieces}": bytes([pieces]) + stream
        for name, stream in streams.items()
        for pieces in (0, 7)
    }


def conversation() -> Seeds:
    with_artifacts, out_of_time, noisy, template, images_workdir = 1, 2, 4, 8, 16
    ready, started, done = frame(READY), frame(STARTED), frame(DONE)
    output = frame(STDOUT, b"hello\n") + frame(STDERR, b"a warning\n")
    # What a guest says of a run.
    said = {
        "plain": (0, started + output + result()),
        "artifacts": (with_artifacts, started + result() + TWO_FILES + frame(DONE, b"1 left out")),
        "no_artifacts": (with_artifacts, started + result() + done),
        "killed": (0, started + result(exit_code=137, term_signal=9, timed_out=True)),
        "out_of_range": (0, started + result(exit_code=256)),
        "lacking": (0, started + result(execute_us=None)),
        "never_begun": (with_artifacts, result(started=False, exit_code=124) + TWO_FILES + done),
        "begun_or_not": (0, result()),
        "not_reseeded": (0, started + result(reseeded=False)),
        "much_output": (0, started + frame(STDOUT, b"x" * 200) + result()),
        "less": (with_artifacts, started + result() + file_frames("a", b"x", 1) + done),
        "more": (with_artifacts, started + result() + file_frames("a", b"xx", -1) + done),
        "much": (
            with_artifacts,
            started + result() + file_frames("a", b"x" * 60) + file_frames("b", b"x" * 60) + done,
        ),
        "many": (
            with_artifacts,
            started + result() + b"".join(file_frames(name, b"") for name in "abcde") + done,
        ),
        "failed": (noisy, frame(FAILED, b"no memory")),
        "refused": (0, frame(REFUSED, b"workdir is none")),
        "images_workdir": (images_workdir, frame(REFUSED, b"workdir is none")),
        "broken_off": (noisy | with_artifacts, started + output + result() + TWO_FILES[:30]),
        "too_late": (out_of_time | with_artifacts, started + output + result() + TWO_FILES[:40]),
        "no_result": (out_of_time | with_artifacts, started + output),
        "done_within": (
            with_artifacts,
            started + result() + frame(FILE, struct.pack("<QB", 1, 0) + b"a") + done,
        ),
        "twice": (with_artifacts, started + result() + TWO_FILES + TWO_FILES + done),
        "in_the_way": (
            with_artifacts,
            started + result() + file_frames("a", b"") + file_frames("a/b", b"") + done,
        ),
        "climbing": (with_artifacts, started + result() + file_frames("../a", b"x") + done),
        "too_early": (with_artifacts, started + TWO_FILES + result() + done),
        "silent": (noisy, b""),
    }

    def words(flags: int, name: str, boot: bytes, rehearsal: bytes, run: bytes) -> bytes:
        return bytes([flags, len(name), len(boot), len(rehearsal)]) + boot + rehearsal + run

    sentence = frame(FAILED, b"no python")
    return {
        **{name: words(flags, name, ready, b"", run) for name, (flags, run) in said.items()},
        "only_the_run": words(0, "", b"", b"", started + output + result()),
        "copy": words(0, "", b"", ready, started + output + result()),
        "template": words(template, "", ready, ready, b""),
        "no_boot": words(0, "", sentence, b"", b""),
        "no_rehearsal": words(template, "", ready, sentence, b""),
        "early_start": words(0, "", ready + started, b"", result()),
    }


# ---- QEMU's monitor ----


def qmp() -> Seeds:
    greeting = b'{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}}}\r\n'
    answers = b'{"return": {}}\r\n' * 2
    event = b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}\r\n'
    said = {
        "answers": greeting + answers + event,
        "refusal": greeting + b'{"error": {"class": "GenericError", "desc": "no such file"}}\r\n',
        "odd_refusal": b'{"error": 5}\n{"error": {"desc": null}}\n',
        "no_json": answers + b"Segmentation fault\n",
        "other_json": b'[]\n[{"return": {}}]\n{"return": 1, "error": null}\n',
        "half_a_line": answers[:20],
    }
    return {f"{name}_{n}": bytes([n]) + words for name, words in said.items() for n in (0, 7)}


# ---- JSON ----


def requests() -> Seeds:
    setup: dict[str, object] = {"env": ["PATH=/usr/bin", "LANG=C.UTF-8"], "user": "1000:100"}
    setup["python"] = "/usr/bin/python3"
    usual: dict[str, object] = {
        "timeout_ms": 30000,
        "max_processes": 4096,
        "clock_ns": 1750000000000000000,
    }
    request: dict[str, object] = {
        **usual,
        "python_args": ["-u"],
        "args": ["first", ""],
        "env": ["A=1", "NAME=value"],
        "expect": ["out/**", "*.txt"],
        "workdir": "/srv",
        "max_artifact_bytes": 1 << 28,
        "max_artifacts": 1000,
        "max_disk_bytes": 1 << 20,
    }
    cases: dict[str, tuple[int, dict[str, object]]] = {
        "setup": (1, setup),
        "template": (1, {**setup, "warm": True}),
        "setup_without_user": (1, {"env": []}),
        "usual": (0, usual),
        "request": (0, request),
        "cold": (0, {**request, "python_args": ["-I", "-X", "utf8"]}),
        "cold_by_env": (0, {**request, "env": ["PYTHONPATH=/x", "LD_PRELOAD=y"]}),
        "not_all_strings": (0, {**request, "env": ["A=1", 2, "B=3"]}),
        "no_list": (0, {**usual, "args": "x"}),
        "negative": (0, {**request, "timeout_ms": -1}),
        "relative": (0, {**request, "workdir": "work"}),
    }
    return {name: bytes([kind]) + json.dumps(text).encode() for name, (kind, text) in cases.items()}


OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
DIGEST = "sha256:" + "0123456789abcdef" * 4


def descriptor(media_type: str, place: int, **more: object) -> dict[str, object]:
    """Of the `place`-th document from here on; the target fills in the references."""
    return {"mediaType": media_type, "digest": f"@D{place}", "size": f"@S{place}", **more}


def layout(*documents: object) -> bytes:
    texts = [json.dumps(document) for document in documents]
    for place in range(1, 10):
        texts = [text.replace(f'"@S{place}"', f"@S{place}") for text in texts]
    return "\0".join(texts).encode()


def oci() -> Seeds:
    named = {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
    linux = {"os": "linux", "architecture": "amd64"}
    layer = {"mediaType": f"{OCI}.layer.v1.tar+zstd", "digest": DIGEST, "size": 10}
    config = {
        **linux,
        "config": {"Env": ["PATH=/bin"], "WorkingDir": "/work", "User": "1000"},
        "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
    }
    two_layers = {**linux, "rootfs": {"type": "layers", "diff_ids": [DIGEST] * 2}}

    def manifest(layers: object, **more: object) -> dict[str, object]:
        found = descriptor(f"{OCI}.config.v1+json", 1)
        return {"schemaVersion": 2, "config": found, "layers": layers, **more}

    def index(*entries: object) -> dict[str, object]:
        return {"schemaVersion": 2, "manifests": entries}

    image = descriptor(f"{OCI}.manifest.v1+json", 1, **named)
    nested = descriptor(f"{OCI}.index.v1+json", 1, **named)
    docker_manifest = {
        "schemaVersion": 2,
        "mediaType": f"{DOCKER}.distribution.manifest.v2+json",
        "config": descriptor(f"{DOCKER}.container.image.v1+json", 1),
        "layers": [{**layer, "mediaType": f"{DOCKER}.image.rootfs.diff.tar.gzip"}],
    }
    docker_image = descriptor(f"{DOCKER}.distribution.manifest.v2+json", 1, **named)
    for_linux = descriptor(f"{OCI}.manifest.v1+json", 1, platform=linux)
    for_arm = {**for_linux, "platform": {"os": "linux", "architecture": "arm64"}}
    return {
        "image": layout(index(image), manifest([layer]), config),
        "two_layers": layout(index(image), manifest([layer, layer]), two_layers),
        "nested": layout(index(nested), index(for_linux, for_arm), manifest([layer]), config),
        "docker": layout(index(docker_image), docker_manifest, config),
        "two_images": layout(
            index(image, {**image, "digest": "@D2"}), manifest([layer]), config, config
        ),
        "another_name": layout(index({**image, "annotations": {}}), manifest([layer]), config),
        "no_layers": layout(index(image), manifest([]), config),
        "no_config": layout(index(image), manifest([layer]), {**config, "config": None}),
        **{
            f"bad_env_{number}": layout(
                index(image), manifest([layer]), {**config, "config": {"Env": env}}
            )
            for number, env in enumerate((["x"], ["=x"], [1], "x=y"))
        },
    }


def cache_entries() -> Seeds:
    entry = {
        "references": ["localhost/flashvm:python-basic"],
        "manifest": DIGEST,
        "made_at": 1700000000,
        "python": "/usr/bin/python3",
        "rootfs_size_bytes": 4096,
        "rootfs_sha256": "0" * 64,
        "config": {"Env": ["PATH=/bin", "A="], "WorkingDir": "/work", "User": "1000"},
    }
    super_block = struct.pack(
        "<IIIIIHHHHHHQQQQQQQQ",
        *(0x73717368, 1, 0, 131072, 0, 1, 17, 0, 1, 4, 0, 0),
        *(4000, 3900, 2**64 - 1, 96, 200, 2**64 - 1, 2**64 - 1),
    )
    text = json.dumps(entry).encode() + b"\0"
    return {
        "complete": text + super_block,
        "another_size": text.replace(b"4096", b"8192") + super_block,
        "without_super_block": text + bytes(96),
        "cut": text + super_block[:50],
        "half_a_json": text[:60],
        "without_config": json.dumps({**entry, "config": None}).encode() + b"\0" + super_block,
    }


def templates() -> Seeds:
    state_identity, state_digest, memory_identity, memory_digest, age = 1, 2, 4, 8, 16
    all_true = 31
    a_file, a_link, a_fifo, a_directory = range(4)
    part = {"size_bytes": 6, "identity": "1 2 3", "sha256": "0" * 64}
    entry = {
        "engine": "qemu",
        "accelerator": "tcg",
        "image": f"localhost/flashvm:python-basic@{DIGEST}",
        "memory_mb": 512,
        "cpus": 1,
        "made_at": 60,
        "memory": part,
        "state": part,
    }

    def files(
        flags: int, entry: object, json_is: int = 0, state: int = 0, memory: int = 0
    ) -> bytes:
        kinds = json_is | state << 2 | memory << 4
        return bytes([flags, kinds]) + json.dumps(entry).encode() + b"\0\5statememory"

    return {
        "complete": files(all_true, entry),
        "another_identity": files(all_true & ~memory_identity, entry),
        "another_digest": files(all_true & ~memory_digest, entry),
        "another_memory": files(state_identity | state_digest | age, entry),
        "another_state": files(all_true & ~state_digest, entry),
        "copied": files(all_true & ~state_identity & ~memory_identity, entry),
        "too_old": files(all_true, {**entry, "made_at": 90000}),
        "of_the_future": files(all_true, {**entry, "made_at": -1}),
        "long_ago": files(all_true & ~age, {**entry, "made_at": -(2**63)}),
        "without_state": files(all_true, {**entry, "state": None}),
        "without_name": files(all_true, {**entry, "image": None}),
        "half_a_json": files(all_true, entry)[:60],
        "json_link": files(all_true, entry, a_link),
        "json_directory": files(all_true, entry, a_directory),
        "state_link": files(all_true, entry, a_file, a_link),
        "memory_link": files(all_true, entry, a_file, a_file, a_link),
        "fifos": files(all_true, entry, a_file, a_fifo, a_fifo),
        "directories": files(all_true, entry, a_file, a_directory, a_directory),
    }


# ---- layers ----

FILE_ENTRY, DIRECTORY, SYMLINK, HARD_LINK, CHARACTER, BLOCK, FIFO, NEXT_LAYER = range(8)


def entries(*parts: tuple[object, ...]) -> bytes:
    """(kind, name, target or content) one after the other, as layers.c reads them."""
    data = b""
    for kind, *texts in parts:
        assert isinstance(kind, int)
        data += bytes([kind]) + b"".join(str(text).encode() + b"\0" for text in texts)
    return data


def layers() -> Seeds:
    lower = ((FILE_ENTRY, "d/a", "1"), (FILE_ENTRY, "d/s/b", "22"), (FILE_ENTRY, "f", ""))
    return {
        "kinds": entries(
            *lower,
            (SYMLINK, "l", "d/a"),
            (HARD_LINK, "h", "d/a"),
            (CHARACTER, "c"),
            (BLOCK, "b"),
            (FIFO, "p"),
        ),
        "whiteout": entries(*lower, (NEXT_LAYER,), (FILE_ENTRY, "d/.wh.a", "")),
        "opaque": entries(
            *lower, (NEXT_LAYER,), (FILE_ENTRY, "d/.wh..wh..opq", ""), (FILE_ENTRY, "d/n", "")
        ),
        "aufs": entries(*lower, (NEXT_LAYER,), (FILE_ENTRY, ".wh..wh.plnk/1", "")),
        "file_over_directory": entries(*lower, (NEXT_LAYER,), (FILE_ENTRY, "d", "x")),
        "directory_over_file": entries(*lower, (NEXT_LAYER,), (DIRECTORY, "f"), (DIRECTORY, ".")),
        "through_a_symlink": entries(
            *lower, (SYMLINK, "l", "../../d"), (NEXT_LAYER,), (FILE_ENTRY, "l/s/x", "")
        ),
        "symlink_loop": entries((SYMLINK, "a", "b"), (SYMLINK, "b", "a"), (FILE_ENTRY, "a/x", "")),
        "link_over_its_parent": entries(*lower, (NEXT_LAYER,), (HARD_LINK, "d", "d/a")),
        "dotdot": entries((FILE_ENTRY, "../x", "")),
        "long_names": entries(
            (FILE_ENTRY, "n" * 255, ""), (DIRECTORY, "/".join("d" * 18)), (SYMLINK, "t", "u" * 300)
        ),
        "properties": entries((FILE_ENTRY | 0xF0, "a", ""), (CHARACTER | 0xF0, "b")),
        "three_layers": entries(
            *lower,
            (NEXT_LAYER,),
            (FILE_ENTRY, ".wh.d", ""),
            (NEXT_LAYER,),
            (FILE_ENTRY, "d/a", "3"),
        ),
    }


def tar(tar_format: int, **pax: str) -> bytes:
    """A small tar with an entry of each kind."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tar_format, pax_headers=pax) as archive:
        for name, kind, link in (
            ("./", tarfile.DIRTYPE, ""),
            ("d/file", tarfile.REGTYPE, ""),
            ("link", tarfile.SYMTYPE, "d/file"),
            ("hard", tarfile.LNKTYPE, "d/file"),
            ("null", tarfile.CHRTYPE, ""),
            ("p" * 60 + "/" + "n" * 60, tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, link, 0o755
            content = b"content" if kind == tarfile.REGTYPE else b""
            member.size, member.mtime = len(content), 1000
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue().rstrip(b"\0") + bytes(1024)  # no padding to ten KiB


def sparse_tar(places: str) -> bytes:
    """A file of 300,000 bytes, of which seven are in the tar."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("holes")
        member.size = 7
        member.pax_headers = {
            "GNU.sparse.name": "holes",
            "GNU.sparse.size": "300000",
            "GNU.sparse.map": places,
        }
        archive.addfile(member, io.BytesIO(b"content"))
    return data.getvalue().rstrip(b"\0") + bytes(1024)


def zstd(data: bytes) -> bytes:
    return subprocess.run(
        ["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True
    ).stdout


def tars() -> Seeds:
    ustar, gnu = tar(tarfile.USTAR_FORMAT), tar(tarfile.GNU_FORMAT)
    pax = tar(tarfile.PAX_FORMAT, comment="x")
    padded = gzip.compress(ustar + bytes(70000), mtime=0)
    return {
        "ustar": ustar,
        "gnu": gnu,
        "pax": pax,
        "sparse": sparse_tar("200000,7"),
        "sparse_backwards": sparse_tar("200000,3,100,4"),
        "sparse_beyond": sparse_tar("299999,7"),
        "gzip": gzip.compress(ustar, mtime=0),
        "zstd": zstd(ustar),
        "cut": ustar[:700],
        "cut_behind_the_end": padded[:-30],
        "bomb": gzip.compress(bytes(1 << 19), mtime=0),
        "text": b"this is no tar",
        "gzip_in_gzip": gzip.compress(gzip.compress(ustar, mtime=0), mtime=0),
    }


# ---- the native engine's monitor ----


def access(what: int, known_port: int, value: int) -> bytes:
    """One access, by the number of a port in ports.c."""
    return bytes([what, known_port, 0]) + value.to_bytes(4, "big")


def ports() -> Seeds:
    read, large, host_speaks, host_is_gone = 1, 2, 8, 16
    page, send, receive, poll, data, divisor, line, latch = range(8)
    mailbox = b"".join(access(large, page, 2 * frame) for frame in range(16))
    return {
        "mailbox": mailbox
        + access(large, send, 5000)
        + access(large | read | host_speaks, receive, 0),
        "gone": mailbox + access(large | read | host_is_gone, poll, 0) + access(large, send, 9),
        "too_much": mailbox + access(large, send, 65537) + access(large, page, 1 << 20),
        "console": access(0, line, 0x80)
        + access(0, divisor, 1)
        + access(0, line, 3)
        + access(0, data, 65),
        "latch": access(large, latch, 0x80000000) + access(large | read, latch, 0),
    }


def snapshots() -> Seeds:
    fits, with_set = 1, 2
    ranges = struct.pack("<8I", *(number for i in range(4) for number in (10 * i, 5)))
    return {
        "sound": bytes([0, 0, 0]),
        "set": bytes([fits | with_set, 0, 16]) + struct.pack("<2I", 3, 5) + ranges,
        "set_beyond": bytes([fits | with_set, 0, 24]) + struct.pack("<2I", 255, 2),
        "pages": bytes([fits, 0, 64]) + struct.pack("<IIQ", 0, 16, 1 << 20),
        "damaged": bytes([0, 0, 90]) + b"x",
    }


# ---- text ----


def globs() -> Seeds:
    pairs = (
        *("*\0a", "**\0a/b", "**/*.txt\0out/a.txt", "a/**/b\0a/x/y/b", "[a-c]?\0b1", "[!a]\0b"),
        *("[]]\0]", "é*\0éa", "*a*b*\0xaxbx", ".*/**\0.d/e", "a[\0a[", "**/**/x\0a/b/x"),
    )
    return {f"pair_{number}": pair.encode() for number, pair in enumerate(pairs)}


def text() -> Seeds:
    words = {
        "ascii": b"a\tb\n",
        "escapes": b"\x1b[31mred\x1b[0m\x07\x7f",
        "two_bytes": "é\x85\x9f\xa0".encode(),
        "wide": "日本𝄞".encode(),
        "surrogate": b"\xed\xa0\x80",
        "overlong": b"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf",
        "beyond": b"\xf4\x90\x80\x80\xf5",
        "cut": b"\xe6\x97",
    }
    return {
        f"{name}_{keep}": bytes([keep]) + data for name, data in words.items() for keep in (0, 1)
    }


def main() -> None:
    directory = pathlib.Path(sys.argv[1])
    makers = (frames, conversation, qmp, requests, oci, cache_entries, templates, layers, tars)
    for maker in (*makers, ports, snapshots, globs, text):
        target = directory / maker.__name__
        target.mkdir(parents=True, exist_ok=True)
        for name, data in maker().items():
            (target / name).write_bytes(data)


if __name__ == "__main__":
    main()
