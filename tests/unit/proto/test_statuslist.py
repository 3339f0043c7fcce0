from __future__ import annotations

import dataclasses
import zlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import EPOCH
from support.forge import ISSUER_KEY, STRANGER_KEY
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.jose import sign_compact, x5c_chain
from yinxin_proto.statuslist import (
    LIST_ENTRIES,
    MAX_ENTRIES,
    StatusList,
    StatusReference,
    StatusToken,
    StatusValue,
    parse,
)
from yinxin_proto.strict import Json, b64url_encode, canonical_json

KEY = ISSUER_KEY.public_key
URI = "https://licences.example/status/1"
TOKEN = StatusToken(
    uri=URI,
    issued_at=EPOCH,
    expires_at=EPOCH + timedelta(days=1),
    ttl=timedelta(hours=1),
    log_size=42,
    list=StatusList.from_values([0, 1, 2, 3]),
)


def forged(typ: str = "statuslist+jwt", **changes: Json) -> str:
    """A token by the right key with other claims; None removes one."""
    claims = {
        "sub": URI,
        "iat": 1,
        "status_list": {"bits": 1, "lst": StatusList.from_values([1], bits=1).encode()},
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    return sign_compact(ISSUER_KEY, typ=typ, payload=canonical_json(kept))


def test_entries_are_packed_least_significant_bit_first() -> None:
    assert StatusList.from_values([1, 0, 0, 1, 1, 1, 0, 1], bits=1).raw == b"\xb9"
    assert StatusList.from_values([1, 2, 0, 3], bits=2).raw == b"\xc9"
    assert StatusList.from_values([0xC, 0x4], bits=4).raw == b"\x4c"


def test_our_lists_hold_four_values() -> None:
    blank = StatusList.filled()
    assert (blank.bits, blank.size) == (2, LIST_ENTRIES)
    changed = blank.replace({7: StatusValue.SUSPENDED, LIST_ENTRIES - 1: StatusValue.FROZEN})
    assert changed.get(7) == StatusValue.SUSPENDED
    assert changed.get(8) == StatusValue.VALID
    assert changed.get(LIST_ENTRIES - 1) == StatusValue.FROZEN
    assert blank.get(7) == StatusValue.VALID


def test_replacing_clears_what_was_there() -> None:
    full = StatusList.from_values([3, 3, 3, 3])
    assert [full.replace({1: 0}).get(index) for index in range(4)] == [3, 0, 3, 3]


@pytest.mark.parametrize("index", [-1, LIST_ENTRIES, 1 << 60])
def test_an_index_out_of_range_is_refused(index: int) -> None:
    blank = StatusList.filled()
    for act in (blank.get, lambda at: blank.replace({at: 1})):
        with pytest.raises(MalformedError) as caught:
            act(index)
        assert caught.value.reason == "STATUS_INDEX"


@pytest.mark.parametrize("value", [-1, 4])
def test_a_value_too_large_for_its_bits_is_refused(value: int) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        StatusList.from_values([value])
    assert caught.value.reason == "STATUS_VALUE"


@pytest.mark.parametrize("size", [0, -1, MAX_ENTRIES + 1])
def test_a_size_out_of_bounds_is_refused(size: int) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        StatusList.filled(size=size)
    assert caught.value.reason == "STATUS_SIZE"


@given(st.sampled_from([1, 2, 4, 8]), st.data())
def test_decoding_what_was_encoded_is_identity(bits: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=1, max_size=50))
    made = StatusList.from_values(values, bits=bits)
    again = StatusList.decode(bits, made.encode())
    assert again == made
    assert hash(again) == hash(made)
    assert [again.get(index) for index in range(len(values))] == values


@given(st.binary(max_size=50))
def test_bytes_that_are_no_zlib_stream_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        StatusList.decode(2, b64url_encode(data + b"x"))


@pytest.mark.parametrize("bits", [0, 3, 16, -1, True, "1", 2.0, None])
def test_another_number_of_bits_is_refused(bits: Json) -> None:
    with pytest.raises(MalformedError) as caught:
        StatusList.decode(bits, StatusList.from_values([1]).encode())
    assert caught.value.reason == "STATUS_BITS"


def test_a_list_that_inflates_beyond_its_bound_is_refused() -> None:
    bomb = b64url_encode(zlib.compress(bytes(MAX_ENTRIES // 4 + 1), 9))
    with pytest.raises(MalformedError) as caught:
        StatusList.decode(2, bomb)
    assert caught.value.reason == "TOO_LARGE"
    with pytest.raises(MalformedError):
        StatusList.decode(2, StatusList.filled().encode(), max_entries=LIST_ENTRIES - 1)


def test_a_list_in_gzip_is_refused() -> None:
    compressor = zlib.compressobj(wbits=31)
    data = compressor.compress(b"\x01") + compressor.flush()
    with pytest.raises(MalformedError) as caught:
        StatusList.decode(1, b64url_encode(data))
    assert caught.value.reason == "ZLIB"


def test_a_token_verifies_to_what_was_signed() -> None:
    signed = TOKEN.sign(ISSUER_KEY, (b"leaf", b"issuer"))
    assert parse(signed).verify(KEY) == TOKEN
    assert x5c_chain(parse(signed).jws.header) == (b"leaf", b"issuer")


def test_what_is_optional_may_be_absent() -> None:
    bare = dataclasses.replace(TOKEN, expires_at=None, ttl=None, log_size=None)
    assert parse(bare.sign(ISSUER_KEY)).verify(KEY) == bare


def test_a_token_of_a_full_list_in_disorder_fits() -> None:
    noise = b"".join(zlib.crc32(bytes([i & 255, i >> 8])).to_bytes(4, "big") for i in range(8192))
    full = dataclasses.replace(TOKEN, list=StatusList(bits=2, raw=noise))
    assert parse(full.sign(ISSUER_KEY)).verify(KEY).list.size == LIST_ENTRIES


def test_a_token_by_another_key_is_refused() -> None:
    with pytest.raises(VerificationError) as caught:
        parse(TOKEN.sign(STRANGER_KEY)).verify(KEY)
    assert caught.value.reason == "SIGNATURE"


@pytest.mark.parametrize("typ", ["JWT", "dc+sd-jwt", "statuslist+cwt"])
def test_a_token_of_another_type_is_refused(typ: str) -> None:
    with pytest.raises(VerificationError) as caught:
        parse(forged(typ)).verify(KEY)
    assert caught.value.reason == "TYP"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sub": None}, "STATUS_URI"),
        ({"sub": 1}, "STATUS_URI"),
        ({"sub": ""}, "STATUS_URI"),
        ({"sub": "x" * 2000}, "STATUS_URI"),
        ({"iat": None}, "NUMERIC_DATE"),
        ({"iat": "1"}, "NUMERIC_DATE"),
        ({"iat": True}, "NUMERIC_DATE"),
        ({"iat": 1e300}, "NUMERIC_DATE"),
        ({"exp": "1"}, "NUMERIC_DATE"),
        ({"ttl": 0}, "STATUS_TTL"),
        ({"ttl": -1}, "STATUS_TTL"),
        ({"ttl": "1"}, "STATUS_TTL"),
        ({"ttl": True}, "STATUS_TTL"),
        ({"ttl": 1e300}, "STATUS_TTL"),
        ({"yinxin_log_size": -1}, "STATUS_LOG_SIZE"),
        ({"yinxin_log_size": 1.5}, "STATUS_LOG_SIZE"),
        ({"yinxin_log_size": True}, "STATUS_LOG_SIZE"),
        ({"status_list": None}, "STATUS_LIST"),
        ({"status_list": []}, "STATUS_LIST"),
        ({"status_list": {"bits": 1}}, "STATUS_LIST"),
        ({"status_list": {"bits": 1, "lst": "AA"}}, "ZLIB"),
        ({"status_list": {"bits": 1, "lst": "="}}, "BASE64URL"),
    ],
)
def test_a_claim_of_another_form_is_refused(change: dict[str, Json], reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse(forged(**change)).verify(KEY)
    assert caught.value.reason == reason


def test_other_claims_are_ignored() -> None:
    assert parse(forged(iss="https://licences.example", more=[1])).verify(KEY).uri == URI


def test_nothing_is_inflated_before_the_signature_holds() -> None:
    token = parse(forged(status_list={"bits": 1, "lst": "="}))
    with pytest.raises(VerificationError):
        token.verify(STRANGER_KEY.public_key)


def test_a_reference_reads_back() -> None:
    reference = StatusReference(URI, 7)
    assert StatusReference.from_claims({"status": reference.to_claim()}) == reference
    assert StatusReference.from_claims({"iss": "x"}) is None


@pytest.mark.parametrize(
    "status",
    [
        None,
        {},
        {"status_list": None},
        {"status_list": {"idx": 1}},
        {"status_list": {"uri": URI}},
        {"status_list": {"idx": -1, "uri": URI}},
        {"status_list": {"idx": True, "uri": URI}},
        {"status_list": {"idx": 1.0, "uri": URI}},
        {"status_list": {"idx": "1", "uri": URI}},
        {"status_list": {"idx": 1, "uri": ""}},
        {"status_list": {"idx": 1, "uri": "x" * 2000}},
        {"another_mechanism": {}},
    ],
)
def test_a_status_that_refers_to_no_list_is_refused(status: Json) -> None:
    with pytest.raises(MalformedError) as caught:
        StatusReference.from_claims({"status": status})
    assert caught.value.reason == "STATUS_REFERENCE"
