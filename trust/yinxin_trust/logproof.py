"""Consistency proofs from the region's own log, made when a verdict asks for one."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

from yinxin_proto.tile import TileId, TileReader
from yinxin_trust.ledger import LICENCES, read_tile, signed_head
from yinxin_trust.logsuccession import series_of
from yinxin_trust.storage import Storage

Key = tuple[str, int, int]
"""Origin, smaller size, larger size."""


class ConsistencyProofs(Mapping[Key, Sequence[bytes]]):
    """Proofs by (origin, smaller, larger), made on demand over remembered tiles.

    The log gives the same proof for ever, so a verdict over this mapping is as
    repeatable as over a dictionary.

    Args:
        storage: The region's database.
    """

    def __init__(self, *, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._origin = ""
        self._size = 0
        self._reader = TileReader(self._read)

    def __getitem__(self, key: Key) -> Sequence[bytes]:
        origin, smaller, larger = key
        with self._lock:
            if larger > self._size:
                self._look()
            if series_of(origin) != series_of(self._origin):
                raise KeyError(key)
            if larger > self._size:
                # We never signed such a tree: no proof ties it to ours.
                return ()
            return self._reader.consistency_proof(smaller, larger)

    def __iter__(self) -> Iterator[Key]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def _look(self) -> None:
        with self._storage.read() as conn:
            head = signed_head(conn, LICENCES)
        self._origin, self._size = head.origin, head.size

    def _read(self, tile: TileId) -> bytes:
        with self._storage.read() as conn:
            return read_tile(conn, LICENCES, tile)
