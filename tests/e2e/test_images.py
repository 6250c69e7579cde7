# SPDX-License-Identifier: MIT
"""Images that other tools made: umoci, buildah, skopeo, GNU tar. In real microVMs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from layouts import Buildah, add_gnu_tar, configure, copy_embedded, insert, new_image

import flashvm as fvm

pytestmark = pytest.mark.needs("skopeo", "umoci", "buildah", "root")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with the embedded image, as "base", which a test may add to."""
    directory = tmp_path_factory.mktemp("layout") / "oci"
    copy_embedded(directory, "base")
    return directory


LOOK_AROUND = """
import grp, json, os, pathlib, stat, sys

def kind(path):
    status = os.lstat(path)
    return [stat.filemode(status.st_mode), status.st_nlink, status.st_size]

print(json.dumps({
    "cwd": os.getcwd(),
    "greeting": os.environ.get("GREETING"),
    "ids": [os.getuid(), os.getgid()],
    "executable": sys.executable,
    "main": [__file__, sys.argv],
    "awk": os.path.lexists("/usr/bin/awk"),
    "terminfo": sorted(os.listdir("/usr/share/terminfo")),
    "linked": os.path.samefile("/srv/new/one", "/srv/new/two"),
    "one": kind("/srv/new/one"),
    "fifo": kind("/srv/new/fifo")[0],
    "null": kind("/srv/new/null")[0],
    "sparse": [kind("/srv/tar/sparse")[2], open("/srv/tar/sparse", "rb").read()[-3:].decode()],
    "long": [len(path.name) for path in pathlib.Path("/srv/tar/long").iterdir()],
}))
"""


@pytest.fixture
def new_files(tmp_path: Path) -> Path:
    directory = tmp_path / "new"
    directory.mkdir()
    (directory / "one").write_text("shared")
    os.link(directory / "one", directory / "two")
    os.mkfifo(directory / "fifo")
    os.mknod(directory / "null", 0o20666, os.makedev(1, 3))
    return directory


@pytest.fixture
def files_for_tar(tmp_path: Path) -> Path:
    directory = tmp_path / "tar" / "srv" / "tar"
    (directory / "long").mkdir(parents=True)
    (directory / "long" / ("n" * 250)).touch()
    with (directory / "sparse").open("wb") as file:
        file.seek(30_000_000)
        file.write(b"end")
    return tmp_path / "tar"


def test_what_umoci_and_tar_put_into_an_image_is_there(
    layout: Path, tmp_path: Path, new_files: Path, files_for_tar: Path
) -> None:
    image = f"{layout}:derived"
    python = tmp_path / "python"
    python.symlink_to("/usr/bin/python3")
    insert(f"{layout}:base", "--tag", "derived", new_files, "/srv/new")
    insert(image, python, "/opt/tools/bin/python")
    insert(image, "--opaque", tmp_path / "new", "/usr/share/terminfo")
    insert(image, "--whiteout", "/usr/bin/awk")
    add_gnu_tar(image, files_for_tar, tmp_path, "--sparse", "--format=gnu")
    configure(image, "--config.env=GREETING=hello", "--config.workingdir=/srv/app")
    configure(image, "--config.user=1234:tty", "--config.cmd=/opt/tools/bin/python")
    res = fvm.run(LOOK_AROUND, image=f"oci:{image}")
    assert res.stderr == "" and res.exit_code == 0
    assert res.image_used.startswith(f"oci:{image}@sha256:")
    seen = json.loads(res.stdout)
    assert seen == {
        "cwd": "/srv/app",
        "greeting": "hello",
        "ids": [1234, 5],
        "executable": "/opt/tools/bin/python",
        "main": ["/work/main.py", ["/work/main.py"]],
        "awk": False,
        "terminfo": ["fifo", "null", "one", "two"],
        "linked": True,
        "one": ["-rw-r--r--", 2, 6],
        "fifo": "prw-r--r--",
        "null": "crw-r--r--",
        "sparse": [30_000_003, "end"],
        "long": [250],
    }


def test_an_image_of_buildah(layout: Path, tmp_path: Path) -> None:
    buildah = Buildah(tmp_path / "storage")
    (tmp_path / "helper.py").write_text("ANSWER = 42\n")
    container = buildah("from", f"oci:{layout}:base")
    buildah("copy", "--quiet", container, tmp_path / "helper.py", "/srv/lib/helper.py")
    buildah("config", "--env=PYTHONPATH=/srv/lib", "--workingdir=/", "--user=root", container)
    buildah("config", "--entrypoint", '["python3.13", "app.py"]', container)
    buildah("commit", "--quiet", "--format=docker", container, "mine")
    buildah("push", "--quiet", "--compression-format=zstd", "mine", f"oci:{tmp_path}/built")
    code = "import helper, os, sys; print(helper.ANSWER, os.getcwd(), os.getuid(), sys.executable)"
    res = fvm.run(code, image=f"oci:{tmp_path}/built")
    assert (res.stderr, res.stdout) == ("", "42 / 1000 /usr/bin/python3.13\n")


def test_an_interpreter_that_does_not_start(tmp_path: Path) -> None:
    new_image(tmp_path / "oci", "broken")
    image = f"{tmp_path}/oci:broken"
    insert(image, "/usr/bin/true", "/usr/bin/python3")  # without the C library that it needs
    with pytest.raises(fvm.ImageInvalid) as raised:
        fvm.run("", image=f"oci:{image}")
    assert str(raised.value) == (
        f"the image oci:{image} cannot run Python: cannot start /usr/bin/python3: "
        "No such file or directory (its dynamic loader is missing)"
    )
