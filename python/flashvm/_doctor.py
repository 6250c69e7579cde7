# SPDX-License-Identifier: MIT
"""What `doctor()` returns."""

from __future__ import annotations

from typing import Dict, Optional, TypedDict


class EngineReport(TypedDict):
    """Whether one engine is usable here."""

    usable: bool
    accelerator: Optional[str]  # "kvm" or "tcg"; None when not usable
    reason: str  # why it is usable, or why not
    remedy: Optional[str]  # what to do about it; None when nothing needs doing


class StorageReport(TypedDict):
    """Whether images can be imported into containers-storage."""

    tool: Optional[str]  # that imports: "skopeo" or "buildah"; None: neither is there
    usable: bool
    driver: Optional[str]  # of the storage, such as "overlay"; None: not known
    root: Optional[str]  # its directory; None: not known
    reason: str  # why it is usable, or why not
    remedy: Optional[str]  # what to do about it; None when nothing needs doing


class DoctorReport(TypedDict):
    """What this machine can do."""

    krunvm: bool  # these four: is the program there?
    buildah: bool
    skopeo: bool
    qemu: bool
    kvm: bool  # does /dev/kvm really run a guest?
    offline_mode: bool  # FLASHVM_OFFLINE=1
    embedded_imported: bool  # is the embedded image in the cache?
    ready: bool  # would a run work?
    note: str  # one sentence for a person
    engines: Dict[str, EngineReport]
    containers_storage: StorageReport
    data_dir: str
    cache_dir: str
