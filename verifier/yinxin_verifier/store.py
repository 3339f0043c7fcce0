"""What a verifier remembers between runs, so that it cannot be led backwards.

A pack that was true last month is still well signed today. Only memory tells
a verifier that it has seen a later one: the versions of every trust role, and
the size and root of every log (design section 7: rollback and freeze are
refused, loudly).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from yinxin_proto.error import IntegrityError, MalformedError, UnavailableError, VerificationError
from yinxin_proto.member import Members, as_integer, as_octets
from yinxin_proto.merkle import TreeHead
from yinxin_proto.strict import Json, b64url_encode, canonical_json, parse_json

MAX_STATE_BYTES: Final = 1 << 20
_SCHEMA: Final = 1
_ROOT: Final = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What was seen of one home region."""

    pinned_root: bytes
    """SHA-256 of the root metadata that the verifier pinned, 32 bytes."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """Highest version seen of each trust role."""
    heads: Mapping[str, TreeHead] = field(default_factory=dict)
    """Largest tree head seen of each log, by origin."""

    def advance(self, *, versions: Mapping[str, int], heads: Mapping[str, TreeHead]) -> Memory:
        """Return the memory after seeing these as well.

        Raises:
            VerificationError: ``ROLLBACK`` when a version or a log is behind
                what was seen; ``EQUIVOCATION`` when a log of the same size has
                another root.
        """
        # A rotated root may have replaced the online keys, and then their
        # versions start anew: `RepositoryView.load` has judged that.
        rotated = versions.get(_ROOT, 0) > self.versions.get(_ROOT, 0)
        for role, version in versions.items():
            if version < self.versions.get(role, 0) and not rotated:
                raise VerificationError(
                    f"trust repository: {role} went back from version"
                    f" {self.versions[role]} to {version}; a newer one was seen before",
                    reason="ROLLBACK",
                )
        for origin, head in heads.items():
            _check_head(origin, self.heads.get(origin), head)
        return replace(
            self,
            versions={**self.versions, **versions},
            heads={**self.heads, **heads},
        )

    def to_json(self) -> dict[str, Json]:
        """Return the memory's members."""
        return {
            "schema": _SCHEMA,
            "pinned_root": b64url_encode(self.pinned_root),
            "versions": dict(self.versions),
            "heads": {
                origin: {"size": head.size, "root": b64url_encode(head.root)}
                for origin, head in self.heads.items()
            },
        }

    @classmethod
    def from_json(cls, value: Json) -> Memory:
        """Read a memory.

        Raises:
            MalformedError: Not of this form.
        """
        members = Members(value, "memory", ("schema", "pinned_root", "versions", "heads"))
        if members.integer("schema") != _SCHEMA:
            raise MalformedError("memory: written by another version", reason="MEMORY_SCHEMA")
        return cls(
            pinned_root=members.octets("pinned_root", max_bytes=32, min_bytes=32),
            versions=members.one("versions", _versions),
            heads=members.one("heads", _heads),
        )


def _check_head(origin: str, seen: TreeHead | None, head: TreeHead) -> None:
    if seen is None:
        return
    if head.size < seen.size:
        raise VerificationError(
            f"log {origin}: went back from {seen.size} to {head.size} entries",
            reason="ROLLBACK",
        )
    if head.size == seen.size and head.root != seen.root:
        raise VerificationError(
            f"log {origin}: another root for the same {head.size} entries",
            reason="EQUIVOCATION",
        )


def _versions(value: Json, where: str) -> dict[str, int]:
    if not isinstance(value, dict):
        raise MalformedError(f"{where}: an object was expected", reason="MEMBER_TYPE")
    return {role: as_integer(version, where, at_least=1) for role, version in value.items()}


def _heads(value: Json, where: str) -> dict[str, TreeHead]:
    if not isinstance(value, dict):
        raise MalformedError(f"{where}: an object was expected", reason="MEMBER_TYPE")
    heads = {}
    for origin, member in value.items():
        head = Members(member, where, ("size", "root"))
        root = head.one("root", lambda v, w: as_octets(v, w, max_bytes=32, min_bytes=32))
        heads[origin] = TreeHead(head.integer("size"), root)
    return heads


class MemoryStore:
    """A verifier's memory in one small file, replaced as a whole.

    Two processes may share it: each change holds a lock beside the file, and
    reads anew under it, so neither forgets what the other saw.

    Args:
        path: The state file; it and its folder are made when first needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Memory | None:
        """Return what is remembered; None before the first time.

        Raises:
            IntegrityError: The file is there and cannot be read as a memory.
                It is never taken for "nothing seen": that would be how to
                make a verifier forget.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError(
                "verifier memory: the state file cannot be read", reason="MEMORY_UNREADABLE"
            ) from error
        try:
            return Memory.from_json(parse_json(data, max_bytes=MAX_STATE_BYTES))
        except MalformedError as error:
            raise IntegrityError(
                "verifier memory: the state file is damaged; restore it, or remove it to"
                " pin the root anew",
                reason="MEMORY_DAMAGED",
            ) from error

    def remember(
        self,
        *,
        pinned_root: bytes,
        versions: Mapping[str, int],
        heads: Mapping[str, TreeHead],
    ) -> Memory:
        """Take in what was just verified, and return the memory after it.

        Raises:
            VerificationError: ``ROLLBACK`` or ``EQUIVOCATION``, as `Memory.advance`;
                ``PINNED_ROOT`` when another root was pinned before.
        """
        with self._locked():
            seen = self.load()
            if seen is None:
                seen = Memory(pinned_root=pinned_root)
            if seen.pinned_root != pinned_root:
                raise VerificationError(
                    "verifier memory: another trust root was pinned here before",
                    reason="PINNED_ROOT",
                )
            after = seen.advance(versions=versions, heads=heads)
            if after != seen or not self._path.exists():
                self._replace(canonical_json(after.to_json()))
            return after

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UnavailableError(
                "verifier memory: the state folder cannot be written", reason="MEMORY_UNWRITABLE"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _replace(self, data: bytes) -> None:
        """Write beside, flush to disk, then rename: a power cut leaves one or the other."""
        fresh = self._path.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise UnavailableError(
                "verifier memory: the state file cannot be written", reason="MEMORY_UNWRITABLE"
            ) from error
