"""Every key of the region by owner, purpose and version: where it stands, since when.

What the rows say is what signs: each process reads them in the transaction in
which it signs, or with the directory's snapshot. The database itself holds
that no owner has two active versions of one purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select, update

from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_edge.lookup import Lookup
from yinxin_proto.error import ConflictError, FailedPreconditionError, NotFoundError
from yinxin_proto.jose import encode_x5c, x5c_chain
from yinxin_proto.strict import Json, canonical_json, parse_json
from yinxin_trust import schema
from yinxin_trust.directory import touch
from yinxin_trust.keystage import KNOWN, Stage, Step, target_of

_k = schema.key_version.c
_MOMENTS: Final = {
    Stage.PREPARED: "prepared_ms",
    Stage.PUBLISHED: "published_ms",
    Stage.ACTIVE: "activated_ms",
    Stage.RETIRING: "retiring_ms",
    Stage.RETIRED: "retired_ms",
    Stage.SUSPENDED: "stopped_ms",
    Stage.COMPROMISED: "stopped_ms",
    Stage.DESTROYED: "destroyed_ms",
}
_ACTIVE: Final = Lookup(
    # The stage is compared here: bound, SQLite would plan the look-up anew each time.
    select(_k.version, _k.stage).where(
        _k.owner == bindparam("owner"), _k.purpose == bindparam("purpose")
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVersion:
    """One version of one key."""

    ref: KeyRef
    suite: str
    """Name of its suite; ``secret``, ``Ed25519``, or empty where only the key store knows."""
    stage: Stage
    thumbprint: bytes | None = None
    """SHA-256 of the public half's SPKI."""
    public: bytes | None = None
    """SPKI; of a log, its verifier key."""
    chain: tuple[bytes, ...] = ()
    """DER certificates, leaf first."""
    ending: Json = None
    """The tree within which it signed, once that is fixed."""
    fenced_ms: int | None = None
    prepared_ms: int = 0
    published_ms: int | None = None
    activated_ms: int | None = None
    retiring_ms: int | None = None
    retired_ms: int | None = None
    destroyed_ms: int | None = None
    stopped_ms: int | None = None

    @property
    def since_ms(self) -> int:
        """When it entered its present stage."""
        found = getattr(self, _MOMENTS[self.stage])
        return self.prepared_ms if found is None else int(found)


def add(conn: Connection, key: KeyVersion) -> None:
    """Record a version that was not there, inside a write transaction."""
    touch(conn)
    chain = canonical_json(list(encode_x5c(key.chain)) if key.chain else []).decode()
    moments = {name: getattr(key, name) for name in set(_MOMENTS.values())}
    conn.execute(
        schema.key_version.insert().values(
            owner=key.ref.owner,
            purpose=key.ref.purpose.value,
            version=key.ref.version,
            suite=key.suite,
            stage=key.stage.value,
            thumbprint=key.thumbprint,
            public=key.public,
            chain=chain,
            ending=None if key.ending is None else canonical_json(key.ending).decode(),
            fenced_ms=key.fenced_ms,
            **moments,
        )
    )


def add_active(conn: Connection, keys: Iterable[KeyVersion], now_ms: int) -> None:
    """Record founded keys: published and in use from their first moment."""
    for key in keys:
        founded = replace(
            key, stage=Stage.ACTIVE, prepared_ms=now_ms, published_ms=now_ms, activated_ms=now_ms
        )
        add(conn, founded)


def get(conn: Connection, ref: KeyRef, *, lock: bool = False) -> KeyVersion:
    """Return one version.

    Raises:
        NotFoundError: The region's records name no such key (``KEY``).
    """
    query = select(schema.key_version).where(*_is(ref))
    row = conn.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFoundError(
            f"the region has no key {ref}; list them with: yinxin key list DIR", reason="KEY"
        )
    return _read(row)


def versions(conn: Connection, owner: str, purpose: Purpose) -> list[KeyVersion]:
    """Return every version of a key, oldest first."""
    query = select(schema.key_version).where(_k.owner == owner, _k.purpose == purpose.value)
    return [_read(row) for row in conn.execute(query.order_by(_k.version))]


def inventory(conn: Connection) -> list[KeyVersion]:
    """Return every version of every key, by purpose and owner."""
    order = (_k.purpose, _k.owner, _k.version)
    return [_read(row) for row in conn.execute(select(schema.key_version).order_by(*order))]


def staged(conn: Connection, stages: Sequence[Stage]) -> list[KeyVersion]:
    """Return every version, whoever's and whatever for, that is in one of the stages."""
    query = select(schema.key_version).where(_k.stage.in_([stage.value for stage in stages]))
    order = (_k.purpose, _k.owner, _k.version)
    return [_read(row) for row in conn.execute(query.order_by(*order))]


def known(conn: Connection, purpose: Purpose) -> list[KeyVersion]:
    """Return every version of a purpose that was ever published, whoever's, oldest first."""
    query = select(schema.key_version).where(
        _k.purpose == purpose.value, _k.stage.in_([stage.value for stage in KNOWN])
    )
    return [_read(row) for row in conn.execute(query.order_by(_k.owner, _k.version))]


def active_ref(conn: Connection, owner: str, purpose: Purpose) -> KeyRef:
    """Return the name of the version that is in use.

    Raises:
        FailedPreconditionError: None is: it was suspended or declared
            compromised, and no successor is active yet (``NO_ACTIVE_KEY``).
    """
    for version, stage in _ACTIVE.all(conn, owner=owner, purpose=purpose.value):
        if stage == Stage.ACTIVE:
            return KeyRef(owner, purpose, version)
    raise FailedPreconditionError(
        f"{owner} has no active key for {purpose}; rotate it with: yinxin key rotate",
        reason="NO_ACTIVE_KEY",
    )


def active(conn: Connection, owner: str, purpose: Purpose) -> KeyVersion:
    """Return the version that is in use; errors as `active_ref`."""
    return get(conn, active_ref(conn, owner, purpose))


def in_stages(
    conn: Connection, owner: str, purpose: Purpose, stages: Sequence[Stage]
) -> list[KeyVersion]:
    """Return the versions that are in one of the stages, oldest first."""
    return [key for key in versions(conn, owner, purpose) if key.stage in stages]


def move(
    conn: Connection, key: KeyVersion, step: Step, now_ms: int, **changes: object
) -> KeyVersion:
    """Take one version a step on, inside a write transaction.

    Args:
        conn: The transaction.
        key: As this transaction read it.
        step: Which step.
        now_ms: When.
        changes: Other columns, as they are stored.

    Raises:
        FailedPreconditionError: The step does not lead on from its stage (``KEY_STAGE``).
        ConflictError: Another process moved it meanwhile (``KEY_MOVED``).
    """
    target = target_of(step, key.stage)
    touch(conn)
    done = conn.execute(
        update(schema.key_version)
        .where(*_is(key.ref), _k.stage == key.stage.value)
        .values(stage=target.value, **{_MOMENTS[target]: now_ms}, **changes)
    ).rowcount
    if done != 1:
        raise ConflictError(
            f"the key {key.ref} was moved on by another process; look again", reason="KEY_MOVED"
        )
    return get(conn, key.ref)


def note(conn: Connection, ref: KeyRef, **changes: object) -> None:
    """Write other columns of a version, inside a write transaction."""
    touch(conn)
    conn.execute(update(schema.key_version).where(*_is(ref)).values(**changes))


def _is(ref: KeyRef) -> tuple[Any, ...]:
    return (
        _k.owner == ref.owner,
        _k.purpose == ref.purpose.value,
        _k.version == ref.version,
    )


def _read(row: Row[*tuple[Any, ...]]) -> KeyVersion:
    chain = parse_json(row.chain.encode())
    return KeyVersion(
        ref=KeyRef(row.owner, Purpose(row.purpose), row.version),
        suite=row.suite,
        stage=Stage(row.stage),
        thumbprint=None if row.thumbprint is None else bytes(row.thumbprint),
        public=None if row.public is None else bytes(row.public),
        chain=x5c_chain({"x5c": chain}) if chain else (),
        ending=None if row.ending is None else parse_json(row.ending.encode()),
        fenced_ms=row.fenced_ms,
        **{name: getattr(row, name) for name in set(_MOMENTS.values())},
    )
