"""The ES256 suite: signatures, and the one spelling of each key."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from support.clock import SeededEntropy
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.suite import ES256, PublicKey

KEY = ES256.load_deterministic(0x1234_5678_9ABC)
MESSAGE = b"what was signed"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises((MalformedError, VerificationError)) as caught:
        act()
    return caught.value.reason


def test_a_signature_verifies_under_its_own_key() -> None:
    KEY.public_key.verify(KEY.sign(MESSAGE), MESSAGE)


def test_rfc_6979_signatures_repeat() -> None:
    # RFC 6979 appendix A.2.5, P-256 with SHA-256, message "sample".
    key = ES256.load_deterministic(
        0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    )
    assert key.sign(b"sample").hex() == (
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
    )


def test_every_changed_bit_of_a_signature_is_noticed() -> None:
    signature = KEY.sign(MESSAGE)
    for bit in range(512):
        changed = (int.from_bytes(signature, "big") ^ 1 << bit).to_bytes(64, "big")
        assert refusal(lambda c=changed: KEY.public_key.verify(c, MESSAGE)) == "SIGNATURE"  # type: ignore[misc]


def test_a_signature_does_not_verify_elsewhere() -> None:
    signature = KEY.sign(MESSAGE)
    assert refusal(lambda: KEY.public_key.verify(signature, MESSAGE + b" ")) == "SIGNATURE"
    other = ES256.load_deterministic(7).public_key
    assert refusal(lambda: other.verify(signature, MESSAGE)) == "SIGNATURE"


@pytest.mark.parametrize("size", [0, 1, 63, 65, 70, 128])
def test_a_signature_of_another_length_is_refused(size: int) -> None:
    assert refusal(lambda: KEY.public_key.verify(bytes(size), MESSAGE)) == "SIGNATURE_LENGTH"


@pytest.mark.parametrize("r", [0, 1, ORDER - 1, ORDER, (1 << 256) - 1])
@pytest.mark.parametrize("s", [0, 1, ORDER - 1, ORDER, (1 << 256) - 1])
def test_values_at_the_edges_are_refused(r: int, s: int) -> None:
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert refusal(lambda: KEY.public_key.verify(signature, MESSAGE)) == "SIGNATURE"


def test_der_written_by_hand_is_what_the_library_writes() -> None:
    entropy = SeededEntropy("der")
    halves = [bytes(32), b"\x80" + bytes(31), bytes(31) + b"\x01", b"\x00\x80" + bytes(30)]
    halves += [entropy.token(32) for _ in range(50)]
    for r in halves:
        for s in halves:
            assert ES256.to_x509_signature(r + s) == encode_dss_signature(
                int.from_bytes(r, "big"), int.from_bytes(s, "big")
            )


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30\x00",
        bytes.fromhex("3006020100020100") + b"x",
        bytes.fromhex("300602018002018f"),
        encode_dss_signature(1 << 256, 1),
    ],
)
def test_a_broken_x509_signature_is_refused(der: bytes) -> None:
    assert refusal(lambda: ES256.from_x509_signature(der)) == "SIGNATURE"


def test_a_signature_of_another_length_is_not_converted() -> None:
    assert refusal(lambda: ES256.to_x509_signature(bytes(63))) == "SIGNATURE_LENGTH"


def test_keys_survive_storing() -> None:
    key = ES256.generate()
    again = ES256.load_private(key.to_pkcs8())
    assert again.public_key == key.public_key
    assert hash(again.public_key) == hash(key.public_key)
    again.public_key.verify(key.sign(MESSAGE), MESSAGE)
    assert ES256.load_public(key.public_key.spki) == key.public_key
    assert ES256.public_from_jwk(dict(ES256.public_to_jwk(key.public_key))) == key.public_key
    assert len(key.public_key.thumbprint) == 32


def test_a_private_key_does_not_print() -> None:
    assert str(KEY) == repr(KEY) == "Es256SigningKey(…)"


def spki(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def compressed(key: PublicKey) -> bytes:
    point = key.spki[-64:]
    prefix = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    return prefix + bytes([2 + point[63] % 2]) + point[:32]


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30\x00",
        KEY.public_key.spki + b"\x00",
        KEY.public_key.spki[:-1],
        KEY.public_key.spki[:-1] + bytes([KEY.public_key.spki[-1] ^ 1]),
        compressed(KEY.public_key),
        spki(ec.derive_private_key(5, ec.SECP384R1()).public_key()),
        spki(ec.derive_private_key(5, ec.SECP256K1()).public_key()),
        spki(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()),
        # The SM2 curve, which the library has no name for.
        bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d03420004")
        + KEY.public_key.spki[-64:],
    ],
)
def test_no_other_public_key_is_loaded(der: bytes) -> None:
    assert refusal(lambda: ES256.load_public(der)) == "KEY"


def test_no_other_private_key_is_loaded() -> None:
    def pkcs8(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
        return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    others = [
        b"",
        pkcs8(ec.derive_private_key(5, ec.SECP384R1())),
        pkcs8(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))),
        KEY.to_pkcs8()[:-1],
        KEY.public_key.spki,
    ]
    assert [refusal(lambda d=der: ES256.load_private(d)) for der in others] == ["KEY"] * 5  # type: ignore[misc]


JWK: dict[str, object] = dict(ES256.public_to_jwk(KEY.public_key))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kty": "RSA"}, "KEY"),
        ({"kty": None}, "KEY"),
        ({"crv": "P-384"}, "KEY"),
        ({"d": "AA"}, "KEY"),
        ({"x": 5}, "KEY"),
        ({"y": None}, "KEY"),
        ({"x": "AA"}, "KEY"),
        ({"x": "A" * 43}, "KEY"),
        ({"x": f"{str(JWK['x'])[:-1]}="}, "BASE64URL"),
        ({"x": "A" * 60}, "TOO_LARGE"),
        ({"alg": "ES384"}, "KEY_USE"),
        ({"use": "enc"}, "KEY_USE"),
        ({"key_ops": ["sign"]}, "KEY_USE"),
        ({"key_ops": "verify"}, "KEY_USE"),
    ],
)
def test_a_jwk_for_anything_else_is_refused(change: dict[str, object], why: str) -> None:
    assert refusal(lambda: ES256.public_from_jwk(JWK | change)) == why


def test_a_jwk_that_says_what_it_is_for_is_loaded() -> None:
    full = JWK | {"alg": "ES256", "use": "sig", "key_ops": ["verify"], "kid": "k"}
    assert ES256.public_from_jwk(full) == KEY.public_key
