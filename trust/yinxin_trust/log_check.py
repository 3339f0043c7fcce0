"""Whether a stored log is what its head and its signature say.

=================== =========================================================
code                what is wrong
=================== =========================================================
LOG_MISSING         a log that this region should keep is not there
ORIGIN              the stored log has another origin than its key
LOG_ROLLED_BACK     the head is behind the newest signed checkpoint
LOG_BEHIND          the head is behind a checkpoint that others hold
LOG_FORKED          the tree is not the one that others hold a checkpoint of
HEAD_ROOT           the tiles lead to another root than the head's
CHECKPOINT          the checkpoint does not parse or verify under the log's key
CHECKPOINT_SIZE     it is for another size than recorded
CHECKPOINT_ROOT     the tiles lead to another root than the one signed
LEASE_EPOCH         the head's epoch is ahead of its lease: leases were lost
TILE, TILE_SIZE     a tile that a root needs is missing, or is short
TILE_SET            a level has more or fewer tiles than the head's size needs
ENTRY_INDEX         the entries' indexes are not 0 … size-1, each once
=================== =========================================================

`tree_check` looks inside the tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from yinxin_proto import checkpoint
from yinxin_proto.checkpoint import VerifiedCheckpoint
from yinxin_proto.error import IntegrityError, MalformedError, NotFoundError, VerificationError
from yinxin_proto.merkle import TreeHead
from yinxin_proto.note import NoteVerifier
from yinxin_proto.tile import FULL_WIDTH, HEIGHT, tree_root
from yinxin_trust import schema
from yinxin_trust.finding import Finding
from yinxin_trust.ledger import read_tile
from yinxin_trust.logsuccession import series_of
from yinxin_trust.sequencer import lease_name
from yinxin_trust.tree_check import TreeCheck

_LEVELS: Final = range(64 // HEIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheck:
    """One log under examination, in one snapshot."""

    conn: Connection
    """A read transaction."""
    number: int
    """Which log."""
    verifier: NoteVerifier
    """The key that its checkpoints must verify under."""
    tail: int | None
    """How many of the newest entries to look at; None for all."""
    known: Sequence[VerifiedCheckpoint] = ()
    """What others hold of this log: witnesses, packs, the last one published."""

    def findings(self) -> Iterator[Finding]:
        """Yield everything that is wrong."""
        h = schema.log_head
        row = self.conn.execute(select(h).where(h.c.log_number == self.number)).one_or_none()
        if row is None:
            yield self._finding("LOG_MISSING", "the region should keep this log, and does not")
            return
        tree = TreeHead(row.size, bytes(row.root))
        if row.origin != self.verifier.vkey.name:
            yield self._finding("ORIGIN", f"{row.origin}, but its key {self.verifier.vkey.name}")
        yield from self._root("HEAD_ROOT", tree)
        yield from self._checkpoint(row)
        yield from self._known(tree.size)
        yield from self._epoch(row.epoch)
        yield from self._tile_set(tree.size)
        yield from self._indexes(tree.size)
        yield from TreeCheck(
            conn=self.conn, number=self.number, size=tree.size, tail=self.tail
        ).findings()

    def _finding(self, code: str, detail: str) -> Finding:
        return Finding(code, f"log {self.number}", detail)

    def _root(self, code: str, claim: TreeHead) -> Iterator[Finding]:
        """Compare the root that the tiles lead to with a claim of it."""
        try:
            root = tree_root(claim.size, lambda tile: read_tile(self.conn, self.number, tile))
        except (IntegrityError, NotFoundError) as error:
            yield self._finding(error.reason, f"no root of size {claim.size}: {error}")
            return
        if root != claim.root:
            yield self._finding(code, f"the tiles lead to another root for size {claim.size}")

    def _checkpoint(self, row: Row[Any]) -> Iterator[Finding]:
        if row.signed_size > row.size:
            yield self._finding(
                "LOG_ROLLED_BACK", f"the head has size {row.size}, {row.signed_size} was signed"
            )
        try:
            signed = checkpoint.parse(bytes(row.checkpoint)).verify(self.verifier).head
        except (MalformedError, VerificationError) as error:
            yield self._finding("CHECKPOINT", f"{error.reason}: {error}")
            return
        if signed.size != row.signed_size:
            yield self._finding(
                "CHECKPOINT_SIZE", f"it is for {signed.size}, recorded is {row.signed_size}"
            )
        if signed.size <= row.size:
            yield from self._root("CHECKPOINT_ROOT", signed)

    def _known(self, size: int) -> Iterator[Finding]:
        for held in self.known:
            # The epochs of one log are one tree.
            if series_of(held.origin) != series_of(self.verifier.vkey.name):
                continue
            if held.head.size > size:
                yield self._finding(
                    "LOG_BEHIND", f"the head has size {size}, others hold {held.head.size}"
                )
            else:
                yield from self._root("LOG_FORKED", held.head)

    def _epoch(self, epoch: int) -> Iterator[Finding]:
        le = schema.lease.c
        held = self.conn.execute(
            select(le.epoch).where(le.name == lease_name(self.number))
        ).scalar_one_or_none()
        if (held or 0) < epoch:
            yield self._finding("LEASE_EPOCH", f"the head is of epoch {epoch}, its lease of {held}")

    def _tile_set(self, size: int) -> Iterator[Finding]:
        t = schema.log_tile.c
        rows = self.conn.execute(
            select(t.level, func.count(), func.max(t.tile_index))
            .where(t.log_number == self.number)
            .group_by(t.level)
        )
        stored = {level: (count, last + 1) for level, count, last in rows}
        for level in sorted(stored.keys() | set(_LEVELS)):
            needed = -(-(size >> (HEIGHT * level)) // FULL_WIDTH)
            count, end = stored.get(level, (0, 0))
            if count != needed or end != needed:
                yield self._finding(
                    "TILE_SET",
                    f"level {level}: {count} tiles up to {end}, size {size} needs {needed}",
                )

    def _indexes(self, size: int) -> Iterator[Finding]:
        e = schema.log_entry.c
        placed = (e.log_number == self.number) & e.idx.is_not(None)
        last = self.conn.execute(select(func.max(e.idx)).where(placed)).scalar_one()
        if (-1 if last is None else last) != size - 1:
            yield self._finding("ENTRY_INDEX", f"the last index is {last}, the size {size}")
        if self.tail is None:
            query = select(func.count(e.idx), func.min(e.idx)).where(placed)
            count, first = self.conn.execute(query).one()
            if count != size or first not in {0, None}:
                yield self._finding(
                    "ENTRY_INDEX", f"{count} entries from index {first}, the size is {size}"
                )
