"""Status indexes: handed out in a random order, and never twice.

Each list carries its indexes shuffled once, when it is opened; a process
takes a few from every open list in a transaction of its own and hands them
out at random, so that neither neighbouring indexes nor lists tell who was
issued a licence when. What a process took and did not use before it stopped
is lost on purpose: reuse of a (uri, index) would let one licence's revocation
speak for another (Token Status List §13.2).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Integer, bindparam, func, select, update

from yinxin_edge.database_error import UniqueError
from yinxin_proto.clock import Entropy
from yinxin_proto.error import UnavailableError
from yinxin_proto.statuslist import LIST_ENTRIES, StatusReference
from yinxin_trust import schema
from yinxin_trust.storage import Storage

OPEN_LISTS: Final = 4
"""Lists that take new licences at any time."""
_INDEX_BYTES: Final = 3
_MIN_TAKE: Final = 32

# Built once: building them costs more than SQLite takes to run them.
_s, _order = schema.status_list, schema.status_shuffle.c
_OPEN: Final = (
    select(_s.c.list_number)
    .where(_s.c.taken <= LIST_ENTRIES - bindparam("room"))
    .order_by(_s.c.list_number)
    .limit(OPEN_LISTS)
    # Locked, so that what is found to have room still has it when it is taken.
    .with_for_update()
)
_RESERVE: Final = (
    update(_s)
    .where(_s.c.list_number == bindparam("number"), _s.c.taken <= LIST_ENTRIES - bindparam("room"))
    .values(taken=_s.c.taken + bindparam("room"))
    .returning(_s.c.taken, _s.c.uri)
)
_SLICE: Final = select(
    func.substr(_order.shuffle, bindparam("first", type_=Integer), bindparam("size", type_=Integer))
).where(_order.list_number == bindparam("number"))
_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class Allocation:
    """One licence's place in the status lists."""

    list_number: int
    reference: StatusReference


def open_list(conn: Connection, *, uri_prefix: str, entropy: Entropy) -> int:
    """Open one more list, inside a write transaction; return its number."""
    last = conn.execute(select(func.max(schema.status_list.c.list_number))).scalar_one()
    number = (last or 0) + 1
    conn.execute(
        schema.status_list.insert().values(
            list_number=number,
            uri=f"{uri_prefix}/{number}",
            taken=0,
            changes=0,
        )
    )
    conn.execute(
        schema.status_shuffle.insert().values(list_number=number, shuffle=_shuffled(entropy))
    )
    return number


def _shuffled(entropy: Entropy) -> bytes:
    # Sorting by random 64-bit keys: equal keys (odds 2^-31) only bias a pair.
    keys = entropy.token(8 * LIST_ENTRIES)
    order = sorted(range(LIST_ENTRIES), key=lambda i: keys[8 * i : 8 * i + 8])
    return b"".join(idx.to_bytes(_INDEX_BYTES, "big") for idx in order)


class StatusAllocator:
    """Hands out status indexes within one process.

    Args:
        storage: The region's database.
        uri_prefix: Lists are published at ``<prefix>/<number>``.
        entropy: Shuffles new lists, and chooses among open ones.
    """

    def __init__(self, *, storage: Storage, uri_prefix: str, entropy: Entropy) -> None:
        self._storage = storage
        self._prefix = uri_prefix
        self._entropy = entropy
        self._lock = threading.Lock()
        self._stock: list[Allocation] = []

    def take(self, count: int) -> list[Allocation]:
        """Return ``count`` references that nobody else will ever get.

        Raises:
            UnavailableError: Other processes took what there was, again and
                again (``CONTENTION``).
        """
        with self._lock:
            for _ in range(_ATTEMPTS):
                if len(self._stock) >= count:
                    break
                self._restock(count)
            if len(self._stock) < count:
                raise UnavailableError(
                    "other processes kept taking the status indexes; try again",
                    reason="CONTENTION",
                )
            taken, self._stock = self._stock[-count:], self._stock[:-count]
        return taken

    def _restock(self, count: int) -> None:
        each = max(_MIN_TAKE, -(-count // OPEN_LISTS))
        try:
            with self._storage.write() as conn:
                numbers = self._open_numbers(conn, each)
                fresh = [ref for number in numbers for ref in self._reserve(conn, number, each)]
        except UniqueError:
            return  # another process has just opened the list that this one would have
        keys = self._entropy.token(8 * len(fresh))
        order = sorted(range(len(fresh)), key=lambda i: keys[8 * i : 8 * i + 8])
        self._stock = [fresh[i] for i in order] + self._stock

    def _open_numbers(self, conn: Connection, room: int) -> list[int]:
        numbers = list(conn.execute(_OPEN, {"room": room}).scalars())
        while len(numbers) < OPEN_LISTS:
            numbers.append(open_list(conn, uri_prefix=self._prefix, entropy=self._entropy))
        return numbers

    def _reserve(self, conn: Connection, number: int, count: int) -> list[Allocation]:
        # The update locks the row, so the slice read next is this process's alone.
        row = conn.execute(_RESERVE, {"number": number, "room": count}).one_or_none()
        if row is None:
            return []  # another process took the last of it since the list was chosen
        end, uri = row
        first = (end - count) * _INDEX_BYTES + 1
        found = {"number": number, "first": first, "size": count * _INDEX_BYTES}
        part = bytes(conn.execute(_SLICE, found).scalar_one())
        return [
            Allocation(
                number, StatusReference(uri, int.from_bytes(part[at : at + _INDEX_BYTES], "big"))
            )
            for at in range(0, len(part), _INDEX_BYTES)
        ]
