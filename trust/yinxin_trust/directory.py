"""The region's own records of who and what: authorities, principals, types.

They are few, read by every call and changed rarely, so each process keeps a
snapshot and reads one row per call to learn whether it is still true. A
withdrawn role or a suspended key is therefore withdrawn for the next call, and
a key that was taken into use signs from the next call on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, Text, and_, cast, or_, select, update

from yinxin_ca.keystore import KeyRef, KeyStore, Purpose
from yinxin_proto.error import FailedPreconditionError, NotFoundError, PermissionDeniedError
from yinxin_proto.issuer import Issuer
from yinxin_proto.keyrecord import KeyState
from yinxin_proto.scope import TypeScope
from yinxin_proto.signature import PublicKey
from yinxin_proto.strict import parse_json
from yinxin_proto.suite import suite
from yinxin_trust import schema
from yinxin_trust.access import Principal, Role
from yinxin_trust.catalogue import Catalogue, load_catalogue
from yinxin_trust.keystage import Stage
from yinxin_trust.permissionseal import VERSION, PermissionSeal, before_change, hold
from yinxin_trust.storage import get_setting, put_setting


@dataclass(frozen=True, slots=True)
class LicenceKey:
    """The key with which a region signs one authority's licences."""

    ref: KeyRef
    thumbprint: bytes
    x5c: tuple[str, ...]
    """Base64 DER certificates, leaf first, as the JOSE header carries them."""
    evidence_hash: bytes
    """What the log commits to: the chain and the CRL of the day."""
    not_before_ms: int
    not_after_ms: int | None


@dataclass(frozen=True, slots=True)
class IssuingAuthority:
    """An authority of this region, with what it may issue and sign with."""

    code: str
    name: str
    name_en: str
    scopes: tuple[TypeScope, ...]
    licence_key: LicenceKey | None
    approval_keys: Mapping[bytes, PublicKey]
    """By thumbprint; active ones only."""

    def may_issue(self, type_code: str, at: int) -> bool:
        """Tell whether the type is within the scope at ``at`` (Unix seconds)."""
        return any(scope.type == type_code and scope.covers(at) for scope in self.scopes)


@dataclass(frozen=True, slots=True)
class DirectorySnapshot:
    """The records as of one version."""

    version: str
    authorities: Mapping[str, IssuingAuthority]
    principals: Mapping[str, Principal]
    catalogue: Catalogue = field(repr=False)

    def authority(self, code: str) -> IssuingAuthority:
        """Return an authority.

        Raises:
            NotFoundError: No such authority in this region.
        """
        found = self.authorities.get(code)
        if found is None:
            raise NotFoundError("no such authority in this region", reason="AUTHORITY")
        return found

    def principal(self, principal_id: str) -> Principal:
        """Return a principal.

        Raises:
            PermissionDeniedError: The region's records do not name it.
        """
        found = self.principals.get(principal_id)
        if found is None:
            raise PermissionDeniedError(
                "this region's records do not name the caller; a security administrator "
                "can register it",
                reason="PRINCIPAL_UNKNOWN",
            )
        return found


class Directory:
    """Keeps the snapshot, and the signers that it names.

    Args:
        keystore: Holds the authorities' licence-signing keys.
        seal: Shows that the records are those that the region wrote.
        on_change: Called in the transaction that saw the records change, before
            anybody gets the new snapshot.
    """

    def __init__(
        self,
        *,
        keystore: KeyStore,
        seal: PermissionSeal,
        on_change: Callable[[Connection], None] | None = None,
    ) -> None:
        self._keystore = keystore
        self._seal = seal
        self._on_change = on_change
        self._lock = threading.Lock()
        self._snapshot: DirectorySnapshot | None = None
        self._issuers: dict[LicenceKey, Issuer] = {}

    def snapshot(self, conn: Connection) -> DirectorySnapshot:
        """Return the records as the transaction sees them.

        Raises:
            IntegrityError: They were changed behind the region's back (``PERMISSIONS``).
        """
        version = get_setting(conn, VERSION) or "0"
        current = self._snapshot
        if current is not None and current.version == version:
            return current
        # Before this process's own lock: who has the row may be about to ask for that.
        hold(conn)
        version = get_setting(conn, VERSION) or "0"
        with self._lock:
            current = self._snapshot
            if current is None or current.version != version:
                self._seal.check(conn)
                if self._on_change is not None:
                    self._on_change(conn)
                current = _load(conn, version)
                self._snapshot = current
        return current

    def issuer(self, authority: IssuingAuthority) -> tuple[Issuer, LicenceKey]:
        """Return who signs an authority's licences, with its active key.

        Raises:
            FailedPreconditionError: It has none now (``NO_ACTIVE_KEY``).
        """
        key = authority.licence_key
        if key is None:
            raise FailedPreconditionError(
                "this authority has no active licence-signing key in this region",
                reason="NO_ACTIVE_KEY",
            )
        issuer = self._issuers.get(key)
        if issuer is None:
            issuer = Issuer(signer=self._keystore.signer(key.ref), header={"x5c": list(key.x5c)})
            self._issuers[key] = issuer
        return issuer, key


def touch(conn: Connection) -> None:
    """Make every process reload its snapshot: call it *before* each change of these records.

    The version is raised in the database, and its row stays locked until the
    transaction ends: changes come one after the other, and no two of them can
    make the same version.
    """
    before_change(conn)
    s = schema.setting
    raised = cast(cast(s.c.value, BigInteger) + 1, Text)
    if not conn.execute(update(s).where(s.c.name == VERSION).values(value=raised)).rowcount:
        put_setting(conn, VERSION, "1")


def _load(conn: Connection, version: str) -> DirectorySnapshot:
    return DirectorySnapshot(
        version=version,
        authorities=_load_authorities(conn),
        principals=_load_principals(conn),
        catalogue=load_catalogue(conn),
    )


def _load_authorities(conn: Connection) -> dict[str, IssuingAuthority]:
    keys: dict[str, list[Row[*tuple[Any, ...]]]] = {}
    k, v = schema.authority_key, schema.key_version
    same = and_(
        v.c.owner == k.c.authority_code, v.c.purpose == k.c.purpose, v.c.version == k.c.version
    )
    # Published is not enough to sign: verifiers may not have heard of the key yet.
    signs = or_(k.c.purpose != Purpose.LICENCE.value, v.c.stage == Stage.ACTIVE.value)
    standing = and_(k.c.state == KeyState.ACTIVE.value, k.c.stopped_ms.is_(None))
    query = select(k).join(v, same).where(standing, signs)
    for row in conn.execute(query.order_by(k.c.version)):
        keys.setdefault(row.authority_code, []).append(row)
    return {
        row.code: _authority(row, keys.get(row.code, []))
        for row in conn.execute(select(schema.authority))
    }


def _authority(row: Row[*tuple[Any, ...]], keys: list[Row[*tuple[Any, ...]]]) -> IssuingAuthority:
    scopes = parse_json(row.types.encode())
    licence = [key for key in keys if key.purpose == Purpose.LICENCE]
    approvals = [key for key in keys if key.purpose == Purpose.APPROVAL]
    return IssuingAuthority(
        code=row.code,
        name=row.name,
        name_en=row.name_en,
        scopes=tuple(TypeScope.from_json(scope, "types") for scope in scopes),
        licence_key=_licence_key(licence[-1]) if licence else None,
        approval_keys={
            bytes(key.thumbprint): suite(key.suite).load_public(bytes(key.spki))
            for key in approvals
        },
    )


def _licence_key(row: Row[*tuple[Any, ...]]) -> LicenceKey:
    return LicenceKey(
        ref=KeyRef(row.authority_code, Purpose.LICENCE, row.version),
        thumbprint=bytes(row.thumbprint),
        x5c=tuple(parse_json(row.x5c.encode())),
        evidence_hash=bytes(row.evidence_hash),
        not_before_ms=row.not_before_ms,
        not_after_ms=row.not_after_ms,
    )


def _load_principals(conn: Connection) -> dict[str, Principal]:
    roles: dict[str, set[Role]] = {}
    in_force = schema.role_assignment.c.withdrawn_ms.is_(None)
    for assignment in conn.execute(select(schema.role_assignment).where(in_force)):
        roles.setdefault(assignment.principal_id, set()).add(Role(assignment.role))
    return {
        row.principal_id: Principal(
            principal_id=row.principal_id,
            display_name=row.display_name,
            authority_code=row.authority_code,
            roles=frozenset(roles.get(row.principal_id, ())),
            enabled=bool(row.enabled),
        )
        for row in conn.execute(select(schema.principal))
    }
