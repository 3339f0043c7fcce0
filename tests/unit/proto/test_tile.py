from __future__ import annotations

from hashlib import sha256

import pytest

from yinxin_proto.error import (
    IntegrityError,
    InvalidArgumentError,
    MalformedError,
    NotFoundError,
)
from yinxin_proto.merkle import (
    EMPTY_ROOT,
    TreeHead,
    leaf_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from yinxin_proto.tile import (
    FULL_WIDTH,
    TileId,
    TileReader,
    append,
    bundles_for,
    decode_bundle,
    edge_tiles,
    encode_bundle,
    inclusion_tiles,
    tiles_for,
    tree_root,
)

EMPTY = TreeHead(0, EMPTY_ROOT)


def entries(count: int, start: int = 0) -> list[bytes]:
    return [sha256(number.to_bytes(8, "big")).digest() for number in range(start, start + count)]


class Store:
    """Tiles as a database keeps them: the widest version by (level, index)."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int | None, int], bytes] = {}
        self.reads: list[TileId] = []

    def read(self, tile: TileId) -> bytes:
        self.reads.append(tile)
        row = self.rows.get((tile.level, tile.index))
        if row is None:
            raise NotFoundError("no such tile")
        return row

    def write(self, tiles: dict[TileId, bytes]) -> None:
        for tile, data in tiles.items():
            self.rows[tile.level, tile.index] = data

    def grow(self, old: TreeHead, added: list[bytes]) -> TreeHead:
        extension = append(old, added, self.read)
        self.write(extension.tiles)
        return extension.head


def stored(size: int) -> tuple[Store, TreeHead]:
    store = Store()
    return store, store.grow(EMPTY, entries(size))


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (TileId(0, 1_234_067, 256), "tile/0/x001/x234/067"),
        (TileId(0, 0, 1), "tile/0/000.p/1"),
        (TileId(63, 999, 255), "tile/63/999.p/255"),
        (TileId(1, 1000, 256), "tile/1/x001/000"),
        (TileId(None, 5, 17), "tile/entries/005.p/17"),
    ],
)
def test_a_path_and_its_tile_are_each_other(tile: TileId, path: str) -> None:
    assert tile.path == path
    assert TileId.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/01",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "tile/entries/../000",
        "tile/0/" + "x001/" * 40 + "000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ],
)
def test_another_spelling_of_a_path_is_refused(path: str) -> None:
    with pytest.raises(MalformedError) as caught:
        TileId.parse(path)
    assert caught.value.reason == "TILE_PATH"


def test_seventy_thousand_leaves_make_the_tiles_of_the_specification() -> None:
    tiles = list(tiles_for(70_000))
    assert len([tile for tile in tiles if tile.level == 0 and tile.width == FULL_WIDTH]) == 273
    assert [tile for tile in tiles if tile.width != FULL_WIDTH] == [
        TileId(0, 273, 112),
        TileId(1, 1, 17),
        TileId(2, 0, 1),
    ]
    assert TileId(1, 0, FULL_WIDTH) in tiles
    assert len(tiles) == 273 + 1 + 3


def test_a_full_tile_has_no_empty_neighbour() -> None:
    assert list(tiles_for(256)) == [TileId(0, 0, 256), TileId(1, 0, 1)]
    assert list(tiles_for(0)) == []
    assert list(bundles_for(257)) == [TileId(None, 0, 256), TileId(None, 1, 1)]
    assert edge_tiles(256) == (TileId(1, 0, 1),)


def test_appending_writes_exactly_the_tiles_of_the_tree() -> None:
    store, head = stored(70_000)
    assert head == TreeHead(70_000, root(entries(70_000)))
    assert {tile: len(store.rows[tile.level, tile.index]) for tile in tiles_for(70_000)} == {
        tile: tile.width * 32 for tile in tiles_for(70_000)
    }
    assert len(store.rows) == len(list(tiles_for(70_000)))


def test_appending_one_by_one_equals_appending_at_once() -> None:
    store, head = Store(), EMPTY
    for entry in entries(600):
        head = store.grow(head, [entry])
    at_once, same = stored(600)
    assert head == same
    assert store.rows == at_once.rows


def test_appending_reads_the_right_edge_alone() -> None:
    store, head = stored(70_000)
    store.reads.clear()
    extension = append(head, [b"one more"], store.read)
    assert store.reads == list(edge_tiles(70_000))
    assert list(extension.tiles) == [TileId(0, 273, 113)]


def test_appending_nothing_changes_nothing() -> None:
    store, head = stored(300)
    extension = append(head, [], store.read)
    assert extension.tiles == {}
    assert extension.head == head
    assert append(EMPTY, [], store.read).head == EMPTY


def test_a_head_is_never_extended_over_tiles_that_contradict_it() -> None:
    store, head = stored(300)
    tile = bytearray(store.rows[0, 1])
    tile[5] ^= 1
    store.rows[0, 1] = bytes(tile)
    with pytest.raises(IntegrityError) as caught:
        append(head, entries(1), store.read)
    assert caught.value.reason == "TILES_HEAD"


def test_tiles_written_past_the_head_do_not_change_the_next_batch() -> None:
    store, head = stored(300)
    abandoned = append(head, entries(10, start=9_000), store.read)
    store.write(abandoned.tiles)
    extension = append(head, entries(5, start=300), store.read)
    assert extension.head.root == root(entries(305))


@pytest.mark.parametrize("damage", [b"", b"\x00" * 31, b"\x00" * 33, b"\x00" * 8_224])
def test_a_stored_tile_of_another_size_is_an_integrity_error(damage: bytes) -> None:
    store, _ = stored(300)
    store.rows[0, 1] = damage
    with pytest.raises(IntegrityError) as caught:
        tree_root(300, store.read)
    assert caught.value.reason == "TILE_SIZE"


def test_an_oversized_entry_is_refused() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        append(EMPTY, [b"x" * 65_536], Store().read)
    assert caught.value.reason == "ENTRY_SIZE"


def test_a_tree_cannot_outgrow_its_bound() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        append(TreeHead((1 << 63) - 1, EMPTY_ROOT), [b"x"], Store().read)
    assert caught.value.reason == "TREE_SIZE"


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 513, 65_536, 66_000])
def test_proofs_over_tiles_hold(size: int) -> None:
    store, head = stored(size)
    reader = TileReader(store.read)
    indexes = sorted({0, size // 3, size // 2, size - 1})
    for index, proof in zip(indexes, reader.inclusion_proofs(indexes, size), strict=True):
        verify_inclusion(leaf_hash(entries(1, index)[0]), index, proof, head)
        assert reader.inclusion_proof(index, size) == proof
    for old in sorted({1, size // 2 + 1, size}):
        earlier = TreeHead(old, tree_root(old, store.read))
        verify_consistency(earlier, head, reader.consistency_proof(old, size))


def test_an_old_tree_can_be_proven_over_the_tiles_of_a_newer_one() -> None:
    store, _ = stored(1_000)
    old = TreeHead(300, root(entries(300)))
    reader = TileReader(store.read)
    assert reader.root(300) == old.root
    verify_inclusion(leaf_hash(entries(1, 299)[0]), 299, reader.inclusion_proof(299, 300), old)


def test_a_reader_outlives_the_tree_it_first_saw() -> None:
    store, head = stored(300)
    reader = TileReader(store.read)
    reader.inclusion_proof(299, 300)
    head = store.grow(head, entries(500, 300))
    proof = reader.inclusion_proof(700, 800)
    verify_inclusion(leaf_hash(entries(1, 700)[0]), 700, proof, head)
    verify_inclusion(leaf_hash(entries(1, 299)[0]), 299, reader.inclusion_proof(299, 800), head)


def test_many_proofs_read_each_tile_once_and_only_announced_ones() -> None:
    store, _ = stored(66_000)
    store.reads.clear()
    indexes = range(65_000, 66_000)
    TileReader(store.read).inclusion_proofs(indexes, 66_000)
    assert len(store.reads) == len(set(store.reads)) <= 8
    assert set(store.reads) <= set(inclusion_tiles(indexes, 66_000))


def test_a_reader_forgets_when_it_is_full() -> None:
    store, head = stored(1_024)
    reader = TileReader(store.read, max_tiles=1)
    for index in (0, 500, 1_023, 0):
        proof = reader.inclusion_proof(index, 1_024)
        verify_inclusion(leaf_hash(entries(1, index)[0]), index, proof, head)


def test_leaf_hashes_are_those_of_the_entries() -> None:
    store, _ = stored(600)
    expected = [leaf_hash(entry) for entry in entries(20, 250)]
    assert TileReader(store.read).leaf_hashes(250, 270, 600) == expected


def test_nodes_outside_the_tree_cannot_be_read() -> None:
    store, _ = stored(256)
    with pytest.raises(InvalidArgumentError) as caught:
        TileReader(store.read).leaf_hashes(255, 257, 256)
    assert caught.value.reason == "INDEX_RANGE"


def test_a_bundle_and_its_entries_are_each_other() -> None:
    bundle = encode_bundle([b"", b"ab", b"x" * 65_535])
    assert bundle[:6] == b"\x00\x00\x00\x02ab"
    assert decode_bundle(bundle, width=3) == [b"", b"ab", b"x" * 65_535]


@pytest.mark.parametrize(
    ("data", "width"),
    [
        (b"", 1),
        (b"\x00", 1),
        (b"\x00\x02a", 1),
        (b"\x00\x01ab", 1),
        (b"\x00\x01a", 2),
        (b"\x00\x01a\x00\x01b", 1),
    ],
)
def test_a_bundle_of_another_count_or_length_is_refused(data: bytes, width: int) -> None:
    with pytest.raises(MalformedError) as caught:
        decode_bundle(data, width=width)
    assert caught.value.reason == "BUNDLE"


@pytest.mark.parametrize("content", [[], [b""] * 257, [b"x" * 65_536]])
def test_a_bundle_that_cannot_be_written_is_refused(content: list[bytes]) -> None:
    with pytest.raises(InvalidArgumentError):
        encode_bundle(content)
