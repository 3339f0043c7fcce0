"""From an offline pack to trust, through a pinned root and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final

from yinxin_proto.error import ConfigurationError, MalformedError, VerificationError
from yinxin_proto.merkle import TreeHead
from yinxin_proto.note import MAX_NOTE_BYTES
from yinxin_proto.repository import Expiry, RepositoryView, byte_limit
from yinxin_proto.repository_metadata import MAX_ROOT_BYTES, ROOT, metadata_path
from yinxin_verifier.assembly import assemble
from yinxin_verifier.evidence import TrustSet
from yinxin_verifier.packfile import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MAX_PACK_BYTES,
    MAX_TREE_BYTES,
    Manifest,
    PackFiles,
    TreeFile,
    open_pack,
)
from yinxin_verifier.pinnedtree import PinnedTree, layout_bytes
from yinxin_verifier.store import Memory, MemoryStore

_CATALOGUE: Final = "catalogue/"


class Pinning(StrEnum):
    """How the verifier came to trust the root that it started from."""

    GIVEN = "GIVEN"
    """The caller handed it in."""
    REMEMBERED = "REMEMBERED"
    """It was pinned by an earlier run of this verifier."""
    FIRST_USE = "FIRST_USE"
    """It was taken from this very pack, because the caller said so. Whoever made
    the pack could have made it all: compare the fingerprint by another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPack:
    """A pack that was verified from its root to its checkpoints."""

    trust: TrustSet
    view: RepositoryView
    """The repository; its files can be read while the pack is open."""
    catalogue: Mapping[str, bytes]
    """Entries of the catalogue, JSON, by licence type: read while it was open."""
    pinning: Pinning
    root_fingerprint: str
    """SHA-256 of the pinned root metadata, hexadecimal: for people to compare."""
    refused_statuses: tuple[str, ...]
    """Reasons of status tokens that were left out."""


class PackLoader:
    """Turns packs into trust.

    Exactly one way to a first root must be chosen: bytes that the caller got
    by another way, or trust on first use, by its name.

    Args:
        pinned_root: Root metadata that the caller trusts, any version.
        trust_first_use: Take the first pack's own first root, and remember it.
        pq_root: Certificate of the parallel ML-DSA root, DER, that the caller got
            by another way than the pack. Nothing but the logs' ML-DSA-44
            signatures counts then.
        memory: What was seen before; without it neither a rollback nor
            another first root can be noticed.

    Raises:
        ConfigurationError: Neither or both ways were chosen (``PINNED_ROOT``).
    """

    def __init__(
        self,
        *,
        pinned_root: bytes | None = None,
        trust_first_use: bool = False,
        pq_root: bytes | None = None,
        memory: MemoryStore | None = None,
    ) -> None:
        if (pinned_root is None) is not trust_first_use:
            raise ConfigurationError(
                "pack: give the root to pin, or say that the pack's own is to be trusted"
                " on first use; one of the two",
                reason="PINNED_ROOT",
            )
        self._pinned = pinned_root
        self._pq_root = pq_root
        self._memory = memory

    def load(self, path: Path, now: datetime) -> LoadedPack:
        """Verify a pack and return what it makes believable.

        Raises:
            NotFoundError: No pack there.
            MalformedError: Truncated, damaged, oversized or malformed.
            VerificationError: Not signed as it must be, expired, or older than
                what was seen before (``ROLLBACK``).
        """
        with closing(open_pack(path)) as files:
            return self.load_files(_Metered(files), now)

    def load_files(self, files: PackFiles, now: datetime) -> LoadedPack:
        """Verify a pack whose files come from elsewhere; see `load`."""
        seen = None if self._memory is None else self._memory.load()
        pinned, pinning = self._root(files, seen)
        fingerprint = sha256(pinned).digest()
        view = RepositoryView.load(
            pinned,
            lambda path: files.read(path, byte_limit(path)),
            now,
            mode=Expiry.PACK,
            previous=None if seen is None else seen.versions,
        )
        manifest = Manifest.parse(_required(files, MANIFEST, MAX_MANIFEST_BYTES))
        region = assemble(
            view,
            checkpoints={
                origin: _required(files, file, MAX_NOTE_BYTES)
                for origin, file in manifest.checkpoints.items()
            },
            consistency=manifest.consistency,
            trees=[_tree(files, head, tree) for head, tree in manifest.trees.items()],
            pq_root=self._pq_root,
        )
        if self._memory is not None:
            heads = {log.origin: log.head for log in region.logs.values() if log.head is not None}
            self._memory.remember(pinned_root=fingerprint, versions=view.versions, heads=heads)
        return LoadedPack(
            trust=TrustSet(home=region),
            view=view,
            catalogue={
                path.removeprefix(_CATALOGUE).removesuffix(".json"): view.target(path)
                for path in view.paths("catalogue")
            },
            pinning=pinning,
            root_fingerprint=fingerprint.hex(),
            refused_statuses=tuple(region.statuses.refused),
        )

    def _root(self, files: PackFiles, seen: Memory | None) -> tuple[bytes, Pinning]:
        if self._pinned is not None:
            return self._pinned, Pinning.GIVEN
        first = _required(files, metadata_path(ROOT, 1), MAX_ROOT_BYTES)
        if seen is None:
            return first, Pinning.FIRST_USE
        if sha256(first).digest() != seen.pinned_root:
            raise VerificationError(
                "pack: its first root is not the one that was pinned before",
                reason="PINNED_ROOT",
            )
        return first, Pinning.REMEMBERED


def _required(files: PackFiles, path: str, limit: int) -> bytes:
    data = files.read(path, limit)
    if data is None:
        raise MalformedError(f"pack: {path} is missing", reason="PACK_TRUNCATED")
    return data


def _tree(files: PackFiles, head: TreeHead, tree: TreeFile) -> PinnedTree:
    expected = layout_bytes(head.size, tree.blocks)
    if expected > MAX_TREE_BYTES:
        raise MalformedError("pack: the tiles of one tree exceed 128 MiB", reason="TOO_LARGE")
    return PinnedTree(head, tree.blocks, _required(files, tree.file, expected))


class _Metered:
    """Bounds what is read out of one pack in all."""

    def __init__(self, files: PackFiles) -> None:
        self._files = files
        self._left = MAX_PACK_BYTES

    def read(self, path: str, limit: int) -> bytes | None:
        data = self._files.read(path, min(limit, self._left))
        self._left -= 0 if data is None else len(data)
        return data

    def close(self) -> None:
        self._files.close()
