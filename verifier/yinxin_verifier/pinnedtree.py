"""Trees that the offline roles have pinned, in tiles: whether an entry is in one.

A receipt speaks of the tree that its own checkpoint states, of whatever size.
Where a key was stolen, or a log was sealed, another tree decides: the pinned
one. Its tiles (C2SP tlog-tiles) answer for any receipt, without a proof from
one size to the other, and were checked against the pinned root before use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from yinxin_proto.error import VerificationError
from yinxin_proto.merkle import HASH_SIZE, TreeHead, node_hash, root_of_hashes
from yinxin_proto.tile import FULL_WIDTH, HEIGHT, TileId, tree_root

Blocks = Sequence[tuple[int, int]]
"""Half-open ranges of level-0 tiles, sorted and apart."""


def layout(size: int, blocks: Blocks) -> Iterator[TileId]:
    """Yield the tiles that a pack carries of the tree of ``size`` leaves, in their order.

    Every tile above level 0 and the partial one at its right edge: with them
    alone, an entry is found by any receipt whose own tree has filled the
    entry's block of 256. Before the edge the level-0 tiles of ``blocks``,
    which answer for receipts of smaller trees too.
    """
    level = 1
    while count := size >> (HEIGHT * level):
        for index in range(-(-count // FULL_WIDTH)):
            yield TileId(level, index, min(FULL_WIDTH, count - index * FULL_WIDTH))
        level += 1
    full, rest = divmod(size, FULL_WIDTH)
    for start, end in blocks:
        for index in range(start, min(end, full)):
            yield TileId(0, index, FULL_WIDTH)
    if rest:
        yield TileId(0, full, rest)


def layout_bytes(size: int, blocks: Blocks) -> int:
    """Return the length of those tiles, one after the other, without listing them."""
    full, rest = divmod(size, FULL_WIDTH)
    hashes = sum(max(0, min(end, full) - start) for start, end in blocks) * FULL_WIDTH + rest
    level = 1
    while count := size >> (HEIGHT * level):
        hashes += count
        level += 1
    return hashes * HASH_SIZE


class PinnedTree:
    """The tiles of one pinned tree.

    Args:
        head: What the trust list pins.
        blocks: Whose level-0 tiles are among them.
        data: Their hashes, in the order of `layout`.

    Raises:
        VerificationError: They are not that tree's (``PINNED_TREE``). It is
            refused whole: a tile that was altered must not make a good licence
            look forged.
    """

    __slots__ = ("_tiles", "head")

    def __init__(self, head: TreeHead, blocks: Blocks, data: bytes) -> None:
        self.head = head
        self._tiles: dict[tuple[int | None, int], bytes] = {}
        if len(data) != layout_bytes(head.size, blocks):
            raise _refused()
        at = 0
        full: list[TileId] = []
        for tile in layout(head.size, blocks):
            end = at + tile.width * HASH_SIZE
            self._tiles[tile.level, tile.index], at = data[at:end], end
            if tile.width == FULL_WIDTH:
                full.append(tile)
        # The partial tiles lead to the root, and each full one to its hash above.
        if tree_root(head.size, self._read) != head.root or not all(map(self._is_sound, full)):
            raise _refused()

    def _read(self, tile: TileId) -> bytes:
        return self._tiles[tile.level, tile.index]

    def _is_sound(self, tile: TileId) -> bool:
        return root_of_hashes(self._read(tile)) == self._hash((tile.level or 0) + 1, tile.index)

    def _hash(self, level: int, index: int) -> bytes | None:
        tile = self._tiles.get((level, index // FULL_WIDTH))
        at = (index % FULL_WIDTH) * HASH_SIZE
        return None if tile is None else tile[at : at + HASH_SIZE]

    def holds(self, leaf: bytes, index: int, path: Sequence[bytes], size: int) -> bool | None:
        """Tell whether ``leaf`` is the pinned tree's entry at ``index``.

        Args:
            leaf: Leaf hash.
            index: Its position.
            path: Audit path that leads from the leaf to a tree of ``size``
                leaves, already verified.
            size: Of that tree.

        Returns:
            None where the tiles at hand cannot tell.
        """
        if not 0 <= index < self.head.size:
            return False
        own = self._hash(0, index)
        if own is not None:
            return own == leaf
        block = index // FULL_WIDTH
        if size < (block + 1) * FULL_WIDTH:
            return None
        # A block that both trees have filled is one perfect subtree in both.
        return _climb(leaf, index, path[:HEIGHT]) == self._hash(1, block)


def _refused() -> VerificationError:
    return VerificationError(
        "pack: the tiles of a pinned tree are cut short, or lead to another root",
        reason="PINNED_TREE",
    )


def _climb(node: bytes, index: int, siblings: Iterable[bytes]) -> bytes:
    for sibling in siblings:
        node = node_hash(sibling, node) if index & 1 else node_hash(node, sibling)
        index >>= 1
    return node
