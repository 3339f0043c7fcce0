"""Group commit: concurrent calls share a transaction.

A durable commit costs far more than the rows in it, and SQLite has one writer
anyway. Callers queue what they want inserted; whoever gets the gate writes
everything that is waiting, in one transaction, and the others find their work
done. A duplicate anywhere fails the whole transaction, so a shared one that
fails is repeated call by call: nobody fails for another's duplicate.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, Table, select

from yinxin_proto.error import AlreadyExistsError, ConflictError
from yinxin_trust import schema
from yinxin_trust.keystage import Stage
from yinxin_trust.rows import Row, RowBatch
from yinxin_trust.storage import Storage

# One order for everybody, or two transactions of two processes could wait for
# each other. Claims come first: what may be refused is refused early.
_ORDER: Final[dict[Table, int]] = {
    table: position
    for position, table in enumerate(
        (
            schema.request,
            schema.approval,
            schema.licence_number,
            schema.identifier_index,
            schema.licence_identifier,
            schema.status_index,
            schema.subject,
            schema.licence,
            schema.holding,
            schema.licence_event,
            schema.key_event,
            schema.log_entry,
            schema.audit,
        )
    )
}
# Within a table too: whoever claims second waits until the first has ended, and
# two batches about the same people must not wait for each other.
_CLAIMED: Final[dict[Table, Callable[[Row], Any]]] = {
    schema.request: itemgetter("caller", "request_id"),
    schema.approval: itemgetter("digest"),
    schema.licence_number: itemgetter("value"),
    schema.identifier_index: itemgetter("value"),
}
_MAX_ROWS: Final = 20_000
_PATIENCE: Final = 0.02
"""Seconds that a ready batch waits for those that are being prepared."""


_v: Final = schema.key_version.c


class KeyFencedError(ConflictError):
    """A key signed that was withdrawn before what it signed could be stored."""


class _Pending:
    __slots__ = ("batch", "done", "error")

    def __init__(self, batch: RowBatch) -> None:
        self.batch = batch
        self.done = False
        self.error: BaseException | None = None


class Seat:
    """One call's place in the next transaction, until its batch is there or given up."""

    __slots__ = ("_count", "_taken")

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count
        self._taken = True
        count(1)

    def release(self) -> None:
        """Let the others go on; safe to call twice."""
        if self._taken:
            self._taken = False
            self._count(-1)


class GroupCommitter:
    """Commits row batches, several callers' at once.

    Args:
        storage: The region's database.
    """

    def __init__(self, *, storage: Storage) -> None:
        self._storage = storage
        self._gate = threading.Lock()
        self._waiting: deque[_Pending] = deque()
        self._arrived = threading.Condition()
        self._coming = 0

    def commit(self, batch: RowBatch, seat: Seat | None = None) -> None:
        """Insert all rows of ``batch`` durably, or none.

        Args:
            batch: Rows of one call.
            seat: The call's, if it took one; it is given up.

        Raises:
            AlreadyExistsError: A claim is taken; `reason` is ``UNIQUE``.
            KeyFencedError: A licence's key signs no more (``KEY_FENCED``).
            UnavailableError: The database is locked or gone; nothing was written.
            ResourceExhaustedError: The disk is full; nothing was written.
        """
        mine = _Pending(batch)
        self._waiting.append(mine)
        if seat is not None:
            seat.release()
        with self._gate:
            # Only until it is this caller's turn: the next one in takes what came since.
            while not mine.done:
                with self._arrived:
                    self._arrived.wait_for(self._is_complete, _PATIENCE)
                self._commit_next()
        if mine.error is not None:
            raise mine.error

    @contextmanager
    def expected(self) -> Iterator[Seat]:
        """Prepare a batch in this block: who is ready meanwhile waits for it a moment.

        Without it, calls that came together would commit one by one, each as
        soon as it is ready, and pay for a transaction each.
        """
        seat = Seat(self._count)
        try:
            yield seat
        finally:
            seat.release()

    def _count(self, change: int) -> None:
        with self._arrived:
            self._coming += change
            if not self._coming:
                self._arrived.notify_all()

    def _is_complete(self) -> bool:
        return not self._coming

    def _commit_next(self) -> None:
        """Write what waits, up to a bound; the caller holds the gate and waits itself."""
        group: list[_Pending] = []
        rows = 0
        while self._waiting and rows < _MAX_ROWS:
            pending = self._waiting.popleft()
            group.append(pending)
            rows += len(pending.batch)
        self._commit_group(group)

    def _commit_group(self, group: list[_Pending]) -> None:
        merged = group[0].batch
        if len(group) > 1:
            merged = RowBatch()
            for pending in group:
                merged.extend(pending.batch)
        try:
            self._write(merged)
        except (AlreadyExistsError, KeyFencedError) as error:
            if len(group) > 1:
                for pending in group:
                    self._commit_group([pending])
                return
            group[0].error = error
        except BaseException as error:  # noqa: BLE001 - raised again in every caller's thread
            # Every caller of the group learns it; none may believe it is stored.
            for pending in group:
                pending.error = error
        for pending in group:
            pending.done = True

    def _write(self, batch: RowBatch) -> None:
        with self._storage.write() as conn:
            _check_keys(conn, batch)
            insert_rows(self._storage, conn, batch)


def _check_keys(conn: Connection, batch: RowBatch) -> None:
    """Refuse licences of a key that was withdrawn while they were being made.

    Their places in the log would be past the end that is pinned for the key.
    The keys' rows stay locked until the commit: whoever withdraws one of them
    waits for it, and counts what it stored.
    """
    rows = dict(batch.tables()).get(schema.licence, ())
    used = {row["key_thumbprint"] for row in rows}
    if not used:
        return
    query = select(_v.stage, _v.fenced_ms).where(_v.thumbprint.in_(sorted(used)))
    for stage, fenced_ms in conn.execute(query.with_for_update(read=True)):
        if fenced_ms is not None or stage not in (Stage.ACTIVE, Stage.RETIRING):
            raise KeyFencedError(
                "the key that signed was withdrawn meanwhile; sign anew", reason="KEY_FENCED"
            )


def insert_rows(storage: Storage, conn: Connection, batch: RowBatch) -> None:
    """Insert a batch inside an open write transaction, table by table in the one order.

    Raises:
        AlreadyExistsError: A claim is taken; `reason` is ``UNIQUE``.
    """
    ordered = sorted(batch.tables(), key=lambda item: _ORDER.get(item[0], len(_ORDER)))
    for table, rows in ordered:
        key = _CLAIMED.get(table)
        storage.insert(conn, table, rows if key is None else sorted(rows, key=key))
