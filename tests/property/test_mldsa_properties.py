"""ML-DSA: one flipped bit never verifies, and random bytes are no key."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.mldsa import ML_DSA_44, ML_DSA_65, MlDsa

LEVELS = st.sampled_from([ML_DSA_44, ML_DSA_65])
KEYS = {level.name: level.load_seed(bytes([7]) * 32) for level in (ML_DSA_44, ML_DSA_65)}
MESSAGE = b"an invented message"
SIGNATURES = {name: key.sign(MESSAGE) for name, key in KEYS.items()}


@given(level=LEVELS, data=st.data())
def test_one_flipped_bit_of_a_signature_never_verifies(level: MlDsa, data: st.DataObject) -> None:
    flipped = bytearray(SIGNATURES[level.name])
    bit = data.draw(st.integers(0, 8 * len(flipped) - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError):
        KEYS[level.name].public_key.verify(bytes(flipped), MESSAGE)


@given(level=LEVELS, data=st.data())
def test_one_flipped_bit_of_a_public_key_never_verifies(level: MlDsa, data: st.DataObject) -> None:
    flipped = bytearray(KEYS[level.name].public_key.spki)
    bit = data.draw(st.integers(0, 8 * len(flipped) - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedError, VerificationError)):
        level.load_public(bytes(flipped)).verify(SIGNATURES[level.name], MESSAGE)


@given(level=LEVELS, data=st.binary(max_size=2000))
def test_random_bytes_are_no_key(level: MlDsa, data: bytes) -> None:
    for load in (level.load_private, level.load_public):
        with pytest.raises(MalformedError):
            load(data)


@given(level=LEVELS, seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300))
@settings(max_examples=25)
def test_whatever_is_signed_verifies(level: MlDsa, seed: bytes, message: bytes) -> None:
    key = level.load_seed(seed)
    again = level.load_private(key.to_pkcs8())
    assert again.public_key == key.public_key
    key.public_key.verify(again.sign(message), message)
