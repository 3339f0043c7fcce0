"""Trust lists: parse is the inverse of serialise, and no input breaks it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from support.json_mutation import VALUES, Place, places, put
from support.trust_list import ISSUED_AT, ORIGIN, trust_list
from yinxin_proto.error import MalformedError
from yinxin_proto.keyrecord import Pin, ranges_of
from yinxin_proto.strict import Json, canonical_json
from yinxin_proto.trustlist import TrustList

SAMPLE = trust_list().to_bytes()

PLACES = places(json.loads(SAMPLE))


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_the_typed_error(data: bytes) -> None:
    try:
        TrustList.parse(data)
    except MalformedError:
        return
    raise AssertionError("random bytes were a trust list")


@settings(max_examples=300)
@given(st.sampled_from(PLACES), VALUES)
def test_any_value_in_any_place_is_refused_or_read_back_the_same(place: Place, value: Json) -> None:
    document = json.loads(SAMPLE)
    put(document, place, value)
    try:
        data = canonical_json(document)
        listed = TrustList.parse(data)
    except MalformedError:
        return
    assert listed.to_bytes() == data


@settings(max_examples=300)
@given(st.integers(0, len(SAMPLE) * 8 - 1))
def test_a_flipped_bit_is_refused_or_a_different_list(bit: int) -> None:
    data = bytearray(SAMPLE)
    data[bit // 8] ^= 1 << (bit % 8)
    try:
        listed = TrustList.parse(bytes(data))
    except MalformedError:
        return
    assert listed != trust_list()
    assert listed.to_bytes() == bytes(data)


@given(st.sets(st.integers(0, 60)), st.integers(0, 60), st.integers(0, 60))
def test_a_pin_admits_as_the_plain_rule_says(indexes: set[int], one: int, other: int) -> None:
    n_safe, n_stop = sorted((one, other))
    attested = {index for index in indexes if n_safe <= index < n_stop}
    pin = Pin(
        origin=ORIGIN,
        n_stop=n_stop,
        root=bytes(32),
        n_safe=n_safe,
        reattested=_apart(attested, n_safe),
    )
    for index in range(62):
        assert pin.admits(index) == (index < n_safe or index in attested)


def _apart(indexes: set[int], n_safe: int) -> tuple[tuple[int, int], ...]:
    ranges = ranges_of(indexes)
    assert all(start >= n_safe for start, _ in ranges)
    return ranges


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 50))
def test_dates_are_kept_to_the_second(start: int, length: int) -> None:
    def at(value: dict[str, Any]) -> dict[str, Any]:
        key: dict[str, Any] = value["authorities"][0]["keys"][0]
        return key

    document = json.loads(SAMPLE)
    at(document).update(not_before=start, not_after=start + length)
    key = TrustList.parse(canonical_json(document)).authorities[0].keys[0]
    assert (key.not_before, key.not_after) == (start, start + length)
    assert key.covers(start + length)
    assert not key.covers(start + length + 1)
    assert ISSUED_AT > 0
