"""The log as the domain sees it: queue entries, read heads, give receipts.

An entry is queued in the transaction of what it commits to and gets its index
later, from the sequencer. A receipt exists only under a signed checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ARRAY, Connection, LargeBinary, any_, bindparam, select, tuple_

from yinxin_edge.lookup import Lookup
from yinxin_proto.error import InternalError, NotFoundError, UnavailableError
from yinxin_proto.merkle import TreeHead
from yinxin_proto.receipt import Receipt
from yinxin_proto.tile import TileId, TileReader
from yinxin_trust import schema
from yinxin_trust.rows import RowBatch

LICENCES: Final = 1
"""The log of licences, status changes and key events."""
USES: Final = 2
"""The log of grants and uses."""

_QUERY_WIDTH: Final = 1000

# Statements are built once: building one costs as much as SQLite takes to run it.
_h, _t, _e = schema.log_head.c, schema.log_tile.c, schema.log_entry.c
_SIGNED: Final = Lookup(
    select(_h.origin, _h.signed_size, _h.checkpoint).where(_h.log_number == bindparam("log"))
)
_SIGNED_SIZE: Final = Lookup(select(_h.signed_size).where(_h.log_number == bindparam("log")))
_COMMITTED: Final = select(_h.size, _h.root).where(_h.log_number == bindparam("log"))
_TILE: Final = Lookup(
    select(_t.hashes).where(
        _t.log_number == bindparam("log"),
        _t.level == bindparam("level"),
        _t.tile_index == bindparam("index"),
    )
)
_TILES: Final = select(_t.level, _t.tile_index, _t.hashes).where(
    _t.log_number == bindparam("log"),
    tuple_(_t.level, _t.tile_index).in_(bindparam("tiles", expanding=True)),
)
_PLACED: Final = select(_e.entry, _e.idx).where(
    _e.log_number == bindparam("log"), _e.idx.is_not(None)
)
_PLACED_AMONG: Final = {
    "sqlite": _PLACED.where(_e.entry.in_(bindparam("entries", expanding=True))),
    # One array instead of a thousand parameters: psycopg handles each at a cost.
    "postgresql": _PLACED.where(_e.entry == any_(bindparam("entries", type_=ARRAY(LargeBinary)))),
}


@dataclass(frozen=True, slots=True)
class SignedHead:
    """The newest signed checkpoint of a log."""

    origin: str
    size: int
    checkpoint: bytes
    """The signed note."""


def queue(batch: RowBatch, log_number: int, entry: bytes, *, now_ms: int) -> None:
    """Queue one 32-byte entry; it is logged if and only if ``batch`` commits."""
    batch.add(
        schema.log_entry,
        {"log_number": log_number, "entry": entry, "idx": None, "queued_ms": now_ms},
    )


def signed_head(conn: Connection, log_number: int) -> SignedHead:
    """Return the newest signed checkpoint.

    Raises:
        NotFoundError: No such log here (``LOG``).
    """
    row = _SIGNED.one(conn, log=log_number)
    if row is None:
        raise no_such_log(log_number)
    origin, size, checkpoint = row
    return SignedHead(origin, size, bytes(checkpoint))


def signed_size(conn: Connection, log_number: int) -> int:
    """Return the size of the newest signed checkpoint: the cheapest look at a log.

    Raises:
        NotFoundError: No such log here (``LOG``).
    """
    row = _SIGNED_SIZE.one(conn, log=log_number)
    if row is None:
        raise no_such_log(log_number)
    return int(row[0])


def committed_head(conn: Connection, log_number: int) -> TreeHead:
    """Return the head that tiles and indexes are committed for, signed or not.

    Raises:
        NotFoundError: No such log here (``LOG``).
    """
    row = conn.execute(_COMMITTED, {"log": log_number}).one_or_none()
    if row is None:
        raise no_such_log(log_number)
    return TreeHead(row.size, bytes(row.root))


def no_such_log(log_number: int) -> NotFoundError:
    """Return the error for a log that this region does not keep."""
    return NotFoundError(f"this region has no log number {log_number}", reason="LOG")


def read_tile(conn: Connection, log_number: int, tile: TileId) -> bytes:
    """Return a stored tile's hashes; possibly more than ``tile.width`` of them.

    Raises:
        NotFoundError: The log has no such tile (``TILE``).
    """
    row = _TILE.one(conn, log=log_number, level=tile.level, index=tile.index)
    if row is None:
        raise _no_such_tile(tile)
    return bytes(row[0])


def read_tiles(conn: Connection, log_number: int, tiles: Sequence[TileId]) -> dict[TileId, bytes]:
    """Return several tiles' hashes with one round trip; see `read_tile`.

    Raises:
        NotFoundError: The log lacks one of them (``TILE``).
    """
    if len(tiles) <= 1 or conn.dialect.name == "sqlite":
        # SQLite has no round trips, and no index for a list of pairs.
        return {tile: read_tile(conn, log_number, tile) for tile in tiles}
    places = {(tile.level, tile.index): tile for tile in tiles}
    rows = conn.execute(_TILES, {"log": log_number, "tiles": list(places)})
    found = {places[level, index]: bytes(hashes) for level, index, hashes in rows}
    for tile in tiles:
        if tile not in found:
            raise _no_such_tile(tile)
    return found


def _no_such_tile(tile: TileId) -> NotFoundError:
    return NotFoundError(f"the log has no tile {tile.path}", reason="TILE")


def tile_reader(conn: Connection, log_number: int) -> TileReader:
    """Return a proof maker over the tiles, within one transaction."""
    return TileReader(lambda tile: read_tile(conn, log_number, tile))


def indexes(conn: Connection, log_number: int, entries: Sequence[bytes]) -> dict[bytes, int]:
    """Return the indexes of those entries that have one."""
    query = _PLACED_AMONG[conn.dialect.name]
    found: dict[bytes, int] = {}
    for start in range(0, len(entries), _QUERY_WIDTH):
        wanted = list(entries[start : start + _QUERY_WIDTH])
        rows = conn.execute(query, {"log": log_number, "entries": wanted})
        found.update((bytes(entry), idx) for entry, idx in rows)
    return found


class ReceiptMaker:
    """Makes receipts under the newest signed checkpoint, remembering tiles.

    Tiles only grow, so one maker serves any number of transactions: what it
    read before is read again only where it grew. For one thread at a time.

    Args:
        log_number: Which log.
    """

    def __init__(self, log_number: int) -> None:
        self._log = log_number
        self._conn: Connection | None = None
        self._reader = TileReader(self._read_tile)

    def receipts(self, conn: Connection, entries: Iterable[bytes]) -> dict[bytes, Receipt]:
        """Return a receipt for each entry that the newest signed checkpoint covers.

        Entries that nobody queued, that wait for their index or for a signature
        are left out.

        Args:
            conn: Any transaction; the head is read first, so that everything
                read after it covers the head.
            entries: 32 bytes each; any number, one read of the tiles for all.

        Raises:
            NotFoundError: No such log here (``LOG``), or a tile is gone (``TILE``).
            IntegrityError: A tile is short (``TILE_SIZE``).
        """
        head = signed_head(conn, self._log)
        placed = indexes(conn, self._log, list(dict.fromkeys(entries)))
        order = sorted((idx, entry) for entry, idx in placed.items() if idx < head.size)
        self._conn = conn
        try:
            proofs = self._reader.inclusion_proofs([idx for idx, _ in order], head.size)
        finally:
            self._conn = None
        return {
            entry: Receipt(index=idx, proof=tuple(proof), checkpoint=head.checkpoint)
            for (idx, entry), proof in zip(order, proofs, strict=True)
        }

    def _read_tile(self, tile: TileId) -> bytes:
        if self._conn is None:
            raise InternalError("a tile was read outside a transaction")
        return read_tile(self._conn, self._log, tile)


def receipts(conn: Connection, log_number: int, entries: Iterable[bytes]) -> dict[bytes, Receipt]:
    """Return a receipt for each entry that is covered; see `ReceiptMaker.receipts`."""
    return ReceiptMaker(log_number).receipts(conn, entries)


def receipt(conn: Connection, log_number: int, entry: bytes) -> Receipt:
    """Return the receipt of one entry.

    Raises:
        UnavailableError: It is not under a signed checkpoint yet (``NOT_SEQUENCED``).
        NotFoundError: No such log here (``LOG``).
    """
    found = receipts(conn, log_number, (entry,)).get(entry)
    if found is None:
        raise not_sequenced()
    return found


def not_sequenced() -> UnavailableError:
    """Return the error for an entry that no signed checkpoint covers yet."""
    return UnavailableError(
        "the entry waits to be sequenced; ask again in a moment", reason="NOT_SEQUENCED"
    )
