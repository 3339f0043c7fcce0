"""SM2: one flipped bit never verifies, both verifiers agree, nothing leaks, threads do not mix."""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from yinxin_proto import sm2curve, sm2der
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.signaturepair import from_der, to_der
from yinxin_proto.sm2 import SM2, Sm2PublicKey, Sm2SigningKey

KEY = SM2.load_scalar(bytes(31) + b"\x07")
MESSAGE = b"an invented message"
SIGNATURE = KEY.sign(MESSAGE)
PUBLIC = KEY.public_key
HALVES = st.binary(min_size=32, max_size=32)
EDGES = st.sampled_from(
    [value.to_bytes(32, "big") for value in (0, 1, sm2curve.N - 1, sm2curve.N, (1 << 256) - 1)]
)


def point_of(key: object) -> bytes:
    assert isinstance(key, Sm2PublicKey)
    return key.point


def holds(signature: bytes, message: bytes = MESSAGE) -> bool:
    try:
        PUBLIC.verify(signature, message)
    except VerificationError:
        return False
    return True


@given(bit=st.integers(0, 511))
def test_one_flipped_bit_of_a_signature_never_verifies(bit: int) -> None:
    flipped = bytearray(SIGNATURE)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not holds(bytes(flipped))
    assert not sm2curve.verify(point_of(PUBLIC), bytes(flipped), MESSAGE)


@given(bit=st.integers(0, 8 * len(MESSAGE) - 1))
def test_one_flipped_bit_of_a_message_never_verifies(bit: int) -> None:
    flipped = bytearray(MESSAGE)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not holds(SIGNATURE, bytes(flipped))


@given(bit=st.integers(0, 8 * len(PUBLIC.spki) - 1))
def test_one_flipped_bit_of_a_public_key_never_loads(bit: int) -> None:
    # A changed coordinate is off the curve, but for a sign, and then it is another key.
    flipped = bytearray(PUBLIC.spki)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedError, VerificationError)):
        SM2.load_public(bytes(flipped)).verify(SIGNATURE, MESSAGE)


@given(r=HALVES | EDGES, s=HALVES | EDGES)
@example(r=SIGNATURE[:32], s=SIGNATURE[32:])
def test_both_verifiers_give_the_same_verdict(r: bytes, s: bytes) -> None:
    assert holds(r + s) == sm2curve.verify(point_of(PUBLIC), r + s, MESSAGE)


@given(message=st.binary(max_size=2000))
def test_whatever_is_signed_verifies(message: bytes) -> None:
    signature = KEY.sign(message)
    assert holds(signature, message)
    assert sm2curve.verify(point_of(PUBLIC), signature, message)


@given(x=HALVES, y=HALVES)
def test_random_coordinates_are_no_key(x: bytes, y: bytes) -> None:
    on_curve = sm2curve.is_on_curve(int.from_bytes(x, "big"), int.from_bytes(y, "big"))
    try:
        SM2.load_public(sm2der.public_info(x + y))
    except MalformedError:
        assert not on_curve
    else:
        assert on_curve


@given(data=st.binary(max_size=200))
def test_random_bytes_are_no_private_key(data: bytes) -> None:
    with pytest.raises(MalformedError):
        SM2.load_private(data)


@given(scalar=st.integers(1, sm2curve.N - 2))
@settings(max_examples=30)
def test_private_keys_survive_storing(scalar: int) -> None:
    key = SM2.load_scalar(scalar.to_bytes(32, "big"))
    assert SM2.load_private(key.to_pkcs8()).public_key == key.public_key


@given(pair=st.binary(min_size=64, max_size=64))
def test_signatures_convert_without_loss(pair: bytes) -> None:
    assert from_der(to_der(pair), suite="SM2") == pair


def test_nothing_leaks() -> None:
    # Every kind of handle, on the paths that succeed and on those that fail.
    def work(times: int) -> None:
        for _ in range(times):
            key = SM2.load_private(KEY.to_pkcs8())
            public = SM2.load_public(key.public_key.spki)
            signature = key.sign(MESSAGE)
            public.verify(signature, MESSAGE)
            with pytest.raises(VerificationError):
                public.verify(SIGNATURE[::-1], MESSAGE)
            assert isinstance(key, Sm2SigningKey)
            with pytest.raises(MalformedError):
                key.decrypt(b"0\x00")

    work(300)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(1500)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    # KiB; one EVP_PKEY leaked each time would be about 3 MiB.
    assert grown < 1500


def test_threads_do_not_disturb_each_other() -> None:
    keys = [SM2.generate() for _ in range(4)]

    def work(number: int) -> None:
        key, stranger = keys[number % 4], keys[(number + 1) % 4]
        message = b"message %d" % number
        for _ in range(25):
            signature = key.sign(message)
            key.public_key.verify(signature, message)
            with pytest.raises(VerificationError):
                stranger.public_key.verify(signature, message)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
