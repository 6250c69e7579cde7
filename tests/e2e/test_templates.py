# SPDX-License-Identifier: MIT
"""Templates in the cache: made once, by whoever comes first, and never by halves. (Stand-in.)"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Dict, List

import pytest
from callers import python
from hosts import on_host
from pools import vms

import flashvm as fvm

pytestmark = pytest.mark.usefixtures("stand_in")

MAKING = "booting a microVM, once, to make a template of it"

# Runs a snippet, and says what it was told meanwhile and what it got.
CALLER = """
import flashvm, json
told = []
flashvm._library._progress_line.show = told.append
result = flashvm.run("stdout hi")
print(json.dumps([told, result.stdout, result.restored]))
"""


class Said:
    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        assert (done.returncode, done.stderr) == (0, "")
        self.told, self.stdout, self.restored = json.loads(done.stdout)

    @property
    def has_made_one(self) -> bool:
        return MAKING in self.told


def run(cache: Path, **env: str) -> Said:
    said = Said(python(CALLER, {"FLASHVM_CACHE_DIR": str(cache), **env}))
    assert (said.stdout, said.restored) == ("hi\n", True)
    return said


def files(cache: Path) -> Dict[str, List[str]]:
    """The keys of the templates, and what there is of each."""
    found: Dict[str, List[str]] = {}
    for path in sorted((cache / "templates").glob("*")):
        key, _, ending = path.name.partition(".")
        found.setdefault(key, []).append(ending)
    return found


def clear(command: str, cache: Path) -> None:
    env = {"FLASHVM_CACHE_DIR": str(cache)}
    done = subprocess.run([command, "image", "clear"], env=env, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


WHOLE = ["json", "lock", "memory", "state"]


def the_one(cache: Path, ending: str) -> Path:
    (path,) = cache.glob(f"templates/*.{ending}")
    return path


@pytest.fixture(scope="module")
def image(cache_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded image's entry in the cache, alone."""
    digest = fvm.prepare_image().partition("@sha256:")[2]
    entry = tmp_path_factory.mktemp("image") / "rootfs"
    entry.mkdir(mode=0o700)
    for file in (cache_home / "flashvm/rootfs").glob(f"{digest}*"):
        if file.suffix != ".lock":
            shutil.copy2(file, entry)
    return entry


@pytest.fixture
def new_cache(image: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes caches that have the image and no template."""
    made: List[Path] = []

    def make() -> Path:
        made.append(tmp_path / f"cache{len(made)}")
        shutil.copytree(image, made[-1] / "rootfs")
        return made[-1]

    return make


@pytest.fixture
def cache(new_cache: Callable[[], Path]) -> Path:
    return new_cache()


@pytest.fixture(scope="module")
def _filled(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("templates") / "cache"
    shutil.copytree(image, directory / "rootfs")
    assert run(directory).has_made_one
    return directory


@pytest.fixture
def full_cache(_filled: Path, tmp_path: Path) -> Path:
    """A cache that has the image and a template: a copy, which is as good."""
    return Path(shutil.copytree(_filled, tmp_path / "cache"))


# ---- who makes it ----


def test_processes_that_start_at_once_make_one(cache: Path) -> None:
    with ThreadPoolExecutor(6) as threads:
        said = list(threads.map(run, [cache] * 6))
    assert sum(one.has_made_one for one in said) == 1
    assert list(files(cache).values()) == [WHOLE]
    assert not run(cache).has_made_one


def test_threads_that_start_at_once_make_one(cache: Path) -> None:
    """Those of pools, too."""
    code = """
import flashvm, json, threading
told = []
flashvm._library._progress_line.show = told.append
with flashvm.Pool(size=2) as pool:
    threads = [threading.Thread(target=run, args=[""]) for run in (flashvm.run, pool.run) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([told, pool.run("stdout hi").stdout, pool.stats().failed]))
"""
    said = Said(python(code, {"FLASHVM_CACHE_DIR": str(cache)}))
    assert (said.told.count(MAKING) <= 1, said.stdout, said.restored) == (True, "hi\n", 0)
    assert list(files(cache).values()) == [WHOLE]
    assert not run(cache).has_made_one


def test_who_cannot_wait_for_the_maker_need_not(cache: Path) -> None:
    """Ctrl-C while another process makes it."""
    code = CALLER.replace(
        "= told.append",
        "= lambda stage: stage and stage.startswith('waiting') and os.kill(os.getpid(), 2)",
    )
    env = {"FLASHVM_CACHE_DIR": str(cache)}
    with ThreadPoolExecutor(1) as thread:
        maker = thread.submit(run, cache)
        while not list(cache.glob("templates/*.lock")):
            time.sleep(0.01)
        waiter = python("import os\n" + code, env)
        assert waiter.stderr.endswith("KeyboardInterrupt\n") and not maker.done()
        assert maker.result().has_made_one


# ---- a maker that is killed ----

# Ends itself as soon as that is so, by the signal that nothing can be done about.
VICTIM = """
import flashvm, glob, os, signal, threading, time
def watch():
    while not (lock := glob.glob("CACHE/templates/*.lock")):
        time.sleep(0.001)
    entry, began = lock[0][:-5], time.monotonic()
    if "entry" in 'MOMENT':
        time.sleep(0.9)
    while not (MOMENT or os.path.exists(entry + ".json")):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
flashvm.run("hang", timeout_seconds=5)
"""

MOMENTS = [
    "True",
    "time.sleep(0.1) is None",
    "time.sleep(0.7) is None",
    *(
        f'os.path.exists(entry + ".{ending}")'
        for ending in ("memory.tmp", "memory", "state.tmp", "state", "json.tmp", "json")
    ),
]


def test_a_maker_that_is_killed_at_any_moment_harms_nobody(
    new_cache: Callable[[], Path], command: str
) -> None:
    """A file that was there for too short a time is seen too late, but that is a moment, too."""
    caches = [new_cache() for _ in MOMENTS]

    def kill(moment: str, cache: Path) -> None:
        code = VICTIM.replace("MOMENT", moment).replace("CACHE", str(cache))
        assert python(code, {"FLASHVM_CACHE_DIR": str(cache)}).returncode == -signal.SIGKILL

    with ThreadPoolExecutor(len(MOMENTS)) as threads:
        list(threads.map(kill, MOMENTS, caches))
        left = [files(cache) for cache in caches]
        said = list(threads.map(run, caches))
    endings = [list(entry.values()) for entry in left]
    assert endings[:3] == [[["lock"]]] * 3 and endings[-1] == [WHOLE]
    assert [one.has_made_one for one in said] == [entry != [WHOLE] for entry in endings]
    for cache in caches:
        assert list(files(cache).values()) == [WHOLE]
        clear(command, cache)
        assert files(cache) == {}


def test_what_a_dead_maker_left_goes_when_the_cache_is_cleared(
    full_cache: Path, command: str
) -> None:
    cache = full_cache
    the_one(cache, "json").unlink()
    for ending in ("memory", "state"):
        path = the_one(cache, ending)
        path.rename(f"{path}.tmp")
    env = {"FLASHVM_CACHE_DIR": str(cache)}
    listed = subprocess.run([command, "image", "list", "--json"], env=env, capture_output=True)
    assert json.loads(listed.stdout)["templates"] == []
    clear(command, cache)
    assert files(cache) == {}


# ---- one that is damaged ----


def flip_in_place(path: Path) -> None:
    """Size and times stay."""
    before = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(before.st_size // 2)
        file.write(b"\xff" * 4096)
    path.chmod(0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("ending", "damage"),
    [
        ("memory", flip_in_place),
        ("state", truncate),
        ("json", truncate),
    ],
)
def test_a_damaged_template_is_made_again(
    full_cache: Path, ending: str, damage: Callable[[Path], None]
) -> None:
    damage(the_one(full_cache, ending))
    assert run(full_cache).has_made_one
    assert list(files(full_cache).values()) == [WHOLE]
    assert not run(full_cache).has_made_one


def test_a_copied_cache_is_as_good(full_cache: Path) -> None:
    assert not run(full_cache).has_made_one


# ---- one that is of another guest ----


@pytest.fixture
def other_qemu(stand_in_script: Callable[[str], None]) -> None:
    guest = shutil.which("qemu-system-x86_64")
    stand_in_script(f'exec {guest} "$@"')


@pytest.fixture
def other_initramfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    shutil.copytree(fvm.find_embedded_data_path(), data)
    initramfs, manifest = data / "initramfs.cpio", data / "manifest.json"
    before = hashlib.sha256(initramfs.read_bytes()).hexdigest()
    initramfs.write_bytes(initramfs.read_bytes() + bytes(512))
    after = hashlib.sha256(initramfs.read_bytes()).hexdigest()
    text = manifest.read_text()
    assert before in text
    manifest.write_text(text.replace(before, after))
    monkeypatch.setenv("FLASHVM_DATA_DIR", str(data))


@pytest.mark.parametrize("change", ["other_qemu", "other_initramfs"])
def test_a_template_is_only_for_what_it_was_made_with(
    full_cache: Path, request: pytest.FixtureRequest, change: str
) -> None:
    request.getfixturevalue(change)
    assert run(full_cache).has_made_one
    assert list(files(full_cache).values()) == [WHOLE, WHOLE]
    assert not run(full_cache).has_made_one


# ---- a cache that takes none ----


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    "mount",
    [
        "size=200m; READY; mount -o remount,ro /mnt",
        "nr_inodes=7; READY",  # no room for its directory
        "nr_inodes=10; READY",  # nor for all of its files
    ],
)
def test_a_run_needs_no_room_for_a_template(image: Path, mount: str) -> None:
    script = "mount -t tmpfs none /mnt -o mode=700," + mount.replace(
        "READY", f"cp -r {image} /mnt/rootfs; chmod 700 /mnt/rootfs; rm -f /mnt/rootfs/*.lock"
    )
    argv = [sys.executable, "-c", CALLER]
    list_files = '"$@"; find /mnt/templates -type f ! -name "*.lock" || :; set -- true'
    done = on_host(f"{script}\n{list_files}", argv, {"FLASHVM_CACHE_DIR": "/mnt"})
    told, stdout, restored = json.loads(done.stdout)  # and no file is left
    assert (stdout, restored, told.count(MAKING)) == ("hi\n", True, 1)


# ---- a pool, meanwhile ----


def test_a_cache_that_is_cleared_does_not_disturb_a_pool(full_cache: Path) -> None:
    code = """
import flashvm, time
def full():
    while pool.stats().waiting < 2:
        time.sleep(0.01)
with flashvm.Pool(size=2) as pool:
    full()
    print(flashvm.clear_cache() > 0, flashvm.list_cached_templates())
    for n in range(5):
        print(pool.run("stdout hi").stdout, end="")
    full()
    print(pool.run("").pooled, pool.stats().failed)
"""
    done = python(code, {"FLASHVM_CACHE_DIR": str(full_cache)})
    assert (done.stderr, done.stdout) == ("", "True []\n" + 5 * "hi\n" + "True 0\n")
    assert vms() == []


def test_the_list_shows_each_with_its_size(full_cache: Path, command: str) -> None:
    env = {"FLASHVM_CACHE_DIR": str(full_cache)}
    python("import flashvm; flashvm.run('', memory_mb=256, cpus=2)", env)
    done = subprocess.run([command, "image", "list"], env=env, capture_output=True, text=True)
    *_, first, second = done.stdout.splitlines()
    assert first.split()[1:3] == ["2", "256"] and second.split()[1:3] == ["1", "512"]
    listed = subprocess.run([command, "image", "list", "--json"], env=env, capture_output=True)
    sizes = [template["size_bytes"] for template in json.loads(listed.stdout)["templates"]]
    disk = sum(
        path.stat().st_blocks * 512
        for ending in ("memory", "state")
        for path in full_cache.glob(f"templates/*.{ending}")
    )
    assert sum(sizes) == disk
