"""Strict readers: one spelling for each value, and a bound on everything."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable

import pytest

from yinxin_proto.error import MalformedError
from yinxin_proto.strict import (
    MAX_SAFE_INTEGER,
    b64url_decode,
    b64url_encode,
    canonical_json,
    inflate,
    parse_canonical_json,
    parse_json,
    parse_json_object,
)

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def reason(parse: Callable[..., object], data: object, **bounds: int) -> str:
    with pytest.raises(MalformedError) as caught:
        parse(data, **bounds)
    return caught.value.reason


def is_base64url(text: bytes) -> bool:
    try:
        b64url_decode(text)
    except MalformedError:
        return False
    return True


@pytest.mark.parametrize("length", range(1, 6))
def test_base64url_has_one_spelling_for_each_value(length: int) -> None:
    accepted = 0
    for place in range(length):
        for character in range(256):
            text = bytearray(b"A" * length)
            text[place] = character
            if is_base64url(bytes(text)):
                accepted += 1
                assert character in ALPHABET
                assert b64url_encode(b64url_decode(bytes(text))).encode() == bytes(text)
    inner, last = 64 * (length - 1), {0: 64, 1: 0, 2: 4, 3: 16}[length % 4]
    assert accepted == (0 if length % 4 == 1 else inner + last)


@pytest.mark.parametrize("text", ["Zg==", "Zm8=", "Z g", "Zm9v\n", "Zm9 Zm9v", "+/+/", "Zm9é", "Z"])
def test_base64url_refuses_what_lenient_decoders_let_pass(text: str) -> None:
    assert reason(b64url_decode, text) == "BASE64URL"


def test_base64url_is_bounded() -> None:
    assert b64url_decode(b64url_encode(bytes(10)), max_bytes=10) == bytes(10)
    assert reason(b64url_decode, b64url_encode(bytes(11)), max_bytes=10) == "TOO_LARGE"


def test_base64url_agrees_with_the_standard_library() -> None:
    for size in range(70):
        data = bytes(range(186, 186 + size))
        assert b64url_encode(data) == base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "JSON"),
        (b"  ", "JSON"),
        (b"{", "JSON"),
        (b"1 2", "JSON"),
        (b'{"a":1}x', "JSON"),
        (b"\xef\xbb\xbf1", "JSON"),
        (b"\xff", "JSON"),
        (b"\xed\xa0\x80", "JSON"),
        (b'"\\ud800"', "JSON"),
        (b'{"\\uDC00":1}', "JSON"),
        (b'"\x00"', "JSON"),
        (b"NaN", "JSON"),
        (b"[-Infinity]", "JSON"),
        (b"\xc2\xa01", "JSON"),
        (b"01", "JSON"),
        (b"9007199254740992", "JSON_NUMBER"),
        (b"-9007199254740992", "JSON_NUMBER"),
        (b"1" * 5000, "JSON_NUMBER"),
        (b"1e999", "JSON_NUMBER"),
        (b"0." + b"1" * 50, "JSON_NUMBER"),
        (b'{"a":1,"a":1}', "JSON_DUPLICATE_MEMBER"),
        (b'[{"b":{"a":1,"\\u0061":2}}]', "JSON_DUPLICATE_MEMBER"),
        (b"[" * 17 + b"]" * 17, "TOO_DEEP"),
        (b"[" * 100_000, "TOO_DEEP"),
        (b'{"a":' * 100_000, "TOO_DEEP"),
    ],
)
def test_json_that_readers_could_disagree_on_is_refused(text: bytes, why: str) -> None:
    assert reason(parse_json, text) == why


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b" \t\r\n{ } ", {}),
        (b"[" * 16 + b"]" * 16, None),
        (b"[" + b"[]," * 40 + b"[]]", [[]] * 41),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"[[[[[[[[[[[[[[[[[[[["', "[" * 20),
        ('"证照"'.encode(), "证照"),
        (b"9007199254740991", MAX_SAFE_INTEGER),
        (b"-0", 0),
        (b"1.5e3", 1500.0),
    ],
)
def test_well_formed_json_is_read(text: bytes, value: object) -> None:
    assert parse_json(text) == (json.loads(text) if value is None else value)


def test_depth_counts_containers_and_nothing_else() -> None:
    assert parse_json(b"[[1],[2],{}]", max_depth=2) == [[1], [2], {}]
    assert reason(parse_json, b"[[1],[2],{}]", max_depth=1) == "TOO_DEEP"
    assert reason(parse_json, b'[[1],[2],{"a":{"b":3}}]', max_depth=2) == "TOO_DEEP"
    assert parse_json(b"1", max_depth=0) == 1


def test_json_is_bounded_in_size() -> None:
    assert reason(parse_json, b" " * 11, max_bytes=10) == "TOO_LARGE"


def test_an_object_is_told_from_other_values() -> None:
    assert parse_json_object(b'{"a":1}') == {"a": 1}
    assert reason(parse_json_object, b"[]") == "JSON"


def test_canonical_json_follows_rfc_8785() -> None:
    # The sample of RFC 8785 §3.2.3, and its order of names by UTF-16 units.
    value = {"€": "Euro", "\r": "Return", "\ufb33": "Dalet", "1": "One", "😀": "Smiley"}
    assert list(json.loads(canonical_json(value))) == ["\r", "1", "€", "😀", "\ufb33"]
    assert canonical_json([1.0, 1e21, 1e-7, 0.1, True, None]) == b"[1,1e+21,1e-7,0.1,true,null]"
    assert canonical_json('\x07\b\x7f/"\\') == b'"\\u0007\\b\x7f/\\"\\\\"'


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 1 << 53, "\ud800", {"\ud800": 1}, {1: 1}, b"x", object()]
)
def test_what_rfc_8785_cannot_express_is_refused(value: object) -> None:
    assert reason(canonical_json, value) == "JSON"


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    assert reason(canonical_json, value) == "JSON"


@pytest.mark.parametrize(
    "text",
    [
        b'{"b":1,"a":2}',
        b'[{"a":[{"b":1,"a":2}]}]',
        b'{ "a":1}',
        b'{"a":1}\n',
        b'{"a":1.0}',
        b'"\\u0041"',
        b"-0",
        b"[-0]",
        b'{"a":1,"b":-0}',
        '{"\ufb33":1,"\U0001f600":1}'.encode(),
        '{"a\ufb33":1,"a\U0001f600":1}'.encode(),
    ],
)
def test_a_text_that_must_be_canonical_is_refused_otherwise(text: bytes) -> None:
    assert reason(parse_canonical_json, text, max_bytes=100) == "JSON_NOT_CANONICAL"


def test_a_canonical_text_is_read() -> None:
    assert parse_canonical_json(b'{"a":2,"b":1}', max_bytes=100) == {"a": 2, "b": 1}


def test_inflating_stops_at_its_bound() -> None:
    bomb = zlib.compress(bytes(10_000_000), 9)
    assert reason(inflate, bomb, max_bytes=1_000) == "TOO_LARGE"
    assert inflate(zlib.compress(bytes(1_000)), max_bytes=1_000) == bytes(1_000)
    assert reason(inflate, zlib.compress(bytes(1_001)), max_bytes=1_000) == "TOO_LARGE"


def test_a_zlib_stream_is_whole_and_alone() -> None:
    stream = zlib.compress(b"status" * 50)
    assert reason(inflate, stream[:-1], max_bytes=1_000) == "ZLIB"
    assert reason(inflate, stream + b"x", max_bytes=1_000) == "ZLIB"
    assert reason(inflate, stream[:-1] + bytes([stream[-1] ^ 1]), max_bytes=1_000) == "ZLIB"
    assert reason(inflate, b"", max_bytes=1_000) == "ZLIB"
    # GZIP and raw DEFLATE are other formats (W3C lists use the former).
    assert reason(inflate, zlib.compress(b"x", wbits=31), max_bytes=1_000) == "ZLIB"
    assert reason(inflate, zlib.compress(b"x", wbits=-15), max_bytes=1_000) == "ZLIB"
