"""The audit trail: who called what, why, and for which matter.

A row is queued with what the call made, so a call that stands is on record; a
call that was refused is recorded by itself. Rows are only ever added. None
holds a subject's number: `context.CallContext.check` refuses one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, select

from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.strict import Json
from yinxin_trust import schema
from yinxin_trust.access import Principal
from yinxin_trust.auditchain import AuditSeal
from yinxin_trust.context import CallContext
from yinxin_trust.page import Cursor, Page, PageTokens, newer, page_size_of
from yinxin_trust.rows import RowBatch, milliseconds, moment

REF_BYTES: Final = 16
OK: Final = "OK"


class AuditTrail:
    """Adds to the trail.

    Args:
        clock: Dates the rows.
        entropy: Makes their references.
        seal: Makes the MAC of each row.
    """

    def __init__(self, *, clock: Clock, entropy: Entropy, seal: AuditSeal) -> None:
        self._clock = clock
        self._entropy = entropy
        self._seal = seal

    def add(
        self,
        batch: RowBatch,
        *,
        caller: Principal,
        method: str,
        resource: str,
        context: CallContext,
        item_count: int = 1,
        outcome: str = OK,
        reason: str = "",
    ) -> None:
        """Queue one row; it is on record if and only if ``batch`` commits.

        Args:
            batch: What the call made.
            caller: Who called.
            method: Name of the contract's method.
            resource: What it was about; never a subject's number.
            context: Why.
            item_count: How many things it made, changed or showed.
            outcome: ``OK``, or the code of the error.
            reason: The error's reason.
        """
        row = {
            "audit_ref": self._entropy.token(REF_BYTES),
            "at_ms": milliseconds(self._clock.now()),
            "caller": caller.principal_id,
            "method": method,
            "resource": resource,
            "item_count": item_count,
            "purpose": context.purpose,
            "case_number": context.case_number,
            "service_item": context.service_item,
            "operator": context.operator,
            "outcome": outcome,
            "reason": reason,
        }
        batch.add(schema.audit, {**row, "mac": self._seal.row(row), "block": None})

    def record(
        self,
        conn: Connection,
        *,
        caller: Principal,
        method: str,
        resource: str,
        context: CallContext,
        item_count: int = 1,
        outcome: str = OK,
        reason: str = "",
    ) -> None:
        """Add one row inside an open write transaction; see `add`."""
        batch = RowBatch()
        self.add(
            batch,
            caller=caller,
            method=method,
            resource=resource,
            context=context,
            item_count=item_count,
            outcome=outcome,
            reason=reason,
        )
        for table, rows in batch.tables():
            conn.execute(table.insert(), rows)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One row of the trail."""

    ref: bytes
    at: datetime
    caller: str
    """The principal's id."""
    method: str
    resource: str
    item_count: int
    context: CallContext
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which rows to list; what is absent does not restrict."""

    caller: str | None = None
    method: str | None = None
    resource: str | None = None
    since: datetime | None = None
    """The first moment."""
    until: datetime | None = None
    """The first moment that is no longer listed."""

    def to_json(self) -> Json:
        """Return what a page token is bound to."""
        return [
            "audit",
            self.caller,
            self.method,
            self.resource,
            None if self.since is None else milliseconds(self.since),
            None if self.until is None else milliseconds(self.until),
        ]


def list_records(
    conn: Connection,
    wanted: AuditFilter,
    *,
    pages: PageTokens,
    page_size: int = 0,
    page_token: str = "",
) -> Page[AuditRecord]:
    """Return one page of the trail, oldest first.

    Raises:
        InvalidArgumentError: A page size or token that is not acceptable.
    """
    size = page_size_of(page_size)
    query = _filtered(wanted)
    cursor = pages.read(page_token, wanted.to_json())
    a = schema.audit.c
    if cursor is not None:
        query = query.where(newer(a.at_ms, a.audit_ref, cursor))
    query = query.order_by(a.at_ms, a.audit_ref).limit(size + 1)
    rows = list(conn.execute(query))
    return pages.page(
        [_record(row) for row in rows],
        size,
        wanted.to_json(),
        lambda record: Cursor(milliseconds(record.at), record.ref),
    )


def _filtered(wanted: AuditFilter) -> Select[*tuple[Any, ...]]:
    a = schema.audit.c
    query: Select[*tuple[Any, ...]] = select(schema.audit)
    for column, value in (
        (a.caller, wanted.caller),
        (a.method, wanted.method),
        (a.resource, wanted.resource),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(a.at_ms >= milliseconds(wanted.since))
    if wanted.until is not None:
        query = query.where(a.at_ms < milliseconds(wanted.until))
    return query


def _record(row: Row[*tuple[Any, ...]]) -> AuditRecord:
    return AuditRecord(
        ref=bytes(row.audit_ref),
        at=moment(row.at_ms),
        caller=row.caller,
        method=row.method,
        resource=row.resource,
        item_count=row.item_count,
        context=CallContext(row.purpose, row.case_number, row.service_item, row.operator),
        outcome=row.outcome,
        reason=row.reason,
    )
