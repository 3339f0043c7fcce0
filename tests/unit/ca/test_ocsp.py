from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from support.hierarchy import AUTHORITY, REGION, Hierarchy
from support.lint import lint_ocsp
from yinxin_ca.authority import CertificateAuthority
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.ocsp import Delegation, OcspResponder, Refusal, parse_ocsp_request
from yinxin_ca.profile import LICENCE
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import ConfigurationError, MalformedError, VerificationError
from yinxin_proto.ocsp import OcspAnswer, OcspStatus, parse_ocsp
from yinxin_proto.signature import SigningKey
from yinxin_proto.suite import ES256

HOUR = timedelta(hours=1)


class Desk:
    """A responder for the licence authority, and who asks it."""

    def __init__(self) -> None:
        self.region = Hierarchy()
        self.issuer = parse(self.region.licences.certificate)
        self.leaf = parse(self.region.licence_certificate())
        self.key = ES256.generate()
        self.delegation = self.delegate(self.region.licences, Purpose.LICENCE_CA, self.key)
        self.responder = OcspResponder(
            delegation=self.delegation.of, clock=self.region.clock, lifetime=HOUR
        )

    def delegate(
        self, authority: CertificateAuthority, purpose: Purpose, key: SigningKey
    ) -> Delegation:
        return Delegation(
            issuer=parse(authority.certificate),
            register=self.region.registers[purpose],
            responder=parse(self.region.responder_certificate(authority, key.public_key)),
            signer=key,
        )

    def request(
        self,
        nonce: bytes | None = None,
        algorithm: hashes.HashAlgorithm | None = None,
        leaf: Certificate | None = None,
    ) -> bytes:
        builder = ocsp.OCSPRequestBuilder().add_certificate(
            x509.load_der_x509_certificate((leaf or self.leaf).der),
            x509.load_der_x509_certificate(self.issuer.der),
            algorithm or hashes.SHA256(),
        )
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        return builder.build().public_bytes(Encoding.DER)

    def ask(self, nonce: bytes | None = None) -> bytes:
        return self.responder.answer(self.request(nonce)).der

    def read(self, answer: bytes, nonce: bytes | None = None) -> OcspAnswer:
        return parse_ocsp(answer).verify(
            self.leaf, self.issuer, suite=ES256, at=self.region.clock.now(), nonce=nonce
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_good_certificate_is_answered_good_until_the_lifetime_ends(desk: Desk) -> None:
    answer = desk.read(desk.ask())
    now = desk.region.clock.now()
    assert answer.status is OcspStatus.GOOD
    assert (answer.this_update, answer.produced_at, answer.next_update) == (now, now, now + HOUR)
    assert answer.is_current(now)
    assert not answer.is_current(now + HOUR)
    assert not answer.is_revoked(now + 100 * HOUR)


@pytest.mark.parametrize("reason", RevocationReason)
def test_a_revocation_is_told_at_once_with_its_reason(desk: Desk, reason: RevocationReason) -> None:
    desk.ask()
    desk.region.licences.revoke(desk.leaf.serial_number, reason)
    answer = desk.read(desk.ask())
    assert (answer.status, answer.reason) == (OcspStatus.REVOKED, reason)
    assert answer.revoked_at == desk.region.clock.now()
    assert answer.is_revoked(desk.region.clock.now())
    assert not answer.is_revoked(desk.region.clock.now() - HOUR)


def test_pkilint_finds_nothing_in_an_answer(desk: Desk) -> None:
    assert lint_ocsp(desk.ask()) == []
    assert lint_ocsp(desk.ask(b"n" * 32)) == []
    desk.region.licences.revoke(desk.leaf.serial_number, RevocationReason.KEY_COMPROMISE)
    assert lint_ocsp(desk.ask()) == []


def test_what_was_never_issued_is_unknown(desk: Desk) -> None:
    request = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        *_issuer_hashes(desk), 4711, hashes.SHA256()
    )
    answer = desk.responder.answer(request.build().public_bytes(Encoding.DER)).der
    assert parse_ocsp(answer).parsed.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


def test_what_was_announced_and_never_seen_signed_is_unknown(desk: Desk) -> None:
    register = desk.region.registers[Purpose.LICENCE_CA]
    register.record_intent(77, "licence", desk.leaf.tbs)
    request = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        *_issuer_hashes(desk), 77, hashes.SHA256()
    )
    answer = desk.responder.answer(request.build().public_bytes(Encoding.DER)).der
    assert parse_ocsp(answer).parsed.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


def _issuer_hashes(desk: Desk) -> tuple[bytes, bytes]:
    asked = parse_ocsp_request(desk.request()).certificate
    return asked.issuer_name_hash, asked.issuer_key_hash


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA384()])  # noqa: S303
def test_a_certificate_may_be_named_by_any_digest(
    desk: Desk, algorithm: hashes.HashAlgorithm
) -> None:
    answer = desk.responder.answer(desk.request(algorithm=algorithm)).der
    assert desk.read(answer).status is OcspStatus.GOOD


def test_a_nonce_is_echoed_and_its_answer_not_kept(desk: Desk) -> None:
    reply = desk.responder.answer(desk.request(b"0123456789abcdef"))
    assert reply.next_update is None
    assert desk.read(reply.der, nonce=b"0123456789abcdef").status is OcspStatus.GOOD


def test_an_answer_without_nonce_is_kept_for_half_its_life(desk: Desk) -> None:
    first = desk.ask()
    desk.region.clock.advance(minutes=29)
    assert desk.ask() == first
    desk.region.clock.advance(minutes=2)
    assert desk.ask() != first


def test_a_kept_answer_is_not_used_once_the_clock_went_back(desk: Desk) -> None:
    first = desk.ask()
    desk.region.clock.advance(minutes=-2)
    assert desk.ask() != first


def test_nobody_is_answered_about_another_authoritys_certificate(desk: Desk) -> None:
    desk.issuer = parse(desk.region.tls.certificate)
    reply = desk.responder.answer(desk.request())
    assert reply.der == Refusal.UNAUTHORISED.to_bytes_der()
    assert ocsp.load_der_ocsp_response(reply.der).response_status.name == "UNAUTHORIZED"


@pytest.mark.parametrize("data", [b"", b"\x30\x00", b"0" * 100, b"\x30" * 3000])
def test_what_is_no_request_is_refused_as_malformed(desk: Desk, data: bytes) -> None:
    reply = desk.responder.answer(data)
    assert reply.der == Refusal.MALFORMED_REQUEST.to_bytes_der()
    with pytest.raises(MalformedError, match="refused"):
        parse_ocsp(reply.der)


@pytest.mark.parametrize("size", [0, 129])
def test_a_nonce_out_of_bounds_is_refused(desk: Desk, size: int) -> None:
    with pytest.raises(MalformedError):
        parse_ocsp_request(desk.request(b"n" * size))


def test_a_critical_extension_in_a_request_is_refused(desk: Desk) -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.999.7"), b"\x05\x00")
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        *_issuer_hashes(desk), 5, hashes.SHA256()
    )
    request = builder.add_extension(strange, critical=True).build().public_bytes(Encoding.DER)
    with pytest.raises(MalformedError) as refused:
        parse_ocsp_request(request)
    assert refused.value.reason == "OCSP_EXTENSION"


def test_a_responder_whose_certificate_ended_asks_for_patience(desk: Desk) -> None:
    desk.region.clock.advance(days=31)
    assert desk.ask() == Refusal.TRY_LATER.to_bytes_der()


def test_who_was_not_delegated_cannot_be_set_up(desk: Desk) -> None:
    stranger = ES256.generate()
    with pytest.raises(ConfigurationError):
        replace(desk.delegation, signer=stranger)
    elsewhere = parse(desk.region.responder_certificate(desk.region.tls, desk.key.public_key))
    with pytest.raises(ConfigurationError):
        replace(desk.delegation, responder=elsewhere)
    with pytest.raises(ConfigurationError):
        replace(desk.delegation, responder=desk.leaf)


# --- attacks on who reads an answer ------------------------------------------


def _is_refused(read: Callable[[], object], reason: str) -> None:
    with pytest.raises(VerificationError) as refused:
        read()
    assert refused.value.reason == reason


def test_an_answer_about_another_certificate_is_refused(desk: Desk) -> None:
    answer = desk.ask()
    desk.leaf = parse(desk.region.licence_certificate())
    _is_refused(lambda: desk.read(answer), "OCSP_CERTIFICATE")


def test_an_answer_for_another_issuer_is_refused(desk: Desk) -> None:
    answer = desk.ask()
    desk.issuer = parse(desk.region.status.certificate)
    _is_refused(lambda: desk.read(answer), "OCSP_CERTIFICATE")


def test_an_old_answer_does_not_pass_for_a_fresh_one(desk: Desk) -> None:
    _is_refused(lambda: desk.read(desk.ask(b"a" * 16), nonce=b"b" * 16), "OCSP_NONCE")
    _is_refused(lambda: desk.read(desk.ask(), nonce=b"b" * 16), "OCSP_NONCE")


def test_an_answer_from_the_future_is_refused(desk: Desk) -> None:
    answer = desk.ask()
    desk.region.clock.advance(minutes=-10)
    _is_refused(lambda: desk.read(answer), "OCSP_FUTURE")


def test_a_certificate_of_another_purpose_cannot_answer(desk: Desk) -> None:
    # A licence-signing key under the same authority forges an answer.
    thief = ES256.generate()
    stolen = desk.region.licences.issue(LICENCE, subject=AUTHORITY, public_key=thief.public_key)
    object.__setattr__(desk.delegation, "responder", parse(stolen))
    object.__setattr__(desk.delegation, "signer", thief)
    _is_refused(lambda: desk.read(desk.ask()), "OCSP_RESPONDER")


def test_another_authoritys_responder_cannot_answer(desk: Desk) -> None:
    other = desk.delegate(desk.region.tls, Purpose.TLS_CA, desk.key)
    object.__setattr__(desk.delegation, "responder", other.responder)
    _is_refused(lambda: desk.read(desk.ask()), "OCSP_RESPONDER")


def test_an_answer_by_a_responder_that_has_ended_is_refused(desk: Desk) -> None:
    answer = desk.ask()
    desk.region.clock.advance(days=31)
    _is_refused(lambda: desk.read(answer), "OCSP_RESPONDER")


def test_a_signature_by_another_key_is_refused(desk: Desk) -> None:
    object.__setattr__(desk.delegation, "signer", ES256.generate())
    _is_refused(lambda: desk.read(desk.ask()), "OCSP_SIGNATURE")


def test_an_authority_may_answer_for_itself(desk: Desk) -> None:
    own = desk.region.keys.signer(KeyRef(REGION, Purpose.LICENCE_CA))
    object.__setattr__(desk.delegation, "responder", desk.issuer)
    object.__setattr__(desk.delegation, "signer", own)
    assert desk.read(desk.ask()).status is OcspStatus.GOOD


def test_one_flipped_bit_is_never_read_as_another_answer(desk: Desk) -> None:
    desk.region.licences.revoke(desk.leaf.serial_number, RevocationReason.SUPERSEDED)
    answer = desk.ask()
    said = desk.read(answer)
    for position in range(0, len(answer), 7):
        flipped = bytearray(answer)
        flipped[position] ^= 1 << position % 8
        try:
            read = desk.read(bytes(flipped))
        except (MalformedError, VerificationError):
            continue
        # What nobody signed: the enclosed certificate's place in the answer.
        assert read == said
