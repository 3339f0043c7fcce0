"""Ledger and sequencer keep one contract on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from support.log_region import (
    LogRegion,
    assert_one_history,
    entries,
    entry,
    note_verifier,
    open_storage,
)
from support.postgres import temporary_schema
from yinxin_proto.error import FailedPreconditionError, NotFoundError
from yinxin_proto.merkle import TreeHead, root
from yinxin_proto.tile import TileId
from yinxin_trust import ledger
from yinxin_trust.ledger import LICENCES
from yinxin_trust.preflight import preflight
from yinxin_trust.receipt_waiter import ReceiptWaiter


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def region(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LogRegion]:
    if request.param == "sqlite":
        with open_storage(f"sqlite:///{tmp_path}/region.db") as storage:
            yield LogRegion(storage, whole=True)
    else:
        with (
            temporary_schema() as schema,
            open_storage(schema, patience=timedelta(seconds=5)) as storage,
        ):
            yield LogRegion(storage, whole=True)


def test_batches_of_every_size_become_one_tree(region: LogRegion) -> None:
    sequencer, count = region.sequencer(), 0
    for added in (1, 31, 224, 1, 255, 1000, 700):
        region.queue(entries(added, start=count))
        assert sequencer.run_once() == added
        count += added
        assert region.signed().head == TreeHead(count, root(region.placed()))
    assert_one_history(region.signer.heads, region.placed())
    assert sequencer.run_once() == 0


def test_a_full_batch_and_more_is_placed_in_one_round(region: LogRegion) -> None:
    region.queue(entries(5000))
    assert region.sequencer().run_once() == 5000
    assert [head.size for head in region.signer.heads] == [4096, 5000]
    assert_one_history(region.signer.heads, region.placed())


def test_every_entry_gets_a_receipt_that_verifies(region: LogRegion) -> None:
    region.queue(entries(1500))
    region.sequencer().run_once()
    region.queue(entries(10, start=1500))
    with region.storage.read() as conn:
        receipts = ledger.receipts(conn, LICENCES, entries(1510))
    assert receipts.keys() == set(entries(1500))
    verified = region.signed()
    for logged, receipt in receipts.items():
        receipt.verify(logged, verified)
        assert receipt.parse_checkpoint().verify(note_verifier()) == verified


def test_several_tiles_are_read_at_once_and_missing_ones_named(region: LogRegion) -> None:
    region.queue(entries(600))
    region.sequencer().run_once()
    wanted = [TileId(0, 2, 88), TileId(1, 0, 2), TileId(0, 0, 256)]
    with region.storage.read() as conn:
        tiles = ledger.read_tiles(conn, LICENCES, wanted)
        assert list(map(len, (tiles[tile] for tile in wanted))) == [88 * 32, 64, 8192]
        assert ledger.read_tiles(conn, LICENCES, []) == {}
        with pytest.raises(NotFoundError) as caught:
            ledger.read_tiles(conn, LICENCES, [TileId(0, 0, 1), TileId(1, 1, 1)])
    assert caught.value.reason == "TILE"


def test_a_sequencer_whose_lease_was_taken_writes_and_signs_nothing(region: LogRegion) -> None:
    paused = region.sequencer("a")
    region.lease("b")
    region.queue(entries(3))
    with pytest.raises(FailedPreconditionError) as caught:
        paused.run_once()
    assert caught.value.reason == "LEASE_LOST"
    assert (region.placed(), region.signer.texts) == ([], [])


def test_appending_while_sequencing_loses_and_repeats_nothing(region: LogRegion) -> None:
    sequencer = region.sequencer(max_batch=64)
    failures: list[BaseException] = []

    def append(first: int) -> None:
        try:
            for start in range(first, first + 300, 10):
                region.queue(entries(10, start=start))
        except BaseException as error:  # noqa: BLE001 - reported by the main thread
            failures.append(error)

    writers = [threading.Thread(target=append, args=(first,)) for first in (0, 300, 600)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        sequencer.run_once()
    for writer in writers:
        writer.join()
    sequencer.run_once()
    assert failures == []
    assert sorted(region.placed()) == sorted(entries(900))
    assert_one_history(region.signer.heads, region.placed())


def test_a_batch_waits_once_for_all_its_receipts(region: LogRegion) -> None:
    sequencer = region.sequencer()
    with ReceiptWaiter(storage=region.storage, log_number=LICENCES) as waiter:
        since = waiter.seen
        region.queue(entries(1000))
        timer = threading.Timer(0.05, sequencer.run_once)
        timer.start()
        receipts = waiter.wait(entries(1000), timedelta(seconds=30), since=since)
        timer.join()
    verified = region.signed()
    for number in (0, 1, 500, 999):
        receipts[entry(number)].verify(entry(number), verified)
    assert len(receipts) == 1000


def test_what_was_sequenced_is_sound(region: LogRegion) -> None:
    region.queue(entries(700))
    region.sequencer().run_once()
    logs = {LICENCES: note_verifier()}
    for full in (False, True):
        codes = {
            finding.code for finding in preflight(region.storage, logs=logs, full=full).findings
        }
        # These entries are invented: no licence stands behind them.
        assert codes == {"ENTRY_ORPHAN"}
