from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto import note
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.note import NoteSigner, NoteVerifier
from yinxin_proto.vkey import SignatureType, VerifierKey, b64_decode, b64_encode, check_key_name

TEXTS = st.text(st.characters(codec="utf-8", min_codepoint=0x20) | st.just("\n"), max_size=80)
SIGNER = NoteSigner(name="log.example/日志", key=b"\x01" * 32)
SIGNED = note.sign("one line\n\nand another\n", [SIGNER])


@given(TEXTS.map(lambda text: text + "\n"))
def test_every_text_is_signed_read_back_and_verified(text: str) -> None:
    signed = note.sign(text, [SIGNER])
    parsed = note.parse(signed)
    assert parsed.to_bytes() == signed
    assert parsed.verify([NoteVerifier(SIGNER.vkey)]).text == text


@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_one_flipped_bit_never_verifies(bit: int) -> None:
    damaged = bytearray(SIGNED)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedError, VerificationError)):
        note.parse(bytes(damaged)).verify([NoteVerifier(SIGNER.vkey)])


PIECES = st.sampled_from(
    [b"\n", b"\n\n", "— ".encode(), b"name ", b"AAAAAAAA", b"=", b"\r", b"\x00", b"\xff", SIGNED]
)


@given(st.binary(max_size=60) | st.lists(PIECES, max_size=12).map(b"".join))
def test_any_bytes_are_a_note_or_malformed(data: bytes) -> None:
    try:
        parsed = note.parse(data)
    except MalformedError:
        return
    assert parsed.to_bytes() == data


@given(st.text(max_size=20), st.binary(min_size=32, max_size=32))
def test_every_name_makes_a_vkey_or_is_malformed(name: str, key: bytes) -> None:
    try:
        check_key_name(name)
    except MalformedError:
        return
    vkey = VerifierKey(name, SignatureType.ED25519, key)
    assert VerifierKey.parse(vkey.to_text()) == vkey


@given(st.text(alphabet="+ab01AB=/é \n", max_size=40))
def test_any_text_is_a_vkey_or_malformed(text: str) -> None:
    try:
        key = VerifierKey.parse(text)
    except MalformedError:
        return
    assert key.to_text() == text


@given(st.binary(max_size=40))
def test_base64_is_read_back(data: bytes) -> None:
    assert b64_decode(b64_encode(data)) == data


@given(st.text(alphabet="AQgwYR+/=-_ \n", max_size=12))
def test_any_text_is_canonical_base64_or_malformed(text: str) -> None:
    try:
        data = b64_decode(text)
    except MalformedError:
        return
    assert b64_encode(data) == text
