"""Whether a log's tiles follow from its entries, and the higher from the lower.

=================== =========================================================
code                what is wrong
=================== =========================================================
TILE                a tile is missing; the levels above are not examined
TILE_WIDTH          a tile is wider or narrower than the head's size makes it
TILE_LEAF           a level-0 tile is not the hashes of its entries
TILE_NODE           a higher tile is not the roots of the tiles below it
ENTRY_INDEX         an index below the head's size belongs to no entry
=================== =========================================================

Entries and tiles are streamed; what is kept is one hash per tile, 128 kB for
each million entries. A core examines about 400,000 entries a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from sqlalchemy import Connection, bindparam, select

from yinxin_proto.merkle import HASH_SIZE, leaf_hash, root_of_hashes
from yinxin_proto.tile import FULL_WIDTH, HEIGHT, TileId
from yinxin_trust import schema
from yinxin_trust.finding import Finding

_CHUNK_TILES: Final = 64

_e, _t = schema.log_entry.c, schema.log_tile.c
_ENTRIES: Final = select(_e.idx, _e.entry).where(
    _e.log_number == bindparam("log"), _e.idx >= bindparam("start"), _e.idx < bindparam("end")
)
_TILES: Final = select(_t.tile_index, _t.hashes).where(
    _t.log_number == bindparam("log"),
    _t.level == bindparam("level"),
    _t.tile_index >= bindparam("start"),
    _t.tile_index < bindparam("end"),
)


@dataclass(frozen=True, slots=True)
class _Segment:
    """What part of a tile must hold."""

    tile: TileId
    offset: int
    """Hashes before it."""
    hashes: bytes | None
    """None where the level below could not say."""


@dataclass(slots=True)
class _Faults:
    """Places of one kind of fault: how many, and the first."""

    count: int = 0
    first: str = ""

    def add(self, place: str) -> None:
        self.first = self.first or place
        self.count += 1


@dataclass(slots=True)
class _Level:
    """What the walk over one level has found."""

    missing: _Faults = field(default_factory=_Faults)
    width: _Faults = field(default_factory=_Faults)
    content: _Faults = field(default_factory=_Faults)
    parents: bytearray = field(default_factory=bytearray)
    """Roots of the full tiles, in order: what the level above must hold."""


class TreeCheck:
    """Recomputes a stored tree, whole or its newest part.

    Args:
        conn: A read transaction.
        number: Which log.
        size: The head's size.
        tail: How many of the newest entries to start from; None for all.
    """

    def __init__(self, *, conn: Connection, number: int, size: int, tail: int | None) -> None:
        self._conn = conn
        self._number = number
        self._size = size
        start = 0 if tail is None else max(0, size - tail)
        self._start = start - start % FULL_WIDTH
        self._gaps = _Faults()

    def findings(self) -> Iterator[Finding]:
        """Yield everything that is wrong, level by level."""
        segments = self._leaf_segments()
        level, first = 0, self._start
        while self._size >> (HEIGHT * level):
            found = self._walk(segments)
            if level == 0:
                yield from self._report("ENTRY_INDEX", self._gaps, "entries are missing")
            yield from self._report("TILE", found.missing, "tiles are missing")
            yield from self._report("TILE_WIDTH", found.width, "tiles of a wrong width")
            code = "TILE_NODE" if level else "TILE_LEAF"
            yield from self._report(code, found.content, "tiles that do not follow from below")
            if found.missing.count:
                return
            level, first = level + 1, first >> HEIGHT
            segments = self._node_segments(level, first, bytes(found.parents))

    def _report(self, code: str, faults: _Faults, what: str) -> Iterator[Finding]:
        if faults.count:
            detail = f"{faults.count} {what}, first {faults.first}"
            yield Finding(code, f"log {self._number}", detail)

    def _walk(self, segments: Iterator[_Segment]) -> _Level:
        found = _Level()
        while chunk := list(islice(segments, _CHUNK_TILES)):
            stored = self._stored(chunk)
            for segment in chunk:
                self._compare(segment, stored.get(segment.tile.index), found)
            if not stored:
                # A head that claims far more than there is must not keep us here.
                break
        return found

    @staticmethod
    def _compare(segment: _Segment, stored: bytes | None, found: _Level) -> None:
        tile = segment.tile
        if stored is None:
            found.missing.add(tile.path)
            return
        if len(stored) != tile.width * HASH_SIZE:
            found.width.add(tile.path)
        if segment.hashes is not None:
            at = segment.offset * HASH_SIZE
            if stored[at : at + len(segment.hashes)] != segment.hashes:
                found.content.add(tile.path)
        if tile.width == FULL_WIDTH:
            found.parents += root_of_hashes(stored)

    def _stored(self, chunk: Sequence[_Segment]) -> dict[int, bytes]:
        first, last = chunk[0].tile, chunk[-1].tile
        place = {
            "log": self._number,
            "level": first.level,
            "start": first.index,
            "end": last.index + 1,
        }
        return {index: bytes(hashes) for index, hashes in self._conn.execute(_TILES, place)}

    def _leaf_segments(self) -> Iterator[_Segment]:
        step = _CHUNK_TILES * FULL_WIDTH
        for start in range(self._start, self._size, step):
            end = min(start + step, self._size)
            place = {"log": self._number, "start": start, "end": end}
            entries = {idx: bytes(entry) for idx, entry in self._conn.execute(_ENTRIES, place)}
            for at in range(start, end, FULL_WIDTH):
                yield self._leaf_segment(at, min(at + FULL_WIDTH, end), entries)

    def _leaf_segment(self, start: int, end: int, entries: dict[int, bytes]) -> _Segment:
        tile = TileId(0, start // FULL_WIDTH, end - start)
        missing = [index for index in range(start, end) if index not in entries]
        for index in missing:
            self._gaps.add(str(index))
        if missing:
            return _Segment(tile, 0, None)
        return _Segment(tile, 0, b"".join([leaf_hash(entries[i]) for i in range(start, end)]))

    def _node_segments(self, level: int, first: int, hashes: bytes) -> Iterator[_Segment]:
        """Cut a level's hashes, from position ``first`` on, into its tiles."""
        total = self._size >> (HEIGHT * level)
        for index in range(first // FULL_WIDTH, -(-total // FULL_WIDTH)):
            tile_start = index * FULL_WIDTH
            start, end = max(first, tile_start), min(total, tile_start + FULL_WIDTH)
            part = hashes[(start - first) * HASH_SIZE : (end - first) * HASH_SIZE]
            yield _Segment(TileId(level, index, end - tile_start), start - tile_start, part)
