from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto.error import MalformedError, NotFoundError
from yinxin_proto.merkle import (
    EMPTY_ROOT,
    TreeHead,
    leaf_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from yinxin_proto.tile import (
    TileId,
    TileReader,
    append,
    decode_bundle,
    encode_bundle,
    inclusion_tiles,
)

BATCHES = st.lists(st.integers(0, 700), min_size=1, max_size=6)


class Rows(dict[tuple[int | None, int], bytes]):
    def read(self, tile: TileId) -> bytes:
        try:
            return self[tile.level, tile.index]
        except KeyError:
            raise NotFoundError("no such tile") from None


@given(BATCHES, st.data())
def test_any_batches_make_the_tree_of_their_entries(
    batches: list[int], data: st.DataObject
) -> None:
    rows, heads, entries = Rows(), [TreeHead(0, EMPTY_ROOT)], list[bytes]()
    for count in batches:
        added = [number.to_bytes(4, "big") for number in range(len(entries), len(entries) + count)]
        extension = append(heads[-1], added, rows.read)
        for tile, content in extension.tiles.items():
            assert len(content) == tile.width * 32
            rows[tile.level, tile.index] = content
        heads.append(extension.head)
        entries += added
    final = heads[-1]
    assert final == TreeHead(len(entries), root(entries))
    reader = TileReader(rows.read)
    for head in heads:
        if head.size:
            verify_consistency(head, final, reader.consistency_proof(head.size, final.size))
            index = data.draw(st.integers(0, head.size - 1))
            proof = reader.inclusion_proof(index, head.size)
            verify_inclusion(leaf_hash(entries[index]), index, proof, head)


@given(st.integers(1, 1 << 40), st.data())
def test_proofs_read_only_announced_tiles_at_any_size(size: int, data: st.DataObject) -> None:
    read: set[TileId] = set()

    def pretend(tile: TileId) -> bytes:
        read.add(tile)
        return bytes(tile.width * 32)

    indexes = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=3))
    TileReader(pretend).inclusion_proofs(indexes, size)
    assert read <= set(inclusion_tiles(indexes, size))


@given(
    st.builds(
        TileId,
        level=st.none() | st.integers(0, 63),
        index=st.integers(0, (1 << 63) - 1),
        width=st.integers(1, 256),
    )
)
def test_every_tile_has_one_path(tile: TileId) -> None:
    assert TileId.parse(tile.path) == tile


@given(st.text(alphabet="tile/0123456789x.pentris\n"))
def test_any_text_is_a_canonical_path_or_malformed(text: str) -> None:
    try:
        tile = TileId.parse(text)
    except MalformedError:
        return
    assert tile.path == text


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_every_bundle_is_read_back(entries: list[bytes]) -> None:
    bundle = encode_bundle(entries)
    assert decode_bundle(bundle, width=len(entries)) == entries
    with pytest.raises(MalformedError):
        decode_bundle(bundle[:-1], width=len(entries))


@given(st.binary(max_size=200), st.integers(1, 256))
def test_any_bytes_are_a_bundle_or_malformed(data: bytes, width: int) -> None:
    try:
        entries = decode_bundle(data, width=width)
    except MalformedError:
        return
    assert encode_bundle(entries) == data
