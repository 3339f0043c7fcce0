"""A seal over who may do what: principals, roles, scopes, keys and certificate authorities.

One MAC, under a key of the online store, over every such row and the version
of the records. Whoever can write to the database but has not the keys can
then alter, add, drop or bring back nothing unnoticed: the records are refused
as a whole, and so is every call. Each change checks the seal that it finds
before it makes its own, or an intruder's rows would be sealed along with it.

What one MAC cannot show is the whole database, seal included, put back to an
older state; the log's remembered checkpoints show that (`soundness`).
"""

from __future__ import annotations

import hmac
from typing import Any, Final

from sqlalchemy import Connection, Table, select

from yinxin_proto.error import IntegrityError
from yinxin_proto.strict import canonical_json
from yinxin_trust import schema

SETTING: Final = "permission_seal"
VERSION: Final = "directory_version"
_LABEL: Final = b"yinxin/permissions/v1\0"
_KEY: Final = "permission_seal"
_CHANGED: Final = "permission_seal_changed"
_k = schema.authority_key.c
_v = schema.key_version.c
_SEALED: Final[tuple[tuple[Table, tuple[Any, ...]], ...]] = (
    (schema.principal, tuple(schema.principal.c)),
    (schema.role_assignment, tuple(schema.role_assignment.c)),
    (schema.authority, tuple(schema.authority.c)),
    # Not the evidence: it is renewed with each revocation list, and grants nothing.
    (
        schema.authority_key,
        (
            _k.thumbprint,
            _k.authority_code,
            _k.purpose,
            _k.version,
            _k.suite,
            _k.spki,
            _k.x5c,
            _k.state,
            _k.not_before_ms,
            _k.not_after_ms,
            _k.stopped_ms,
            _k.pin,
        ),
    ),
    # Whoever could add a TLS CA here would be let in under any name, and what
    # the next trust list says of a key's end is read from here.
    (
        schema.key_version,
        (
            _v.owner,
            _v.purpose,
            _v.version,
            _v.suite,
            _v.stage,
            _v.thumbprint,
            _v.public,
            _v.chain,
            _v.ending,
        ),
    ),
)


class PermissionSeal:
    """Makes and checks the seal.

    Args:
        key: Of the online store; 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._mac_key = hmac.digest(key, _LABEL, "sha256")

    def check(self, conn: Connection) -> None:
        """Refuse records that are not those that were sealed.

        Raises:
            IntegrityError: ``PERMISSIONS``.
        """
        found = _setting(conn, SETTING)
        if found is None and not _any_row(conn):
            return
        if found is None or not hmac.compare_digest(found, self._mac(conn)):
            raise IntegrityError(
                "principals, roles, authorities or their keys were changed behind the region's "
                "back: nobody is served. Compare them with a backup, and look who can write to "
                "the database",
                reason="PERMISSIONS",
            )

    def renew(self, conn: Connection) -> None:
        """Seal the records as they are, inside the write transaction that changed them."""
        s = schema.setting
        value = self._mac(conn)
        changed = conn.execute(s.update().where(s.c.name == SETTING).values(value=value))
        if not changed.rowcount:
            conn.execute(s.insert().values(name=SETTING, value=value))

    def _mac(self, conn: Connection) -> str:
        mac = hmac.new(self._mac_key, digestmod="sha256")
        mac.update((_setting(conn, VERSION) or "0").encode() + b"\0")
        for table, columns in _SEALED:
            rows = [
                canonical_json([_plain(value) for value in row])
                for row in conn.execute(select(*columns))
            ]
            mac.update(f"{table.name}\0{len(rows)}\0".encode())
            for row in sorted(rows):
                mac.update(len(row).to_bytes(4, "big") + row)
        return mac.hexdigest()


def attach(conn: Connection, seal: PermissionSeal) -> None:
    """Make a write transaction know the seal; see `before_change`."""
    conn.info[_KEY] = seal
    conn.info[_CHANGED] = False


def hold(conn: Connection) -> None:
    """Keep other changes out until the transaction ends, where it may write.

    On PostgreSQL each statement of such a transaction sees what was committed
    by then: seal and rows, read one after the other, would be of two moments.
    """
    if conn.info.get(_KEY) is not None:
        s = schema.setting.c
        conn.execute(select(s.value).where(s.name == VERSION).with_for_update())


def before_change(conn: Connection) -> None:
    """Check the seal before the first change of a transaction that knows it."""
    seal: PermissionSeal | None = conn.info.get(_KEY)
    if seal is not None and not conn.info[_CHANGED]:
        hold(conn)
        seal.check(conn)
        conn.info[_CHANGED] = True


def detach(conn: Connection) -> None:
    """Seal what a transaction changed; its last act before it commits."""
    seal: PermissionSeal | None = conn.info.get(_KEY)
    if seal is not None and conn.info[_CHANGED]:
        seal.renew(conn)


def forget(conn: Connection) -> None:
    """Let a connection go back to its pool without what `attach` left on it."""
    conn.info.pop(_KEY, None)
    conn.info.pop(_CHANGED, None)


def _setting(conn: Connection, name: str) -> str | None:
    s = schema.setting.c
    found = conn.execute(select(s.value).where(s.name == name)).scalar_one_or_none()
    return None if found is None else str(found)


def _any_row(conn: Connection) -> bool:
    return any(
        conn.execute(select(columns[0]).limit(1)).first() is not None for _, columns in _SEALED
    )


def _plain(value: object) -> Any:  # noqa: ANN401 - a database's value
    return value.hex() if isinstance(value, bytes | memoryview) else value
