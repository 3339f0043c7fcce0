"""The sequencer on SQLite: what it places, what it signs, what it refuses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import delete, insert, select, update

from support.log_region import (
    ORIGIN,
    LogRegion,
    assert_one_history,
    entries,
    entry,
    note_signer,
    open_storage,
)
from yinxin_proto.error import (
    AlreadyExistsError,
    FailedPreconditionError,
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
)
from yinxin_proto.merkle import EMPTY_ROOT, TreeHead, root
from yinxin_proto.note import NoteSigner
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, USES
from yinxin_trust.sequencer import Sequencer, create_log


@pytest.fixture
def region() -> Iterator[LogRegion]:
    with open_storage("sqlite://") as storage:
        yield LogRegion(storage)


def _head(region: LogRegion, **columns: object) -> None:
    """Tamper with the stored head."""
    with region.storage.write() as conn:
        conn.execute(update(schema.log_head).values(**columns))


def test_a_new_log_has_a_signed_checkpoint_of_size_zero(region: LogRegion) -> None:
    assert region.signed().head == TreeHead(0, EMPTY_ROOT)
    assert region.signed().origin == ORIGIN


def test_a_log_cannot_be_created_twice(region: LogRegion) -> None:
    with pytest.raises(AlreadyExistsError), region.storage.write() as conn:
        create_log(conn, log_number=LICENCES, origin=ORIGIN, signer=note_signer())


def test_a_log_cannot_be_created_under_another_logs_key(region: LogRegion) -> None:
    other = NoteSigner(name="example.org/log/350300/uses/1", key=bytes(32))
    with pytest.raises(InvalidArgumentError) as caught, region.storage.write() as conn:
        create_log(conn, log_number=USES, origin=ORIGIN, signer=other)
    assert caught.value.reason == "LOG_SIGNATURE"


def test_what_waits_is_placed_and_signed(region: LogRegion) -> None:
    region.queue(entries(3))
    assert region.sequencer().run_once() == 3
    assert region.signed().head == TreeHead(3, root(region.placed()))
    assert set(region.placed()) == set(entries(3))


def test_what_was_queued_first_is_placed_first_within_a_batch(region: LogRegion) -> None:
    for number in range(5):
        region.queue([entry(number)], now_ms=number)
    region.sequencer().run_once()
    assert region.placed() == entries(5)


def test_an_idle_round_signs_nothing_and_needs_no_lease(region: LogRegion) -> None:
    sequencer = region.sequencer("a")
    region.lease("b")
    assert sequencer.run_once() == 0
    assert region.signer.texts == []


def test_an_idle_round_is_one_statement(region: LogRegion) -> None:
    sequencer = region.sequencer()
    seen: list[str] = []
    with region.storage.read() as conn:
        driver = conn.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(seen.append)
    seen.clear()
    sequencer.run_once()
    driver.set_trace_callback(None)
    assert [text.split()[0] for text in seen] == ["BEGIN", "SELECT", "COMMIT"]


def test_batches_follow_each_other_until_nothing_waits(region: LogRegion) -> None:
    region.queue(entries(10))
    assert region.sequencer(max_batch=4).run_once() == 10
    # Each is signed before the next: those who wait are not kept for the last.
    assert [head.size for head in region.signer.heads] == [4, 8, 10]
    assert_one_history(region.signer.heads, region.placed())


def test_a_log_grows_over_tile_boundaries(region: LogRegion) -> None:
    sequencer = region.sequencer()
    count = 0
    for size in (255, 256, 257, 511, 513, 1025, 3000):
        region.queue(entries(size - count, start=count))
        assert sequencer.run_once() == size - count
        count = size
        assert region.signed().head == TreeHead(size, root(region.placed()))


def test_an_entry_committed_late_is_not_skipped(region: LogRegion) -> None:
    sequencer = region.sequencer()
    region.queue([entry(2)], now_ms=2)
    sequencer.run_once()
    # Its transaction began first and committed last.
    region.queue([entry(1)], now_ms=1)
    assert sequencer.run_once() == 1
    assert region.placed() == [entry(2), entry(1)]


def test_logs_are_sequenced_apart(region: LogRegion) -> None:
    with region.storage.write() as conn:
        conn.execute(
            insert(schema.log_entry).values(log_number=USES, entry=entry(9), idx=None, queued_ms=0)
        )
    region.queue([entry(1)])
    assert region.sequencer().run_once() == 1
    with region.storage.read() as conn:
        waiting = select(schema.log_entry.c.entry).where(schema.log_entry.c.idx.is_(None))
        assert conn.execute(waiting).scalars().all() == [entry(9)]


def test_a_log_that_does_not_exist_is_not_found(region: LogRegion) -> None:
    lost = Sequencer(
        storage=region.storage, log_number=7, signer=region.signer, lease=region.lease()
    )
    with pytest.raises(NotFoundError) as caught:
        lost.run_once()
    assert caught.value.reason == "LOG"


def test_a_committed_head_without_its_checkpoint_is_signed_when_nothing_waits(
    region: LogRegion,
) -> None:
    region.queue(entries(3))
    sequencer = region.sequencer()
    sequencer._place()
    assert region.signed().head.size == 0
    assert region.sequencer("b").run_once() == 0
    assert region.signed().head == TreeHead(3, root(region.placed()))


def test_a_sequencer_whose_lease_was_taken_writes_and_signs_nothing(region: LogRegion) -> None:
    paused = region.sequencer("a")
    region.lease("b")
    region.queue(entries(3))
    with pytest.raises(FailedPreconditionError) as caught:
        paused.run_once()
    assert caught.value.reason == "LEASE_LOST"
    assert region.placed() == []
    assert region.signer.texts == []


# --- What contradicts itself is neither extended nor signed --------------------------


def _refused(region: LogRegion, sequencer: Sequencer) -> str:
    placed, texts = region.placed(), list(region.signer.texts)
    with pytest.raises((IntegrityError, NotFoundError)) as caught:
        sequencer.run_once()
    assert (region.placed(), region.signer.texts) == (placed, texts)
    return caught.value.reason


def _sequenced(region: LogRegion, count: int = 300) -> None:
    region.queue(entries(count))
    region.sequencer().run_once()
    region.queue(entries(5, start=count))


def test_a_head_behind_its_checkpoint_is_not_extended(region: LogRegion) -> None:
    _sequenced(region)
    _head(region, size=299)
    assert _refused(region, region.sequencer("b")) == "LOG_ROLLED_BACK"


def test_a_database_restored_under_a_running_sequencer_is_not_extended(
    region: LogRegion,
) -> None:
    sequencer = region.sequencer()
    region.queue(entries(2))
    sequencer.run_once()
    with region.storage.read() as conn:
        before = conn.execute(select(schema.log_head)).mappings().one()
        tiles = conn.execute(select(schema.log_tile.c.hashes)).scalar_one()
    region.queue(entries(1, start=2))
    sequencer.run_once()
    with region.storage.write() as conn:
        conn.execute(update(schema.log_head).values(**before))
        conn.execute(update(schema.log_tile).values(hashes=tiles))
        conn.execute(delete(schema.log_entry).where(schema.log_entry.c.idx == 2))
    region.queue(entries(1, start=3))
    assert _refused(region, sequencer) == "LOG_ROLLED_BACK"


def test_a_head_with_another_root_than_the_one_signed_is_not_extended(
    region: LogRegion,
) -> None:
    _sequenced(region)
    _head(region, root=bytes(32))
    assert _refused(region, region.sequencer("b")) == "CHECKPOINT_HEAD"


def test_a_head_that_claims_an_unsigned_size_is_not_extended(region: LogRegion) -> None:
    _sequenced(region)
    _head(region, signed_size=200)
    assert _refused(region, region.sequencer("b")) == "CHECKPOINT_HEAD"


def test_tiles_that_contradict_the_head_are_not_extended(region: LogRegion) -> None:
    _sequenced(region)
    with region.storage.write() as conn:
        conn.execute(
            update(schema.log_tile)
            .where(schema.log_tile.c.tile_index == 1)
            .values(hashes=bytes(44 * 32))
        )
    assert _refused(region, region.sequencer("b")) == "TILES_HEAD"


def test_a_missing_tile_stops_the_log(region: LogRegion) -> None:
    _sequenced(region)
    with region.storage.write() as conn:
        conn.execute(delete(schema.log_tile).where(schema.log_tile.c.level == 1))
    assert _refused(region, region.sequencer("b")) == "TILE"


def test_a_tile_beyond_the_head_is_never_overwritten(region: LogRegion) -> None:
    _sequenced(region, 256)
    with region.storage.write() as conn:
        conn.execute(
            insert(schema.log_tile).values(
                log_number=LICENCES, level=0, tile_index=1, hashes=bytes(32)
            )
        )
    assert _refused(region, region.sequencer("b")) == "BEYOND_HEAD"


def test_an_index_that_is_taken_already_stops_the_log(region: LogRegion) -> None:
    _sequenced(region)
    with region.storage.write() as conn:
        conn.execute(
            insert(schema.log_entry).values(
                log_number=LICENCES, entry=entry(999), idx=300, queued_ms=0
            )
        )
    with pytest.raises(IntegrityError) as caught:
        region.sequencer("b").run_once()
    assert caught.value.reason == "BEYOND_HEAD"


def test_a_lease_table_that_was_lost_stops_the_log(region: LogRegion) -> None:
    region.lease("a")
    region.lease("a")
    _sequenced(region)
    with region.storage.write() as conn:
        conn.execute(delete(schema.lease))
    assert _refused(region, region.sequencer("b")) == "LEASE_EPOCH"


def test_a_sequencer_with_another_logs_key_signs_nothing(region: LogRegion) -> None:
    region.queue(entries(1))
    other = NoteSigner(name="example.org/log/350300/uses/1", key=bytes(32))
    with pytest.raises(InvalidArgumentError) as caught:
        region.sequencer(signer=other).run_once()
    assert caught.value.reason == "LOG_SIGNATURE"
    assert region.signed().head.size == 0
