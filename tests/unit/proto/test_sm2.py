"""The SM2 suite: known answers, the one spelling of each key, and `openssl` both ways."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from yinxin_proto import sm2curve, sm2der
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.es256 import ES256
from yinxin_proto.signaturepair import to_der
from yinxin_proto.sm2 import SM2, Sm2PublicKey, Sm2SigningKey
from yinxin_proto.sm3 import Sm3, sm3
from yinxin_proto.suite import suite

# GB/T 32918.5 annex A.2.
SCALAR = bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
POINT = bytes.fromhex(
    "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
SIGNATURE = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
SIGNED = b"message digest"

KEY = SM2.load_scalar(SCALAR)
MESSAGE = b"what was signed"
N, P = sm2curve.N, sm2curve.P


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises((MalformedError, VerificationError)) as caught:
        act()
    return caught.value.reason


def test_the_known_answers_of_the_standard() -> None:
    assert KEY.public_key.spki == sm2der.public_info(POINT)
    KEY.public_key.verify(SIGNATURE, SIGNED)
    assert refusal(lambda: KEY.public_key.verify(SIGNATURE, SIGNED + b" ")) == "SIGNATURE"
    assert sm2curve.verify(POINT, SIGNATURE, SIGNED)
    # GB/T 32905 annex A: "abc".
    assert sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


def test_a_running_hash_is_the_hash_of_all_of_it() -> None:
    state = Sm3(b"a")
    state.update(b"bc")
    assert state.digest() == state.digest() == sm3(b"abc")


def test_the_suite_is_registered_under_its_name() -> None:
    assert suite("SM2") is SM2
    assert KEY.public_key.suite is SM2


def test_both_verifiers_agree_on_signatures() -> None:
    for _ in range(20):
        key = SM2.generate()
        signature = key.sign(MESSAGE)
        key.public_key.verify(signature, MESSAGE)
        assert isinstance(key.public_key, Sm2PublicKey)
        assert sm2curve.verify(key.public_key.point, signature, MESSAGE)
        assert not sm2curve.verify(key.public_key.point, signature, MESSAGE + b" ")


def test_no_nonce_is_used_twice() -> None:
    assert len({KEY.sign(MESSAGE)[:32] for _ in range(50)}) == 50


def test_every_changed_bit_of_a_signature_is_noticed() -> None:
    signature = KEY.sign(MESSAGE)
    for bit in range(0, 512, 3):
        changed = (int.from_bytes(signature, "big") ^ 1 << bit).to_bytes(64, "big")
        assert refusal(lambda c=changed: KEY.public_key.verify(c, MESSAGE)) == "SIGNATURE"  # type: ignore[misc]


@pytest.mark.parametrize("size", [0, 1, 63, 65, 70, 128])
def test_a_signature_of_another_length_is_refused(size: int) -> None:
    assert refusal(lambda: KEY.public_key.verify(bytes(size), MESSAGE)) == "SIGNATURE_LENGTH"
    assert refusal(lambda: SM2.to_x509_signature(bytes(size))) == "SIGNATURE_LENGTH"


@pytest.mark.parametrize("r", [0, 1, N - 1, N, (1 << 256) - 1])
@pytest.mark.parametrize("s", [0, 1, N - 1, N, (1 << 256) - 1])
def test_values_at_the_edges_are_refused_by_both(r: int, s: int) -> None:
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert refusal(lambda: KEY.public_key.verify(signature, MESSAGE)) == "SIGNATURE"
    assert not sm2curve.verify(POINT, signature, MESSAGE)


def test_a_sum_of_nothing_is_refused() -> None:
    # r + s = n would leave the key out of the equation.
    signature = (5).to_bytes(32, "big") + (N - 5).to_bytes(32, "big")
    assert refusal(lambda: KEY.public_key.verify(signature, MESSAGE)) == "SIGNATURE"
    assert not sm2curve.verify(POINT, signature, MESSAGE)


@pytest.mark.parametrize(
    "der", [b"", b"\x30\x00", to_der(SIGNATURE) + b"x", b"\x30\x06\x02\x01\x80"]
)
def test_a_broken_x509_signature_is_refused(der: bytes) -> None:
    assert refusal(lambda: SM2.from_x509_signature(der)) == "SIGNATURE"


def test_x509_signatures_convert_both_ways() -> None:
    assert SM2.from_x509_signature(SM2.to_x509_signature(SIGNATURE)) == SIGNATURE


def test_keys_survive_storing() -> None:
    key = SM2.generate()
    again = SM2.load_private(key.to_pkcs8())
    assert again.public_key == key.public_key
    assert hash(again.public_key) == hash(key.public_key)
    again.public_key.verify(key.sign(MESSAGE), MESSAGE)
    assert SM2.load_public(key.public_key.spki) == key.public_key
    assert SM2.public_from_jwk(dict(SM2.public_to_jwk(key.public_key))) == key.public_key
    assert len(key.public_key.thumbprint) == 32


def test_a_private_key_without_its_public_half_is_completed() -> None:
    assert SM2.load_private(sm2der.private_info(SCALAR)).to_pkcs8() == KEY.to_pkcs8()


def test_a_private_key_does_not_print() -> None:
    assert str(KEY) == repr(KEY) == "Sm2SigningKey(…)"


def compressed(spki: bytes) -> bytes:
    point = spki[-64:]
    return (
        bytes.fromhex("3039301306072a8648ce3d020106082a811ccf5501822d032200")
        + bytes([2 + point[63] % 2])
        + point[:32]
    )


def coordinates(x: int, y: int) -> bytes:
    return sm2der.public_info(x.to_bytes(32, "big") + y.to_bytes(32, "big"))


@pytest.mark.parametrize(
    "der",
    [
        b"",
        KEY.public_key.spki + b"\0",
        KEY.public_key.spki[:-1],
        compressed(KEY.public_key.spki),
        ES256.load_deterministic(5).public_key.spki,
        # Of P-256 in all but the name of the curve.
        sm2der.public_info(ES256.load_deterministic(5).public_key.spki[-64:]),
        coordinates(0, 0),
        coordinates(P, 0),
        coordinates(int.from_bytes(POINT[:32], "big"), int.from_bytes(POINT[32:], "big") ^ 1),
        coordinates(int.from_bytes(POINT[:32], "big") + P >> 1, 7),
    ],
)
def test_no_other_public_key_is_loaded(der: bytes) -> None:
    assert refusal(lambda: SM2.load_public(der)) == "KEY"


def test_a_point_with_an_unreduced_coordinate_is_refused() -> None:
    # x + p names the same point a second time, where it still fits 32 bytes.
    x = 0
    while True:
        square = (x**3 + sm2curve.A * x + sm2curve.B) % P
        y = pow(square, (P + 1) // 4, P)
        if y * y % P == square:
            break
        x += 1
    assert SM2.load_public(coordinates(x, y)).spki == coordinates(x, y)
    assert refusal(lambda: SM2.load_public(coordinates(x + P, y))) == "KEY"


def test_no_other_private_key_is_loaded() -> None:
    swapped = sm2der.private_info(SCALAR, SM2.generate().public_key.spki[-64:])
    others = [
        b"",
        KEY.to_pkcs8()[:-1],
        KEY.to_pkcs8() + b"\0",
        KEY.public_key.spki,
        ES256.load_deterministic(5).to_pkcs8(),
        sm2der.private_info(bytes(32)),
        sm2der.private_info((N - 1).to_bytes(32, "big")),
        sm2der.private_info(N.to_bytes(32, "big")),
        swapped,
    ]
    assert [refusal(lambda d=der: SM2.load_private(d)) for der in others] == ["KEY"] * 9  # type: ignore[misc]


@pytest.mark.parametrize("scalar", [b"", bytes(31), bytes(32), bytes(33), b"\xff" * 32])
def test_a_scalar_out_of_range_is_refused(scalar: bytes) -> None:
    assert refusal(lambda: SM2.load_scalar(scalar)) == "KEY"


JWK: dict[str, object] = dict(SM2.public_to_jwk(KEY.public_key))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kty": "RSA"}, "KEY"),
        ({"crv": "P-256"}, "KEY"),
        ({"d": "AA"}, "KEY"),
        ({"x": 5}, "KEY"),
        ({"y": None}, "KEY"),
        ({"x": "AA"}, "KEY"),
        ({"x": "A" * 43}, "KEY"),
        ({"x": "A" * 60}, "TOO_LARGE"),
        ({"alg": "ES256"}, "KEY_USE"),
        ({"use": "enc"}, "KEY_USE"),
        ({"key_ops": ["sign"]}, "KEY_USE"),
    ],
)
def test_a_jwk_for_anything_else_is_refused(change: dict[str, object], why: str) -> None:
    assert refusal(lambda: SM2.public_from_jwk(JWK | change)) == why


def test_a_key_of_another_suite_is_not_written_as_a_jwk() -> None:
    assert refusal(lambda: SM2.public_to_jwk(ES256.generate().public_key)) == "KEY"


def test_what_is_encrypted_opens_under_its_own_key_alone() -> None:
    assert isinstance(KEY.public_key, Sm2PublicKey)
    sealed = KEY.public_key.encrypt(b"a session key")
    assert KEY.decrypt(sealed) == b"a session key"
    other = SM2.generate()
    assert isinstance(other, Sm2SigningKey)
    assert refusal(lambda: other.decrypt(sealed)) == "CIPHERTEXT"
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    assert refusal(lambda: KEY.decrypt(changed)) == "CIPHERTEXT"


def openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout


def test_openssl_verifies_our_signature(tmp_path: Path) -> None:
    files = {"m": MESSAGE, "s": to_der(KEY.sign(MESSAGE)), "k": KEY.public_key.spki}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    paths = {name: str(tmp_path / name) for name in files}
    said = openssl(
        *("pkeyutl", "-verify", "-rawin", "-digest", "sm3", "-pubin", "-keyform", "DER"),
        *("-inkey", paths["k"], "-in", paths["m"], "-sigfile", paths["s"]),
        *("-pkeyopt", "distid:1234567812345678"),
    )
    assert b"Verified Successfully" in said


def test_we_verify_what_openssl_made(tmp_path: Path) -> None:
    key, message = tmp_path / "key.pem", tmp_path / "m"
    message.write_bytes(MESSAGE)
    openssl("genpkey", "-algorithm", "SM2", "-out", str(key))
    pkcs8 = openssl(
        *("pkcs8", "-topk8", "-nocrypt", "-in", str(key), "-outform", "DER"),
    )
    spki = openssl("pkey", "-in", str(key), "-pubout", "-outform", "DER")
    made = openssl(
        *("pkeyutl", "-sign", "-rawin", "-digest", "sm3", "-inkey", str(key)),
        *("-in", str(message), "-pkeyopt", "distid:1234567812345678"),
    )
    public = SM2.load_public(spki)
    assert SM2.load_private(pkcs8).public_key == public
    public.verify(SM2.from_x509_signature(made), MESSAGE)
