# SPDX-License-Identifier: MIT
"""containers-storage of an ordinary user: what the tools need for it, and what is said without."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Dict, List, Sequence

import pytest
from hosts import Done, on_host
from ordinary_user import UID, User, as_user
from storage import (
    EMBEDDED,
    FORBID_NAMESPACES,
    IDS,
    MAPPERS,
    PASSWD,
    STORAGE_OF_A_USER,
    Storage,
    make_small_data,
    path_with,
)

pytestmark = pytest.mark.needs("skopeo", "buildah", "root")


class Alice:
    """The ordinary user's flashVM, with a small image and a storage in a directory of its own."""

    def __init__(self, user: User, directory: Path) -> None:
        self.user = user
        self.data = make_small_data(directory)
        subprocess.run(["chmod", "-R", "a+rX", directory], check=True)
        self.home = directory / "home"
        (self.home / "run").mkdir(parents=True)
        os.chown(self.home, UID, UID)
        os.chown(self.home / "run", UID, UID)
        (self.home / "run").chmod(0o700)
        self.env = {
            **user.env,
            "FLASHVM_DATA_DIR": str(self.data),
            "FLASHVM_CACHE_DIR": str(self.home / "cache"),
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
        }

    def command(
        self, host: str, tools: Sequence[str], *args: str, wrapper: Sequence[str] = ()
    ) -> Done:
        """Run flashvm on a host that the script has changed, with these tools alone on PATH."""
        path = self.home / "-".join(["bin", *tools])
        if not path.exists():
            path_with(path, tools)
        return self.tool(host, ["env", f"PATH={path}", *wrapper, self.user.command, *args])

    def tool(self, host: str, argv: List[str]) -> Done:
        return on_host(STORAGE_OF_A_USER + host, as_user(argv), self.env)

    def names(self) -> List[str]:
        done = self.tool(PASSWD + IDS, ["buildah", "images", "--json"])
        return [name for image in json.loads(done.stdout) for name in image["names"] or []]

    def storage_report(self, host: str, tools: Sequence[str]) -> Dict[str, object]:
        done = self.command(host, tools, "doctor", "--json")
        report: Dict[str, object] = json.loads(done.stdout)["containers_storage"]
        return report


@pytest.fixture
def alice(user: User, request: pytest.FixtureRequest) -> Alice:
    directory = user.home / request.node.name.replace("[", "-").replace("]", "")
    return Alice(user, directory)


@pytest.mark.parametrize("tools", [["skopeo", "buildah"], ["buildah"]], ids="+".join)
def test_a_user_with_ids_of_its_own_imports(alice: Alice, tools: List[str]) -> None:
    for _ in range(2):
        done = alice.command(PASSWD + IDS, [*tools, *MAPPERS], "image", "prepare")
        assert (done.returncode, done.stderr) == (0, "")
    assert alice.names() == [EMBEDDED]
    assert [*alice.home.glob(".local/share/containers/storage/*-images/images.json")] != []
    report = alice.storage_report(PASSWD + IDS, [*tools, *MAPPERS, "cat"])
    assert (report["tool"], report["usable"]) == (tools[0], True)
    cleared = alice.command(PASSWD + IDS, [*tools, *MAPPERS], "image", "clear")
    assert (cleared.returncode, cleared.stderr) == (0, "") and alice.names() == []


def test_within_buildah_unshare_the_storage_is_the_users(alice: Alice) -> None:
    """Where krunvm has to be started, too."""
    tools = ["skopeo", "buildah", *MAPPERS]
    inside = ["buildah", "unshare"]
    done = alice.command(PASSWD + IDS, tools, "image", "prepare", wrapper=inside)
    assert (done.returncode, done.stderr) == (0, "")
    assert alice.names() == [EMBEDDED]


NOTICE = "flashvm: the image is ready, only not in containers-storage: "


@pytest.mark.parametrize(
    ("host", "tools", "words", "advice"),
    [
        ("", MAPPERS, "unknown userid", "this user id needs an entry in /etc/passwd"),
        (PASSWD + IDS, [], "executable file not found", "apt-get install uidmap"),
    ],
    ids=["nobody", "no mapper"],
)
def test_what_is_missing_is_named(
    alice: Alice, host: str, tools: List[str], words: str, advice: str
) -> None:
    for importers in ["skopeo", "buildah"], ["buildah"], ["skopeo"]:
        done = alice.command(host, [*importers, *tools], "image", "prepare")
        assert done.returncode == 0 and done.stderr.startswith(NOTICE)
        assert words in done.stderr and advice in done.stderr
        report = alice.storage_report(host, [*importers, *tools])
        assert report["usable"] is False
        assert words in str(report["reason"]) and advice in str(report["remedy"])


def test_a_user_without_ids_of_its_own(alice: Alice) -> None:
    """The tools begin all the same; how far they come depends on the owners in the image."""
    tools = ["skopeo", "buildah", *MAPPERS, "cat"]
    report = alice.storage_report(PASSWD, tools)
    assert report["usable"] is False
    assert report["reason"] == "this user has no ids for the owners of an image's files"
    assert "usermod --add-subuids" in str(report["remedy"])
    alice.env["FLASHVM_DATA_DIR"] = str(alice.user.package / "data")
    done = alice.command(PASSWD, tools, "image", "prepare")
    assert done.returncode == 0 and done.stderr.startswith(NOTICE)
    assert "lchown" in done.stderr and "usermod --add-subuids" in done.stderr


def test_a_kernel_that_forbids_user_namespaces(alice: Alice) -> None:
    tools = ["skopeo", "buildah", *MAPPERS]
    done = alice.command(PASSWD + IDS + FORBID_NAMESPACES, tools, "image", "prepare")
    assert done.returncode == 0 and done.stderr.startswith(NOTICE)
    assert "User namespaces are not enabled" in done.stderr
    assert "lets this user make no user namespaces" in done.stderr


def test_roots_storage_is_not_a_users(alice: Alice, tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    done = alice.command(PASSWD + IDS, ["skopeo", "buildah", *MAPPERS], "image", "prepare")
    assert done.stderr == "" and storage.names() == {}
