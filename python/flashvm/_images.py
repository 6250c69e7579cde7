# SPDX-License-Identifier: MIT
"""What `list_cached_images` and `list_cached_templates` return."""

from __future__ import annotations

from typing import List, TypedDict


class CachedImage(TypedDict):
    """An image in the cache, or under localhost/flashvm in containers-storage."""

    reference: str  # what it was called first
    references: List[str]  # all that it was called, the newest last
    digest: str  # of its manifest: "sha256:..."
    size_bytes: int  # that it takes in the cache; this and the times are 0 when it is not there
    made_at: int  # seconds since 1970, as time.time()
    used_at: int
    in_containers_storage: bool


class CachedTemplate(TypedDict):
    """A template in the cache: a guest that has booted and waits, of which a run gets a copy."""

    image: str  # with its digest
    engine: str
    accelerator: str
    cpus: int
    memory_mb: int
    size_bytes: int  # that it takes in the cache
    made_at: int  # seconds since 1970; it is used for a day, then made anew
    used_at: int
