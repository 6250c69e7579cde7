# SPDX-License-Identifier: MIT
"""Images in containers-storage, by the real skopeo and buildah, in a storage of each test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List

import pytest
from callers import python, start
from hosts import on_host
from processes import descendants, wait_until
from storage import EMBEDDED, OURS, Storage, make_small_data, path_with

import flashvm as fvm

pytestmark = [
    pytest.mark.needs("skopeo", "buildah", "root"),
    # Half of the tests let something fail, and say what they expect to be told of it.
    pytest.mark.filterwarnings("error"),
]

TOOLS = [["skopeo", "buildah"], ["buildah"], ["skopeo"]]


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_data(tmp_path_factory.mktemp("small") / "data")


@pytest.fixture
def storage(tmp_path: Path, small_data: Path) -> Storage:
    """What most tests need: an image that takes no time."""
    return Storage(tmp_path, small_data)


@pytest.fixture
def large(tmp_path: Path) -> Storage:
    """With the real embedded image."""
    return Storage(tmp_path)


@pytest.fixture
def own(large: Storage, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """The same, which this process uses too."""
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(large.conf))
    return large


def listed(storage: Storage, command: str) -> List[Dict[str, Any]]:
    images: List[Dict[str, Any]] = json.loads(
        storage.flashvm(command, "image", "list", "--json").stdout
    )["images"]
    return images


def snapshot(directory: Path) -> Dict[str, int]:
    """When each file was changed last; without locks and what a mere question writes."""
    return {
        str(path): path.lstat().st_mtime_ns
        for path in directory.rglob("*")
        if path.is_file() and not path.name.endswith((".lock", "defaultNetworkBackend"))
    }


# ---- importing ----


@pytest.mark.parametrize("driver", ["vfs", "overlay"])
@pytest.mark.parametrize("tools", TOOLS, ids="+".join)
def test_prepare_imports_the_embedded_image(
    command: str,
    tmp_path: Path,
    small_data: Path,
    request: pytest.FixtureRequest,
    tools: List[str],
    driver: str,
) -> None:
    storage = Storage(tmp_path, None if driver == "overlay" else small_data, driver)
    request.addfinalizer(storage.unmount)
    env = path_with(tmp_path / "bin", tools)
    done = storage.flashvm(command, "image", "prepare", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert storage.names() == {EMBEDDED: storage.image_id()}
    before = snapshot(storage.root)
    assert len(before) > 3
    again = storage.flashvm(command, "image", "prepare", env=env)
    assert (again.returncode, again.stdout, again.stderr) == (0, done.stdout, "")
    assert snapshot(storage.root) == before


def test_what_is_imported_is_the_image(large: Storage, command: str) -> None:
    large.flashvm(command, "image", "prepare")
    container = large.tool("buildah", "from", "--pull-never", EMBEDDED).strip()
    mounted = Path(large.tool("buildah", "mount", container).strip())
    assert (mounted / "usr/bin/python3").exists() and (mounted / "etc/debian_version").is_file()
    large.tool("buildah", "rm", container)


def test_without_a_tool_there_is_only_the_cache(
    storage: Storage, command: str, tmp_path: Path
) -> None:
    nothing = path_with(tmp_path / "bin", [])
    done = storage.flashvm(command, "image", "prepare", env=nothing)
    assert (done.returncode, done.stderr) == (0, "")
    text = storage.flashvm(command, "image", "list", "--json", env=nothing)
    (image,) = json.loads(text.stdout)["images"]
    assert image["in_containers_storage"] is False
    cleared = storage.flashvm(command, "image", "clear", env=nothing)
    assert (cleared.returncode, cleared.stderr) == (0, "") and storage.names() == {}
    report = json.loads(storage.flashvm(command, "doctor", "--json", env=nothing).stdout)
    assert report["containers_storage"]["tool"] is None


@pytest.mark.usefixtures("stand_in")
def test_a_run_asks_no_tool(large: Storage, command: str, tmp_path: Path) -> None:
    """Neither its first one, which unpacks the image, nor its others."""
    for name in "skopeo", "buildah":
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho called >>{tmp_path}/called\nexit 1\n")
        program.chmod(0o755)
    env = {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "FLASHVM_CACHE_DIR": str(tmp_path / "cache"),
    }
    for _ in range(2):
        assert large.flashvm(command, "run", "-c", "", env=env).returncode == 0
    assert not (tmp_path / "called").exists()
    assert large.flashvm(command, "image", "prepare", env=env).stderr != ""
    assert (tmp_path / "called").exists()


def test_an_image_of_a_layout_is_named_after_its_digest(
    storage: Storage, command: str, tmp_path: Path
) -> None:
    data = make_small_data(tmp_path / "Some Where")  # no name that buildah could make of it
    layout = data / "oci"
    for tools in TOOLS[:2]:
        env = path_with(tmp_path / "-".join(tools), tools)
        done = storage.flashvm(command, "image", "prepare", f"oci:{layout}:python-basic", env=env)
        assert (done.returncode, done.stderr) == (0, "")
        digest = done.stdout.strip().rpartition("@")[2]
        assert list(storage.names()) == [f"{OURS}sha256-{digest[7:23]}"]
        (image,) = listed(storage, command)
        assert (image["digest"], image["in_containers_storage"]) == (digest, True)
        storage.tool("buildah", "rmi", "--all")


def test_an_image_whose_layers_are_gone_is_a_notice(
    storage: Storage, command: str, tmp_path: Path
) -> None:
    make_small_data(tmp_path / "other")
    used = storage.flashvm(command, "image", "prepare", f"oci:{tmp_path}/other/oci").stdout.strip()
    storage.tool("buildah", "rmi", "--all")
    os.rename(tmp_path / "other", tmp_path / "aside")
    done = storage.flashvm(command, "image", "prepare", used)
    assert (done.returncode, done.stdout) == (0, used + "\n")
    assert done.stderr.startswith("flashvm: the image is ready, only not in containers-storage: ")
    assert "its layers are not at hand" in done.stderr and storage.names() == {}


def test_two_processes_at_once(storage: Storage, command: str) -> None:
    env = {**os.environ, **storage.env}
    both = [
        subprocess.Popen([command, "image", "prepare"], env=env, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [(p.communicate(timeout=120)[1], p.returncode) for p in both] == [("", 0)] * 2
    assert storage.names() == {EMBEDDED: storage.image_id()} and len(storage.images()) == 1


@pytest.mark.usefixtures("own")
def test_the_library_names_its_stage() -> None:
    code = """
import flashvm, flashvm._library as library
stages = []
library._progress_line.show = stages.append
flashvm.prepare_image()
print("importing the image into containers-storage" in stages, stages[-1])
"""
    assert python(code).stdout == "True None\n"


@pytest.mark.parametrize("tools", TOOLS[:2], ids="+".join)
def test_another_image_under_our_name_is_replaced(
    storage: Storage, command: str, tmp_path: Path, tools: List[str]
) -> None:
    env = path_with(tmp_path / "bin", tools)
    kept = storage.commit(EMBEDDED, "localhost/mine:1")
    assert storage.flashvm(command, "image", "prepare", env=env).stderr == ""
    assert storage.names() == {EMBEDDED: storage.image_id(), "localhost/mine:1": kept}
    storage.tool("buildah", "rmi", EMBEDDED)
    storage.commit(EMBEDDED)  # nothing else leads to this one
    assert storage.flashvm(command, "image", "prepare", env=env).stderr == ""
    assert storage.names() == {EMBEDDED: storage.image_id(), "localhost/mine:1": kept}
    assert len(storage.images()) == 2


# ---- lists and clearing ----


def test_lists_tell_what_is_where(own: Storage, command: str) -> None:
    fvm.clear_cache()
    own.commit("docker.io/library/mine:1", "localhost/flashvm-not:1")
    assert fvm.list_cached_images() == []
    used = fvm.prepare_image()
    (image,) = fvm.list_cached_images()
    assert set(image) == set(fvm.CachedImage.__annotations__)
    assert f"{image['reference']}@{image['digest']}" == used
    assert image["in_containers_storage"] is True
    own.tool("buildah", "rmi", EMBEDDED)
    assert fvm.list_cached_images()[0]["in_containers_storage"] is False
    only = own.commit(OURS + "old")
    first, second = fvm.list_cached_images()
    assert (first["reference"], second["reference"]) == (EMBEDDED, OURS + "old")
    assert second["in_containers_storage"] is True and second["references"] == [OURS + "old"]
    assert (second["size_bytes"], second["made_at"], second["used_at"]) == (0, 0, 0)
    text = subprocess.run([command, "image", "list"], stdout=subprocess.PIPE, text=True).stdout
    header, one, other = text.splitlines()[:3]
    assert "STORED" in header
    assert one.split()[-2:] == ["no", EMBEDDED] and other.split()[-4:-1] == ["-", "-", "yes"]
    assert only in own.names().values()


def test_clearing_removes_only_what_is_ours(own: Storage) -> None:
    foreign = own.commit("docker.io/library/mine:1", "localhost/flashvm-not:1")
    fvm.prepare_image()
    own.tool("buildah", "tag", EMBEDDED, "localhost/mine:1")  # which is no name of ours
    own.commit(OURS + "old")
    fvm.clear_cache()
    assert own.names() == {
        "docker.io/library/mine:1": foreign,
        "localhost/flashvm-not:1": foreign,
        "localhost/mine:1": own.image_id(),
    }
    assert len(own.images()) == 2 and fvm.list_cached_images() == []


def test_what_a_container_uses_stays_and_is_told(own: Storage) -> None:
    fvm.prepare_image()
    container = own.tool("buildah", "from", "--pull-never", EMBEDDED).strip()
    with pytest.warns(fvm.FlashVMWarning, match=f"^{EMBEDDED} stays in containers-storage: "):
        assert fvm.clear_cache() > 0
    own.tool("buildah", "rm", container)
    fvm.clear_cache()
    assert own.names() == {}


def test_skopeo_alone_removes_nothing_and_says_so(
    storage: Storage, command: str, tmp_path: Path
) -> None:
    env = path_with(tmp_path / "bin", ["skopeo"])
    storage.flashvm(command, "image", "prepare", env=env)
    storage.tool("buildah", "tag", EMBEDDED, "localhost/mine:1")
    text = storage.flashvm(command, "image", "list", "--json", env=env).stdout
    assert json.loads(text)["images"][0]["in_containers_storage"] is True
    cleared = storage.flashvm(command, "image", "clear", env=env)
    assert cleared.returncode == 0 and "MB freed" in cleared.stdout
    assert f"{EMBEDDED} stays in containers-storage: skopeo removes" in cleared.stderr
    assert set(storage.names()) == {EMBEDDED, "localhost/mine:1"}


# ---- failures ----

MNT = """mount -t tmpfs {options} none /mnt
printf '[storage]\\ndriver = "vfs"\\ngraphroot = "/mnt/root"\\nrunroot = "/mnt/run"\\n' >/mnt/s.conf
{then}
"""


@pytest.mark.parametrize("tools", TOOLS[:2], ids="+".join)
@pytest.mark.parametrize(
    ("options", "then", "words", "advice"),
    [
        ("-o size=4m", "", "no space left on device", "free some space where the storage is"),
        ("", "mount -o remount,ro /mnt", "read-only file system", "one that can be written"),
        ("", "sed -i s/vfs/btrfs/ /mnt/s.conf", "btrfs", "set another driver in storage.conf"),
    ],
    ids=["full", "read-only", "driver"],
)
def test_a_failure_is_a_notice_with_the_tools_words(
    storage: Storage,
    command: str,
    tmp_path: Path,
    tools: List[str],
    options: str,
    then: str,
    words: str,
    advice: str,
) -> None:
    env = {**storage.env, "CONTAINERS_STORAGE_CONF": "/mnt/s.conf"}
    env.update(path_with(tmp_path / "bin", tools))
    script = MNT.format(options=options, then=then)
    script += f'set -- /usr/bin/env PATH={env.pop("PATH")} "$@"'
    done = on_host(script, [command, "image", "prepare"], env)
    assert done.returncode == 0 and done.stdout.startswith(f"{EMBEDDED}@sha256:")
    start = (
        f"flashvm: the image is ready, only not in containers-storage: cannot import {EMBEDDED} "
    )
    assert done.stderr.startswith(start)
    assert words in done.stderr and "\nWhat to do: " in done.stderr and advice in done.stderr


def test_a_storage_that_cannot_be_asked_is_told_by_lists_and_doctor(
    storage: Storage, command: str
) -> None:
    env = {**storage.env, "CONTAINERS_STORAGE_CONF": "/mnt/s.conf"}
    storage.flashvm(command, "image", "prepare")
    script = MNT.format(options="", then="mount -o remount,ro /mnt")
    done = on_host(script, [command, "image", "list", "--json"], env)
    (image,) = json.loads(done.stdout)["images"]
    assert image["in_containers_storage"] is False
    assert done.stderr.startswith("flashvm: the list is without containers-storage: ")
    done = on_host(script, [command, "image", "clear"], env)
    assert done.returncode == 0
    assert "flashvm: cannot look for images in containers-storage: " in done.stderr
    report = on_host(script, [command, "doctor", "--json"], env)
    stored = json.loads(report.stdout)["containers_storage"]
    assert stored["usable"] is False
    assert "read-only file system" in stored["reason"]
    assert stored["remedy"].startswith("the storage's directory must be one")


def test_a_warning_can_be_an_error(own: Storage) -> None:
    own.conf.write_text('[storage]\ndriver = "nonesuch"\n')
    with pytest.raises(fvm.FlashVMWarning, match="the image is ready, only not in"):
        fvm.prepare_image()
    with pytest.warns(fvm.FlashVMWarning) as caught:
        assert fvm.prepare_image().startswith(f"{EMBEDDED}@sha256:")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("tools", TOOLS[:2], ids="+".join)
def test_a_host_without_a_policy_for_images(
    storage: Storage, command: str, tmp_path: Path, tools: List[str]
) -> None:
    env = {**storage.env, "HOME": str(tmp_path)}
    env["PATH"] = path_with(tmp_path / "bin", tools)["PATH"]
    script = f"PATH={os.environ['PATH']}; mount -t tmpfs none /etc/containers; PATH={env['PATH']}"
    done = on_host(
        script.replace("; PATH=/", f'; set -- /usr/bin/env PATH={env["PATH"]} "$@"; #'),
        [command, "image", "prepare"],
        {key: value for key, value in env.items() if key != "PATH"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert storage.names() == {EMBEDDED: storage.image_id()}


def test_a_policy_that_forbids_decides(storage: Storage, command: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "reject"}]}')
    done = on_host(
        f"mount --bind {policy} /etc/containers/policy.json",
        [command, "image", "prepare"],
        storage.env,
    )
    assert done.returncode == 0 and "rejected by policy" in done.stderr
    assert "has to allow images of the transport oci" in done.stderr and storage.names() == {}


@pytest.mark.parametrize("tools", TOOLS[:2], ids="+".join)
def test_ctrl_c_half_way_ends_the_tool(
    large: Storage, command: str, tmp_path: Path, tools: List[str], cache_home: Path
) -> None:
    env = {**large.env, **path_with(tmp_path / "bin", tools)}
    fvm.prepare_image()
    caller = start([command, "image", "prepare"], env)
    # It unpacks, in a child of its own.
    wait_until(lambda: [*large.root.glob("vfs/dir/*/usr/*")] != [], "no import", 60)
    pids = [p.pid for p in descendants(caller.pid)]
    caller.send_signal(signal.SIGINT)
    begin = time.monotonic()
    assert caller.communicate(timeout=10) == (b"", b"")
    assert caller.returncode == 128 + signal.SIGINT and time.monotonic() - begin < 3
    assert len(pids) >= 2
    wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), "one is left")
    assert [*cache_home.glob("flashvm/containers-storage/*")] == [
        cache_home / "flashvm/containers-storage/import.lock"
    ]
    assert large.names() == {}
    assert large.flashvm(command, "image", "prepare").stderr == ""
    assert large.names() == {EMBEDDED: large.image_id()}


def test_a_caller_that_is_killed_leaves_a_lock_until_the_tool_ends(
    large: Storage, command: str
) -> None:
    """The tool goes on, so the next one waits for it and finds the work done."""
    fvm.prepare_image()
    caller = start([command, "image", "prepare"], large.env)
    wait_until(lambda: [*large.root.glob("vfs/dir/*/usr/*")] != [], "no import", 60)
    caller.kill()
    caller.communicate()
    assert large.flashvm(command, "image", "prepare").stderr == ""
    assert large.names() == {EMBEDDED: large.image_id()} and len(large.images()) == 1
    wait_until(lambda: descendants(os.getpid()) == [], "the tool is still there", 20)


def test_doctor_names_the_tool_and_the_storage(storage: Storage, command: str) -> None:
    report = json.loads(storage.flashvm(command, "doctor", "--json").stdout)
    assert report["containers_storage"] == {
        "tool": "skopeo",
        "usable": True,
        "driver": "vfs",
        "root": str(storage.root),
        "reason": "skopeo imports, buildah lists and removes",
        "remedy": None,
    }
    text = storage.flashvm(command, "doctor").stdout
    assert f"\ncontainers-storage: usable, vfs in {storage.root}\n" in text
