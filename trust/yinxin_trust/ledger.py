"""The log as the domain sees it: queue entries, read heads, give receipts.

An entry is queued in the transaction of what it commits to and gets its index
later, from the sequencer. A receipt exists only under a signed checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from yinxin_proto.error import NotFoundError, UnavailableError
from yinxin_proto.merkle import TreeHead
from yinxin_proto.receipt import Receipt
from yinxin_proto.tile import TileId, TileReader
from yinxin_trust import schema
from yinxin_trust.rows import RowBatch

LICENCES: Final = 1
"""The log of licences, status changes and key events."""
USES: Final = 2
"""The log of grants and uses."""

_QUERY_WIDTH: Final = 500


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
        NotFoundError: No such log here.
    """
    h = schema.log_head.c
    row = conn.execute(
        select(h.origin, h.signed_size, h.checkpoint).where(h.log_number == log_number)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"this region has no log number {log_number}", reason="LOG")
    return SignedHead(row.origin, row.signed_size, bytes(row.checkpoint))


def committed_head(conn: Connection, log_number: int) -> TreeHead:
    """Return the head that tiles and indexes are committed for, signed or not."""
    h = schema.log_head.c
    row = conn.execute(select(h.size, h.root).where(h.log_number == log_number)).one()
    return TreeHead(row.size, bytes(row.root))


def read_tile(conn: Connection, log_number: int, tile: TileId) -> bytes:
    """Return a stored tile's hashes; possibly more than ``tile.width`` of them.

    Raises:
        NotFoundError: The log has no such tile.
    """
    t = schema.log_tile.c
    hashes = conn.execute(
        select(t.hashes).where(
            t.log_number == log_number, t.level == tile.level, t.tile_index == tile.index
        )
    ).scalar_one_or_none()
    if hashes is None:
        raise NotFoundError(f"the log has no tile {tile.path}", reason="TILE")
    return bytes(hashes)


def tile_reader(conn: Connection, log_number: int) -> TileReader:
    """Return a proof maker over the tiles, within one transaction."""
    return TileReader(lambda tile: read_tile(conn, log_number, tile))


def indexes(conn: Connection, log_number: int, entries: Sequence[bytes]) -> dict[bytes, int]:
    """Return the indexes of those entries that have one."""
    e = schema.log_entry.c
    found: dict[bytes, int] = {}
    for start in range(0, len(entries), _QUERY_WIDTH):
        wanted = entries[start : start + _QUERY_WIDTH]
        rows = conn.execute(
            select(e.entry, e.idx).where(
                e.log_number == log_number, e.entry.in_(wanted), e.idx.is_not(None)
            )
        )
        found.update((bytes(entry), idx) for entry, idx in rows)
    return found


def receipts(conn: Connection, log_number: int, entries: Iterable[bytes]) -> dict[bytes, Receipt]:
    """Return a receipt for each entry that the newest signed checkpoint covers."""
    wanted = list(dict.fromkeys(entries))
    head = signed_head(conn, log_number)
    placed = {
        entry: idx for entry, idx in indexes(conn, log_number, wanted).items() if idx < head.size
    }
    order = sorted(placed.items(), key=lambda item: item[1])
    reader = tile_reader(conn, log_number)
    proofs = reader.inclusion_proofs([idx for _, idx in order], head.size)
    return {
        entry: Receipt(index=idx, proof=tuple(proof), checkpoint=head.checkpoint)
        for (entry, idx), proof in zip(order, proofs, strict=True)
    }


def receipt(conn: Connection, log_number: int, entry: bytes) -> Receipt:
    """Return the receipt of one entry.

    Raises:
        UnavailableError: It is not under a signed checkpoint yet.
    """
    found = receipts(conn, log_number, (entry,)).get(entry)
    if found is None:
        raise UnavailableError(
            "the entry waits to be sequenced; ask again in a moment", reason="NOT_SEQUENCED"
        )
    return found
