"""Whether a key may still sign, held in the transaction that stores what it signed.

A key that is stopped signs nothing more from the moment the stop is committed:
whoever signed just before and commits just after is refused by the row that
both look at. So the log's entries of a stolen key have a last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, exists, select, update

from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_proto.error import (
    InvalidArgumentError,
    NotFoundError,
)
from yinxin_proto.keyrecord import KeyRecord, KeyState, Pin
from yinxin_proto.strict import canonical_json, parse_json
from yinxin_trust import schema
from yinxin_trust.directory import touch
from yinxin_trust.keyinventory import KeyVersion, get, in_stages, move
from yinxin_trust.keystage import Stage, Step
from yinxin_trust.storage import require_setting
from yinxin_trust.trustlisting import endings, key_record

REGION_SETTING: Final = "region"
_MIN_PREFIX: Final = 8
_k = schema.authority_key.c


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingKey:
    """One row of ``authority_key``."""

    owner: str
    """Credit code; empty for the region itself."""
    version: int
    record: KeyRecord
    stopped_ms: int | None
    chain: tuple[str, ...]
    """Base64 DER, leaf first."""

    @property
    def thumbprint(self) -> bytes:
        """SHA-256 of its SPKI."""
        return self.record.thumbprint

    def __str__(self) -> str:
        return f"{self.owner or 'region'}.{self.record.purpose}.{self.version}"


def find_key(conn: Connection, name: str) -> StandingKey:
    """Return the key of a name: ``OWNER.PURPOSE.VERSION``, or the start of its thumbprint.

    Raises:
        NotFoundError: None (``KEY``).
        InvalidArgumentError: Several (``KEY_NAME``).
    """
    rows = [row for row in conn.execute(select(schema.authority_key)) if _is_named(row, name)]
    if not rows:
        raise NotFoundError(
            "no such key in this region's trust list; name it OWNER.PURPOSE.VERSION, or by the "
            "first 8 digits of its thumbprint",
            reason="KEY",
        )
    if len(rows) > 1:
        raise InvalidArgumentError("several keys begin so; give more digits", reason="KEY_NAME")
    return _standing(conn, rows[0])


def get_key(conn: Connection, thumbprint: bytes) -> StandingKey:
    """Return a key by its thumbprint.

    Raises:
        NotFoundError: No such key (``KEY``).
    """
    row = conn.execute(
        select(schema.authority_key).where(_k.thumbprint == thumbprint)
    ).one_or_none()
    if row is None:
        raise NotFoundError("no such key in this region", reason="KEY")
    return _standing(conn, row)


def stop(conn: Connection, key: StandingKey, now_ms: int) -> None:
    """Let a key sign nothing more, inside a write transaction; its trust is not touched."""
    touch(conn)
    conn.execute(
        update(schema.authority_key)
        .where(_k.thumbprint == key.thumbprint, _k.stopped_ms.is_(None))
        .values(stopped_ms=now_ms)
    )
    version = key_version(conn, key)
    if version.stage in (Stage.PUBLISHED, Stage.ACTIVE, Stage.RETIRING):
        move(conn, version, Step.SUSPEND, now_ms, fenced_ms=now_ms)


def go_on(conn: Connection, key: StandingKey, now_ms: int) -> None:
    """Let a stopped key sign again, unless another took its place, inside a write transaction."""
    version = key_version(conn, key)
    if version.stage is Stage.SUSPENDED:
        others = in_stages(conn, version.ref.owner, version.ref.purpose, (Stage.ACTIVE,))
        move(conn, version, Step.REINSTATE if others else Step.RESUME, now_ms, fenced_ms=None)


def key_version(conn: Connection, key: StandingKey) -> KeyVersion:
    """Return what the records of keys say of one."""
    owner = key.owner or require_setting(conn, REGION_SETTING)
    return get(conn, KeyRef(owner, Purpose(key.record.purpose.value), key.version))


def write_standing(
    conn: Connection,
    thumbprint: bytes,
    *,
    state: KeyState,
    stopped_ms: int | None,
    not_after: int | None = None,
    pin: Pin | None = None,
) -> None:
    """Write what the trust list is to say of a key, inside a write transaction."""
    touch(conn)
    conn.execute(
        update(schema.authority_key)
        .where(_k.thumbprint == thumbprint)
        .values(
            state=state.value,
            stopped_ms=stopped_ms,
            not_after_ms=None if not_after is None else not_after * 1000,
            pin=None if pin is None else canonical_json(pin.to_json()).decode(),
        )
    )


def waits_for_place(conn: Connection, log_number: int, thumbprint: bytes) -> bool:
    """Tell whether an entry of a key's licences still waits for its index."""
    e, li = schema.log_entry.c, schema.licence.c
    query = select(e.entry).where(
        e.log_number == log_number,
        e.idx.is_(None),
        exists().where(li.entry == e.entry, li.key_thumbprint == thumbprint),
    )
    return conn.execute(query.limit(1)).first() is not None


def _is_named(row: Row[*tuple[Any, ...]], name: str) -> bool:
    full = f"{row.authority_code or 'region'}.{row.purpose}.{row.version}"
    digits = bytes(row.thumbprint).hex()
    return name == full or (len(name) >= _MIN_PREFIX and digits.startswith(name.lower()))


def _standing(conn: Connection, row: Row[*tuple[Any, ...]]) -> StandingKey:
    chain = parse_chain(row.x5c)
    return StandingKey(
        owner=row.authority_code,
        version=row.version,
        record=key_record(row, endings(conn).get(bytes(row.thumbprint))),
        stopped_ms=row.stopped_ms,
        chain=chain,
    )


def parse_chain(text: str) -> tuple[str, ...]:
    """Return an ``x5c`` column."""
    return tuple(parse_json(text.encode()))
