"""Pinned trees in tiles answer as the leaves themselves would."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto import merkle
from yinxin_proto.error import VerificationError
from yinxin_proto.merkle import TreeHead
from yinxin_verifier.pinnedtree import PinnedTree, layout, layout_bytes

LEAVES = [hashlib.sha256(b"%d" % number).digest() for number in range(1400)]
OTHER = bytes(32)

SIZES = st.sampled_from([1, 2, 255, 256, 257, 511, 512, 513, 700, 768, 1023, 1024, 1100])
BLOCKS = st.sampled_from([(), ((0, 1),), ((1, 2),), ((0, 2), (3, 4)), ((2, 9),)])


def node(level: int, index: int) -> bytes:
    width = 1 << level
    return merkle.root_of_hashes(b"".join(LEAVES[index * width : (index + 1) * width]))


def tiles(size: int, blocks: tuple[tuple[int, int], ...]) -> bytes:
    return b"".join(
        node(8 * (tile.level or 0), tile.index * 256 + at)
        for tile in layout(size, blocks)
        for at in range(tile.width)
    )


def head(size: int) -> TreeHead:
    return TreeHead(size, merkle.root_of_hashes(b"".join(LEAVES[:size])))


@given(SIZES, BLOCKS, st.data())
def test_an_entry_is_found_where_it_is_and_another_is_not(
    size: int, blocks: tuple[tuple[int, int], ...], data: st.DataObject
) -> None:
    tree = PinnedTree(head(size), blocks, tiles(size, blocks))
    own = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, own - 1))
    path = merkle.inclusion_proof(index, own, node)
    held = tree.holds(LEAVES[index], index, path, own)
    other = tree.holds(OTHER, index, path, own)
    if index >= size:
        assert held is other is False
        return
    block = index // 256
    carried = any(start <= block < end for start, end in blocks) or block == size // 256
    if carried or own >= (block + 1) * 256:
        assert (held, other) == (True, False)
    else:
        assert held is other is None


@given(SIZES, BLOCKS, st.data())
def test_an_altered_tile_is_refused_whole(
    size: int, blocks: tuple[tuple[int, int], ...], data: st.DataObject
) -> None:
    written = bytearray(tiles(size, blocks))
    assert len(written) == layout_bytes(size, blocks)
    place = data.draw(st.integers(0, len(written) - 1))
    written[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(VerificationError) as caught:
        PinnedTree(head(size), blocks, bytes(written))
    assert caught.value.reason == "PINNED_TREE"


@given(SIZES, BLOCKS, st.integers(-40, 40).filter(bool))
def test_tiles_of_another_length_are_refused(
    size: int, blocks: tuple[tuple[int, int], ...], change: int
) -> None:
    written = tiles(size, blocks)
    cut = written + b"x" * change if change > 0 else written[:change]
    with pytest.raises(VerificationError):
        PinnedTree(head(size), blocks, cut)


def test_what_a_tree_costs_is_what_the_docs_say() -> None:
    million = layout_bytes(1_000_000, ())
    assert million == 32 * (1_000_000 % 256 + 3906 + 15)
    assert layout_bytes(500_000_000, ()) < 64 << 20
    assert layout_bytes(1_000_000, ((0, 10_000),)) == million + 3906 * 8192
