"""Strict readers on any input: typed errors alone, and exact inverses."""

from __future__ import annotations

import base64
import json
import zlib
from contextlib import suppress

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto.error import MalformedError
from yinxin_proto.strict import (
    MAX_SAFE_INTEGER,
    Json,
    b64url_decode,
    b64url_encode,
    canonical_json,
    inflate,
    parse_canonical_json,
    parse_json,
)

INTEGERS = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NEAR_JSON = st.text('{}[]",:\\u0d8e1.-+ \n', max_size=40).map(str.encode)


@given(st.binary(max_size=80))
def test_base64url_is_read_back(data: bytes) -> None:
    text = b64url_encode(data)
    assert b64url_decode(text) == b64url_decode(text.encode()) == data
    assert text.encode() == base64.urlsafe_b64encode(data).rstrip(b"=")


@given(st.binary(max_size=24) | st.text(max_size=24))
def test_what_base64url_accepts_it_would_write(text: str | bytes) -> None:
    with suppress(MalformedError):
        written = b64url_encode(b64url_decode(text))
        assert written == (text if isinstance(text, str) else text.decode())


@given(VALUES)
def test_canonical_json_is_read_back(value: Json) -> None:
    text = canonical_json(value)
    assert parse_canonical_json(text, max_bytes=len(text)) == value


@given(
    VALUES | st.lists(FLOATS | st.just(-0.0)),
    st.sampled_from([(",", ":"), (", ", ":"), (",", ": ")]),
    st.booleans(),
    st.booleans(),
)
def test_canonical_is_what_would_be_written_again_the_same(
    value: Json, separators: tuple[str, str], ascii_only: bool, sort_keys: bool
) -> None:
    text = json.dumps(
        value, separators=separators, ensure_ascii=ascii_only, sort_keys=sort_keys
    ).encode()
    if canonical_json(parse_json(text)) == text:
        parse_canonical_json(text, max_bytes=len(text))
    else:
        with pytest.raises(MalformedError):
            parse_canonical_json(text, max_bytes=len(text))


@given(VALUES | FLOATS | st.lists(FLOATS) | st.dictionaries(TEXTS, FLOATS))
def test_the_fast_way_to_canonical_json_is_the_reference_way(value: Json) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)


@given(st.binary(max_size=40) | NEAR_JSON)
def test_any_bytes_are_read_or_refused_as_malformed(data: bytes) -> None:
    with suppress(MalformedError):
        value = parse_json(data)
        assert value == json.loads(data)


@given(VALUES, st.integers(0, 5))
def test_depth_is_what_a_reader_would_count(value: Json, bound: int) -> None:
    text = json.dumps(value).encode()
    refused = False
    try:
        parse_json(text, max_depth=bound)
    except MalformedError as error:
        refused = error.reason == "TOO_DEEP"
    assert refused == (depth(value) > bound)


def depth(value: Json) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(st.binary(max_size=200), st.integers(0, 200))
def test_inflating_gives_all_or_nothing(data: bytes, bound: int) -> None:
    stream = zlib.compress(data)
    if len(data) <= bound:
        assert inflate(stream, max_bytes=bound) == data
    else:
        with pytest.raises(MalformedError) as caught:
            inflate(stream, max_bytes=bound)
        assert caught.value.reason == "TOO_LARGE"


@given(st.binary(max_size=60))
def test_any_bytes_are_inflated_or_refused_as_malformed(data: bytes) -> None:
    with suppress(MalformedError):
        inflate(data, max_bytes=1_000)
