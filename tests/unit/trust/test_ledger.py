"""The log as the domain sees it: heads, tiles, indexes, receipts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import delete

from support.log_region import LogRegion, entries, entry, note_verifier, open_storage
from yinxin_proto.error import (
    AlreadyExistsError,
    InternalError,
    NotFoundError,
    UnavailableError,
)
from yinxin_proto.merkle import EMPTY_ROOT, TreeHead, leaf_hash, root
from yinxin_proto.tile import FULL_BYTES, TileId
from yinxin_trust import ledger, schema
from yinxin_trust.ledger import LICENCES, ReceiptMaker


@pytest.fixture
def region() -> Iterator[LogRegion]:
    with open_storage("sqlite://") as storage:
        yield LogRegion(storage)


@pytest.fixture
def grown(region: LogRegion) -> LogRegion:
    region.queue(entries(600))
    region.sequencer().run_once()
    return region


def test_an_entry_whose_transaction_rolls_back_is_not_queued(region: LogRegion) -> None:
    def fail() -> None:
        with region.storage.write() as conn:
            conn.execute(
                schema.log_entry.insert().values(
                    log_number=LICENCES, entry=entry(0), idx=None, queued_ms=0
                )
            )
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert region.sequencer().run_once() == 0


def test_an_entry_is_in_a_log_once(region: LogRegion) -> None:
    region.queue([entry(0)])
    with pytest.raises(AlreadyExistsError):
        region.queue([entry(0)])


def test_the_signed_head_lags_the_committed_one(region: LogRegion) -> None:
    region.queue(entries(2))
    region.sequencer()._place()
    with region.storage.read() as conn:
        assert ledger.committed_head(conn, LICENCES) == TreeHead(2, root(region.placed()))
        head = ledger.signed_head(conn, LICENCES)
        assert ledger.signed_size(conn, LICENCES) == head.size == 0
        assert ledger.receipts(conn, LICENCES, entries(2)) == {}
        with pytest.raises(UnavailableError) as caught:
            ledger.receipt(conn, LICENCES, entry(0))
    assert caught.value.reason == "NOT_SEQUENCED"


def test_an_empty_log_commits_to_the_empty_tree(region: LogRegion) -> None:
    with region.storage.read() as conn:
        assert ledger.committed_head(conn, LICENCES) == TreeHead(0, EMPTY_ROOT)


def test_a_log_that_is_not_kept_is_not_found(region: LogRegion) -> None:
    with region.storage.read() as conn:
        for ask in (ledger.signed_head, ledger.signed_size, ledger.committed_head):
            with pytest.raises(NotFoundError) as caught:
                ask(conn, 9)
            assert caught.value.reason == "LOG"
        with pytest.raises(NotFoundError):
            ledger.receipts(conn, 9, [entry(0)])


def test_every_entry_gets_a_receipt_that_verifies(grown: LogRegion) -> None:
    with grown.storage.read() as conn:
        receipts = ledger.receipts(conn, LICENCES, [*entries(600), entry(0), entry(9999)])
    assert receipts.keys() == set(entries(600))
    for logged, receipt in receipts.items():
        verified = receipt.parse_checkpoint().verify(note_verifier())
        receipt.verify(logged, verified)


def test_one_receipt_is_the_same_as_among_many(grown: LogRegion) -> None:
    with grown.storage.read() as conn:
        many = ledger.receipts(conn, LICENCES, entries(600))
        assert ledger.receipt(conn, LICENCES, entry(77)) == many[entry(77)]


def test_a_receipt_maker_outlives_the_growth_of_its_tiles(region: LogRegion) -> None:
    maker, count = ReceiptMaker(LICENCES), 0
    sequencer = region.sequencer()
    for size in (1, 255, 256, 300, 520):
        region.queue(entries(size - count, start=count))
        sequencer.run_once()
        count = size
        with region.storage.read() as conn:
            receipts = maker.receipts(conn, entries(size))
        assert len(receipts) == size
        verified = region.signed()
        for logged, receipt in receipts.items():
            receipt.verify(logged, verified)


def test_a_receipt_maker_reads_nothing_once_its_transaction_is_over(grown: LogRegion) -> None:
    maker = ReceiptMaker(LICENCES)
    with pytest.raises(InternalError):
        maker._read_tile(TileId(0, 0, 1))


def test_tiles_are_read_whole_and_missing_ones_named(grown: LogRegion) -> None:
    placed = grown.placed()
    with grown.storage.read() as conn:
        first = ledger.read_tile(conn, LICENCES, TileId(0, 0, 256))
        assert first == b"".join(map(leaf_hash, placed[:256]))
        assert len(first) == FULL_BYTES
        with pytest.raises(NotFoundError) as caught:
            ledger.read_tile(conn, LICENCES, TileId(0, 3, 1))
        assert caught.value.reason == "TILE"
        assert "tile/0/003.p/1" in str(caught.value)
        with pytest.raises(NotFoundError):
            ledger.read_tiles(conn, LICENCES, [TileId(0, 0, 1), TileId(1, 1, 1)])


def test_a_missing_tile_is_not_papered_over(grown: LogRegion) -> None:
    with grown.storage.write() as conn:
        conn.execute(delete(schema.log_tile).where(schema.log_tile.c.tile_index == 1))
    with pytest.raises(NotFoundError) as caught, grown.storage.read() as conn:
        ledger.receipts(conn, LICENCES, entries(600))
    assert caught.value.reason == "TILE"


def test_a_tile_reader_proves_within_one_transaction(grown: LogRegion) -> None:
    with grown.storage.read() as conn:
        reader = ledger.tile_reader(conn, LICENCES)
        assert reader.root(600) == root(grown.placed())
        assert len(reader.consistency_proof(256, 600)) > 0
