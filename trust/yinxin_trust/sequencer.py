"""The sequencer: gives waiting entries their place in the log.

Danger lives here. A log that signs two different trees of one size has lied
for ever, so:

* indexes, tiles and head are written in one transaction, by compare-and-set
  on (size, epoch). A sequencer that was paused past its lease finds another
  epoch there and writes nothing.
* a checkpoint is signed in a second transaction, over the head that it reads
  there: it is committed, since this transaction has not written it. The lease
  is checked and locked first, so nobody can take over between the look, the
  signature and its commit; one that was taken over signs nothing.
* before anything is written or signed, the head must agree with the newest
  checkpoint: a database restored from an older state must not be extended.
* waiting entries are found by having no index, never by a high-water mark: a
  transaction that commits late would be skipped for good.

The log's history rests on the database alone: two sequencers that both believe
in their leases still write one history, since they lock and compare its head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert

from yinxin_edge.lease import Lease
from yinxin_proto import checkpoint as checkpoint_format
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.error import AlreadyExistsError, FailedPreconditionError, IntegrityError
from yinxin_proto.merkle import EMPTY_ROOT, TreeHead
from yinxin_proto.note import LineSigner
from yinxin_proto.tile import Extension, TileId, append, edge_tiles
from yinxin_trust import log_statement as statement
from yinxin_trust import schema
from yinxin_trust.ledger import no_such_log, read_tiles
from yinxin_trust.storage import Storage

MAX_BATCH: Final = 4096
"""Entries placed in one transaction: on SQLite it holds up every other writer."""


def create_log(
    conn: Connection,
    *,
    log_number: int,
    origin: str,
    signer: LineSigner,
    cosigners: Sequence[LineSigner] = (),
) -> None:
    """Start a log with its checkpoint of size 0, inside a write transaction.

    Raises:
        InvalidArgumentError: The signer is not named as the origin (``LOG_SIGNATURE``).
        AlreadyExistsError: The log is there already (``UNIQUE``).
    """
    checkpoint = Checkpoint(origin=origin, size=0, root=EMPTY_ROOT)
    conn.execute(
        insert(schema.log_head).values(
            log_number=log_number,
            origin=origin,
            epoch=0,
            size=0,
            root=EMPTY_ROOT,
            signed_size=0,
            checkpoint=checkpoint.sign([signer, *cosigners]),
        )
    )


def lease_name(log_number: int) -> str:
    """Return the name of the lease that a log's sequencer must hold."""
    return f"sequencer/{log_number}"


@dataclass(frozen=True, slots=True)
class _LockedHead:
    """The committed head, whose row this transaction has locked."""

    origin: str
    tree: TreeHead
    signed_size: int


class Sequencer:
    """Sequences one log, for as long as it holds the lease.

    Args:
        storage: The region's database.
        log_number: Which log.
        signer: The log's own Ed25519 key.
        cosigners: Whoever signs beside it, in the same transaction.
        lease: Fences this sequencer against any other; see `lease_name`.
        max_batch: Entries placed in one transaction.
    """

    def __init__(
        self,
        *,
        storage: Storage,
        log_number: int,
        signer: LineSigner,
        lease: Lease,
        cosigners: Sequence[LineSigner] = (),
        max_batch: int = MAX_BATCH,
    ) -> None:
        self._storage = storage
        self._log = log_number
        self._signers = (signer, *cosigners)
        self._lease = lease
        self._max_batch = max_batch
        self._signed: TreeHead | None = None

    def run_once(self) -> int:
        """Sequence what waits, sign the head; return how many entries it placed.

        Does nothing, at the cost of one look, when nothing waits and the head
        is signed; the lease is then not renewed.

        Raises:
            FailedPreconditionError: ``LEASE_LOST``, another sequencer has taken over.
            IntegrityError: Head, tiles, entries and checkpoint contradict each
                other (``LOG_ROLLED_BACK``, ``CHECKPOINT_HEAD``, ``LEASE_EPOCH``,
                ``TILES_HEAD``, ``TILE_SIZE``, ``TILES``, ``ENTRIES``, ``BEYOND_HEAD``): a person
                must look before this log may go on.
            NotFoundError: No such log (``LOG``), or a tile is gone (``TILE``).
            UnavailableError: The database; safe to repeat.
        """
        placed = 0
        while True:
            size, signed_size, waiting = self._look()
            if not waiting and size == signed_size:
                return placed
            count = self._place() if waiting else 0
            self._sign()
            placed += count
            if count < self._max_batch:
                return placed

    def _look(self) -> tuple[int, int, bool]:
        with self._storage.read() as conn:
            row = conn.execute(statement.LOOK, {"log": self._log}).one_or_none()
        if row is None:
            raise no_such_log(self._log)
        return row.size, row.signed_size, bool(row.waiting)

    def _place(self) -> int:
        """Commit the next batch's indexes, tiles and head, or none of them."""
        try:
            with self._storage.write() as conn:
                return self._place_batch(conn)
        except AlreadyExistsError as error:
            raise IntegrityError(
                "the log already has a tile or an index beyond its head; nothing was written",
                reason="BEYOND_HEAD",
            ) from error

    def _place_batch(self, conn: Connection) -> int:
        head = self._lock_head(conn)
        entries = self._waiting(conn)
        if not entries:
            return 0
        edge = read_tiles(conn, self._log, edge_tiles(head.tree.size))
        extension = append(head.tree, entries, edge.__getitem__)
        self._write_tiles(conn, edge, extension)
        self._write_indexes(conn, head.tree.size, entries)
        self._advance(conn, head.tree, extension.head)
        return len(entries)

    def _waiting(self, conn: Connection) -> list[bytes]:
        """Return up to a batch of entries without an index, oldest first among them."""
        rows = conn.execute(statement.WAITING, {"log": self._log, "limit": self._max_batch})
        return [entry for _, entry in sorted((at, bytes(entry)) for at, entry in rows)]

    def _sign(self) -> None:
        """Sign the committed head, unless its checkpoint is there already."""
        with self._storage.write() as conn:
            head = self._lock_head(conn)
            size, root = head.tree.size, head.tree.root
            if head.signed_size == size:
                return
            checkpoint = Checkpoint(origin=head.origin, size=size, root=root)
            # Remembered before it exists: should the commit fail, this process
            # still never signs another tree of this size.
            self._signed = head.tree
            note = checkpoint.sign(self._signers)
            stored = conn.execute(
                statement.STORE_CHECKPOINT,
                {"log": self._log, "old_size": size, "old_root": root, "note": note},
            )
            _expect(stored.rowcount, 1, reason="HEAD")

    def _lock_head(self, conn: Connection) -> _LockedHead:
        """Lock lease and head, in this order, and refuse what contradicts itself."""
        self._lease.check_in(conn)
        row = conn.execute(statement.LOCK_HEAD, {"log": self._log}).one_or_none()
        if row is None:
            raise no_such_log(self._log)
        if row.epoch > self._lease.epoch:
            raise IntegrityError(
                "the log was advanced under a later lease than the one held: "
                "the table of leases was lost or restored",
                reason="LEASE_EPOCH",
            )
        tree = TreeHead(row.size, bytes(row.root))
        self._check_against_checkpoint(tree, row.signed_size, bytes(row.checkpoint))
        return _LockedHead(row.origin, tree, row.signed_size)

    def _check_against_checkpoint(self, tree: TreeHead, signed_size: int, note: bytes) -> None:
        known = self._signed
        if signed_size > tree.size or (known is not None and not _may_follow(tree, known)):
            raise IntegrityError(
                "the log's head is behind its own signed checkpoint, or beside it: the "
                "database was restored from an older state; do not serve it",
                reason="LOG_ROLLED_BACK",
            )
        if tree == known:
            return
        signed = checkpoint_format.parse(note).claimed.head
        if signed.size != signed_size or not _may_follow(tree, signed):
            raise IntegrityError(
                "the log's head and its stored checkpoint contradict each other",
                reason="CHECKPOINT_HEAD",
            )

    def _write_tiles(
        self, conn: Connection, edge: dict[TileId, bytes], extension: Extension
    ) -> None:
        partial = {(tile.level, tile.index) for tile in edge}
        grown, added = [], []
        for tile, hashes in extension.tiles.items():
            if (tile.level, tile.index) in partial:
                grown.append(
                    {
                        "log": self._log,
                        "at_level": tile.level,
                        "at_index": tile.index,
                        "grown": hashes,
                    }
                )
            else:
                added.append(self._tile_row(tile, hashes))
        if grown:
            _expect(conn.execute(statement.GROW_TILE, grown).rowcount, len(grown), reason="TILES")
        if added:
            conn.execute(statement.ADD_TILE, added)

    def _tile_row(self, tile: TileId, hashes: bytes) -> dict[str, object]:
        return {
            "log_number": self._log,
            "level": tile.level,
            "tile_index": tile.index,
            "hashes": hashes,
        }

    def _write_indexes(self, conn: Connection, first: int, entries: Sequence[bytes]) -> None:
        if conn.dialect.name == "postgresql":
            # One statement: row by row, each would wait for the server's answer.
            values = {"log": self._log, "placed": list(entries), "first": first}
            changed = conn.execute(statement.PLACE_ALL, values).rowcount
        else:
            rows = [
                {"log": self._log, "placed": entry, "at": first + offset}
                for offset, entry in enumerate(entries)
            ]
            changed = conn.execute(statement.PLACE_ONE, rows).rowcount
        _expect(changed, len(entries), reason="ENTRIES")

    def _advance(self, conn: Connection, old: TreeHead, new: TreeHead) -> None:
        values = {
            "log": self._log,
            "old_size": old.size,
            "new_size": new.size,
            "new_root": new.root,
            "mine": self._lease.epoch,
        }
        if conn.execute(statement.ADVANCE, values).rowcount != 1:
            raise FailedPreconditionError(
                "the log's head moved under this sequencer; another one has taken over",
                reason="LEASE_LOST",
            )


def _may_follow(tree: TreeHead, signed: TreeHead) -> bool:
    """Tell whether ``tree`` could extend ``signed``, as far as heads alone can tell."""
    return tree.size > signed.size or tree == signed


def _expect(changed: int, expected: int, *, reason: str) -> None:
    if changed != expected:
        raise IntegrityError(
            f"the log changed {changed} rows where {expected} were expected; nothing was written",
            reason=reason,
        )
