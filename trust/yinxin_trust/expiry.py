"""Expiry 过期失效: what the clock does to licences whose validity is over.

A verifier reads the end of validity in the licence itself, so nothing depends
on when the sweep comes by: it keeps the region's records and its log in step
with what is true already. Hence no approval, and no change of the status list.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Select, select

from yinxin_proto.clock import Clock, Entropy
from yinxin_trust import schema
from yinxin_trust.access import Principal
from yinxin_trust.audit import AuditTrail
from yinxin_trust.commit import insert_rows
from yinxin_trust.context import CallContext
from yinxin_trust.rows import RowBatch, milliseconds
from yinxin_trust.statechange import LicenceRow, StateChange, write_changes
from yinxin_trust.storage import Storage
from yinxin_trust.transition import Operation, row_of

MAX_BATCH: Final = 500
"""Licences in one transaction: other writers wait behind it."""
REASON_CODE: Final = "VALIDITY_OVER"
CLOCK: Final = Principal("@clock", "the region's clock", None, frozenset(), enabled=True)
"""Stands in the audit trail; no principal's id can begin with ``@``."""
_CONTEXT: Final = CallContext(purpose="有效期届满，登记失效")
_GRACE: Final = timedelta(minutes=1)
"""A change that the last second still allowed may be on its way."""


class ExpirySweep:
    """Sweeps licences whose validity is over.

    Args:
        storage: The region's database.
        audit: Records each sweep that found something.
        clock: What is over.
        entropy: Salts of the log's leaves.
    """

    def __init__(
        self, *, storage: Storage, audit: AuditTrail, clock: Clock, entropy: Entropy
    ) -> None:
        self._storage = storage
        self._audit = audit
        self._clock = clock
        self._entropy = entropy

    def expire_due(self, *, max_batches: int = 100) -> int:
        """Expire what is due, batch by batch; return how many licences expired.

        What is left when ``max_batches`` are done is left for the next sweep.
        """
        expired = 0
        for _ in range(max_batches):
            count = self._expire_batch()
            expired += count
            if count < MAX_BATCH:
                break
        return expired

    def _expire_batch(self) -> int:
        with self._storage.read() as conn:
            if not list(conn.execute(self._due(1))):
                return 0
        batch = RowBatch()
        with self._storage.write() as conn:
            # A licence that is being changed right now is left for the next sweep.
            due = conn.execute(self._due(MAX_BATCH).with_for_update(skip_locked=True))
            changes = [_change(row) for row in due]
            if not changes:
                return 0
            now_ms = milliseconds(self._clock.now())
            write_changes(conn, batch, changes, entropy=self._entropy, now_ms=now_ms)
            self._audit.add(
                batch,
                caller=CLOCK,
                method="ExpireLicences",
                resource=f"{len(changes)} licences",
                context=_CONTEXT,
                item_count=len(changes),
            )
            insert_rows(self._storage, conn, batch)
        return len(changes)

    def _due(self, limit: int) -> Select[*tuple[Any, ...]]:
        lic = schema.licence.c
        sources = sorted(state.value for state in row_of(Operation.EXPIRE).sources)
        return (
            select(schema.licence)
            .where(
                lic.state.in_(sources),
                lic.valid_until_ms <= milliseconds(self._clock.now() - _GRACE),
            )
            .order_by(lic.valid_until_ms)
            .limit(limit)
        )


def _change(row: LicenceRow) -> StateChange:
    return StateChange(
        row=row,
        transition=row_of(Operation.EXPIRE),
        reason_code=REASON_CODE,
        effective_ms=row.valid_until_ms,
        caller="",
        sealed_detail=b"",
    )
