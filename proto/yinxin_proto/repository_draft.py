"""The next version of each role of a trust repository, not signed yet.

Pure functions: the previous version and the term go in, bytes come out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from securesystemslib.signer import SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from yinxin_proto.error import InvalidArgumentError, MalformedError
from yinxin_proto.repository_key import tuf_key
from yinxin_proto.repository_metadata import (
    DELEGATED,
    ISSUED_AT,
    MAX_TARGET_BYTES,
    TARGETS,
    TOP_LEVEL,
    Document,
    role_of,
)
from yinxin_proto.signature import PublicKey

_HASHES: Final = ["sha256"]
_SPEC_VERSION: Final = "1.0.31"
"""Stated by us: a newer python-tuf must not change our bytes by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleKeys:
    """The keys of a role, and how many of them must sign: k of n.

    Raises:
        InvalidArgumentError: ``THRESHOLD`` unless 1 ≤ threshold ≤ number of
            keys, all distinct.
    """

    keys: tuple[PublicKey, ...]
    threshold: int = 1

    def __post_init__(self) -> None:
        distinct = len({key.spki for key in self.keys})
        if not 1 <= self.threshold <= distinct or distinct != len(self.keys):
            raise InvalidArgumentError(
                "repository: a threshold of 1 … n over n distinct keys is required",
                reason="THRESHOLD",
            )

    def identifiers(self) -> list[str]:
        """Return TUF's identifiers of the keys."""
        return [key.keyid for key in self.tuf_keys()]

    def tuf_keys(self) -> list[SSlibKey]:
        """Return the keys as TUF metadata carries them."""
        return [tuf_key(key) for key in self.keys]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """Which version of a role, and from when to when."""

    version: int
    issued_at: datetime
    expires: datetime

    def members(self) -> dict[str, Any]:
        """Return the arguments that every TUF role takes."""
        return {
            "version": self.version,
            "spec_version": _SPEC_VERSION,
            "expires": self.expires,
            "unrecognized_fields": {ISSUED_AT: int(self.issued_at.timestamp())},
        }


def draft_root(
    keys: Mapping[str, RoleKeys], term: Term, *, delegations: Delegations | None
) -> bytes:
    """Return a root that names the keys of the four top-level roles.

    Raises:
        InvalidArgumentError: ``ROLES`` for other roles; ``KEY_PURPOSE`` for a
            key that would serve two, those of ``delegations`` included.
    """
    if set(keys) != set(TOP_LEVEL):
        raise InvalidArgumentError(
            f"root: keys of {', '.join(TOP_LEVEL)} are required", reason="ROLES"
        )
    _check_purposes([*_holders(keys), *_delegated_holders(delegations)])
    root = Root(**term.members())
    for role, holders in keys.items():
        root.roles[role].threshold = holders.threshold
        for key in holders.tuf_keys():
            root.add_key(key, role)
    return _unsigned(root)


def new_delegations(root: Root, keys: Mapping[str, RoleKeys]) -> Delegations:
    """Return the delegations of the trust role: one level, terminating.

    Raises:
        InvalidArgumentError: ``ROLES`` for other roles; ``KEY_PURPOSE`` for a
            key that would serve two, those of ``root`` included.
    """
    if set(keys) != set(DELEGATED):
        raise InvalidArgumentError(
            f"targets: keys of {', '.join(DELEGATED)} are required", reason="ROLES"
        )
    _check_purposes([*(role.keyids for role in root.roles.values()), *_holders(keys)])
    return Delegations(
        keys={key.keyid: key for holders in keys.values() for key in holders.tuf_keys()},
        roles={
            role: DelegatedRole(
                name=role,
                keyids=keys[role].identifiers(),
                threshold=keys[role].threshold,
                terminating=True,
                paths=[f"{role}/*"],
            )
            for role in DELEGATED
        },
    )


def draft_targets(
    role: str,
    current: Targets | None,
    changes: Mapping[str, bytes | None],
    term: Term,
    *,
    delegations: Delegations | None,
) -> bytes:
    """Return the targets of ``current`` with ``changes``; None takes one away.

    Raises:
        InvalidArgumentError: ``TARGET_NAME`` for a name that is not the
            role's; ``TOO_LARGE`` for a target beyond the role's bound.
    """
    targets = {} if current is None else dict(current.targets)
    for path, data in changes.items():
        _check_name(role, path)
        if data is None:
            targets.pop(path, None)
        elif len(data) <= MAX_TARGET_BYTES[role]:
            targets[path] = TargetFile.from_data(path, data, _HASHES)
        else:
            raise InvalidArgumentError(
                f"{role}: a target has at most {MAX_TARGET_BYTES[role]} bytes", reason="TOO_LARGE"
            )
    return _unsigned(Targets(**term.members(), targets=targets, delegations=delegations))


def draft_snapshot(documents: Mapping[str, Document[Targets]], term: Term) -> bytes:
    """Return a snapshot of the trust role and every delegated role."""
    metas = {f"{role}.json": _meta(documents[role]) for role in (TARGETS, *DELEGATED)}
    return _unsigned(Snapshot(**term.members(), meta=metas))


def draft_timestamp(snapshot: Document[Snapshot], term: Term) -> bytes:
    """Return a timestamp that refers to ``snapshot``."""
    return _unsigned(Timestamp(**term.members(), snapshot_meta=_meta(snapshot)))


def _meta(document: Document[Any]) -> MetaFile:
    return MetaFile.from_data(document.signed.version, document.data, _HASHES)


def _check_name(role: str, path: str) -> None:
    try:
        owner = role_of(path)
    except MalformedError as error:
        raise InvalidArgumentError(error.message, reason="TARGET_NAME") from error
    if owner != role:
        raise InvalidArgumentError(
            f"{role}: may not vouch for a target of {owner}", reason="TARGET_NAME"
        )


def _holders(keys: Mapping[str, RoleKeys]) -> list[list[str]]:
    return [holders.identifiers() for holders in keys.values()]


def _delegated_holders(delegations: Delegations | None) -> list[list[str]]:
    roles = None if delegations is None else delegations.roles
    return [] if roles is None else [role.keyids for role in roles.values()]


def _check_purposes(holders: Sequence[Sequence[str]]) -> None:
    identifiers = [identifier for role in holders for identifier in role]
    if len(set(identifiers)) != len(identifiers):
        raise InvalidArgumentError(
            "repository: a key serves one role; make another", reason="KEY_PURPOSE"
        )


def _unsigned(signed: Signed) -> bytes:
    metadata: Metadata[Any] = Metadata(signed)
    return metadata.to_bytes()
