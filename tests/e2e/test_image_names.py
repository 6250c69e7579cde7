# SPDX-License-Identifier: MIT
"""Images by name: layouts, digests, the cache, its list and its clearing. (The stand-in guest.)"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from callers import python
from layouts import Buildah, configure, insert, new_image, tool
from storage import Storage

import flashvm as fvm

pytestmark = [
    pytest.mark.usefixtures("stand_in"),
    pytest.mark.needs("skopeo", "umoci", "buildah", "root"),
]

EMBEDDED = "localhost/flashvm:python-basic"
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images: "slim" and "full" could run, "bare" has no Python, "link" only a symlink.

    "arm" is not for us.
    """
    directory = tmp_path_factory.mktemp("layout") / "oci"
    program = directory.parent / "python3"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for tag in "slim", "full", "arm", "bare", "link":
        new_image(directory, tag)
        if tag == "link":
            (directory.parent / "link").symlink_to("/opt/python3")
            insert(f"{directory}:{tag}", directory.parent / "link", "/usr/bin/python3")
            continue
        insert(f"{directory}:{tag}", program, f"/usr/bin/{'sh' if tag == 'bare' else 'python3'}")
    insert(f"{directory}:full", program, "/usr/bin/more")
    configure(f"{directory}:full", "--config.workingdir=/srv/app", "--config.env=A=b")
    configure(f"{directory}:arm", "--architecture=arm64")
    return directory


@pytest.fixture
def own_cache(tmp_path: Path) -> Dict[str, str]:
    (tmp_path / "storage").mkdir()
    return {**Storage(tmp_path / "storage").env, "FLASHVM_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def flashvm(command: str, own_cache: Dict[str, str]) -> Command:
    """Run the command to its end, with a cache that is this test's own."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["env", *(f"{key}={value}" for key, value in own_cache.items()), command, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def setup_and_request(image: str) -> Dict[str, Any]:
    echo: Dict[str, Any] = json.loads(fvm.run("echo", image=image).stdout)
    return {**echo["setup"], "workdir": echo["request"].get("workdir", "/work")}


# ---- which image ----


def test_the_config_reaches_the_guest(layout: Path) -> None:
    seen = setup_and_request(f"oci:{layout}:full")
    assert (seen["python"], seen["workdir"]) == ("/usr/bin/python3", "/srv/app")
    assert "A=b" in seen["env"]
    assert setup_and_request(f"oci:{layout}:slim")["workdir"] == "/work"


def test_a_workdir_of_the_callers_beats_the_images(layout: Path) -> None:
    result = fvm.run("echo", image=f"oci:{layout}:full", workdir="/tmp")
    assert json.loads(result.stdout)["request"]["workdir"] == "/tmp"


def test_what_a_run_used_can_be_run_again(layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(layout.parent)
    used = fvm.run("", image="oci:oci:slim").image_used
    assert used.startswith(f"oci:{layout}:slim@sha256:")
    assert fvm.run("", image=used).image_used == used
    assert fvm.run("", image=used.rpartition("@")[2]).image_used == used
    assert fvm.run("").image_used == fvm.run("", image=EMBEDDED).image_used
    assert fvm.run("", image=fvm.prepare_image()).image_used == fvm.prepare_image(None)


def test_an_index_of_several_platforms(layout: Path, tmp_path: Path) -> None:
    buildah = Buildah(tmp_path / "storage")
    buildah("manifest", "create", "several")
    for tag in "arm", "slim":
        buildah("manifest", "add", "several", f"oci:{layout}:{tag}")
    buildah("manifest", "push", "--all", "several", f"oci:{tmp_path}/several:tag")
    index = json.loads((tmp_path / "several/index.json").read_text())["manifests"][0]
    assert index["mediaType"].endswith("index.v1+json")
    used = fvm.run("", image=f"oci:{tmp_path}/several").image_used
    assert fvm.prepare_image(f"oci:{tmp_path}/several:tag@{index['digest']}").endswith(used[-64:])
    inspected = json.loads(tool("skopeo", "inspect", f"oci:{tmp_path}/several:tag"))
    assert inspected["Architecture"] == "amd64"


def test_however_layers_are_compressed_the_files_are_the_same(layout: Path, tmp_path: Path) -> None:
    image = f"oci:{layout}:full"
    options: Dict[str, List[str]] = {
        "gzip": ["--dest-compress-format=gzip"],
        "zstd": ["--dest-compress-format=zstd"],
        "plain": ["--dest-decompress", "--dest-oci-accept-uncompressed-layers"],
    }
    entries = set()
    for name, chosen in options.items():
        tool("skopeo", "copy", "--quiet", *chosen, image, f"oci:{tmp_path}/{name}:x")
        entries.add(fvm.prepare_image(f"oci:{tmp_path}/{name}:x").rpartition(":")[2])
    assert len(entries) > 1  # of several digests
    caches = [path for path in _cache().glob("rootfs/*.squashfs") if path.name[:64] in entries]
    assert len(caches) == len(entries) and len({path.read_bytes() for path in caches}) == 1


def _cache() -> Path:
    return Path(fvm.doctor()["cache_dir"])


# ---- errors ----


@pytest.mark.parametrize(
    ("image", "error", "parts"),
    [
        ("oci:{layout}", fvm.InvalidArgument, ["say which one, by its name: ", "slim", "full"]),
        ("oci:{layout}:slimm", fvm.NotFound, ['no image "slimm"', "its names are: ", "slim"]),
        ("oci:{layout}:arm", fvm.ImageInvalid, [":arm", 'it is for "linux/arm64"']),
        ("oci:{layout}:bare", fvm.ImageInvalid, [":bare", "it has no Python", "on its PATH (/"]),
        (
            "oci:{layout}:link",
            fvm.ImageInvalid,
            ["it has no Python: /usr/bin/python3 is no executable file, and no symlink to one"],
        ),
        (
            "oci:/nonexistent:x",
            fvm.NotFound,
            ["oci:/nonexistent:x", "cannot open the image layout"],
        ),
        (
            "oci:/etc",
            fvm.NotFound,
            ["oci:/etc", "/etc is no OCI image layout", "no file oci-layout"],
        ),
        ("python:3", fvm.NotFound, ['"python:3" is not in the cache', "skopeo copy", EMBEDDED]),
        ("docker://python", fvm.InvalidArgument, ["flashVM fetches no images"]),
        ("sha256:" + 64 * "0", fvm.NotFound, ["is not in the cache"]),
        (5, fvm.InvalidArgumentType, ["image must be a str such as 'oci:PATH:REF', or None"]),
        ("a\0", fvm.InvalidArgument, ["image must be a str without NUL"]),
    ],
)
def test_errors_say_what_was_asked_for_and_what_there_is(
    layout: Path, image: Any, error: type, parts: List[str]
) -> None:
    if isinstance(image, str):
        image = image.format(layout=layout)
    for call in (lambda: fvm.run("", image=image), lambda: fvm.prepare_image(image)):
        with pytest.raises(error) as raised:
            call()
        for part in parts:
            assert part in str(raised.value)


def test_a_damaged_layer(layout: Path, tmp_path: Path) -> None:
    tool("cp", "-r", layout, tmp_path / "oci")
    for blob in (tmp_path / "oci/blobs/sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    configure(f"{tmp_path}/oci:slim", "--config.env=NEW=1")  # which the cache does not have
    with pytest.raises(fvm.ImageInvalid, match=r"layer 1 of 1 .*is damaged: its content has"):
        fvm.prepare_image(f"oci:{tmp_path}/oci:slim")


# ---- the cache ----


def test_the_cache_is_listed_and_cleared(layout: Path, own_cache: Dict[str, str]) -> None:
    begin = int(time.time())
    done = python(
        "import flashvm, json\n"
        f"used = flashvm.prepare_image('oci:{layout}:slim')\n"
        "before = flashvm.list_cached_images()\n"
        "freed = flashvm.clear_cache()\n"
        "print(json.dumps([used, before, freed, flashvm.list_cached_images()]))",
        own_cache,
    )
    assert done.stderr == ""
    used, before, freed, after = json.loads(done.stdout)
    (image,) = before
    assert f"{image['reference']}@{image['digest']}" == used
    assert image["references"] == [f"oci:{layout}:slim"]
    assert begin <= image["made_at"] <= image["used_at"] + 1 <= time.time() + 2
    assert 0 < image["size_bytes"] <= freed
    assert after == []


def test_the_command_lists_prepares_and_clears(layout: Path, flashvm: Command) -> None:
    nothing: Dict[str, List[object]] = {"images": [], "templates": []}
    assert json.loads(flashvm("image", "list", "--json").stdout) == nothing
    prepared = flashvm("image", "prepare", f"oci:{layout}:slim")
    assert prepared.stdout.startswith(f"oci:{layout}:slim@sha256:")
    (image,) = json.loads(flashvm("image", "list", "--json").stdout)["images"]
    assert f"{image['reference']}@{image['digest']}\n" == prepared.stdout
    header, row = flashvm("image", "list").stdout.splitlines()
    assert header.split() == ["DIGEST", "MB", "MADE", "LAST", "USED", "STORED", "REFERENCE"]
    assert row.startswith(image["digest"][:19]) and row.endswith(f"  yes     oci:{layout}:slim")
    cleared = flashvm("image", "clear")
    assert (cleared.returncode, cleared.stdout) == (0, "0.0 MB freed\n")
    assert json.loads(flashvm("image", "list", "--json").stdout) == nothing


def test_the_command_lists_templates_and_clears_them_too(flashvm: Command) -> None:
    begin = int(time.time())
    assert flashvm("run", "--cold-boot", "-c", "").returncode == 0
    assert json.loads(flashvm("image", "list", "--json").stdout)["templates"] == []
    for _ in range(2):
        assert flashvm("run", "--memory", "256", "--cpus", "2", "-c", "").returncode == 0
    listed = json.loads(flashvm("image", "list", "--json").stdout)
    (image,), (template,) = listed["images"], listed["templates"]
    assert template["image"] == f"{EMBEDDED}@{image['digest']}"
    assert (template["engine"], template["memory_mb"], template["cpus"]) == ("qemu", 256, 2)
    assert template["accelerator"] in ("kvm", "tcg") and template["size_bytes"] > 0
    assert begin <= template["made_at"] <= template["used_at"] <= time.time()
    *_, empty, header, row = flashvm("image", "list").stdout.splitlines()
    assert empty == "" and header.startswith("TEMPLATE OF  CPUS    MIB")
    assert row.split()[:3] == [image["digest"][:19], "2", "256"]
    assert row.endswith(f"  qemu/{template['accelerator']}")
    assert flashvm("image", "clear").returncode == 0
    assert json.loads(flashvm("image", "list", "--json").stdout) == {"images": [], "templates": []}


def test_templates_are_listed_and_cleared(own_cache: Dict[str, str]) -> None:
    done = python(
        "import flashvm, json\n"
        "used = flashvm.run('', memory_mb=256).image_used\n"
        "before = flashvm.list_cached_templates()\n"
        "freed = flashvm.clear_cache()\n"
        "again = flashvm.run('', memory_mb=256).restored  # this process has loaded it\n"
        "print(json.dumps([used, before, freed, flashvm.list_cached_templates(), again]))",
        own_cache,
    )
    assert done.stderr == ""
    used, before, freed, after, again = json.loads(done.stdout)
    (template,) = before
    assert set(template) == set(fvm.CachedTemplate.__annotations__)
    assert (template["image"], template["memory_mb"]) == (used, 256)
    assert 0 < template["size_bytes"] < freed
    assert (after, again) == ([], True)


def test_the_command_runs_in_an_image(layout: Path, flashvm: Command) -> None:
    done = flashvm("run", "--image", f"oci:{layout}:full", "--json", "-c", "echo")
    result = json.loads(done.stdout)
    assert result["image_used"].startswith(f"oci:{layout}:full@sha256:")
    assert json.loads(result["stdout"])["request"]["workdir"] == "/srv/app"
    wrong = flashvm("run", "--image", "python:3", "-c", "")
    assert wrong.returncode == 241 and '"python:3" is not in the cache' in wrong.stderr
