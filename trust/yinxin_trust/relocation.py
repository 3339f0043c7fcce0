"""Moving a region from one database to another: all of it, or nothing.

Danger: two databases that both believe to be the region would be two histories
of one log. So the old one is locked while it is copied, and marked as moved
before the new one may be opened:

1. copy every row in one transaction of the new database, marked ``arriving``;
2. read it back and compare; check that log and tables agree;
3. mark the old database ``moved``, and take its leases for good;
4. mark the new one ``arrived``.

A database that is ``moved`` or ``arriving`` is never opened. Whatever was
interrupted is finished, or done again, by the same command.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Table, inspect, select, text, update

from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import (
    AlreadyExistsError,
    ConfigurationError,
    FailedPreconditionError,
    IntegrityError,
)
from yinxin_proto.strict import canonical_json, parse_json
from yinxin_trust import schema
from yinxin_trust.rows import milliseconds
from yinxin_trust.storage import Storage, get_setting, put_setting

REGION_SETTING: Final = "region"
"""Setting: the region's code; the first thing that a founding writes."""
MARK: Final = "relocation"
"""Setting: where a database stands in a move; absent in one that never moved."""
_IDENTITY: Final = "ca/root"
"""Setting: the root certificate, which no two regions share."""
_CHUNK: Final = 1000
_NEVER_MS: Final = 2**62
_TABLES: Final = schema.metadata.sorted_tables


class _Stage(StrEnum):
    ARRIVING = "arriving"
    ARRIVED = "arrived"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class _Mark:
    move: str
    """Random; the same in both databases of one move."""
    stage: _Stage


@dataclass(frozen=True, slots=True)
class Relocated:
    """What was moved."""

    tables: int
    rows: int


@dataclass(frozen=True, slots=True)
class _Count:
    """Rows of one table, and a sum of their digests that no order changes."""

    rows: int
    digest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """Moves a region's rows into another database.

    Nothing may serve the region meanwhile: hold the lock of its directory.
    """

    source: Storage
    """The region's present database."""
    target: Storage
    """An empty one, or one that an interrupted move left."""
    holder: str
    """Whose own leases are no sign of another server; see ``region.lease_holder``."""
    check: Callable[[Storage], None]
    """Raises unless log, tiles and tables of a database agree."""
    clock: Clock
    entropy: Entropy

    def run(self) -> Relocated:
        """Move the region, or finish a move that was interrupted.

        Raises:
            ConfigurationError: ``DATABASE_MOVED``, the present database is not
                the region's any more and the target is not where it went.
            AlreadyExistsError: ``DATABASE_NOT_EMPTY``, the target holds a
                region's rows already.
            FailedPreconditionError: ``DATABASE_IN_USE``, a server works on it.
            IntegrityError: What arrived is not what left; nothing was moved.
        """
        here, there = _mark(self.source), _mark(self.target)
        if here is not None and here.stage is _Stage.MOVED:
            if there is None or there.move != here.move:
                raise _moved()
            self._arrive(there.move)
            return Relocated(tables=len(_TABLES), rows=0)
        if here is not None and here.stage is _Stage.ARRIVING:
            raise _arriving()
        if not self._is_own_remnant(there):
            self._require_empty()
        counts = self._move(self.entropy.token(16).hex())
        return Relocated(tables=len(counts), rows=sum(count.rows for count in counts.values()))

    def _is_own_remnant(self, there: _Mark | None) -> bool:
        """Tell whether the target holds what an interrupted move of this region left."""
        if there is None or there.stage is not _Stage.ARRIVING:
            return False
        with self.source.read() as old, self.target.read() as new:
            return get_setting(old, _IDENTITY) == get_setting(new, _IDENTITY)

    def _require_empty(self) -> None:
        with self.target.read() as conn:
            known = set(inspect(conn).get_table_names())
            for table in _TABLES:
                if table.name in known and conn.execute(select(table).limit(1)).first():
                    raise AlreadyExistsError(
                        "the database to move to holds a region's rows already; name an empty one",
                        reason="DATABASE_NOT_EMPTY",
                    )

    def _move(self, move: str) -> Mapping[str, _Count]:
        self.target.create()
        with self.source.write() as old:
            _lock(old)
            self._require_idle(old)
            with self.target.write() as new:
                counts = self._copy(old, new)
                _write_mark(new, _Mark(move, _Stage.ARRIVING))
            self.check(self.target)
            _write_mark(old, _Mark(move, _Stage.MOVED))
            _take_leases(old)
        self._arrive(move)
        return counts

    def _require_idle(self, conn: Connection) -> None:
        lease = schema.lease.c
        now_ms = milliseconds(self.clock.now())
        busy = select(lease.holder).where(lease.expires_ms > now_ms, lease.holder != self.holder)
        if conn.execute(busy).first() is not None:
            raise FailedPreconditionError(
                "a server works on the present database, or was killed less than a minute ago; "
                "stop it, wait a minute, and try again",
                reason="DATABASE_IN_USE",
            )

    def _copy(self, old: Connection, new: Connection) -> dict[str, _Count]:
        counts: dict[str, _Count] = {}
        for table in reversed(_TABLES):
            new.execute(table.delete())
        for table in _TABLES:
            sent = _Tally()
            for chunk in _chunks(old, table):
                self.target.insert(new, table, sent.add(chunk))
            arrived = _Tally()
            for chunk in _chunks(new, table):
                arrived.add(chunk)
            if arrived.count != sent.count:
                raise IntegrityError(
                    f"table {table.name} did not arrive as it was sent; nothing was moved",
                    reason="RELOCATION",
                )
            counts[table.name] = sent.count
        return counts

    def _arrive(self, move: str) -> None:
        with self.target.write() as conn:
            conn.execute(update(schema.lease).values(expires_ms=0))
            _write_mark(conn, _Mark(move, _Stage.ARRIVED))


def require_home(storage: Storage, code: str) -> None:
    """Refuse a database that is not, or not yet, or no longer, a region's own.

    Args:
        storage: The database that was opened.
        code: The region's, from its settings.

    Raises:
        ConfigurationError: ``DATABASE_MOVED``, its rows live in another one;
            ``DATABASE_INCOMPLETE``, a move to it was interrupted;
            ``DATABASE_EMPTY``, it holds no region; ``DATABASE_FOREIGN``, it
            holds another one.
    """
    mark = _mark(storage)
    if mark is not None and mark.stage is not _Stage.ARRIVED:
        raise _moved() if mark.stage is _Stage.MOVED else _arriving()
    with storage.read() as conn:
        known = inspect(conn).has_table(schema.setting.name)
        held = get_setting(conn, REGION_SETTING) if known else None
    if held is None:
        raise ConfigurationError(
            "the database holds no region: its file or address was changed, or it was emptied. "
            "Set the right one in region.toml, or restore it from a backup",
            reason="DATABASE_EMPTY",
        )
    if held != code:
        raise ConfigurationError(
            f"the database is that of region {held}, the directory that of {code}; set the "
            "right one in region.toml",
            reason="DATABASE_FOREIGN",
        )


def _moved() -> ConfigurationError:
    return ConfigurationError(
        "this database was moved to another one and is kept only as a copy: two live "
        "databases would be two histories of one log. Open the one it moved to",
        reason="DATABASE_MOVED",
    )


def _arriving() -> ConfigurationError:
    return ConfigurationError(
        "a move to this database was interrupted; repeat it with: yinxin serve DIR --database URL",
        reason="DATABASE_INCOMPLETE",
    )


def _mark(storage: Storage) -> _Mark | None:
    with storage.read() as conn:
        if not inspect(conn).has_table(schema.setting.name):
            return None
        value = get_setting(conn, MARK)
    if value is None:
        return None
    document = parse_json(value.encode())
    return _Mark(str(document["move"]), _Stage(document["stage"]))


def _write_mark(conn: Connection, mark: _Mark) -> None:
    put_setting(conn, MARK, canonical_json({"move": mark.move, "stage": mark.stage.value}).decode())


def _lock(conn: Connection) -> None:
    """Keep every other writer out of the old database until this transaction ends."""
    if conn.dialect.name != "postgresql":
        return  # SQLite has one writer, and we are it.
    # The copy may take long, and the check reads the other database meanwhile.
    conn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    names = ", ".join(table.name for table in _TABLES)
    conn.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))


def _take_leases(conn: Connection) -> None:
    """Fence out, for good, whatever still believes in a lease of the old database."""
    lease = schema.lease
    conn.execute(
        update(lease).values(epoch=lease.c.epoch + 1, holder="moved", expires_ms=_NEVER_MS)
    )


def _chunks(conn: Connection, table: Table) -> Iterator[list[Mapping[str, Any]]]:
    query = select(table)
    if table is schema.setting:
        query = query.where(schema.setting.c.name != MARK)
    result = conn.execute(query.execution_options(yield_per=_CHUNK))
    for part in result.mappings().partitions():
        yield [dict(row) for row in part]


class _Tally:
    """Counts rows and sums their digests."""

    def __init__(self) -> None:
        self._rows = 0
        self._digest = 0

    def add(self, rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        self._rows += len(rows)
        for row in rows:
            self._digest += int.from_bytes(_digest(row), "big")
        return rows

    @property
    def count(self) -> _Count:
        return _Count(self._rows, self._digest % 2**256)


def _digest(row: Mapping[str, Any]) -> bytes:
    hashed = hashlib.sha256()
    for name, value in row.items():
        raw = value if isinstance(value, bytes) else repr(value).encode()
        hashed.update(b"%d:%s%d:%s" % (len(name), name.encode(), len(raw), raw))
    return hashed.digest()
