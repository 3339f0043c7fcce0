"""Whether tables, log entries and status claims belong together.

=================== =========================================================
code                what is wrong
=================== =========================================================
NOT_LOGGED          a row whose entry the log does not hold
ENTRY_ORPHAN        an entry of the log that no row stands behind
ENTRY_SHARED        one entry that two rows stand behind
STATUS_UNCLAIMED    a licence whose status index was never claimed
STATUS_SHARED       one status index that two licences hold
=================== =========================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Select,
    Table,
    exists,
    func,
    or_,
    select,
    union_all,
)

from yinxin_trust import schema
from yinxin_trust.finding import Finding
from yinxin_trust.ledger import LICENCES


@dataclass(frozen=True, slots=True)
class EntrySource:
    """A table whose every row has an entry of its own in a log."""

    table: Table
    entry: Column[Any]
    """An indexed column."""

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.name


ENTRY_SOURCES: Final[Mapping[int, tuple[EntrySource, ...]]] = {
    LICENCES: (
        EntrySource(schema.licence, schema.licence.c.entry),
        EntrySource(schema.licence_event, schema.licence_event.c.entry),
        EntrySource(schema.key_event, schema.key_event.c.entry),
    ),
}
"""By log: every kind of row that stands behind an entry. A new kind is one line here;
a log that is not named is not examined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCheck:
    """The tables under examination, in one snapshot."""

    conn: Connection
    """A read transaction."""
    tail: int | None
    """How many of the newest entries to look at; None for everything."""

    def findings(self) -> Iterator[Finding]:
        """Yield everything that is wrong.

        With a tail, only what the newest entries and the waiting ones show:
        rows that lack their entry cannot be found without reading every row.
        """
        for log_number, sources in ENTRY_SOURCES.items():
            yield from self._orphans(log_number, sources)
            if self.tail is None:
                yield from self._unlogged(log_number, sources)
                yield from self._shared(sources)
        if self.tail is None:
            yield from self._status_claims()

    def _count(self, query: Select[Any]) -> int:
        count: int = self.conn.execute(
            select(func.count()).select_from(query.subquery())
        ).scalar_one()
        return count

    def _orphans(self, log_number: int, sources: tuple[EntrySource, ...]) -> Iterator[Finding]:
        e = schema.log_entry.c
        query = select(e.entry, e.idx).where(
            e.log_number == log_number,
            *(~exists().where(source.entry == e.entry) for source in sources),
        )
        if self.tail is not None:
            h = schema.log_head.c
            size = select(h.size).where(h.log_number == log_number).scalar_subquery()
            query = query.where(or_(e.idx.is_(None), e.idx >= size - self.tail))
        if count := self._count(query):
            first = self.conn.execute(select(func.min(query.subquery().c.idx))).scalar_one()
            yield Finding(
                "ENTRY_ORPHAN",
                f"log {log_number}",
                f"{count} entries that no row stands behind, first index {first}",
            )

    def _unlogged(self, log_number: int, sources: tuple[EntrySource, ...]) -> Iterator[Finding]:
        e = schema.log_entry.c
        for source in sources:
            logged = exists().where(e.log_number == log_number, e.entry == source.entry)
            if count := self._count(select(source.entry).where(~logged)):
                yield Finding(
                    "NOT_LOGGED", source.name, f"{count} rows whose entry log {log_number} lacks"
                )

    def _shared(self, sources: tuple[EntrySource, ...]) -> Iterator[Finding]:
        every = union_all(*(select(source.entry.label("entry")) for source in sources)).subquery()
        twice = select(every.c.entry).group_by(every.c.entry).having(func.count() > 1)
        if count := self._count(twice):
            names = ", ".join(source.name for source in sources)
            yield Finding("ENTRY_SHARED", names, f"{count} entries with several rows each")

    def _status_claims(self) -> Iterator[Finding]:
        li, s = schema.licence.c, schema.status_index.c
        claimed = exists().where(s.list_number == li.status_list, s.idx == li.status_idx)
        if count := self._count(select(li.licence_ref).where(~claimed)):
            yield Finding(
                "STATUS_UNCLAIMED", "licence", f"{count} rows whose status index was never claimed"
            )
        place = (li.status_list, li.status_idx)
        if count := self._count(select(*place).group_by(*place).having(func.count() > 1)):
            yield Finding(
                "STATUS_SHARED", "licence", f"{count} status indexes with several licences each"
            )
