"""Whether licences are in the state that their history says, as the log knows it.

=================== =========================================================
code                what is wrong
=================== =========================================================
EVENT_LEAF          an event that says something else than its leaf
STATE               a licence in another state than its events left it in
STATUS_VALUE        a licence whose status value contradicts its state
=================== =========================================================

Without this, whoever can write to the database could take a revocation back
and leave every tile and entry as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    CompoundSelect,
    Connection,
    Row,
    Select,
    Subquery,
    and_,
    exists,
    func,
    or_,
    select,
    union,
)

from yinxin_proto.error import YinxinError
from yinxin_proto.identifier import of_body
from yinxin_proto.leaf import StatusChangeLeaf
from yinxin_trust import schema
from yinxin_trust.finding import Finding
from yinxin_trust.ledger import LICENCES
from yinxin_trust.transition import STATUS_VALUES, State

_SETTLED: Final = {str(state): int(value) for state, value in STATUS_VALUES.items()}
_li, _ev, _s = schema.licence.c, schema.licence_event.c, schema.status_index.c
SAME_VERSION: Final = and_(
    _ev.subject_ref == _li.subject_ref,
    _ev.licence_ref == _li.licence_ref,
    _ev.revision == _li.revision,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCheck:
    """Licences and their events under examination, in one snapshot."""

    conn: Connection
    """A read transaction."""
    tail: int | None
    """How many of the newest entries to look at, with the licences they are
    about; None for everything."""

    def findings(self) -> Iterator[Finding]:
        """Yield everything that is wrong."""
        yield from self._events()
        yield from self._states()
        yield from self._status_values()

    def _newest(self) -> Select[tuple[bytes]]:
        """Return the entries of the tail, and those that wait for their place."""
        e, h = schema.log_entry.c, schema.log_head.c
        # Asked first: of a number at hand a planner knows how few entries are beyond it.
        size = self.conn.execute(select(h.size).where(h.log_number == LICENCES)).scalar() or 0
        return select(e.entry).where(
            e.log_number == LICENCES, or_(e.idx.is_(None), e.idx >= size - (self.tail or 0))
        )

    def _concerned(self) -> Subquery:
        """Return which licences the tail is about."""
        newest = self._newest()
        both: CompoundSelect[Any] = union(
            select(_li.subject_ref, _li.licence_ref).where(_li.entry.in_(newest)),
            select(_ev.subject_ref, _ev.licence_ref).where(_ev.entry.in_(newest)),
        )
        return both.subquery()

    def _of_tail(self, query: Select[Any]) -> Select[Any]:
        """Narrow a query over licences to those that the tail is about."""
        if self.tail is None:
            return query
        some = self._concerned()
        return query.join(
            some,
            and_(some.c.subject_ref == _li.subject_ref, some.c.licence_ref == _li.licence_ref),
        )

    def _events(self) -> Iterator[Finding]:
        query = select(schema.licence_event, _li.type_code, _li.issuer_code, _li.serial)
        query = query.join_from(schema.licence_event, schema.licence, SAME_VERSION)
        if self.tail is not None:
            query = query.where(_ev.entry.in_(self._newest()))
        wrong = sum(not event_opens(row) for row in self.conn.execute(query))
        if wrong:
            yield Finding(
                "EVENT_LEAF", "licence_event", f"{wrong} rows say something else than was logged"
            )

    def _states(self) -> Iterator[Finding]:
        later = exists().where(SAME_VERSION, _ev.generation > _li.generation)
        latest = exists().where(
            SAME_VERSION, _ev.generation == _li.generation, _ev.to_state == _li.state
        )
        untouched = and_(~exists().where(SAME_VERSION), _li.state == State.VALID.value)
        query = self._of_tail(select(func.count()).select_from(schema.licence))
        count = self.conn.execute(query.where(or_(later, ~or_(latest, untouched)))).scalar_one()
        if count:
            yield Finding(
                "STATE", "licence", f"{count} rows in another state than their events left them in"
            )

    def _status_values(self) -> Iterator[Finding]:
        at = and_(_s.list_number == _li.status_list, _s.idx == _li.status_idx)
        query = select(_li.state, _s.value, func.count())
        query = self._of_tail(query.join_from(schema.licence, schema.status_index, at))
        pairs = self.conn.execute(query.group_by(_li.state, _s.value))
        for state, value, count in sorted(tuple(pair) for pair in pairs):
            # Expiry speaks from the licence itself; its status stays what it was.
            if state != State.EXPIRED and _SETTLED.get(state) != value:
                yield Finding("STATUS_VALUE", "licence", f"{count} rows {state} with value {value}")


def event_opens(row: Row[Any]) -> bool:
    """Tell whether an event's leaf, made anew from its row, is the one logged."""
    try:
        identifier = of_body(f"{row.type_code}.{row.issuer_code}.{row.serial}", row.revision)
        leaf = StatusChangeLeaf(
            identifier=str(identifier),
            from_state=row.from_state,
            to_state=row.to_state,
            operation=row.operation,
            reason_code=row.reason_code or None,
            effective_time=row.effective_ms // 1000,
            operator_certificate_hash=row.operator_certificate_hash,
            approval_hash=row.approval_hash,
            prior_index=row.prior_index,
        )
        return leaf.entry(bytes(row.salt)) == bytes(row.entry)
    except YinxinError:
        return False
