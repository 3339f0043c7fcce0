"""A region's trust repository, verified: what a verifier believes of one state.

Pure: files come from a callback, the moment is an argument. Any TUF client can
follow the same repository; this view adds the offline pack, ages, and memory of
what was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from tuf.api.metadata import TargetFile

from yinxin_proto.error import (
    InvalidArgumentError,
    MalformedError,
    NotFoundError,
    VerificationError,
)
from yinxin_proto.repository_metadata import (
    DELEGATED,
    ROLES,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TRUST_LIST,
    byte_limit,
    metadata_path,
    target_path,
)
from yinxin_proto.repository_walk import MAX_ROTATIONS, Expiry, Read, Walk, Walked

__all__ = [
    "DELEGATED",
    "MAX_ROTATIONS",
    "ROLES",
    "TRUST_LIST",
    "Expiry",
    "Read",
    "RepositoryView",
    "RoleState",
    "byte_limit",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleState:
    """One role of a verified repository."""

    version: int
    issued_at: datetime
    expires: datetime
    """First moment at which it no longer holds."""

    def age(self, now: datetime) -> timedelta:
        """Return the time since it was signed; negative if that is ahead of ``now``."""
        return now - self.issued_at

    def is_expired(self, now: datetime) -> bool:
        """Tell whether it no longer holds at ``now``."""
        return now >= self.expires


class RepositoryView:
    """One verified state of a trust repository."""

    def __init__(self, *, walked: Walked, read: Read, now: datetime) -> None:
        self._walked = walked
        self._read = read
        self._now = now
        self.roles: Mapping[str, RoleState] = {role: _state(walked, role) for role in ROLES}
        """State of every role, by name."""
        self._targets: dict[str, TargetFile] = {
            path: target
            for document in walked.targets.values()
            for path, target in document.signed.targets.items()
        }

    @classmethod
    def load(
        cls,
        pinned_root: bytes,
        read: Read,
        now: datetime,
        *,
        mode: Expiry = Expiry.ONLINE,
        previous: Mapping[str, int] | None = None,
    ) -> RepositoryView:
        """Verify the state that ``read`` offers, from a root already trusted.

        Args:
            pinned_root: Bytes of the root that the caller trusts, any version.
            read: See `Read`; called for metadata only, targets come later.
            now: The reference time, timezone-aware.
            mode: What an expired online role means.
            previous: Role versions seen before (`versions` of an earlier view).

        Raises:
            MalformedError: A file that does not parse, is too large, or is
                missing (``PACK_TRUNCATED``); a layout that is not ours.
            VerificationError: ``THRESHOLD``, ``ROOT_VERSION``, ``ROLLBACK``,
                ``MIX_AND_MATCH``, ``NOT_DELEGATED``, or an expired role
                (``ROOT_EXPIRED``, ``TRUST_EXPIRED``, ``TIMESTAMP_EXPIRED``, …).
            InvalidArgumentError: ``now`` is naive.
        """
        if now.tzinfo is None:
            raise InvalidArgumentError("now: must be timezone-aware", reason="NAIVE_TIME")
        walk = Walk(read=read, now=now, mode=mode, previous=previous or {})
        return cls(walked=walk.run(pinned_root), read=read, now=now)

    @property
    def root(self) -> bytes:
        """Bytes of the root that holds: what to pin from now on."""
        return self._walked.roots[-1].data

    @property
    def versions(self) -> dict[str, int]:
        """Versions to remember, and to hand to the next load as ``previous``."""
        return {role: state.version for role, state in self.roles.items()}

    @property
    def ages(self) -> dict[str, timedelta]:
        """Time since each role was signed, at the moment of the load."""
        return {role: state.age(self._now) for role, state in self.roles.items()}

    @property
    def expired(self) -> frozenset[str]:
        """Roles that had expired at the moment of the load; empty online."""
        return frozenset(role for role, state in self.roles.items() if state.is_expired(self._now))

    def paths(self, role: str | None = None) -> tuple[str, ...]:
        """Return the targets of one role (``targets`` for the trust role), or of all.

        Raises:
            NotFoundError: ``ROLE``; no role of that name has targets.
        """
        if role is None:
            return tuple(self._targets)
        if role not in self._walked.targets:
            raise NotFoundError("repository: no such role", reason="ROLE")
        return tuple(self._walked.targets[role].signed.targets)

    def target(self, path: str) -> bytes:
        """Read one target and check it against the metadata.

        Args:
            path: Name as the roles list it, e.g. ``status/a1.jwt``.

        Raises:
            NotFoundError: ``TARGET``; no role vouches for such a file.
            MalformedError: ``PACK_TRUNCATED``; vouched for, but not there.
            VerificationError: ``HASH_MISMATCH``; other bytes.
        """
        info = self._targets.get(path)
        if info is None:
            raise NotFoundError("repository: no such target", reason="TARGET")
        digest = info.hashes["sha256"]
        data = self._read(target_path(path, digest))
        if data is None:
            raise MalformedError(
                "repository: a target is vouched for but not there", reason="PACK_TRUNCATED"
            )
        if len(data) != info.length or sha256(data).hexdigest() != digest:
            raise VerificationError(
                "repository: a target has other bytes than were vouched for",
                reason="HASH_MISMATCH",
            )
        return data

    def files(self) -> tuple[str, ...]:
        """Return every file of this state, in an order that is safe to publish.

        What refers comes after what it refers to, the timestamp last; roots
        begin at the pinned one.
        """
        walked = self._walked
        targets = (target_path(path, info.hashes["sha256"]) for path, info in self._targets.items())
        versioned = (*DELEGATED, TARGETS, SNAPSHOT)
        return (
            *targets,
            *(metadata_path(role, self.roles[role].version) for role in versioned),
            *(metadata_path(ROOT, document.signed.version) for document in walked.roots),
            metadata_path(TIMESTAMP),
        )


def _state(walked: Walked, role: str) -> RoleState:
    document = walked.document(role)
    return RoleState(
        version=document.signed.version,
        issued_at=document.issued_at,
        expires=document.signed.expires,
    )
