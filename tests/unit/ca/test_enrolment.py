"""Requests: whoever asks has the key, the key is fit and theirs alone, and so are the names."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from yinxin_ca.enrolment import Enrolment, Entitlement, KnownKey
from yinxin_ca.request import make_request, request_pem
from yinxin_ca.subject import AlternativeNames, Subject, principal_uri
from yinxin_ca.weakkey import load_strong
from yinxin_proto.certificaterequest import MAX_REQUEST_BYTES, parse_request
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import (
    FailedPreconditionError,
    InvalidArgumentError,
    MalformedError,
    YinxinError,
)
from yinxin_proto.mldsa import ML_DSA_65
from yinxin_proto.signature import Suite
from yinxin_proto.sm2 import SM2
from yinxin_proto.suite import ES256

AUTHORITY = "11350399MB0000017D"
OTHER = "11350302MBYY00011H"
ME = principal_uri("putian.example", "housing-bureau")
SOMEBODY = principal_uri("putian.example", "water-bureau")
SUBJECT = Subject(organisation="虚构局", organisation_code=AUTHORITY)
SUITES = (ES256, SM2, ML_DSA_65)


def _enrolment(suite: Suite = ES256, challenge: bytes | None = None) -> Enrolment:
    return Enrolment(
        suite=suite,
        holder=ME,
        purpose="tls-client",
        entitlement=Entitlement(organisation_code=AUTHORITY, uri=ME),
        challenge=challenge,
    )


def _reason(act: Callable[[], object]) -> str:
    with pytest.raises(YinxinError) as caught:
        act()
    return caught.value.reason


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_a_request_of_any_suite_proves_possession(suite: Suite) -> None:
    key = suite.generate()
    request = make_request(key, subject=SUBJECT, names=AlternativeNames(uri=ME))
    assert _enrolment(suite).admit(request, ()).spki == key.public_key.spki
    parsed = parse_request(request)
    assert parsed.names.organisation_codes == (AUTHORITY,)
    assert parsed.names.uris == (ME,)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_a_key_that_the_requester_does_not_have_is_refused(suite: Suite) -> None:
    # Somebody else's public key in a request signed by one's own.
    request = make_request(suite.generate(), subject=SUBJECT)
    stolen = request.replace(parse_request(request).spki, suite.generate().public_key.spki)
    assert _reason(lambda: _enrolment(suite).admit(stolen, ())) == "PROOF_OF_POSSESSION"


@given(st.integers(0, 1 << 20), st.integers(0, 7))
def test_a_request_with_a_flipped_bit_is_refused(place: int, bit: int) -> None:
    request = bytearray(_REQUEST)
    request[place % len(request)] ^= 1 << bit
    with pytest.raises(YinxinError):
        _enrolment().admit(bytes(request), ())


_REQUEST = make_request(ES256.generate(), subject=SUBJECT)


@given(st.binary(max_size=400))
def test_what_is_no_request_is_malformed(content: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_request(content)


def test_a_request_beyond_the_bound_is_not_parsed() -> None:
    assert _reason(lambda: parse_request(bytes(MAX_REQUEST_BYTES + 1))) == "TOO_LARGE"


# --- names ------------------------------------------------------------------------------------


def test_a_request_for_another_authoritys_name_is_refused() -> None:
    other = Subject(organisation="虚构局", organisation_code=OTHER)
    request = make_request(ES256.generate(), subject=other)
    assert _reason(lambda: _enrolment().admit(request, ())) == "REQUEST_NAME"


@pytest.mark.parametrize(
    "names",
    [
        AlternativeNames(uri=SOMEBODY),
        AlternativeNames(dns=("licences.putian.example",)),
        AlternativeNames(addresses=("192.0.2.1",)),
    ],
)
def test_a_request_for_another_principals_name_is_refused(names: AlternativeNames) -> None:
    request = make_request(ES256.generate(), subject=SUBJECT, names=names)
    assert _reason(lambda: _enrolment().admit(request, ())) == "REQUEST_NAME"


def test_a_name_hidden_as_another_kind_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.RFC822Name("minister@putian.example")])
    request = _builder().add_extension(names, critical=False).sign(key, hashes.SHA256())
    der = request.public_bytes(Encoding.DER)
    assert _reason(lambda: _enrolment().admit(der, ())) == "REQUEST_NAME"


def test_a_second_credit_code_beside_ones_own_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, AUTHORITY),
            x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, OTHER),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(name)
    der = request.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    assert _reason(lambda: _enrolment().admit(der, ())) == "REQUEST_NAME"


def test_nobody_becomes_an_authority_by_asking() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    basic = x509.BasicConstraints(ca=True, path_length=None)
    request = _builder().add_extension(basic, critical=True).sign(key, hashes.SHA256())
    der = request.public_bytes(Encoding.DER)
    assert _reason(lambda: _enrolment().admit(der, ())) == "REQUEST_AUTHORITY"


@pytest.mark.parametrize("told", [None, b"", b"another", b"agreed "])
def test_a_request_without_the_agreed_challenge_is_refused(told: bytes | None) -> None:
    request = make_request(ES256.generate(), subject=SUBJECT, challenge=told)
    assert _reason(lambda: _enrolment(challenge=b"agreed").admit(request, ())) == "CHALLENGE"


def test_the_agreed_challenge_is_accepted() -> None:
    request = make_request(ES256.generate(), subject=SUBJECT, challenge=b"agreed")
    _enrolment(challenge=b"agreed").admit(request, ())


# --- keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (rsa.generate_private_key(65_537, 1024), "KEY_WEAK"),  # noqa: S505 - that is the point
        (rsa.generate_private_key(3, 2048), "KEY_WEAK"),
        (rsa.generate_private_key(65_537, 2048), "KEY_SUITE"),
        (ec.generate_private_key(ec.SECP192R1()), "KEY_WEAK"),
        (ec.generate_private_key(ec.SECP384R1()), "KEY_WEAK"),
        (ec.generate_private_key(ec.SECP256K1()), "KEY_WEAK"),
        (ed25519.Ed25519PrivateKey.generate(), "KEY_SUITE"),
    ],
    ids=["rsa-1024", "rsa-e3", "rsa-2048", "p-192", "p-384", "secp256k1", "ed25519"],
)
def test_a_weak_or_foreign_key_is_refused(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, reason: str
) -> None:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    der = _builder().sign(key, algorithm).public_bytes(Encoding.DER)
    assert _reason(lambda: _enrolment().admit(der, ())) == reason


_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize("scalar", [1, 2, 255, 256, _ORDER - 1, _ORDER - 200])
def test_a_key_that_everybody_can_guess_is_refused(scalar: int) -> None:
    key = ec.derive_private_key(scalar, ec.SECP256R1())
    der = _builder().sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    assert _reason(lambda: _enrolment().admit(der, ())) == "KEY_WEAK"


def test_an_sm2_key_that_everybody_can_guess_is_refused() -> None:
    weak = SM2.load_scalar((7).to_bytes(32, "big"))
    request = make_request(weak, subject=SUBJECT)
    assert _reason(lambda: _enrolment(SM2).admit(request, ())) == "KEY_WEAK"


@pytest.mark.parametrize("suite", [ES256, SM2], ids=lambda suite: suite.name)
def test_a_point_off_the_curve_is_refused(suite: Suite) -> None:
    spki = bytearray(suite.generate().public_key.spki)
    spki[-1] ^= 1
    assert _reason(lambda: load_strong(bytes(spki), suite)) == "KEY_SUITE"
    assert _reason(lambda: load_strong(bytes(spki[:-64]) + bytes(64), suite)) == "KEY_SUITE"


def test_a_key_in_use_elsewhere_is_refused() -> None:
    key = ES256.generate()
    request, spki = make_request(key, subject=SUBJECT), key.public_key.spki
    used = (
        KnownKey(spki=spki, holder=SOMEBODY, purpose="tls-client"),
        KnownKey(spki=spki, holder=ME, purpose="licence"),
    )
    for known in used:
        with pytest.raises(FailedPreconditionError) as caught:
            _enrolment().admit(request, [known])
        assert caught.value.reason == "KEY_REUSED"


def test_a_key_that_was_stolen_is_refused_to_its_own_holder_too() -> None:
    key = ES256.generate()
    request = make_request(key, subject=SUBJECT)
    known = KnownKey(
        spki=key.public_key.spki,
        holder=ME,
        purpose="tls-client",
        revoked=RevocationReason.KEY_COMPROMISE,
    )
    assert _reason(lambda: _enrolment().admit(request, [known])) == "KEY_COMPROMISED"


def test_ones_own_key_is_renewed() -> None:
    key = ES256.generate()
    request = make_request(key, subject=SUBJECT)
    known = KnownKey(spki=key.public_key.spki, holder=ME, purpose="tls-client")
    assert _enrolment().admit(request, [known]).spki == key.public_key.spki


# --- openssl ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", [ES256, SM2], ids=lambda suite: suite.name)
def test_openssl_verifies_our_requests(suite: Suite, tmp_path: Path) -> None:
    path = tmp_path / "request.pem"
    path.write_bytes(request_pem(make_request(suite.generate(), subject=SUBJECT)))
    words = ["openssl", "req", "-in", str(path), "-verify", "-noout"]
    if suite is SM2:
        words += ["-vfyopt", "distid:1234567812345678"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "verify OK" in done.stderr


def test_we_verify_an_sm2_request_of_openssls(tmp_path: Path) -> None:
    path = tmp_path / "request.der"
    key = tmp_path / "key.pem"
    made = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2"]
    subprocess.run([*made, "-out", str(key)], capture_output=True, check=True)
    words = ["openssl", "req", "-new", "-key", str(key), "-outform", "DER", "-out", str(path)]
    words += ["-sm3", "-sigopt", "distid:1234567812345678", "-subj", "/C=CN/O=Invented"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _enrolment(SM2).admit(path.read_bytes(), ())


def _builder() -> x509.CertificateSigningRequestBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the minister")])
    return x509.CertificateSigningRequestBuilder().subject_name(name)


def test_a_challenge_that_is_text_is_read() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = _builder().add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"agreed")
    der = request.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    assert parse_request(der).challenge == b"agreed"
    with pytest.raises(InvalidArgumentError):
        _enrolment().admit(der[:-1], ())
