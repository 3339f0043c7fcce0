"""The sequencer: gives waiting entries their place in the log.

Danger lives here. A log that signs two different trees of one size has lied
for ever, so:

* indexes, tiles and head are written in one transaction, by compare-and-set
  on (size, epoch). A sequencer that was paused past its lease finds another
  epoch there and writes nothing.
* a checkpoint is signed only for a head that is committed, read back from the
  database, and stored by the same compare-and-set.
* waiting entries are found by having no index, never by a high-water mark: a
  transaction that commits late would be skipped for good.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, select, update

from yinxin_edge.lease import Lease
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.error import FailedPreconditionError, IntegrityError
from yinxin_proto.merkle import EMPTY_ROOT, TreeHead
from yinxin_proto.note import NoteSigner
from yinxin_proto.tile import Extension, TileId, append
from yinxin_trust import schema
from yinxin_trust.ledger import read_tile
from yinxin_trust.storage import Storage

MAX_BATCH: Final = 4096


def create_log(conn: Connection, *, log_number: int, origin: str, signer: NoteSigner) -> None:
    """Start a log with its checkpoint of size 0, inside a write transaction."""
    checkpoint = Checkpoint(origin=origin, size=0, root=EMPTY_ROOT)
    conn.execute(
        schema.log_head.insert().values(
            log_number=log_number,
            origin=origin,
            epoch=0,
            size=0,
            root=EMPTY_ROOT,
            signed_size=0,
            checkpoint=checkpoint.sign([signer]),
        )
    )


class Sequencer:
    """Sequences one log, for as long as it holds the lease.

    Args:
        storage: The region's database.
        log_number: Which log.
        signer: The log's own Ed25519 key.
        lease: Fences this sequencer against any other.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        log_number: int,
        signer: NoteSigner,
        lease: Lease,
    ) -> None:
        self._storage = storage
        self._log = log_number
        self._signer = signer
        self._lease = lease

    def run_once(self) -> int:
        """Sequence what waits, sign the head; return how many entries it placed.

        Raises:
            FailedPreconditionError: ``LEASE_LOST``, another sequencer has taken over.
            IntegrityError: Stored tiles and head contradict each other.
        """
        placed = 0
        while True:
            count = self._place_batch()
            placed += count
            if count < MAX_BATCH:
                break
        self._sign()
        return placed

    def _place_batch(self) -> int:
        with self._storage.read() as conn:
            if not self._waiting(conn, limit=1):
                return 0
        with self._storage.write() as conn:
            self._lease.check_in(conn)
            head = self._head(conn)
            entries = self._waiting(conn, limit=MAX_BATCH)
            if not entries:
                return 0
            extension = append(head, entries, lambda tile: read_tile(conn, self._log, tile))
            self._write_tiles(conn, extension)
            self._write_indexes(conn, head, entries)
            self._advance(conn, head, extension.head)
            return len(entries)

    def _waiting(self, conn: Connection, *, limit: int) -> list[bytes]:
        e = schema.log_entry.c
        query = (
            select(e.entry)
            .where(e.log_number == self._log, e.idx.is_(None))
            .order_by(e.queued_ms)
            .limit(limit)
        )
        return [bytes(entry) for entry in conn.execute(query).scalars()]

    def _head(self, conn: Connection) -> TreeHead:
        h = schema.log_head.c
        row = conn.execute(
            select(h.size, h.root).where(h.log_number == self._log).with_for_update()
        ).one()
        return TreeHead(row.size, bytes(row.root))

    def _write_tiles(self, conn: Connection, extension: Extension) -> None:
        table = schema.log_tile
        first_new: list[dict[str, object]] = []
        for tile, hashes in extension.tiles.items():
            changed = conn.execute(
                update(table)
                .where(
                    table.c.log_number == self._log,
                    table.c.level == tile.level,
                    table.c.tile_index == tile.index,
                )
                .values(hashes=hashes)
            ).rowcount
            if not changed:
                first_new.append(self._tile_row(tile, hashes))
        if first_new:
            conn.execute(table.insert(), first_new)

    def _tile_row(self, tile: TileId, hashes: bytes) -> dict[str, object]:
        return {
            "log_number": self._log,
            "level": tile.level,
            "tile_index": tile.index,
            "hashes": hashes,
        }

    def _write_indexes(self, conn: Connection, head: TreeHead, entries: list[bytes]) -> None:
        e = schema.log_entry
        statement = (
            update(e)
            .where(
                e.c.log_number == self._log,
                e.c.entry == bindparam("b_entry"),
                e.c.idx.is_(None),
            )
            .values(idx=bindparam("b_idx"))
        )
        placed = [
            {"b_entry": entry, "b_idx": head.size + offset} for offset, entry in enumerate(entries)
        ]
        conn.execute(statement, placed)

    def _advance(self, conn: Connection, old: TreeHead, new: TreeHead) -> None:
        h = schema.log_head
        epoch = self._lease.epoch
        changed = conn.execute(
            update(h)
            .where(h.c.log_number == self._log, h.c.size == old.size, h.c.epoch <= epoch)
            .values(size=new.size, root=new.root, epoch=epoch)
        ).rowcount
        if changed != 1:
            raise FailedPreconditionError(
                "the log's head moved under this sequencer; another one has taken over",
                reason="LEASE_LOST",
            )

    def _sign(self) -> None:
        """Sign the committed head, unless its checkpoint is there already."""
        h = schema.log_head
        query = select(h.c.origin, h.c.size, h.c.root, h.c.signed_size).where(
            h.c.log_number == self._log
        )
        with self._storage.read() as conn:
            head = conn.execute(query).one()
        if head.signed_size == head.size:
            return
        if head.signed_size > head.size:
            raise IntegrityError(
                "the log's head is behind its own signed checkpoint: the database was "
                "restored from an older state; do not serve it",
                reason="LOG_ROLLED_BACK",
            )
        checkpoint = Checkpoint(origin=head.origin, size=head.size, root=bytes(head.root))
        note = checkpoint.sign([self._signer])
        with self._storage.write() as conn:
            self._lease.check_in(conn)
            conn.execute(
                update(h)
                .where(
                    h.c.log_number == self._log,
                    h.c.size == head.size,
                    h.c.root == head.root,
                    h.c.signed_size < head.size,
                )
                .values(signed_size=head.size, checkpoint=note)
            )
