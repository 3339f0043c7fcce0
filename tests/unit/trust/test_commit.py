"""Group commit: what is shared, and what nobody has to pay for."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Table, func, select

from support.small_region import SmallRegion
from yinxin_edge.database_error import UniqueError
from yinxin_proto.error import ResourceExhaustedError
from yinxin_trust import schema
from yinxin_trust.commit import GroupCommitter
from yinxin_trust.request import RequestKey, claim
from yinxin_trust.rows import Row, RowBatch
from yinxin_trust.storage import Storage


class WatchedStorage(Storage):
    """The region's storage, which counts transactions and may be made to wait or fail."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage.database)
        self.transactions = 0
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()
        self.failure: Exception | None = None
        self.inserted: list[tuple[str, Row]] = []

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self.transactions += 1
        self.entered.set()
        assert self.go.wait(30)
        with super().write() as conn:
            yield conn

    def insert(self, conn: Connection, table: Table, rows: Sequence[Row]) -> None:
        self.inserted += [(table.name, row) for row in rows]
        super().insert(conn, table, rows)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def storage(small: SmallRegion) -> WatchedStorage:
    return WatchedStorage(small.region.storage)


def batch(request_id: str) -> RowBatch:
    rows = RowBatch()
    claim(rows, RequestKey("commit", request_id, bytes(32)), outcome=b"", now_ms=0)
    return rows


def claimed(storage: Storage, prefix: str) -> int:
    r = schema.request.c
    query = select(func.count()).where(r.caller == "commit", r.request_id.startswith(prefix))
    with storage.read() as conn:
        count: int = conn.execute(query).scalar_one()
    return count


def test_a_batch_is_there_when_commit_returns(small: SmallRegion, storage: WatchedStorage) -> None:
    name = small.request_id()

    GroupCommitter(storage=storage).commit(batch(name))

    assert claimed(storage, name) == 1


def test_a_duplicate_is_refused_and_leaves_nothing(
    small: SmallRegion, storage: WatchedStorage
) -> None:
    name = small.request_id()
    committer = GroupCommitter(storage=storage)
    committer.commit(batch(name))
    second = batch(f"{name}-more")
    second.extend(batch(name))

    with pytest.raises(UniqueError):
        committer.commit(second)

    assert claimed(storage, name) == 1


def run_together(
    storage: WatchedStorage, committer: GroupCommitter, batches: Sequence[RowBatch]
) -> list[Exception | None]:
    """Let one commit hold the gate until all the others wait behind it."""
    storage.go.clear()
    storage.entered.clear()

    def attempt(rows: RowBatch) -> Exception | None:
        try:
            committer.commit(rows)
        except (UniqueError, ResourceExhaustedError) as error:
            return error
        return None

    with ThreadPoolExecutor(len(batches)) as pool:
        first = pool.submit(attempt, batches[0])
        assert storage.entered.wait(30)
        rest = [pool.submit(attempt, rows) for rows in batches[1:]]
        while len(committer._waiting) < len(rest):
            threading.Event().wait(0.001)
        storage.go.set()
        return [first.result(30), *(future.result(30) for future in rest)]


def test_calls_that_wait_share_a_transaction(small: SmallRegion, storage: WatchedStorage) -> None:
    name = small.request_id()

    outcomes = run_together(
        storage, GroupCommitter(storage=storage), [batch(f"{name}-{n}") for n in range(10)]
    )

    assert outcomes == [None] * 10
    assert claimed(storage, f"{name}-") == 10
    assert storage.transactions == 2


def test_nobody_fails_for_anothers_duplicate(small: SmallRegion, storage: WatchedStorage) -> None:
    name = small.request_id()
    batches = [batch(f"{name}-{n}") for n in (0, 1, 2, 2, 3)]

    outcomes = run_together(storage, GroupCommitter(storage=storage), batches)

    assert [type(outcome) for outcome in outcomes].count(UniqueError) == 1
    assert sum(outcome is None for outcome in outcomes) == 4
    assert isinstance(outcomes[2] or outcomes[3], UniqueError)
    assert claimed(storage, f"{name}-") == 4


def test_everybody_learns_that_the_disk_is_full(
    small: SmallRegion, storage: WatchedStorage
) -> None:
    name = small.request_id()
    storage.failure = ResourceExhaustedError("full", reason="STORAGE_FULL")

    outcomes = run_together(
        storage, GroupCommitter(storage=storage), [batch(f"{name}-{n}") for n in range(4)]
    )

    assert all(outcome is storage.failure for outcome in outcomes)
    assert claimed(storage, f"{name}-") == 0


def test_after_a_failure_the_next_call_is_served(
    small: SmallRegion, storage: WatchedStorage
) -> None:
    name = small.request_id()
    committer = GroupCommitter(storage=storage)
    storage.failure = ResourceExhaustedError("full", reason="STORAGE_FULL")
    with pytest.raises(ResourceExhaustedError):
        committer.commit(batch(name))
    storage.failure = None

    committer.commit(batch(name))

    assert claimed(storage, name) == 1


def test_many_threads_lose_nothing(small: SmallRegion, storage: WatchedStorage) -> None:
    name = small.request_id()
    committer = GroupCommitter(storage=storage)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: committer.commit(batch(f"{name}-{n}")), range(200)))

    assert claimed(storage, f"{name}-") == 200
    assert storage.transactions <= 200


def test_rows_are_merged_by_table_in_order() -> None:
    one, two = batch("a"), batch("b")

    one.extend(two)

    assert len(one) == 2
    assert [(table.name, [row["request_id"] for row in rows]) for table, rows in one.tables()] == [
        ("request", ["a", "b"])
    ]


def test_claims_are_made_in_one_order_whatever_the_callers_said(
    small: SmallRegion, storage: WatchedStorage
) -> None:
    mixed = RowBatch()
    for name in ("order-b", "order-c", "order-a"):
        mixed.extend(batch(name))

    GroupCommitter(storage=storage).commit(mixed)

    made = [row["request_id"] for _, row in storage.inserted]
    assert made == ["order-a", "order-b", "order-c"]


def test_who_is_ready_waits_for_who_was_announced(
    small: SmallRegion, storage: WatchedStorage
) -> None:
    name = small.request_id()
    committer = GroupCommitter(storage=storage)

    with ThreadPoolExecutor(1) as pool, committer.expected() as seat:
        ready = pool.submit(committer.commit, batch(f"{name}-ready"))
        while not committer._waiting:
            threading.Event().wait(0.001)
        committer.commit(batch(f"{name}-coming"), seat)
        ready.result(30)

    assert claimed(storage, name) == 2
    assert storage.transactions == 1


def test_who_is_ready_waits_a_moment_only(small: SmallRegion, storage: WatchedStorage) -> None:
    name = small.request_id()
    committer = GroupCommitter(storage=storage)

    with committer.expected():
        committer.commit(batch(name))

    assert claimed(storage, name) == 1


def test_who_was_announced_and_failed_is_not_waited_for(storage: WatchedStorage) -> None:
    committer = GroupCommitter(storage=storage)

    with pytest.raises(ValueError, match="refused"), committer.expected():
        raise ValueError("refused")

    assert committer._is_complete()


def test_a_seat_is_given_up_once(small: SmallRegion, storage: WatchedStorage) -> None:
    committer = GroupCommitter(storage=storage)

    with committer.expected() as seat, committer.expected():
        committer.commit(batch(small.request_id()), seat)
        seat.release()
        assert not committer._is_complete()

    assert committer._is_complete()
