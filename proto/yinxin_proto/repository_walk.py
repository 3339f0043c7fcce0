"""The walk from a pinned root to every role of a trust repository.

TUF specification §5.3–5.6 with its bounds made small and its layout fixed. The
one difference: in an offline pack an expired online role is an *age* for
policy to judge (design section 7), not an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import pairwise
from typing import Any, Final

from tuf.api.metadata import DelegatedRole, MetaFile, Root, Snapshot, Targets, Timestamp

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.repository_metadata import (
    DELEGATED,
    MAX_TARGET_BYTES,
    MAX_TARGETS,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Document,
    check_reference,
    check_threshold,
    metadata_path,
    parse,
    role_of,
)

_DIGEST: Final = re.compile("[0-9a-f]{64}")

MAX_ROTATIONS: Final = 64
"""Roots that one load walks beyond the pinned one."""

Read = Callable[[str], bytes | None]
"""Returns a file of the repository by its path in it, or None if there is none.

It should stop reading at `byte_limit` + 1 of the path; what is longer is refused.
"""


class Expiry(Enum):
    """What an expired role means."""

    ONLINE = "online"
    """Every expiry is an error."""
    PACK = "pack"
    """Root and trust role are errors; the online roles have an age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """Every role of one state, verified."""

    roots: tuple[Document[Root], ...]
    """From the pinned one to the one that holds."""
    timestamp: Document[Timestamp]
    snapshot: Document[Snapshot]
    targets: Mapping[str, Document[Targets]]
    """The trust role and the delegated roles, by name."""

    def document(self, role: str) -> Document[Any]:
        """Return the role's verified metadata; ``role`` is one of `ROLES`."""
        if role == ROOT:
            return self.roots[-1]
        if role == TIMESTAMP:
            return self.timestamp
        return self.snapshot if role == SNAPSHOT else self.targets[role]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The numbered procedure; `walk` runs it all."""

    read: Read
    now: datetime
    mode: Expiry
    previous: Mapping[str, int]
    """Role versions seen before."""

    def run(self, pinned: bytes) -> Walked:
        """Verify every role in the order of trust; expiry is checked last in each."""
        roots = self.roots(pinned)
        root = roots[-1].signed
        seen = _remembered(self.previous, roots)
        self._settle(roots[-1], seen)
        timestamp = self.timestamp(root)
        self._settle(timestamp, seen)
        snapshot = self.snapshot(root, timestamp.signed.snapshot_meta)
        self._settle(snapshot, seen)
        meta = snapshot.signed.meta
        trust = self.targets(TARGETS, root, meta[f"{TARGETS}.json"])
        self._settle(trust, seen)
        documents = {TARGETS: trust}
        for role in DELEGATED:
            documents[role] = self.targets(role, trust.signed, meta[f"{role}.json"])
            self._settle(documents[role], seen)
        return Walked(roots=roots, timestamp=timestamp, snapshot=snapshot, targets=documents)

    def _settle(self, document: Document[Any], seen: Mapping[str, int]) -> None:
        version = document.signed.version
        if version < seen.get(document.role, 0):
            raise VerificationError(
                f"{document.role}: version {version} was offered after"
                f" {seen[document.role]} had been seen; someone turns time back",
                reason="ROLLBACK",
            )
        self._check_expiry(document)

    def roots(self, pinned: bytes) -> tuple[Document[Root], ...]:
        """Walk N → N+1 from the pinned root (§5.3); the last one holds."""
        root = parse(ROOT, Root, pinned)
        check_threshold(root.signed, root)
        _check_root(root.signed)
        roots = [root]
        while (data := self._read_root(root.signed.version + 1)) is not None:
            if len(roots) > MAX_ROTATIONS:
                raise MalformedError(
                    f"root: more than {MAX_ROTATIONS} rotations since the pinned one;"
                    " pin a newer root",
                    reason="ROOT_ROTATIONS",
                )
            following = parse(ROOT, Root, data)
            check_threshold(root.signed, following)
            check_threshold(following.signed, following)
            if following.signed.version != root.signed.version + 1:
                raise VerificationError(
                    f"root: expected version {root.signed.version + 1} in its place",
                    reason="ROOT_VERSION",
                )
            _check_root(following.signed)
            root = following
            roots.append(root)
        return tuple(roots)

    def _read_root(self, version: int) -> bytes | None:
        return self.read(metadata_path(ROOT, version))

    def _fetch(self, path: str, what: str) -> bytes:
        data = self.read(path)
        if data is None:
            raise MalformedError(f"{what}: referenced but not there", reason="PACK_TRUNCATED")
        return data

    def timestamp(self, root: Root) -> Document[Timestamp]:
        """§5.4: the one file without a version in its name."""
        document = parse(TIMESTAMP, Timestamp, self._fetch(metadata_path(TIMESTAMP), TIMESTAMP))
        check_threshold(root, document)
        return document

    def snapshot(self, root: Root, meta: MetaFile) -> Document[Snapshot]:
        """§5.5: exactly what the timestamp refers to."""
        data = self._referenced(SNAPSHOT, meta)
        document = parse(SNAPSHOT, Snapshot, data)
        check_threshold(root, document)
        _check_version(document, meta)
        # Roles that a later version may add are passed over, as TUF does.
        if not document.signed.meta.keys() >= {f"{role}.json" for role in (TARGETS, *DELEGATED)}:
            raise MalformedError(
                "snapshot: must name the trust role and every delegated role",
                reason="SNAPSHOT_ROLES",
            )
        return document

    def targets(self, role: str, delegator: Root | Targets, meta: MetaFile) -> Document[Targets]:
        """§5.6, for the trust role and for each delegated one."""
        data = self._referenced(role, meta)
        document = parse(role, Targets, data)
        check_threshold(delegator, document)
        _check_version(document, meta)
        check_targets(document)
        return document

    def _referenced(self, role: str, meta: MetaFile) -> bytes:
        data = self._fetch(metadata_path(role, meta.version), role)
        check_reference(meta, role, data)
        return data

    def _check_expiry(self, document: Document[Any]) -> None:
        """Refuse an expired role, where expiry is hard."""
        hard = self.mode is Expiry.ONLINE or document.role in (ROOT, TARGETS)
        if hard and document.signed.is_expired(self.now):
            name = "TRUST" if document.role == TARGETS else document.role.upper()
            raise VerificationError(
                f"{document.role} {document.signed.version}: expired; get a newer state",
                reason=f"{name}_EXPIRED",
            )


def _check_root(root: Root) -> None:
    if root.consistent_snapshot is not True:
        raise MalformedError("root: consistent_snapshot must be true", reason="ROOT_LAYOUT")


def _check_version(document: Document[Any], meta: MetaFile) -> None:
    if document.signed.version != meta.version:
        raise VerificationError(
            f"{document.role}: not the version that the state refers to", reason="MIX_AND_MATCH"
        )


def check_targets(document: Document[Targets]) -> None:
    """Refuse names outside the role's own, and delegations of another shape.

    An ordinary TUF client would pass over such a name; to us it shows that an
    online key is being misused, and that must not go unseen.
    """
    role, targets = document.role, document.signed.targets
    if len(targets) > MAX_TARGETS:
        raise MalformedError(f"{role}: more than {MAX_TARGETS} targets", reason="TOO_LARGE")
    for path, target in targets.items():
        if role_of(path) != role:
            raise VerificationError(
                f"{role}: claims a target that is not its own", reason="NOT_DELEGATED"
            )
        if type(target.length) is not int or target.length > MAX_TARGET_BYTES[role]:
            raise MalformedError(f"{role}: a target beyond its bound", reason="TOO_LARGE")
        # The digest becomes part of a file's name: nothing but digits may pass.
        if _DIGEST.fullmatch(target.hashes.get("sha256", "")) is None:
            raise MalformedError(f"{role}: a target without SHA-256", reason="META_HASH")
    if role == TARGETS:
        _check_delegations(document.signed)
    elif document.signed.delegations is not None:
        raise VerificationError(f"{role}: may not delegate further", reason="NOT_DELEGATED")


def _check_delegations(targets: Targets) -> None:
    roles = None if targets.delegations is None else targets.delegations.roles
    for name in DELEGATED:
        role = None if roles is None else roles.get(name)
        if not isinstance(role, DelegatedRole) or not (
            role.terminating is True and role.paths == [f"{name}/*"]
        ):
            raise MalformedError(
                f"targets: must delegate {name}/* to {name}, terminating", reason="DELEGATIONS"
            )


def _remembered(previous: Mapping[str, int], roots: tuple[Document[Root], ...]) -> dict[str, int]:
    """Drop the versions of roles whose keys were replaced since they were seen.

    TUF §5.3.11: a thief who pushed a version to its maximum would otherwise
    block the role for ever. A version is dropped only where the keys that stay
    cannot reach the threshold by themselves, so no old state can come back.
    """
    kept = dict(previous)
    for old, new in pairwise(document.signed for document in roots):
        if new.version <= previous.get(ROOT, 0):
            continue
        if _replaced(old, new, TIMESTAMP) or _replaced(old, new, SNAPSHOT):
            for role in (TIMESTAMP, SNAPSHOT, *DELEGATED):
                kept.pop(role, None)
        if _replaced(old, new, TARGETS):
            for role in (TARGETS, *DELEGATED):
                kept.pop(role, None)
    return kept


def _replaced(old: Root, new: Root, role: str) -> bool:
    staying = set(old.roles[role].keyids) & set(new.roles[role].keyids)
    return len(staying) < new.roles[role].threshold
