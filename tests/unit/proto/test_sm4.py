"""SM4: GCM against the standard's answers, and wrapping against the library's RFC 3394."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto.sm4 import Sm4Gcm, unwrap, wrap

KEYS = st.binary(min_size=16, max_size=16)


def test_the_known_answer_of_rfc_8998() -> None:
    # RFC 8998 appendix A.1.
    key = bytes.fromhex("0123456789abcdeffedcba9876543210")
    nonce = bytes.fromhex("00001234567800000000abcd")
    extra = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    plain = b"".join(bytes([byte]) * 8 for byte in bytes.fromhex("aabbccddeeffeeaa"))
    sealed = Sm4Gcm(key).encrypt(nonce, plain, extra)
    assert sealed.hex() == (
        "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
        "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
        "83de3541e4c2b58177e065a9bf7b62ec"
    )
    assert Sm4Gcm(key).decrypt(nonce, sealed, extra) == plain


@given(key=KEYS, text=st.binary(max_size=100), extra=st.binary(max_size=20), data=st.data())
def test_one_flipped_bit_never_opens(
    key: bytes, text: bytes, extra: bytes, data: st.DataObject
) -> None:
    sealed = bytearray(Sm4Gcm(key).encrypt(bytes(12), text, extra))
    assert Sm4Gcm(key).decrypt(bytes(12), bytes(sealed), extra) == text
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidTag):
        Sm4Gcm(key).decrypt(bytes(12), bytes(sealed), extra)


@pytest.mark.parametrize("size", [0, 1, 15])
def test_less_than_a_tag_does_not_open(size: int) -> None:
    with pytest.raises(InvalidTag):
        Sm4Gcm(bytes(16)).decrypt(bytes(12), bytes(size), b"")


@given(kek=KEYS, key=KEYS)
def test_wrapping_is_that_of_rfc_3394(kek: bytes, key: bytes) -> None:
    # The same steps over AES are what the library does; over SM4 nobody else does them here.
    assert wrap(algorithms.AES128(kek), key) == aes_key_wrap(kek, key)
    assert unwrap(algorithms.AES128(kek), aes_key_wrap(kek, key)) == key
    assert unwrap(algorithms.SM4(kek), wrap(algorithms.SM4(kek), key)) == key


@given(kek=KEYS, key=KEYS, bit=st.integers(0, 8 * 24 - 1))
def test_a_wrapped_key_with_one_bit_flipped_never_unwraps(kek: bytes, key: bytes, bit: int) -> None:
    wrapped = bytearray(wrap(algorithms.SM4(kek), key))
    wrapped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidTag):
        unwrap(algorithms.SM4(kek), bytes(wrapped))


@pytest.mark.parametrize("size", [0, 16, 23, 25, 40])
def test_a_wrapped_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidTag):
        unwrap(algorithms.SM4(bytes(16)), bytes(size))
