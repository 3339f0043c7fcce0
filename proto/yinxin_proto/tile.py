"""Tiles: the Merkle tree cut into files or rows of 256 hashes (C2SP tlog-tiles).

A tile at level l holds the tree's nodes of level 8·l, up to 256 of them; only
the rightmost tile of a level is partial, and it only ever grows. So a store
keeps the widest version of each tile, keyed by (level, index): a narrower one
is its prefix. Every function here takes a ``read`` callback that returns the
stored bytes of a tile, which may be wider than asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from yinxin_proto.error import IntegrityError, InvalidArgumentError, MalformedError
from yinxin_proto.merkle import (
    EMPTY_ROOT,
    HASH_SIZE,
    MAX_TREE_SIZE,
    TreeHead,
    consistency_proof,
    inclusion_proofs,
    leaf_hash,
    parent_hashes,
    root_of_hashes,
)

HEIGHT: Final = 8
FULL_WIDTH: Final = 1 << HEIGHT
FULL_BYTES: Final = FULL_WIDTH * HASH_SIZE
MAX_LEVEL: Final = 63
MAX_ENTRY_BYTES: Final = 65_535
MAX_CACHED_TILES: Final = 1_024

_PATH: Final = re.compile(
    r"tile/(?P<level>[0-9]|[1-5][0-9]|6[0-3]|entries)"
    r"/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True)
class TileId:
    """One tile, or with ``level=None`` the bundle of the entries below a level-0 tile."""

    level: int | None
    """0 … 63; None for an entry bundle."""
    index: int
    """Position within the level."""
    width: int
    """Hashes (or entries) in it, 1 … 256; 256 is a full tile."""

    @property
    def path(self) -> str:
        """Path below the log's prefix: ``tile/0/x001/234/067.p/12``."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        partial = "" if self.width == FULL_WIDTH else f".p/{self.width}"
        place = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
        return f"tile/{'entries' if self.level is None else self.level}/{place}{partial}"

    @classmethod
    def parse(cls, path: str) -> TileId:
        """Parse a path, accepting only the one spelling that `path` writes.

        Raises:
            MalformedError: Not such a path (``TILE_PATH``).
        """
        match = _PATH.fullmatch(path)
        if match is None:
            raise MalformedError("tile: not a path of a tile or bundle", reason="TILE_PATH")
        level, place, width = match["level"], match["index"], match["width"]
        tile = cls(
            level=None if level == "entries" else int(level),
            index=int(place.replace("x", "").replace("/", "")),
            width=FULL_WIDTH if width is None else int(width),
        )
        if tile.path != path or tile.width > FULL_WIDTH or tile.index > MAX_TREE_SIZE:
            raise MalformedError("tile: not the path's only spelling", reason="TILE_PATH")
        return tile


TileSource: TypeAlias = Callable[[TileId], bytes]
"""Returns at least ``width`` hashes of a tile; raises NotFoundError if it has none."""


def tiles_for(size: int) -> Iterator[TileId]:
    """Yield every tile of the tree of ``size`` leaves: level by level, left to right."""
    level = 0
    while count := _count(level, size):
        for index in range(count // FULL_WIDTH):
            yield TileId(level, index, FULL_WIDTH)
        if count % FULL_WIDTH:
            yield TileId(level, count // FULL_WIDTH, count % FULL_WIDTH)
        level += 1


def bundles_for(size: int) -> Iterator[TileId]:
    """Yield every entry bundle of the log of ``size`` entries, left to right."""
    for index in range(-(-size // FULL_WIDTH)):
        yield TileId(None, index, min(FULL_WIDTH, size - index * FULL_WIDTH))


def edge_tiles(size: int) -> tuple[TileId, ...]:
    """Return the partial tiles at the right edge: all that `append` and `tree_root` read."""
    edges = []
    for level in range(-(-size.bit_length() // HEIGHT)):
        count = _count(level, size)
        if count % FULL_WIDTH:
            edges.append(TileId(level, count // FULL_WIDTH, count % FULL_WIDTH))
    return tuple(edges)


def inclusion_tiles(indexes: Iterable[int], size: int) -> tuple[TileId, ...]:
    """Return the tiles that inclusion proofs of ``indexes`` may read, to fetch them at once."""
    wanted = dict.fromkeys(edge_tiles(size))
    for index in indexes:
        level = 0
        while _count(level, size):
            # At a right edge without a tile, the edge tiles of other levels suffice.
            tile = _tile_at(level, index >> HEIGHT * (level + 1), size)
            if tile is not None:
                wanted[tile] = None
            level += 1
    return tuple(wanted)


def _count(level: int, size: int) -> int:
    """Tile hashes at a level: perfect subtrees of 256^level leaves."""
    return size >> (HEIGHT * level)


def _tile_at(level: int, index: int, size: int) -> TileId | None:
    width = min(FULL_WIDTH, _count(level, size) - index * FULL_WIDTH)
    return TileId(level, index, width) if width > 0 else None


def _hashes(tile: TileId, read: TileSource) -> bytes:
    """Read a tile, cut to the width asked for."""
    wanted = tile.width * HASH_SIZE
    data = read(tile)
    if len(data) < wanted or len(data) > FULL_BYTES or len(data) % HASH_SIZE:
        raise IntegrityError(
            f"log: the stored tile {tile.path} has {len(data)} bytes, not {wanted}",
            reason="TILE_SIZE",
        )
    return data[:wanted]


def tree_root(size: int, read: TileSource) -> bytes:
    """Recompute the root of the tree of ``size`` leaves from its edge tiles.

    Raises:
        IntegrityError: A tile is short (``TILE_SIZE``).
    """
    return _edge_root({tile: _hashes(tile, read) for tile in edge_tiles(size)})


def _edge_root(edge: dict[TileId, bytes]) -> bytes:
    """Root over partial tiles, ordered from level 0 up."""
    tail = b""
    for hashes in edge.values():
        # What lies right of a partial tile is one smaller, imperfect subtree.
        tail = root_of_hashes(hashes + tail)
    return tail or EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class Extension:
    """What a sequencer writes to extend a log by one batch."""

    tiles: dict[TileId, bytes]
    """The tiles that grew or are new; each replaces what is stored at its (level, index)."""
    head: TreeHead
    """The head once they are written."""


def append(old: TreeHead, entries: Sequence[bytes], read: TileSource) -> Extension:
    """Extend a tree by ``entries``, reading only its right edge.

    Reads at most one partial tile per level (four at 10⁹ leaves) and hashes
    each entry once. The old root is recomputed first: a head signed over
    tiles that do not match it could never be proven consistent again.

    Args:
        old: The committed head.
        entries: Exact bytes to log, in order, each at most 65,535 bytes.
        read: Returns stored tiles of the tree ``old``.

    Raises:
        IntegrityError: The tiles lead to another root than ``old`` (``TILES_HEAD``),
            or one is short (``TILE_SIZE``).
        InvalidArgumentError: An entry is too long (``ENTRY_SIZE``), or the tree
            would be too large (``TREE_SIZE``).
    """
    size = old.size + len(entries)
    if size > MAX_TREE_SIZE:
        raise InvalidArgumentError("log: the tree is full", reason="TREE_SIZE")
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise InvalidArgumentError("log: an entry exceeds 65,535 bytes", reason="ENTRY_SIZE")
    edge = {tile: _hashes(tile, read) for tile in edge_tiles(old.size)}
    if _edge_root(edge) != old.root:
        raise IntegrityError("log: the stored tiles contradict the head", reason="TILES_HEAD")
    stored = {tile.level: hashes for tile, hashes in edge.items()}
    written: dict[TileId, bytes] = {}
    level, added = 0, b"".join([leaf_hash(entry) for entry in entries])
    while added:
        hashes = stored.pop(level, b"") + added
        first = _count(level, old.size) // FULL_WIDTH
        added = b""
        for at in range(0, len(hashes), FULL_BYTES):
            part = hashes[at : at + FULL_BYTES]
            written[TileId(level, first + at // FULL_BYTES, len(part) // HASH_SIZE)] = part
            if len(part) == FULL_BYTES:
                added += root_of_hashes(part)
        level += 1
    grown = {tile: written.get(tile) or edge[tile] for tile in edge_tiles(size)}
    return Extension(tiles=written, head=TreeHead(size, _edge_root(grown)))


class TileReader:
    """Proofs over stored tiles, remembering what it has read and hashed.

    Tiles only grow and never change, so a reader may outlive any one size of
    the tree; one reader per batch is the least that is worth it.

    Args:
        read: Returns stored tiles.
        max_tiles: Tiles to remember; a full one takes 16 kB with its inner nodes.
    """

    def __init__(self, read: TileSource, *, max_tiles: int = MAX_CACHED_TILES) -> None:
        self._read = read
        self._max_tiles = max_tiles
        self._rows: dict[tuple[int, int], list[bytes]] = {}

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Return one audit path; see `merkle.inclusion_proof`."""
        return self.inclusion_proofs([index], size)[0]

    def inclusion_proofs(self, indexes: Iterable[int], size: int) -> list[list[bytes]]:
        """Return many audit paths of one tree, in the order asked.

        Raises:
            InvalidArgumentError: An index is outside the tree (``INDEX_RANGE``).
            IntegrityError: A tile is short (``TILE_SIZE``).
        """
        return inclusion_proofs(indexes, size, self._node_reader(size))

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Return a consistency proof; see `merkle.consistency_proof`."""
        return consistency_proof(old, new, self._node_reader(new))

    def root(self, size: int) -> bytes:
        """Return the root of the tree of ``size`` leaves."""
        return tree_root(size, self._read)

    def leaf_hashes(self, start: int, end: int, size: int) -> list[bytes]:
        """Return the leaf hashes [start, end) of the tree of ``size`` leaves."""
        read_node = self._node_reader(size)
        return [read_node(0, index) for index in range(start, end)]

    def _node_reader(self, size: int) -> Callable[[int, int], bytes]:
        def read_node(level: int, index: int) -> bytes:
            tile_level, row = divmod(level, HEIGHT)
            # ``row`` r of a tile has 2^(8-r) nodes: its hashes, paired r times.
            span = HEIGHT - row
            at = (index & ((1 << span) - 1)) * HASH_SIZE
            return self._row(tile_level, index >> span, row, size)[at : at + HASH_SIZE]

        return read_node

    def _row(self, level: int, index: int, row: int, size: int) -> bytes:
        tile = _tile_at(level, index, size)
        if tile is None:
            raise InvalidArgumentError("log: a node outside the tree", reason="INDEX_RANGE")
        rows = self._rows.get((level, index))
        if rows is None or len(rows[0]) < tile.width * HASH_SIZE:
            rows = [_hashes(tile, self._read)]
            if len(self._rows) >= self._max_tiles:
                del self._rows[next(iter(self._rows))]
            self._rows[level, index] = rows
        while len(rows) <= row:
            rows.append(parent_hashes(rows[-1]))
        return rows[row]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Encode 1 … 256 entries: big-endian u16 length and bytes, each.

    Raises:
        InvalidArgumentError: None or too many (``BUNDLE_SIZE``), or an entry
            over 65,535 bytes (``ENTRY_SIZE``).
    """
    if not 1 <= len(entries) <= FULL_WIDTH:
        raise InvalidArgumentError("bundle: 1 … 256 entries", reason="BUNDLE_SIZE")
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise InvalidArgumentError("bundle: an entry exceeds 65,535 bytes", reason="ENTRY_SIZE")
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])


def decode_bundle(data: bytes, *, width: int) -> list[bytes]:
    """Decode a bundle of exactly ``width`` entries.

    Raises:
        MalformedError: Truncated, trailing bytes, or another count (``BUNDLE``).
    """
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) < width:
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        entries.append(data[start:at])
    if at != len(data) or len(entries) != width:
        raise MalformedError("bundle: truncated, or not as many entries", reason="BUNDLE")
    return entries
