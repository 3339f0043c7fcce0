"""The audit trail, held together: a MAC in each row, the rows chained in blocks.

Each row carries a MAC under a key of the online store, made where the row is
made: a call costs one HMAC, and workers never wait for each other. Whoever has
the database and not the keys can alter or add none. That none is missing the
background process holds: it takes what is not chained yet into a block, whose
MAC covers the rows' MACs and the block before, and queues the block in the log
of uses. That log's checkpoints are remembered outside the database, and peers
may witness it, so the chain's end cannot be cut off either. What is deleted in
the seconds before it is chained is lost: a stated limit.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, select, update

from yinxin_proto.clock import Clock
from yinxin_trust import schema
from yinxin_trust.finding import Finding
from yinxin_trust.ledger import USES, queue
from yinxin_trust.rows import RowBatch, milliseconds, moment
from yinxin_trust.storage import Storage

MAX_ROWS: Final = 10_000
"""Rows of one block; what is more waits for the next."""
CLOCK_SLACK: Final = timedelta(minutes=5)
_ROW_LABEL: Final = b"yinxin/audit-row/v1\0"
_BLOCK_LABEL: Final = b"yinxin/audit-block/v1\0"
_ENTRY_LABEL: Final = b"yinxin/audit-entry/v1\0"
_FIELDS: Final = (
    "audit_ref",
    "at_ms",
    "caller",
    "method",
    "resource",
    "item_count",
    "purpose",
    "case_number",
    "service_item",
    "operator",
    "outcome",
    "reason",
)
_a, _b = schema.audit.c, schema.audit_block.c


class AuditSeal:
    """Makes and checks the MACs.

    Args:
        key: Of the online store; 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._row_key = hmac.digest(key, _ROW_LABEL, "sha256")
        self._block_key = hmac.digest(key, _BLOCK_LABEL, "sha256")

    def row(self, row: Mapping[str, Any]) -> bytes:
        """Return the MAC of an audit row, over every column that says something."""
        return hmac.digest(self._row_key, _encoded([row[name] for name in _FIELDS]), "sha256")

    def block(self, before: bytes, values: Mapping[str, Any]) -> bytes:
        """Return the MAC of a block over the one before and what it says itself."""
        names = ("number", "row_count", "digest", "sealed_ms", "newest_ms")
        body = _encoded([before, *(values[name] for name in names)])
        return hmac.digest(self._block_key, body, "sha256")


def entry_of(mac: bytes) -> bytes:
    """Return what the log of uses holds for a block; it tells nothing of it."""
    return sha256(_ENTRY_LABEL + mac).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditChain:
    """Chains what was recorded; the background process alone does."""

    storage: Storage
    seal: AuditSeal
    clock: Clock

    def extend(self) -> int:
        """Take what is not chained yet into blocks; return how many rows."""
        total = 0
        while True:
            with self.storage.write() as conn:
                count = self._extend(conn)
            total += count
            if count < MAX_ROWS:
                return total

    def _extend(self, conn: Connection) -> int:
        rows = conn.execute(
            select(_a.audit_ref, _a.at_ms, _a.mac)
            .where(_a.block.is_(None), _a.mac.is_not(None))
            .order_by(_a.at_ms, _a.audit_ref)
            .limit(MAX_ROWS)
        ).all()
        if not rows:
            return 0
        last = conn.execute(
            select(_b.number, _b.mac).order_by(_b.number.desc()).limit(1)
        ).one_or_none()
        values: dict[str, Any] = {
            "number": 1 if last is None else last.number + 1,
            "row_count": len(rows),
            "digest": _digest(rows),
            "sealed_ms": milliseconds(self.clock.now()),
            "newest_ms": rows[-1].at_ms,
        }
        mac = self.seal.block(b"" if last is None else bytes(last.mac), values)
        entry = entry_of(mac)
        conn.execute(schema.audit_block.insert().values(**values, mac=mac, entry=entry))
        conn.execute(
            update(schema.audit)
            .where(_a.audit_ref == bindparam("ref"))
            .values(block=values["number"]),
            [{"ref": row.audit_ref} for row in rows],
        )
        batch = RowBatch()
        queue(batch, USES, entry, now_ms=values["sealed_ms"])
        for table, queued in batch.tables():
            conn.execute(table.insert(), queued)
        return len(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheck:
    """The trail under examination.

    ==================== =====================================================
    code                 what is wrong
    ==================== =====================================================
    AUDIT_ROW            a row that is not as it was recorded, or was never
    AUDIT_BLOCK          a block whose rows are not those that were chained
    AUDIT_CHAIN          a block altered, gone, or out of its place
    AUDIT_LOG            a block that the log of uses does not hold
    AUDIT_CLOCK          rows dated before what was chained long before them
    ==================== =====================================================
    """

    conn: Connection
    """A read transaction."""
    seal: AuditSeal
    newest: int | None = None
    """How many of the newest blocks to look at; None for all of them."""

    def findings(self) -> Iterator[Finding]:
        """Yield everything that is wrong."""
        blocks = self._blocks()
        yield from self._chain(blocks)
        yield from self._rows({block.number: block for block in blocks})
        yield from self._logged(blocks)

    def _blocks(self) -> list[Row[Any]]:
        query = select(schema.audit_block).order_by(_b.number)
        if self.newest is not None:
            last = self.conn.execute(select(func.max(_b.number))).scalar() or 0
            # One more: the first of those examined is chained to it.
            query = query.where(_b.number >= last - self.newest)
        return list(self.conn.execute(query))

    def _chain(self, blocks: list[Row[Any]]) -> Iterator[Finding]:
        before = b""
        expected = 1
        for place, block in enumerate(blocks):
            is_first_seen = place == 0 and block.number > 1 and self.newest is not None
            if block.number != expected and not is_first_seen:
                yield Finding(
                    "AUDIT_CHAIN", "audit_block", f"block {expected} is gone: rows are missing"
                )
                before = b"?"
            if not is_first_seen and not hmac.compare_digest(
                bytes(block.mac), self.seal.block(before, dict(block._mapping))
            ):
                yield Finding(
                    "AUDIT_CHAIN", "audit_block", f"block {block.number} was altered, or moved"
                )
            before, expected = bytes(block.mac), block.number + 1

    def _rows(self, blocks: Mapping[int, Row[Any]]) -> Iterator[Finding]:
        query = select(schema.audit).order_by(_a.block, _a.at_ms, _a.audit_ref)
        if self.newest is not None and blocks:
            query = query.where(_a.block.is_(None) | (_a.block > min(blocks)))
        wrong = strange = late = 0
        digests: dict[int, Any] = {}
        counts: dict[int, int] = {}
        for row in self.conn.execute(query):
            mac = None if row.mac is None else bytes(row.mac)
            if mac is None or not hmac.compare_digest(mac, self.seal.row(dict(row._mapping))):
                wrong += 1
                continue
            if row.block is None:
                continue
            block = blocks.get(row.block)
            if block is None:
                strange += 1
                continue
            digests.setdefault(row.block, sha256()).update(mac)
            counts[row.block] = counts.get(row.block, 0) + 1
            late += row.at_ms > block.sealed_ms + CLOCK_SLACK / timedelta(milliseconds=1)
        if wrong:
            yield Finding("AUDIT_ROW", "audit", f"{wrong} rows are not as they were recorded")
        if strange:
            yield Finding("AUDIT_BLOCK", "audit", f"{strange} rows of blocks that are not there")
        if late:
            yield Finding("AUDIT_CLOCK", "audit", f"{late} rows are dated after they were chained")
        yield from self._contents(blocks, digests, counts)

    def _contents(
        self, blocks: Mapping[int, Row[Any]], digests: Mapping[int, Any], counts: Mapping[int, int]
    ) -> Iterator[Finding]:
        skipped = min(blocks, default=0) if self.newest is not None else 0
        newest = 0
        for number, block in blocks.items():
            if self.newest is not None and number == skipped and number > 1:
                newest = block.newest_ms
                continue
            found = digests[number].digest() if number in digests else sha256().digest()
            if counts.get(number, 0) != block.row_count or found != bytes(block.digest):
                yield Finding(
                    "AUDIT_BLOCK",
                    "audit",
                    f"block {number} of {moment(block.sealed_ms):%Y-%m-%d %H:%M} UTC had "
                    f"{block.row_count} rows, and has {counts.get(number, 0)} of them",
                )
            if block.newest_ms + CLOCK_SLACK / timedelta(milliseconds=1) < newest:
                yield Finding(
                    "AUDIT_CLOCK",
                    "audit",
                    f"block {number} is older than the one before it: the clock was set back",
                )
            newest = max(newest, block.newest_ms)

    def _logged(self, blocks: list[Row[Any]]) -> Iterator[Finding]:
        e = schema.log_entry.c
        query = select(e.entry).where(e.log_number == USES)
        if self.newest is not None:
            query = query.where(e.entry.in_([block.entry for block in blocks]))
        logged = {bytes(entry) for entry in self.conn.execute(query).scalars()}
        made = {entry_of(bytes(block.mac)) for block in blocks}
        if absent := made - logged:
            yield Finding(
                "AUDIT_LOG", "audit_block", f"{len(absent)} blocks that the log of uses lacks"
            )
        if self.newest is None and (cut := logged - made):
            yield Finding(
                "AUDIT_CHAIN",
                "audit_block",
                f"{len(cut)} blocks are in the log of uses and nowhere else: the end was cut off",
            )


def _digest(rows: Sequence[Row[*tuple[Any, ...]]]) -> bytes:
    found = sha256()
    for row in rows:
        found.update(bytes(row.mac))
    return found.digest()


def _encoded(values: list[Any]) -> bytes:
    """Return values one after the other, each of which says where it ends."""
    # One text, encoded once: this is on the way of every call.
    return "".join(
        [
            f"i{value};"
            if isinstance(value, int)
            else f"s{len(value)}:{value}"
            if isinstance(value, str)
            else f"b{bytes(value).hex()};"
            for value in values
        ]
    ).encode("utf-8", "surrogatepass")
