"""Answering what has become of a certificate (RFC 6960), from the register.

Answers are signed when they are asked for, by a responder whom the authority
lets answer: a revocation is told from the moment that it is recorded, and no
stock of answers has to be signed again. Those without a nonce are kept until
they are half as old as they may get, or the register says something new.

One request asks about one certificate (RFC 5019 §2.1.1). Its signature, if it
has one, is not looked at: anybody may ask.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import ocsp

from yinxin_ca import der
from yinxin_ca.register import CertificateRecord, Register
from yinxin_proto.certificate import Certificate, CertificatePurpose, verify_link
from yinxin_proto.clock import Clock
from yinxin_proto.crl import RevocationReason
from yinxin_proto.der import elements
from yinxin_proto.error import ConfigurationError, MalformedError, VerificationError
from yinxin_proto.ocsp import MAX_NONCE_BYTES, CertId
from yinxin_proto.signature import Signer

MAX_REQUEST_BYTES: Final = 2_048
_KEPT: Final = 10_000
"""Answers kept for the next who asks the same."""
_BASIC: Final = "1.3.6.1.5.5.7.48.1.1"
"""id-pkix-ocsp-basic."""
_SUCCESSFUL: Final = b"\x0a\x01\x00"
_ENUMERATED: Final = 0x0A
_BY_NAME: Final = 1


class Refusal(IntEnum):
    """OCSPResponseStatus without an answer (RFC 6960 §4.2.1)."""

    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    UNAUTHORISED = 6
    """Asked about another authority's certificate (RFC 5019 §2.2.3)."""

    def to_bytes_der(self) -> bytes:
        """Return the DER OCSPResponse."""
        return der.sequence(bytes([_ENUMERATED, 1, self.value]))


@dataclass(frozen=True, slots=True, kw_only=True)
class OcspRequest:
    """A request about one certificate."""

    certificate: CertId
    nonce: bytes | None


@dataclass(frozen=True, slots=True)
class OcspReply:
    """What is sent back."""

    der: bytes
    """DER OCSPResponse."""
    this_update: datetime | None = None
    """When what it says was so; None for a refusal."""
    next_update: datetime | None = None
    """Until when it may be kept; None if it may not: a refusal, or an answer to a nonce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """An authority, and who answers for it.

    Raises:
        ConfigurationError: The responder's certificate is not this
            authority's, or names another key (reason ``OCSP_DELEGATION``).
    """

    issuer: Certificate
    """Whose certificates are asked about."""
    register: Register
    """What it signed and took back."""
    responder: Certificate
    """Certified by the issuer to answer."""
    signer: Signer
    """The responder's key."""

    def of(self, named: CertId) -> Delegation | None:
        """Return itself where a request names its issuer: a responder of one authority."""
        return self if named.names(self.issuer) else None

    def __post_init__(self) -> None:
        try:
            verify_link(self.responder, self.issuer, self.signer.public_key.suite)
            self.responder.check_purpose(CertificatePurpose.OCSP_SIGNING)
        except (VerificationError, MalformedError) as error:
            raise _not_delegated() from error
        if self.responder.spki != self.signer.public_key.spki:
            raise _not_delegated()


class OcspResponder:
    """Answers for several authorities; safe to share between threads.

    Args:
        delegation: Returns who answers for the issuer that a request names, None
            where that is nobody here; asked at each request, since a responder's
            certificate lives briefly and is replaced while the service runs.
        clock: Dates answers.
        lifetime: How long an answer may be relied upon.
    """

    def __init__(
        self,
        *,
        delegation: Callable[[CertId], Delegation | None],
        clock: Clock,
        lifetime: timedelta,
    ) -> None:
        self._delegation = delegation
        self._clock = clock
        self._lifetime = lifetime
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[object, ...], OcspReply] = OrderedDict()

    def answer(self, request: bytes) -> OcspReply:
        """Answer a DER OCSPRequest; a request that is none gets a refusal."""
        try:
            asked = parse_ocsp_request(request)
        except MalformedError:
            return OcspReply(Refusal.MALFORMED_REQUEST.to_bytes_der())
        delegation = self._delegation(asked.certificate)
        if delegation is None:
            return OcspReply(Refusal.UNAUTHORISED.to_bytes_der())
        return self._answer(asked, delegation)

    def _answer(self, asked: OcspRequest, delegation: Delegation) -> OcspReply:
        now = self._clock.now().replace(microsecond=0)
        if not delegation.responder.not_before <= now <= delegation.responder.not_after:
            return OcspReply(Refusal.TRY_LATER.to_bytes_der())
        record = delegation.register.find(asked.certificate.serial)
        if asked.nonce is not None:
            return self._sign(asked, delegation, record, now)
        key = _question(asked.certificate, delegation, record)
        with self._lock:
            kept = self._kept.get(key)
        if kept is None or not _is_fresh(kept, now):
            kept = self._sign(asked, delegation, record, now)
            with self._lock:
                self._kept[key] = kept
                self._kept.move_to_end(key)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return kept

    def _sign(
        self,
        asked: OcspRequest,
        delegation: Delegation,
        record: CertificateRecord | None,
        now: datetime,
    ) -> OcspReply:
        next_update = min(now + self._lifetime, delegation.responder.not_after)
        tbs = _response_tbs(asked, delegation.responder, record, (now, next_update))
        key = delegation.signer.public_key
        signature = delegation.signer.sign(tbs)
        # A faulty device or the wrong key must not get a bad signature published.
        key.verify(signature, tbs)
        basic = der.signed(
            tbs,
            key.suite.x509_signature_oid(),
            key.suite.to_x509_signature(signature),
            der.tagged(0, der.sequence(delegation.responder.der)),
        )
        answer = der.sequence(der.oid(_BASIC), der.octets(basic))
        encoded = der.sequence(_SUCCESSFUL, der.tagged(0, answer))
        return OcspReply(encoded, now, next_update if asked.nonce is None else None)


def parse_ocsp_request(data: bytes) -> OcspRequest:
    """Parse a DER OCSPRequest about one certificate.

    Raises:
        MalformedError: Not one (``OCSP_REQUEST``), with a critical extension
            that is not known here (``OCSP_EXTENSION``), or beyond a bound
            (``TOO_LARGE``).
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise MalformedError(
            f"OCSP request: more than {MAX_REQUEST_BYTES} bytes", reason="TOO_LARGE"
        )
    try:
        parsed = ocsp.load_der_ocsp_request(data)
        named = CertId(
            algorithm=parsed.hash_algorithm,
            issuer_name_hash=parsed.issuer_name_hash,
            issuer_key_hash=parsed.issuer_key_hash,
            serial=parsed.serial_number,
        )
        extensions = list(parsed.extensions)
    except (
        ValueError,
        TypeError,
        NotImplementedError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        CryptographyDeprecationWarning,
    ) as error:
        raise MalformedError(
            "not an OCSP request about one certificate", reason="OCSP_REQUEST"
        ) from error
    nonce = None
    for extension in extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            nonce = extension.value.nonce
        elif extension.critical:
            raise MalformedError(
                f"OCSP request: extension {extension.oid.dotted_string} is not known here",
                reason="OCSP_EXTENSION",
            )
    # RFC 9654 §2.1: an empty one is no nonce, and a long one is a burden.
    if nonce is not None and not 1 <= len(nonce) <= MAX_NONCE_BYTES:
        raise MalformedError(
            f"OCSP request: a nonce is 1 to {MAX_NONCE_BYTES} bytes", reason="TOO_LARGE"
        )
    return OcspRequest(certificate=named, nonce=nonce)


def _response_tbs(
    asked: OcspRequest,
    responder: Certificate,
    record: CertificateRecord | None,
    period: tuple[datetime, datetime],
) -> bytes:
    """Return a DER ResponseData, built under a throw-away key and given its real responder."""
    throw_away = ec.generate_private_key(ec.SECP256R1())
    status, revoked_at, reason = _status(record)
    named = asked.certificate
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        issuer_name_hash=named.issuer_name_hash,
        issuer_key_hash=named.issuer_key_hash,
        serial_number=named.serial,
        algorithm=named.algorithm,
        cert_status=status,
        this_update=period[0],
        next_update=period[1],
        revocation_time=revoked_at,
        revocation_reason=reason,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, _nobody(throw_away, period[0]))
    if asked.nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(asked.nonce), critical=False)
    built = builder.sign(throw_away, hashes.SHA256())
    fields = elements(built.tbs_response_bytes)
    # By name: the other way would be a SHA-1 of the key.
    fields[0] = der.tagged(_BY_NAME, responder.subject)
    # The library takes producedAt from a clock that is not ours.
    fields[1] = der.generalized_time(period[0])
    return der.sequence(*fields)


def _nobody(key: ec.EllipticCurvePrivateKey, at: datetime) -> x509.Certificate:
    """Return a certificate of the throw-away key: the library wants one to name a responder."""
    return (
        x509.CertificateBuilder(x509.Name([]), x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(at)
        .not_valid_after(at)
        .sign(key, hashes.SHA256())
    )


def _status(
    record: CertificateRecord | None,
) -> tuple[ocsp.OCSPCertStatus, datetime | None, x509.ReasonFlags | None]:
    if record is not None and record.revoked_at is not None and record.reason is not None:
        reason = record.reason
        # RFC 5280 §5.3.1: rather no reason than "unspecified".
        flag = None if reason is RevocationReason.UNSPECIFIED else x509.ReasonFlags(reason.value)
        return ocsp.OCSPCertStatus.REVOKED, record.revoked_at, flag
    # Announced but never seen signed: nobody should have such a certificate.
    if record is None or record.der is None:
        return ocsp.OCSPCertStatus.UNKNOWN, None, None
    return ocsp.OCSPCertStatus.GOOD, None, None


def _question(
    named: CertId, delegation: Delegation, record: CertificateRecord | None
) -> tuple[object, ...]:
    """Return what two requests share that get the same answer."""
    known = None if record is None else (record.der is None, record.revoked_at, record.reason)
    return (
        named.algorithm.name,
        named.issuer_name_hash,
        named.issuer_key_hash,
        named.serial,
        delegation.responder.fingerprint,
        known,
    )


def _is_fresh(reply: OcspReply, now: datetime) -> bool:
    if reply.this_update is None or reply.next_update is None:
        return False
    age, life = now - reply.this_update, reply.next_update - reply.this_update
    # A clock that went back makes a kept answer one from the future.
    return timedelta(0) <= age and age * 2 < life


def _not_delegated() -> ConfigurationError:
    return ConfigurationError(
        "the authority has not let this responder answer for it; certify the responder's key "
        "under the profile ocsp-responder",
        reason="OCSP_DELEGATION",
    )
