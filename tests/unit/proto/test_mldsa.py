"""The ML-DSA suites: signatures, the one spelling of each key, and room for both."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509

from support.clock import FixedClock, SeededEntropy
from yinxin_ca.authority import CertificateAuthority, create_root
from yinxin_ca.profile import LICENCE, LICENCE_CA
from yinxin_ca.register import InMemoryRegister
from yinxin_ca.subject import Subject
from yinxin_proto.certificate import parse, verify_chain
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.es256 import ES256
from yinxin_proto.jose import encode_x5c, parse_compact, sign_compact, x5c_chain
from yinxin_proto.mldsa import ML_DSA_44, ML_DSA_65, MlDsa
from yinxin_proto.signature import PublicKey
from yinxin_proto.suite import names, suite

KEY = ML_DSA_65.load_seed(bytes(range(32)))
MESSAGE = b"what was signed"
BOTH = pytest.mark.parametrize("level", [ML_DSA_44, ML_DSA_65], ids=lambda level: level.name)


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises((MalformedError, VerificationError)) as caught:
        act()
    return caught.value.reason


def test_only_the_stronger_set_signs_licences() -> None:
    assert suite("ML-DSA-65") is ML_DSA_65
    assert "ML-DSA-44" not in names()


@BOTH
def test_a_signature_verifies_under_its_own_key_alone(level: MlDsa) -> None:
    key, other = level.generate(), level.generate()
    signature = key.sign(MESSAGE)
    assert len(signature) == level.signature_size
    key.public_key.verify(signature, MESSAGE)
    assert refusal(lambda: key.public_key.verify(signature, MESSAGE + b" ")) == "SIGNATURE"
    assert refusal(lambda: other.public_key.verify(signature, MESSAGE)) == "SIGNATURE"


@BOTH
def test_keys_survive_storing(level: MlDsa) -> None:
    key = level.generate()
    again = level.load_private(key.to_pkcs8())
    again.public_key.verify(key.sign(MESSAGE), MESSAGE)
    assert level.load_public(key.public_key.spki) == again.public_key
    assert hash(again.public_key) == hash(key.public_key)
    jwk = level.public_to_jwk(key.public_key)
    assert jwk.keys() == {"kty", "alg", "pub"}
    assert level.public_from_jwk(dict(jwk)) == key.public_key
    assert level.load_raw(key.public_key.spki[-level.public_size :]) == key.public_key


def test_signing_is_hedged() -> None:
    assert KEY.sign(MESSAGE) != KEY.sign(MESSAGE)


def test_a_seed_gives_one_key() -> None:
    assert ML_DSA_65.load_seed(bytes(range(32))).public_key == KEY.public_key
    assert refusal(lambda: ML_DSA_65.load_seed(bytes(31))) == "KEY"


@pytest.mark.parametrize("bit", [0, 1, 255 * 8, 1650 * 8 + 3, 3308 * 8, 3309 * 8 - 1])
def test_a_changed_bit_of_a_signature_is_noticed(bit: int) -> None:
    changed = bytearray(KEY.sign(MESSAGE))
    changed[bit // 8] ^= 1 << bit % 8
    assert refusal(lambda: KEY.public_key.verify(bytes(changed), MESSAGE)) == "SIGNATURE"


@pytest.mark.parametrize("size", [0, 64, 2420, 3308, 3310])
def test_a_signature_of_another_length_is_refused(size: int) -> None:
    assert refusal(lambda: KEY.public_key.verify(bytes(size), MESSAGE)) == "SIGNATURE_LENGTH"
    assert refusal(lambda: ML_DSA_65.to_x509_signature(bytes(size))) == "SIGNATURE_LENGTH"
    assert refusal(lambda: ML_DSA_65.from_x509_signature(bytes(size))) == "SIGNATURE"


@pytest.mark.parametrize(
    "der",
    [
        b"",
        KEY.public_key.spki[:-1],
        KEY.public_key.spki + b"\0",
        ML_DSA_44.load_seed(bytes(32)).public_key.spki,
        ES256.load_deterministic(5).public_key.spki,
    ],
)
def test_no_other_public_key_is_loaded(der: bytes) -> None:
    assert refusal(lambda: ML_DSA_65.load_public(der)) == "KEY"


@pytest.mark.parametrize(
    "der",
    [
        b"",
        KEY.to_pkcs8()[:-1],
        KEY.to_pkcs8() + b"\0",
        ML_DSA_44.load_seed(bytes(32)).to_pkcs8(),
        ES256.load_deterministic(5).to_pkcs8(),
    ],
)
def test_no_other_private_key_is_loaded(der: bytes) -> None:
    assert refusal(lambda: ML_DSA_65.load_private(der)) == "KEY"


JWK: dict[str, object] = dict(ML_DSA_65.public_to_jwk(KEY.public_key))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kty": "EC"}, "KEY"),
        ({"priv": "AA"}, "KEY"),
        ({"alg": "ML-DSA-44"}, "KEY_USE"),
        ({"alg": None}, "KEY_USE"),
        ({"use": "enc"}, "KEY_USE"),
        ({"key_ops": ["sign"]}, "KEY_USE"),
        ({"pub": None}, "KEY"),
        ({"pub": "AA"}, "KEY"),
        ({"pub": "A" * 4000}, "TOO_LARGE"),
    ],
)
def test_a_jwk_for_anything_else_is_refused(change: dict[str, object], why: str) -> None:
    assert refusal(lambda: ML_DSA_65.public_from_jwk(JWK | change)) == why


def test_a_key_of_another_suite_is_not_written_as_a_jwk() -> None:
    assert refusal(lambda: ML_DSA_65.public_to_jwk(ES256.generate().public_key)) == "KEY"


def test_a_private_key_does_not_print() -> None:
    assert str(KEY) == repr(KEY) == "MlDsaSigningKey(…)"


def certify(clock: FixedClock, key: PublicKey) -> tuple[CertificateAuthority, bytes, bytes]:
    """Return a root, an issuing authority's certificate, and a leaf's for ``key``."""
    entropy = SeededEntropy()
    root_key, ca_key = ML_DSA_65.generate(), ML_DSA_65.generate()
    organisation = "虚构市大数据管理局"
    root = create_root(
        subject=Subject(organisation=organisation, common_name="Root CA"),
        signer=root_key,
        register=InMemoryRegister(),
        clock=clock,
        entropy=entropy,
    )
    middle = root.issue(
        LICENCE_CA,
        subject=Subject(organisation=organisation, common_name="Licence CA"),
        public_key=ca_key.public_key,
    )
    issuing = CertificateAuthority(
        certificate=middle,
        signer=ca_key,
        register=InMemoryRegister(),
        clock=clock,
        entropy=entropy,
    )
    leaf = issuing.issue(LICENCE, subject=Subject(organisation=organisation), public_key=key)
    return root, middle, leaf


def test_a_chain_and_a_token_under_it_fit_every_bound() -> None:
    clock, key = FixedClock(), ML_DSA_65.generate()
    root, middle, leaf = certify(clock, key.public_key)
    chain = [parse(leaf), parse(middle)]
    verify_chain(chain, parse(root.certificate), ML_DSA_65, at=clock.now())
    # With a cross-certificate beside them, and a full payload.
    x5c = (leaf, middle, middle)
    token = sign_compact(
        key, typ="dc+sd-jwt", header={"x5c": encode_x5c(x5c)}, payload=b"{}" + b" " * 16_384
    )
    read = parse_compact(token)
    read.verify(key.public_key, typ="dc+sd-jwt")
    assert x5c_chain(read.header) == x5c


def test_the_library_agrees_with_our_certificates() -> None:
    root, middle, leaf = certify(FixedClock(), ML_DSA_65.generate().public_key)
    issuer = x509.load_der_x509_certificate(middle)
    x509.load_der_x509_certificate(leaf).verify_directly_issued_by(issuer)
    issuer.verify_directly_issued_by(x509.load_der_x509_certificate(root.certificate))


def test_an_expanded_private_key_is_refused() -> None:
    # RFC 9881 appendix: the expandedKey CHOICE, here of the right length.
    octets = bytes(4032)
    inner = b"\x04\x82" + len(octets).to_bytes(2, "big") + octets
    body = b"\x02\x01\x00" + bytes.fromhex("300b0609608648016503040312")
    body += b"\x04\x82" + len(inner).to_bytes(2, "big") + inner
    der = b"\x30\x82" + len(body).to_bytes(2, "big") + body
    assert refusal(lambda: ML_DSA_65.load_private(der)) == "KEY"
