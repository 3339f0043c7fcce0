"""Status indexes: handed out at random, never twice, by whatever process."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from support.clock import SeededEntropy
from support.small_region import SmallRegion
from yinxin_edge.clock import SystemEntropy
from yinxin_edge.database import Database
from yinxin_proto.statuslist import LIST_ENTRIES
from yinxin_trust import schema
from yinxin_trust.allocation import OPEN_LISTS, Allocation, StatusAllocator, open_list
from yinxin_trust.storage import Storage

PREFIX = "https://putian.example/status"


@pytest.fixture
def storage() -> Iterator[Storage]:
    opened = Storage(Database.open("sqlite://"))
    opened.create()
    yield opened
    opened.close()


def allocator(storage: Storage, seed: str = "a") -> StatusAllocator:
    return StatusAllocator(storage=storage, uri_prefix=PREFIX, entropy=SeededEntropy(seed))


def places(taken: list[Allocation]) -> list[tuple[str, int]]:
    return [(allocation.reference.uri, allocation.reference.index) for allocation in taken]


def test_a_new_list_has_every_index_once(storage: Storage) -> None:
    with storage.write() as conn:
        number = open_list(conn, uri_prefix=PREFIX, entropy=SeededEntropy("list"))
    with storage.read() as conn:
        order = bytes(conn.execute(select(schema.status_shuffle.c.shuffle)).scalar_one())
        uri = conn.execute(select(schema.status_list.c.uri)).scalar_one()

    indexes = [int.from_bytes(order[at : at + 3], "big") for at in range(0, len(order), 3)]
    assert sorted(indexes) == list(range(LIST_ENTRIES))
    assert indexes != sorted(indexes)
    assert uri == f"{PREFIX}/{number}"


def test_lists_are_shuffled_each_in_its_own_way(storage: Storage) -> None:
    entropy = SeededEntropy("lists")
    with storage.write() as conn:
        for _ in range(2):
            open_list(conn, uri_prefix=PREFIX, entropy=entropy)
    with storage.read() as conn:
        orders = conn.execute(select(schema.status_shuffle.c.shuffle)).scalars().all()

    assert len({bytes(order) for order in orders}) == 2


@pytest.mark.parametrize("counts", [(1,) * 300, (2000, 1, 2000), (33, 5, 129)])
def test_nothing_is_handed_out_twice(storage: Storage, counts: tuple[int, ...]) -> None:
    mine = allocator(storage)

    taken = [place for count in counts for place in places(mine.take(count))]

    assert len(taken) == sum(counts) == len(set(taken))


def test_a_list_number_and_its_uri_agree(storage: Storage) -> None:
    for allocation in allocator(storage).take(50):
        assert allocation.reference.uri == f"{PREFIX}/{allocation.list_number}"


def test_all_open_lists_are_used(storage: Storage) -> None:
    uris = Counter(uri for uri, _ in places(allocator(storage).take(400)))

    assert len(uris) == OPEN_LISTS
    assert min(uris.values()) >= 50


def test_neighbours_in_time_are_no_neighbours_in_the_list(storage: Storage) -> None:
    taken = places(allocator(storage).take(1000))

    near = sum(
        one[0] == other[0] and abs(one[1] - other[1]) == 1
        for one, other in itertools.pairwise(taken)
    )
    assert near <= 3


def test_what_a_process_did_not_use_is_never_reused(storage: Storage) -> None:
    first = places(allocator(storage, "first").take(1))
    second = places(allocator(storage, "second").take(5000))

    assert not set(first) & set(second)


def test_a_full_list_is_left_and_a_new_one_opened(storage: Storage) -> None:
    mine = allocator(storage)
    mine.take(1)
    s = schema.status_list
    with storage.write() as conn:
        conn.execute(update(s).where(s.c.list_number <= 2).values(taken=LIST_ENTRIES - 3))

    taken = allocator(storage, "next").take(200)

    assert {allocation.list_number for allocation in taken} == {3, 4, 5, 6}
    with storage.read() as conn:
        assert max(conn.execute(select(s.c.taken)).scalars()) <= LIST_ENTRIES


def test_the_last_indexes_of_a_list_are_handed_out(storage: Storage) -> None:
    mine = allocator(storage)
    mine.take(1)
    s = schema.status_list
    with storage.write() as conn:
        conn.execute(update(s).values(taken=LIST_ENTRIES - 32))

    taken = allocator(storage, "last").take(128)

    assert {allocation.list_number for allocation in taken} == {1, 2, 3, 4}
    with storage.read() as conn:
        assert set(conn.execute(select(s.c.taken)).scalars()) == {LIST_ENTRIES}


def test_processes_at_the_same_time_never_share_an_index(small: SmallRegion) -> None:
    storage = small.region.storage
    allocators = [
        StatusAllocator(
            storage=storage, uri_prefix=small.region.namespace.status_prefix, entropy=entropy
        )
        for entropy in [SystemEntropy() for _ in range(6)]
    ]

    with ThreadPoolExecutor(6) as pool:
        taken = list(
            pool.map(lambda one: [p for _ in range(5) for p in places(one.take(40))], allocators)
        )

    flat = [place for part in taken for place in part]
    assert len(flat) == 1200 == len(set(flat))


def test_processes_that_find_the_lists_full_open_new_ones_together(small: SmallRegion) -> None:
    s = schema.status_list
    with small.region.storage.write() as conn:
        conn.execute(update(s).values(taken=LIST_ENTRIES))
    allocators = [
        StatusAllocator(
            storage=small.region.storage,
            uri_prefix=small.region.namespace.status_prefix,
            entropy=SystemEntropy(),
        )
        for _ in range(4)
    ]

    with ThreadPoolExecutor(4) as pool:
        taken = [
            place
            for part in pool.map(lambda one: places(one.take(20)), allocators)
            for place in part
        ]

    assert len(taken) == 80 == len(set(taken))


def test_threads_of_one_process_never_share_an_index(small: SmallRegion) -> None:
    mine = StatusAllocator(
        storage=small.region.storage,
        uri_prefix=small.region.namespace.status_prefix,
        entropy=SystemEntropy(),
    )

    with ThreadPoolExecutor(8) as pool:
        taken = [
            place for part in pool.map(lambda _: places(mine.take(3)), range(200)) for place in part
        ]

    assert len(taken) == 600 == len(set(taken))
