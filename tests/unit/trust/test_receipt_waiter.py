"""Many threads wait, one looks: receipts as soon as a checkpoint covers them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from sqlalchemy import Connection, delete

from support.log_region import LogRegion, entries, entry, open_storage
from yinxin_proto.error import InternalError, NotFoundError, UnavailableError
from yinxin_proto.receipt import Receipt
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES
from yinxin_trust.receipt_waiter import UNSEEN, ReceiptWaiter
from yinxin_trust.storage import Storage

LONG = timedelta(seconds=20)
SHORT = timedelta(seconds=0.1)
INTERVAL = timedelta(milliseconds=2)


class CountingStorage(Storage):
    """Counts the reads, and makes them fail when told to."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage.database)
        self.reads = 0
        self.failure: Exception | None = None

    def read(self) -> AbstractContextManager[Connection]:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return super().read()


@pytest.fixture
def region() -> Iterator[LogRegion]:
    with open_storage("sqlite://") as storage:
        yield LogRegion(storage)


@pytest.fixture
def storage(region: LogRegion) -> CountingStorage:
    return CountingStorage(region.storage)


@pytest.fixture
def waiter(storage: CountingStorage) -> Iterator[ReceiptWaiter]:
    with ReceiptWaiter(storage=storage, log_number=LICENCES, poll_interval=INTERVAL) as opened:
        yield opened


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as opened:
        yield opened


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _ask(
    pool: ThreadPoolExecutor, waiter: ReceiptWaiter, wanted: list[bytes]
) -> Future[dict[bytes, Receipt]]:
    asked = pool.submit(waiter.wait, wanted, LONG)
    _until(lambda: bool(waiter._waiters) or asked.done())
    return asked


def test_who_waits_gets_receipts_once_they_are_signed(
    region: LogRegion, waiter: ReceiptWaiter, pool: ThreadPoolExecutor
) -> None:
    region.queue(entries(3))
    asked = _ask(pool, waiter, entries(3))
    region.sequencer().run_once()
    receipts = asked.result(20)
    assert receipts.keys() == set(entries(3))
    for logged, receipt in receipts.items():
        receipt.verify(logged, region.signed())


def test_what_is_signed_already_needs_no_further_checkpoint(
    region: LogRegion, waiter: ReceiptWaiter
) -> None:
    region.queue(entries(2))
    region.sequencer().run_once()
    assert waiter.wait([entry(0), entry(0)], LONG).keys() == {entry(0)}
    assert waiter.wait([entry(1)], LONG).keys() == {entry(1)}


def test_nothing_to_wait_for_costs_nothing(waiter: ReceiptWaiter, storage: CountingStorage) -> None:
    assert waiter.wait([], SHORT) == {}
    assert storage.reads == 0


def test_what_is_not_signed_in_time_is_unavailable_and_stays_committed(
    region: LogRegion, waiter: ReceiptWaiter
) -> None:
    region.queue(entries(2))
    sequencer = region.sequencer()
    sequencer._place()
    with pytest.raises(UnavailableError) as caught:
        waiter.wait(entries(2), SHORT)
    assert caught.value.reason == "NOT_SEQUENCED"
    sequencer.run_once()
    assert len(waiter.wait(entries(2), LONG)) == 2


def test_a_batch_waits_for_its_last_entry(
    region: LogRegion, waiter: ReceiptWaiter, pool: ThreadPoolExecutor
) -> None:
    sequencer = region.sequencer()
    region.queue(entries(2))
    asked = _ask(pool, waiter, entries(3))
    sequencer.run_once()
    _until(lambda: waiter.seen == 2)
    assert not asked.done()
    region.queue([entry(2)])
    sequencer.run_once()
    receipts = asked.result(20)
    assert receipts[entry(0)].checkpoint != receipts[entry(2)].checkpoint
    assert len(receipts) == 3


def test_one_read_serves_everybody(
    region: LogRegion, waiter: ReceiptWaiter, storage: CountingStorage, pool: ThreadPoolExecutor
) -> None:
    region.queue(entries(40))
    since = waiter.seen
    asked = [pool.submit(waiter.wait, [entry(number)], LONG, since=since) for number in range(40)]
    _until(lambda: len(waiter._waiters) == 40)
    reads = storage.reads
    started = time.monotonic()
    region.sequencer().run_once()
    for number, future in enumerate(asked):
        assert future.result(20).keys() == {entry(number)}
    looks = (time.monotonic() - started) / INTERVAL.total_seconds()
    assert storage.reads - reads <= looks + 2


def test_nobody_waiting_means_no_looking(
    region: LogRegion, waiter: ReceiptWaiter, storage: CountingStorage
) -> None:
    region.queue(entries(1))
    region.sequencer().run_once()
    waiter.wait(entries(1), LONG)
    reads = storage.reads
    time.sleep(20 * INTERVAL.total_seconds())
    assert storage.reads == reads


def test_what_was_seen_before_the_commit_spares_the_question(
    region: LogRegion, waiter: ReceiptWaiter, pool: ThreadPoolExecutor
) -> None:
    assert waiter.seen == UNSEEN
    region.queue(entries(1))
    sequencer = region.sequencer()
    sequencer.run_once()
    waiter.wait(entries(1), LONG)
    since = waiter.seen
    assert since == 1
    region.queue([entry(1)])
    # Signed, and seen by another, between the commit and the wait.
    sequencer.run_once()
    waiter.wait([entry(1)], LONG)
    assert waiter.wait([entry(1)], LONG, since=since).keys() == {entry(1)}


def test_a_quiet_time_after_the_head_moved_spares_looks(
    region: LogRegion, storage: CountingStorage
) -> None:
    sequencer = region.sequencer()
    quiet = timedelta(seconds=0.3)
    with ReceiptWaiter(
        storage=storage, log_number=LICENCES, poll_interval=INTERVAL, quiet=quiet
    ) as waiter:
        region.queue(entries(1))
        sequencer.run_once()
        waiter.wait(entries(1), LONG)
        reads, started = storage.reads, time.monotonic()
        region.queue([entry(1)])
        sequencer.run_once()
        waiter.wait([entry(1)], LONG, since=waiter.seen)
        assert time.monotonic() - started > 0.2
        assert storage.reads - reads == 1
        # What the seen head may cover already does not wait for the quiet to end.
        started = time.monotonic()
        waiter.wait([entry(0)], LONG)
        assert time.monotonic() - started < 0.2


def test_a_database_that_is_away_for_a_moment_is_waited_for(
    region: LogRegion, waiter: ReceiptWaiter, storage: CountingStorage, pool: ThreadPoolExecutor
) -> None:
    region.queue(entries(1))
    region.sequencer().run_once()
    storage.failure = UnavailableError("away", reason="DATABASE_UNREACHABLE")
    asked = pool.submit(waiter.wait, entries(1), LONG)
    _until(lambda: storage.reads > 2)
    assert not asked.done()
    storage.failure = None
    assert len(asked.result(20)) == 1


def test_a_log_that_contradicts_itself_is_said_to_who_waits(
    region: LogRegion, waiter: ReceiptWaiter
) -> None:
    region.queue(entries(300))
    region.sequencer().run_once()
    with region.storage.write() as conn:
        conn.execute(delete(schema.log_tile).where(schema.log_tile.c.level == 0))
    with pytest.raises(NotFoundError) as caught:
        waiter.wait(entries(3), LONG)
    assert caught.value.reason == "TILE"


def test_a_fault_of_ours_reaches_who_waits_and_the_next_is_served(
    region: LogRegion, waiter: ReceiptWaiter, storage: CountingStorage
) -> None:
    region.queue(entries(1))
    region.sequencer().run_once()
    storage.failure = RuntimeError("a fault")
    with pytest.raises(InternalError) as caught:
        waiter.wait(entries(1), LONG)
    assert isinstance(caught.value.__cause__, RuntimeError)
    storage.failure = None
    assert len(waiter.wait(entries(1), LONG)) == 1


def test_closing_turns_away_who_waits_and_ends_the_thread(
    region: LogRegion, waiter: ReceiptWaiter, pool: ThreadPoolExecutor
) -> None:
    region.queue(entries(1))
    asked = _ask(pool, waiter, entries(1))
    waiter.close()
    with pytest.raises(UnavailableError) as caught:
        asked.result(20)
    assert caught.value.reason == "STOPPING"
    assert not any(thread.name.startswith("receipts-") for thread in threading.enumerate())
    with pytest.raises(UnavailableError):
        waiter.wait(entries(1), SHORT)
    waiter.close()


def test_a_waiter_that_was_never_used_closes(storage: CountingStorage) -> None:
    ReceiptWaiter(storage=storage, log_number=LICENCES).close()
    assert storage.reads == 0
