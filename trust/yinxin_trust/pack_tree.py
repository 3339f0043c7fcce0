"""The tiles that a pack carries of pinned trees; see `yinxin_verifier.pinnedtree`.

For each tree that a compromised key is pinned to, or a log was frozen at:
everything above level 0, which answers for any receipt refreshed since, and of
level 0 the blocks that hold entries concerned, which answer for the receipts
that holders have from before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sqlalchemy import Connection, func, select

from yinxin_proto.error import NotFoundError, VerificationError
from yinxin_proto.keyrecord import KeyState, ranges_of
from yinxin_proto.logkey import LogKind
from yinxin_proto.merkle import HASH_SIZE, TreeHead
from yinxin_proto.tile import FULL_BYTES, FULL_WIDTH
from yinxin_proto.trustlist import TrustList
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, read_tiles
from yinxin_verifier.pinnedtree import PinnedTree, layout

MAX_BLOCKS: Final = (96 << 20) // FULL_BYTES
"""Level-0 tiles of one pack: 96 MiB, entries of 3.1 million leaves. Whoever holds
a receipt of a block left out refreshes it, or is verified online."""
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class PackTree:
    """The tiles of one pinned tree."""

    blocks: tuple[tuple[int, int], ...]
    data: bytes


def pack_trees(
    conn: Connection, trust_list: TrustList, *, room: int = MAX_BLOCKS
) -> dict[TreeHead, PackTree]:
    """Return the tiles of every pinned tree that is a beginning of the log that is here.

    Args:
        conn: One read transaction.
        trust_list: As it is published.
        room: How many level-0 tiles there may be in all.
    """
    trees: dict[TreeHead, PackTree] = {}
    for head, keys in _wanted(trust_list).items():
        indexes = list(islice(_blocks(conn, head.size, keys), room))
        blocks = ranges_of(indexes)
        data = _read(conn, head.size, blocks)
        if data is None or not _is_sound(head, blocks, data):
            # Frozen after a fork: the good tree is another than ours, and
            # entries of it stand by what others hold.
            continue
        room -= len(indexes)
        trees[head] = PackTree(blocks, data)
    return trees


def _wanted(trust_list: TrustList) -> Mapping[TreeHead, Sequence[bytes] | None]:
    """Return the pinned trees with the keys concerned; None: all keys are."""
    wanted: dict[TreeHead, list[bytes] | None] = {
        TreeHead(log.frozen_at.size, log.frozen_at.root): None
        for log in trust_list.logs
        if log.frozen_at is not None and log.frozen_at.size and log.kind is LogKind.LICENCES
    }
    for _, key in trust_list.owned_keys():
        if key.pin is not None and key.state is KeyState.COMPROMISED and key.pin.n_stop:
            keys = wanted.setdefault(TreeHead(key.pin.n_stop, key.pin.root), [])
            if keys is not None:
                keys.append(key.thumbprint)
    return wanted


def _blocks(conn: Connection, size: int, keys: Sequence[bytes] | None) -> Iterator[int]:
    """Yield the full blocks that hold licences concerned, those with most of them first."""
    e, li = schema.log_entry.c, schema.licence.c
    block = (e.idx // FULL_WIDTH).label("block")
    query = (
        select(block)
        .join_from(schema.licence, schema.log_entry, e.entry == li.entry)
        .where(e.log_number == LICENCES, e.idx < size - size % FULL_WIDTH)
        .group_by(block)
        .order_by(func.count().desc(), block)
    )
    if keys is not None:
        query = query.where(li.key_thumbprint.in_(keys))
    yield from conn.execute(query).scalars()


def _read(conn: Connection, size: int, blocks: tuple[tuple[int, int], ...]) -> bytes | None:
    parts: list[bytes] = []
    wanted = layout(size, blocks)
    while tiles := tuple(islice(wanted, _AT_ONCE)):
        try:
            found = read_tiles(conn, LICENCES, tiles)
        except NotFoundError:
            return None
        parts += [found[tile][: tile.width * HASH_SIZE] for tile in tiles]
    return b"".join(parts)


def _is_sound(head: TreeHead, blocks: tuple[tuple[int, int], ...], data: bytes) -> bool:
    try:
        PinnedTree(head, blocks, data)
    except VerificationError:
        return False
    return True
