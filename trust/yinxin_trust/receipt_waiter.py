"""Waiting for receipts: many requests, one look at the database.

A licence leaves the region only with its receipt, so an issuing request waits
until a signed checkpoint covers its entries. Were each to ask for itself, the
asking would cost more than the issuing. Here one thread per process looks at
the log's head, only while somebody waits, and when the head has moved fetches
the receipts of all that wait in one read, over tiles it remembers.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from yinxin_proto.error import InternalError, UnavailableError, YinxinError
from yinxin_proto.receipt import Receipt
from yinxin_trust.ledger import ReceiptMaker, not_sequenced, signed_size
from yinxin_trust.storage import Storage

POLL_INTERVAL: Final = timedelta(milliseconds=12)
UNSEEN: Final = -1
"""Smaller than the size of any head."""


class _Waiter:
    """One request: what it still lacks, and what it has."""

    __slots__ = ("done", "error", "found", "missing", "since")

    def __init__(self, entries: Iterable[bytes], since: int) -> None:
        self.missing = set(entries)
        self.found: dict[bytes, Receipt] = {}
        self.since = since
        self.error: YinxinError | None = None
        self.done = threading.Event()


class ReceiptWaiter:
    """Gives receipts to the threads of one process, as soon as there are any.

    Make it in the process that uses it, never before a fork. Close it, or use
    it as a context manager.

    Args:
        storage: The region's database.
        log_number: Which log.
        poll_interval: Between two looks at the head, while somebody waits.
        quiet: How long after the head moved it cannot move again: somewhat less
            than the sequencing period. It saves looks, never safety.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        log_number: int,
        poll_interval: timedelta = POLL_INTERVAL,
        quiet: timedelta = timedelta(0),
    ) -> None:
        self._storage = storage
        self._log = log_number
        self._interval = poll_interval.total_seconds()
        self._quiet = quiet.total_seconds()
        self._maker = ReceiptMaker(log_number)
        self._changed = threading.Condition()
        self._waiters: set[_Waiter] = set()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._seen = UNSEEN
        self._looked_at = self._moved_at = -math.inf

    @property
    def seen(self) -> int:
        """The newest signed size that this process has seen; costs nothing.

        Taken *before* committing entries and handed to `wait`, it spares the
        database a question: what was committed later is under no such head.
        """
        return self._seen

    def wait(
        self, entries: Iterable[bytes], timeout: timedelta, *, since: int = UNSEEN
    ) -> dict[bytes, Receipt]:
        """Wait until every entry has a receipt. Its transaction must be over.

        Args:
            entries: Committed entries, 32 bytes each; a batch waits once.
            timeout: From now. What was committed stays committed past it.
            since: What `seen` was before the entries were committed.

        Returns:
            One receipt per distinct entry.

        Raises:
            UnavailableError: ``NOT_SEQUENCED``, not all in time: ask again later;
                ``STOPPING``, this process is going down.
            YinxinError: The log cannot be read, e.g. `IntegrityError`.
        """
        waiter = _Waiter(entries, since)
        if not waiter.missing:
            return {}
        self._enter(waiter)
        try:
            waiter.done.wait(timeout.total_seconds())
        finally:
            with self._changed:
                self._waiters.discard(waiter)
        if waiter.error is not None:
            raise waiter.error
        if not waiter.done.is_set():
            raise not_sequenced()
        return waiter.found

    def close(self) -> None:
        """Turn away whoever waits, and end the thread; safe to call twice."""
        with self._changed:
            self._closed = True
            for waiter in self._waiters:
                waiter.error = _stopping()
                waiter.done.set()
            self._waiters.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _enter(self, waiter: _Waiter) -> None:
        with self._changed:
            if self._closed:
                raise _stopping()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name=f"receipts-{self._log}", daemon=True
                )
                self._thread.start()
            self._waiters.add(waiter)
            if len(self._waiters) == 1 or waiter.since < self._seen:
                self._changed.notify_all()

    def _run(self) -> None:
        while waiting := self._until_due():
            self._looked_at = time.monotonic()
            try:
                self._look(waiting)
            except UnavailableError:
                # Locked or unreachable for now: who waits has a deadline of its own.
                continue
            except YinxinError as error:
                self._fail(waiting, error)
            except Exception as error:  # noqa: BLE001 - the thread outlives any fault of ours
                fault = InternalError("the log could not be read", reason="RECEIPTS")
                fault.__cause__ = error
                self._fail(waiting, fault)

    def _until_due(self) -> list[_Waiter]:
        """Sleep until a look is due; return who waits, nobody when closed."""
        with self._changed:
            while not self._closed:
                pause = self._pause()
                if pause is not None and pause <= 0:
                    return list(self._waiters)
                self._changed.wait(pause)
        return []

    def _pause(self) -> float | None:
        if not self._waiters:
            return None
        due = self._looked_at + self._interval
        if all(waiter.since >= self._seen for waiter in self._waiters):
            # Nobody can be served before the head moves.
            due = max(due, self._moved_at + self._quiet)
        return due - time.monotonic()

    @staticmethod
    def _fail(waiting: list[_Waiter], error: YinxinError) -> None:
        for waiter in waiting:
            waiter.error = error
            waiter.done.set()

    def _look(self, waiting: list[_Waiter]) -> None:
        """Look at the head once, and serve those whom it may have reached."""
        with self._storage.read() as conn:
            size = signed_size(conn, self._log)
            due = [waiter for waiter in waiting if waiter.since < size]
            receipts: dict[bytes, Receipt] = {}
            if due:
                wanted = [entry for waiter in due for entry in waiter.missing]
                receipts = self._maker.receipts(conn, wanted)
        for waiter in due:
            self._hand_over(waiter, receipts, size)
        if size != self._seen:
            self._seen, self._moved_at = size, self._looked_at

    @staticmethod
    def _hand_over(waiter: _Waiter, receipts: dict[bytes, Receipt], size: int) -> None:
        waiter.since = size
        found = waiter.missing & receipts.keys()
        waiter.found.update((entry, receipts[entry]) for entry in found)
        waiter.missing -= found
        if not waiter.missing:
            waiter.done.set()


def _stopping() -> UnavailableError:
    return UnavailableError("this server is stopping; ask again elsewhere", reason="STOPPING")
