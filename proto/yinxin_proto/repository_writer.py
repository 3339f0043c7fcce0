"""Signing the next state of a trust repository.

Pure: published files come from a callback, new ones are returned. A document is
drafted, cosigned by k of n people each where his key is, then accepted; online
roles do all three at once. No state that a verifier would refuse is handed out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from yinxin_proto.clock import Clock
from yinxin_proto.error import FailedPreconditionError, MalformedError
from yinxin_proto.repository import RepositoryView
from yinxin_proto.repository_draft import (
    RoleKeys,
    Term,
    draft_root,
    draft_snapshot,
    draft_targets,
    draft_timestamp,
    new_delegations,
)
from yinxin_proto.repository_key import tuf_key
from yinxin_proto.repository_metadata import (
    DELEGATED,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Document,
    check_threshold,
    cosign,
    metadata_path,
    parse,
    target_path,
)
from yinxin_proto.repository_walk import MAX_ROTATIONS, Read, check_targets
from yinxin_proto.signature import PublicKey, Signer

__all__ = ["LIFETIMES", "RepositoryWriter", "RoleKeys", "cosign"]

LIFETIMES: Final[Mapping[str, timedelta]] = {
    ROOT: timedelta(days=730),
    TARGETS: timedelta(days=365),
    "status": timedelta(days=1),
    "crl": timedelta(days=7),
    "catalogue": timedelta(days=90),
    SNAPSHOT: timedelta(days=1),
    TIMESTAMP: timedelta(days=1),
}
"""How long each role holds once signed, unless a writer is told otherwise."""


class RepositoryWriter:
    """One piece of work on a repository, from what is published to what comes next.

    Two writers must not work on one repository at once: the caller holds a
    lock, or two different states would carry the same version. After an error
    a writer is thrown away; nothing of it was published.

    Args:
        read: Files as published so far; see `Read`.
        clock: For the time of issue and the expiry of what is signed.
        lifetimes: By role, in place of those of `LIFETIMES`.

    Raises:
        MalformedError: What ``read`` returned does not parse, or is not all
            there (``PACK_TRUNCATED``).
    """

    def __init__(
        self, *, read: Read, clock: Clock, lifetimes: Mapping[str, timedelta] | None = None
    ) -> None:
        self._published = read
        self._clock = clock
        self._lifetimes = {**LIFETIMES, **(lifetimes or {})}
        self._new: dict[str, bytes] = {}
        self._roots: list[Document[Root]] = []
        self._timestamp: Document[Timestamp] | None = None
        self._snapshot: Document[Snapshot] | None = None
        self._targets: dict[str, Document[Targets]] = {}
        while (data := read(metadata_path(ROOT, len(self._roots) + 1))) is not None:
            self._roots.append(parse(ROOT, Root, data))
        if (data := read(metadata_path(TIMESTAMP))) is not None:
            self._resume(parse(TIMESTAMP, Timestamp, data))

    def _resume(self, timestamp: Document[Timestamp]) -> None:
        self._timestamp = timestamp
        path = metadata_path(SNAPSHOT, timestamp.signed.snapshot_meta.version)
        self._snapshot = parse(SNAPSHOT, Snapshot, self._stored(path))
        for role in (TARGETS, *DELEGATED):
            meta = self._snapshot.signed.meta.get(f"{role}.json")
            if meta is None:
                raise MalformedError("snapshot: lacks a role", reason="SNAPSHOT_ROLES")
            data = self._stored(metadata_path(role, meta.version))
            self._targets[role] = parse(role, Targets, data)

    def _read(self, path: str) -> bytes | None:
        found = self._new.get(path)
        return self._published(path) if found is None else found

    def _stored(self, path: str) -> bytes:
        data = self._read(path)
        if data is None:
            raise MalformedError(f"repository: {path} is not there", reason="PACK_TRUNCATED")
        return data

    @property
    def roots(self) -> tuple[bytes, ...]:
        """Every root from version 1 on; a verifier pins one of them."""
        return tuple(document.data for document in self._roots)

    def names(self, role: str, key: PublicKey) -> bool:
        """Tell whether what is published lets a key sign for a role, top-level or delegated."""
        delegations = self._trust().delegations
        delegated = {} if delegations is None else delegations.roles or {}
        holder = self._root().roles.get(role) or delegated.get(role)
        return holder is not None and tuf_key(key).keyid in holder.keyids

    def draft_root(self, keys: Mapping[str, RoleKeys]) -> bytes:
        """Return the next root unsigned, with the keys of the top-level roles.

        Raises:
            InvalidArgumentError: See `repository_draft.draft_root`.
        """
        trust = self._targets.get(TARGETS)
        return draft_root(
            keys,
            self._term(ROOT, self._roots[-1] if self._roots else None),
            delegations=None if trust is None else trust.signed.delegations,
        )

    def accept_root(self, data: bytes) -> None:
        """Take in a root that enough of the old and of the new keys have signed.

        Raises:
            VerificationError: ``THRESHOLD``.
            FailedPreconditionError: ``VERSION``; not the next one.
        """
        root = parse(ROOT, Root, data)
        current = self._roots[-1] if self._roots else root
        self._check_next(root, self._roots[-1] if self._roots else None)
        # A root that the old keys did not sign would lock every verifier out.
        check_threshold(current.signed, root)
        check_threshold(root.signed, root)
        self._roots.append(root)
        self._new[metadata_path(ROOT, root.signed.version)] = data

    def write_root(self, keys: Mapping[str, RoleKeys], *, signers: Sequence[Signer]) -> None:
        """Draft, sign and accept; ``signers`` hold the old root keys and the new."""
        self.accept_root(_signed(self.draft_root(keys), signers))

    def stage(self, path: str, data: bytes) -> None:
        """Hold a target's bytes ready for a draft that was made elsewhere."""
        digest = sha256(data).hexdigest()
        self._new[target_path(path, digest)] = data

    def draft_targets(
        self,
        role: str,
        changes: Mapping[str, bytes | None],
        *,
        delegations: Mapping[str, RoleKeys] | None = None,
    ) -> bytes:
        """Return the next version of the trust role or a delegated one, unsigned.

        Args:
            role: ``targets``, ``status``, ``crl`` or ``catalogue``.
            changes: New bytes by target name; None takes a target away, what
                is not named stays.
            delegations: For ``targets`` alone: the keys of every delegated
                role; required the first time, kept when omitted.

        Raises:
            InvalidArgumentError: See `repository_draft.draft_targets` and
                `repository_draft.new_delegations`.
        """
        document = self._targets.get(role)
        current = None if document is None else document.signed
        kept = None if current is None else current.delegations
        draft = draft_targets(
            role,
            current,
            changes,
            self._term(role, document),
            delegations=kept if delegations is None else new_delegations(self._root(), delegations),
        )
        for path, data in changes.items():
            if data is not None:
                self.stage(path, data)
        return draft

    def accept_targets(self, role: str, data: bytes) -> None:
        """Take in a version of the trust role or a delegated one.

        Raises:
            VerificationError: ``THRESHOLD``, ``NOT_DELEGATED``.
            FailedPreconditionError: ``VERSION``; ``ROLE_ORDER`` when what
                delegates to it is not there yet; ``TARGET_MISSING`` when the
                bytes of a target are neither published nor staged.
            MalformedError: It does not parse, or is not of our layout.
        """
        document = parse(role, Targets, data)
        current = self._targets.get(role)
        self._check_next(document, current)
        check_threshold(self._root() if role == TARGETS else self._trust(), document)
        check_targets(document)
        known = {} if current is None else current.signed.targets
        for path, info in document.signed.targets.items():
            if (
                known.get(path) != info
                and self._read(target_path(path, info.hashes["sha256"])) is None
            ):
                raise FailedPreconditionError(
                    f"{role}: the bytes of a target are missing; stage them first",
                    reason="TARGET_MISSING",
                )
        self._targets[role] = document
        self._new[metadata_path(role, document.signed.version)] = data

    def write_targets(
        self,
        role: str,
        changes: Mapping[str, bytes | None],
        *,
        signers: Sequence[Signer],
        delegations: Mapping[str, RoleKeys] | None = None,
    ) -> None:
        """Draft, sign and accept; see `draft_targets` and `accept_targets`."""
        draft = self.draft_targets(role, changes, delegations=delegations)
        self.accept_targets(role, _signed(draft, signers))

    def publish(
        self, *, snapshot: Sequence[Signer], timestamp: Sequence[Signer]
    ) -> dict[str, bytes]:
        """Sign a snapshot and a timestamp, and return every new file by its path.

        The order is the one to write them in where they cannot be written at
        once: what refers comes after what it refers to, the timestamp last.

        Raises:
            FailedPreconditionError: ``ROLE_ORDER``; a role was never written.
            VerificationError: What a verifier would refuse: a role expired,
                or not signed anew after its keys were replaced.
        """
        if len(self._targets) != len((TARGETS, *DELEGATED)):
            raise FailedPreconditionError(
                "repository: write every role before publishing", reason="ROLE_ORDER"
            )
        draft = draft_snapshot(self._targets, self._term(SNAPSHOT, self._snapshot))
        self._snapshot = parse(SNAPSHOT, Snapshot, _signed(draft, snapshot))
        path = metadata_path(SNAPSHOT, self._snapshot.signed.version)
        self._new[path] = self._snapshot.data
        draft = draft_timestamp(self._snapshot, self._term(TIMESTAMP, self._timestamp))
        self._timestamp = parse(TIMESTAMP, Timestamp, _signed(draft, timestamp))
        self._new[metadata_path(TIMESTAMP)] = self._timestamp.data
        pinned = self._roots[-MAX_ROTATIONS:][0].data
        view = RepositoryView.load(pinned, self._read, self._clock.now())
        return {path: self._new[path] for path in view.files() if path in self._new}

    def _root(self) -> Root:
        if not self._roots:
            raise FailedPreconditionError("repository: write a root first", reason="ROLE_ORDER")
        return self._roots[-1].signed

    def _trust(self) -> Targets:
        if TARGETS not in self._targets:
            raise FailedPreconditionError(
                "repository: write the trust role first", reason="ROLE_ORDER"
            )
        return self._targets[TARGETS].signed

    def _term(self, role: str, current: Document[Any] | None) -> Term:
        now = self._clock.now()
        version = 1 if current is None else current.signed.version + 1
        return Term(version=version, issued_at=now, expires=now + self._lifetimes[role])

    def _check_next(self, document: Document[Any], current: Document[Any] | None) -> None:
        expected = 1 if current is None else current.signed.version + 1
        if document.signed.version != expected:
            raise FailedPreconditionError(
                f"{document.role}: version {expected} is next; draft it anew", reason="VERSION"
            )


def _signed(draft: bytes, signers: Sequence[Signer]) -> bytes:
    for signer in signers:
        draft = cosign(draft, signer)
    return draft
