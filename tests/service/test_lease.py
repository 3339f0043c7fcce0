"""Leases on both databases: one holder, and no second history after a pause."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select

from support.clock import FixedClock
from support.postgres import temporary_schema
from yinxin_edge.database import Database
from yinxin_edge.lease import Lease, LeaseOffice, lease_table
from yinxin_proto.error import FailedPreconditionError

TERM = timedelta(seconds=10)

metadata = MetaData()
leases = lease_table(metadata)
history = Table("history", metadata, Column("epoch", Integer))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/region.db"
        with Database.open(url) as opened, opened.write() as connection:
            metadata.create_all(connection)
        with Database.open(url) as opened:
            yield opened
    else:
        with temporary_schema() as schema, Database.open(schema) as opened:
            with opened.write() as connection:
                metadata.create_all(connection)
            yield opened


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


def _office(database: Database, clock: FixedClock, holder: str) -> LeaseOffice:
    return LeaseOffice(database=database, table=leases, clock=clock, holder=holder, term=TERM)


def _acquire(database: Database, clock: FixedClock, holder: str) -> Lease:
    lease = _office(database, clock, holder).acquire("sequencer")
    assert lease is not None
    return lease


def _write(database: Database, lease: Lease) -> None:
    with database.write() as connection:
        connection.execute(insert(history).values(epoch=lease.epoch))
        lease.check_in(connection)


def test_only_one_holds_a_lease(database: Database, clock: FixedClock) -> None:
    assert _acquire(database, clock, "a").epoch == 1
    assert _office(database, clock, "b").acquire("sequencer") is None
    assert _office(database, clock, "b").acquire("another") is not None


def test_an_expired_lease_is_taken_over_with_a_higher_epoch(
    database: Database, clock: FixedClock
) -> None:
    _acquire(database, clock, "a")
    clock.advance(TERM)
    assert _acquire(database, clock, "b").epoch == 2


def test_a_released_lease_is_free_at_once_and_its_epoch_still_rises(
    database: Database, clock: FixedClock
) -> None:
    _acquire(database, clock, "a").release()
    assert _acquire(database, clock, "b").epoch == 2


def test_the_same_holder_acquiring_again_fences_off_its_former_self(
    database: Database, clock: FixedClock
) -> None:
    before = _acquire(database, clock, "a")
    assert _acquire(database, clock, "a").epoch == 2
    with pytest.raises(FailedPreconditionError):
        before.renew()


def test_checking_in_renews(database: Database, clock: FixedClock) -> None:
    lease = _acquire(database, clock, "a")
    clock.advance(TERM * 0.9)
    _write(database, lease)
    clock.advance(TERM * 0.9)
    assert _office(database, clock, "b").acquire("sequencer") is None
    lease.renew()
    clock.advance(TERM * 0.9)
    assert _office(database, clock, "b").acquire("sequencer") is None


def test_a_holder_paused_past_its_lease_cannot_commit(
    database: Database, clock: FixedClock
) -> None:
    paused = _acquire(database, clock, "a")
    clock.advance(TERM)
    current = _acquire(database, clock, "b")
    with pytest.raises(FailedPreconditionError) as caught:
        _write(database, paused)
    assert caught.value.reason == "LEASE_LOST"
    _write(database, current)
    with database.read() as connection:
        assert connection.execute(select(history.c.epoch)).scalars().all() == [2]


def test_a_lost_lease_cannot_be_released_from_under_its_new_holder(
    database: Database, clock: FixedClock
) -> None:
    lost = _acquire(database, clock, "a")
    clock.advance(TERM)
    _acquire(database, clock, "b")
    lost.release()
    assert _office(database, clock, "c").acquire("sequencer") is None


def test_nobody_takes_over_between_check_in_and_commit(
    database: Database, clock: FixedClock
) -> None:
    lease = _acquire(database, clock, "a")
    clock.advance(TERM)
    taken: list[Lease | None] = []
    other = threading.Thread(
        target=lambda: taken.append(_office(database, clock, "b").acquire("sequencer"))
    )
    with database.write() as connection:
        lease.check_in(connection)
        other.start()
        other.join(timeout=0.3)
        assert taken == []
        connection.execute(insert(history).values(epoch=lease.epoch))
    other.join()
    # The check-in renewed, so the one that waited finds it held.
    assert taken == [None]


def test_of_many_that_acquire_at_once_one_succeeds(database: Database, clock: FixedClock) -> None:
    taken: list[Lease | None] = []
    threads = [
        threading.Thread(
            target=lambda n=n: taken.append(_office(database, clock, f"h{n}").acquire("sequencer"))
        )
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 6
    assert sum(lease is not None for lease in taken) == 1
