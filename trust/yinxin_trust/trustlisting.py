"""The trust list, as the region's records make it.

It is rebuilt whole from the database each time: what verifiers are told is
what the service itself believes, and nothing is edited by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from yinxin_ca.keystore import Purpose
from yinxin_proto.keyrecord import KeyPurpose, KeyRecord, KeyState, Pin
from yinxin_proto.logkey import FrozenHead, LogKey, LogKind
from yinxin_proto.scope import Authority, TypeScope
from yinxin_proto.strict import canonical_json, parse_json
from yinxin_proto.trustlist import Anchors, TrustList
from yinxin_trust import schema
from yinxin_trust.keyinventory import KeyVersion, known
from yinxin_trust.keystage import Stage
from yinxin_trust.logcosigner import broken_logs, cosigner_of, parallel_root
from yinxin_trust.namespace import Namespace
from yinxin_trust.storage import put_setting, require_setting

CROSS_PREFIX = "cross-ca/"
"""Settings that hold our root's certificates for licence CAs outside."""
_CAS = ("root", "licence", "status", "tls", "seal", "timestamp", "member")
_REGION = ""
"""``authority_key.authority_code`` of the region's own keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionAnchors:
    """The certificates of the CAs that sign now, DER."""

    root: bytes
    licence: bytes
    status: bytes
    tls: bytes
    seal: bytes
    """Of seals and personal signatures; licences do not depend on it."""
    timestamp: bytes
    member: bytes
    """Of departments and operators."""


def put_anchors(conn: Connection, anchors: RegionAnchors) -> None:
    """Write the CA certificates, inside a write transaction."""
    for name in _CAS:
        put_setting(conn, f"ca/{name}", getattr(anchors, name).hex())


def get_anchors(conn: Connection) -> RegionAnchors:
    """Read the CA certificates."""
    return RegionAnchors(
        **{name: bytes.fromhex(require_setting(conn, f"ca/{name}")) for name in _CAS}
    )


def put_anchor(conn: Connection, name: str, certificate: bytes) -> None:
    """Let another CA of a name sign from now on, inside a write transaction."""
    put_setting(conn, f"ca/{name}", certificate.hex())


def cross_anchors(conn: Connection) -> tuple[bytes, ...]:
    """Return licence CAs outside the region that its root has certified."""
    s = schema.setting.c
    rows = conn.execute(
        select(s.value).where(s.name.startswith(CROSS_PREFIX)).order_by(s.name)
    ).scalars()
    return tuple(bytes.fromhex(value) for value in rows)


def build_trust_list(conn: Connection, namespace: Namespace, now: datetime) -> TrustList:
    """Return the trust list of the region as the transaction sees it."""
    anchors = get_anchors(conn)
    keys: dict[str, list[KeyRecord]] = {}
    order = (schema.authority_key.c.authority_code, schema.authority_key.c.thumbprint)
    pins = endings(conn)
    for row in conn.execute(select(schema.authority_key).order_by(*order)):
        pin = pins.get(bytes(row.thumbprint))
        keys.setdefault(row.authority_code, []).append(key_record(row, pin))
    authorities = conn.execute(select(schema.authority).order_by(schema.authority.c.code))
    return TrustList(
        region=namespace.code,
        domain=namespace.domain,
        issued_at=int(now.timestamp()),
        anchors=Anchors(
            root=anchors.root,
            licence=(*_certificates(conn, Purpose.LICENCE_CA), *cross_anchors(conn)),
            status=_certificates(conn, Purpose.STATUS_CA),
            tls=_certificates(conn, Purpose.TLS_CA),
            pq_root=parallel_root(conn),
        ),
        authorities=tuple(_authority(row, keys.get(row.code, ())) for row in authorities),
        status_keys=tuple(keys.get(_REGION, ())),
        logs=tuple(_logs(conn)),
    )


def _certificates(conn: Connection, purpose: Purpose) -> tuple[bytes, ...]:
    """Return every CA of a purpose that was ever published: licences outlive their CA's key.

    Not a TLS CA that was stolen: its certificates open a door by themselves.
    """
    return tuple(
        key.chain[0]
        for key in known(conn, purpose)
        if key.chain and not (purpose is Purpose.TLS_CA and key.stage is Stage.COMPROMISED)
    )


def endings(conn: Connection) -> dict[bytes, Pin]:
    """Return the trees within which retired keys signed, by the keys' thumbprints."""
    v = schema.key_version.c
    query = select(v.thumbprint, v.ending).where(
        v.ending.is_not(None), v.thumbprint.is_not(None), v.purpose != Purpose.LOG.value
    )
    return {
        bytes(thumbprint): Pin.from_json(parse_json(ending.encode()), "ending")
        for thumbprint, ending in conn.execute(query)
    }


def _logs(conn: Connection) -> list[LogKey]:
    """Return every epoch of every log: the ones before stand as far as they went."""
    broken = broken_logs(conn)
    return [_log_key(key, broken) for key in known(conn, Purpose.LOG)]


def _log_key(key: KeyVersion, broken: frozenset[str]) -> LogKey:
    vkey = (key.public or b"").decode("ascii")
    origin = vkey.split("+")[0]
    end = None if key.ending is None else FrozenHead.from_json(key.ending, "ending")
    is_stolen = key.stage is Stage.COMPROMISED
    return LogKey(
        origin=origin,
        kind=LogKind(key.ref.owner.partition("-")[2]),
        vkey=vkey,
        closed_at=None if is_stolen else end,
        frozen_at=end if is_stolen else None,
        cosigner=cosigner_of(origin, key.chain[0]) if key.chain else None,
        ed25519_broken=origin in broken,
    )


def _authority(row: Row[*tuple[Any, ...]], keys: list[KeyRecord] | tuple[()]) -> Authority:
    scopes = parse_json(row.types.encode())
    return Authority(
        code=row.code,
        name=row.name,
        name_en=row.name_en or None,
        types=tuple(TypeScope.from_json(scope, "types") for scope in scopes),
        keys=tuple(keys),
    )


def scopes_json(scopes: tuple[TypeScope, ...]) -> str:
    """Return scopes as the ``authority.types`` column holds them."""
    return canonical_json([scope.to_json() for scope in scopes]).decode()


def key_record(row: Row[*tuple[Any, ...]], ending: Pin | None = None) -> KeyRecord:
    """Return an ``authority_key`` row as the trust list says it.

    Args:
        row: Of the table.
        ending: The pin of an ordinary retirement; one of a compromise is in the row.
    """
    state = KeyState(row.state)
    # Once declared compromised, what an ordinary end said of it counts no more.
    pin = ending if state is KeyState.RETIRED else None
    if row.pin is not None:
        pin = Pin.from_json(parse_json(row.pin.encode()), "pin")
    return KeyRecord(
        suite=row.suite,
        purpose=KeyPurpose(row.purpose),
        spki=bytes(row.spki),
        state=state,
        not_before=row.not_before_ms // 1000,
        not_after=None if row.not_after_ms is None else row.not_after_ms // 1000,
        pin=pin,
    )


def key_row(
    *,
    authority_code: str = _REGION,
    version: int,
    record: KeyRecord,
    x5c: tuple[str, ...] = (),
    evidence_hash: bytes | None = None,
) -> dict[str, Any]:
    """Return an ``authority_key`` row; the empty code stands for the region itself."""
    return {
        "thumbprint": record.thumbprint,
        "authority_code": authority_code,
        "purpose": record.purpose.value,
        "version": version,
        "suite": record.suite,
        "spki": record.spki,
        "x5c": canonical_json(list(x5c)).decode(),
        "evidence_hash": evidence_hash,
        "state": record.state.value,
        "not_before_ms": record.not_before * 1000,
        "not_after_ms": None if record.not_after is None else record.not_after * 1000,
    }
