"""OCSP answers (RFC 6960), read by who asks about a certificate.

An answer only subtracts, like a revocation list: "good" says that the
responder knows of no revocation, and makes nothing trusted. Answers about one
certificate are read, the form that RFC 5019 asks responders for.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import ocsp

from yinxin_proto import der
from yinxin_proto.certificate import Certificate, CertificatePurpose, parse, verify_link
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.signature import Suite

MAX_OCSP_BYTES: Final = 32_768
MAX_NONCE_BYTES: Final = 128
"""RFC 9654 §2.1."""
MAX_CERTIFICATES: Final = 4
CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far the responder's clock may be ahead of the reader's."""

_BIT_STRING: Final = 0x03
_READ_ERRORS: Final = (
    ValueError,
    TypeError,
    NotImplementedError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,
)


class OcspStatus(StrEnum):
    """CertStatus (RFC 6960 §2.2)."""

    GOOD = "good"
    """No revocation is known."""
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    """The responder knows of no such certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertId:
    """How OCSP names a certificate (RFC 6960 §4.1.1), as its asker hashed it."""

    algorithm: hashes.HashAlgorithm
    """Identifies the issuer, and secures nothing: SHA-1 is accepted here."""
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int

    def names(self, issuer: Certificate) -> bool:
        """Whether this certificate's issuer is ``issuer``."""
        # Of the BIT STRING, without the count of unused bits.
        key = der.content(der.elements(issuer.spki)[1], _BIT_STRING)[1:]
        return hmac.compare_digest(
            _hash(self.algorithm, issuer.subject), self.issuer_name_hash
        ) and hmac.compare_digest(_hash(self.algorithm, key), self.issuer_key_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class OcspAnswer:
    """What a responder said of one certificate, its signature verified."""

    status: OcspStatus
    serial: int
    this_update: datetime
    """When this was known to be so, UTC."""
    next_update: datetime | None
    """When newer information will be there at the latest, UTC."""
    produced_at: datetime
    """When the answer was signed, UTC."""
    revoked_at: datetime | None = None
    """From when the certificate is not to be relied upon, UTC."""
    reason: RevocationReason | None = None
    """Why; ``UNSPECIFIED`` where the answer gives none."""

    def is_revoked(self, at: datetime) -> bool:
        """Whether the certificate is not to be relied upon at ``at``."""
        return self.revoked_at is not None and self.revoked_at <= at

    def is_current(self, at: datetime) -> bool:
        """Whether the answer can speak for ``at``; never so without ``next_update``."""
        return self.next_update is not None and (
            self.this_update - CLOCK_SKEW <= at < self.next_update
        )


@dataclass(frozen=True, slots=True)
class UnverifiedOcspAnswer:
    """An answer that parses; nothing in it may be relied upon yet."""

    parsed: ocsp.OCSPResponse
    certificates: tuple[Certificate, ...]
    """What the responder enclosed."""
    nonce: bytes | None

    def verify(
        self,
        certificate: Certificate,
        issuer: Certificate,
        *,
        suite: Suite,
        at: datetime,
        nonce: bytes | None = None,
    ) -> OcspAnswer:
        """Check that this answers for ``certificate``, by whom ``issuer`` lets answer.

        RFC 6960 §3.2. How old an answer may be is decided elsewhere.

        Args:
            certificate: What was asked about.
            issuer: Who issued it, and signs or delegates the answer.
            suite: The suite of the issuer's key, and of its delegate's.
            at: The present moment, for the delegate's certificate.
            nonce: What the request carried, if the answer must be fresh.

        Raises:
            VerificationError: About another certificate (``OCSP_CERTIFICATE``),
                without the nonce (``OCSP_NONCE``), from the future
                (``OCSP_FUTURE``), signed by nobody whom the issuer delegated
                (``OCSP_RESPONDER``) or with another algorithm
                (``OCSP_ALGORITHM``), or a wrong signature (``OCSP_SIGNATURE``).
            MalformedError: The key or signature is not one of ``suite``.
        """
        if certificate.issuer != issuer.subject or not self._is_about(certificate, issuer):
            raise VerificationError(
                "OCSP: the answer is about another certificate", reason="OCSP_CERTIFICATE"
            )
        if nonce is not None and not hmac.compare_digest(nonce, self.nonce or b""):
            raise VerificationError(
                "OCSP: the answer is not to this request; it may be an old one",
                reason="OCSP_NONCE",
            )
        answer = self._read(certificate.serial_number)
        if max(answer.this_update, answer.produced_at) > at + CLOCK_SKEW:
            raise VerificationError("OCSP: the answer is from the future", reason="OCSP_FUTURE")
        self._check_signature(self._responder(issuer, suite, at), suite)
        return answer

    def _is_about(self, certificate: Certificate, issuer: Certificate) -> bool:
        named = CertId(
            algorithm=self.parsed.hash_algorithm,
            issuer_name_hash=self.parsed.issuer_name_hash,
            issuer_key_hash=self.parsed.issuer_key_hash,
            serial=self.parsed.serial_number,
        )
        return named.serial == certificate.serial_number and named.names(issuer)

    def _read(self, serial: int) -> OcspAnswer:
        status = OcspStatus(self.parsed.certificate_status.name.lower())
        reason = self.parsed.revocation_reason
        revoked = status is OcspStatus.REVOKED
        return OcspAnswer(
            status=status,
            serial=serial,
            this_update=self.parsed.this_update_utc,
            next_update=self.parsed.next_update_utc,
            produced_at=self.parsed.produced_at_utc,
            revoked_at=self.parsed.revocation_time_utc,
            reason=(
                None
                if not revoked
                else RevocationReason.UNSPECIFIED
                if reason is None
                else RevocationReason(reason.value)
            ),
        )

    def _responder(self, issuer: Certificate, suite: Suite, at: datetime) -> Certificate:
        """Return who must have signed: the issuer, or whom it delegated (§4.2.2.2)."""
        for found in (issuer, *self.certificates):
            if not self._names(found):
                continue
            if found.der == issuer.der:
                return found
            try:
                verify_link(found, issuer, suite)
                found.check_purpose(CertificatePurpose.OCSP_SIGNING)
                found.check_validity(at)
            except VerificationError as error:
                raise VerificationError(
                    "OCSP: the issuer has not let this responder answer", reason="OCSP_RESPONDER"
                ) from error
            return found
        raise VerificationError(
            "OCSP: the responder's certificate is not enclosed", reason="OCSP_RESPONDER"
        )

    def _names(self, certificate: Certificate) -> bool:
        if self.parsed.responder_name is not None:
            return self.parsed.responder_name.public_bytes() == certificate.subject
        key = CertId(
            algorithm=hashes.SHA1(),  # noqa: S303 - byKey is defined with it; it secures nothing
            issuer_name_hash=_hash(hashes.SHA1(), certificate.subject),  # noqa: S303
            issuer_key_hash=self.parsed.responder_key_hash or b"",
            serial=0,
        )
        return key.names(certificate)

    def _check_signature(self, responder: Certificate, suite: Suite) -> None:
        if self.parsed.signature_algorithm_oid != suite.x509_signature_oid():
            raise VerificationError(
                f"OCSP: the answer is not signed with {suite.name}", reason="OCSP_ALGORITHM"
            )
        signature = suite.from_x509_signature(self.parsed.signature)
        try:
            responder.public_key(suite).verify(signature, self.parsed.tbs_response_bytes)
        except VerificationError as error:
            raise VerificationError(
                "OCSP: the answer's signature does not hold", reason="OCSP_SIGNATURE"
            ) from error


def parse_ocsp(data: bytes) -> UnverifiedOcspAnswer:
    """Parse a DER OCSPResponse about one certificate.

    Raises:
        MalformedError: Not one (reason ``OCSP``), a refusal instead of an
            answer (``OCSP_REFUSED``), a critical extension (``OCSP_EXTENSION``),
            or beyond a bound (``TOO_LARGE``).
    """
    if len(data) > MAX_OCSP_BYTES:
        raise MalformedError(f"OCSP: more than {MAX_OCSP_BYTES} bytes", reason="TOO_LARGE")
    try:
        parsed = ocsp.load_der_ocsp_response(data)
        if parsed.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise MalformedError(
                f"OCSP: the responder refused: {parsed.response_status.name}",
                reason="OCSP_REFUSED",
            )
        _touch(parsed)
        enclosed = parsed.certificates
        nonce = _read_extensions(parsed)
    except _READ_ERRORS as error:
        raise MalformedError("OCSP: not an answer about one certificate", reason="OCSP") from error
    if len(enclosed) > MAX_CERTIFICATES:
        raise MalformedError(
            f"OCSP: more than {MAX_CERTIFICATES} certificates enclosed", reason="TOO_LARGE"
        )
    certificates = tuple(parse(found.public_bytes(Encoding.DER)) for found in enclosed)
    return UnverifiedOcspAnswer(parsed, certificates, nonce)


def _touch(parsed: ocsp.OCSPResponse) -> None:
    """Read everything once: the library parses late, and would fail late."""
    responses = list(parsed.responses)
    if len(responses) != 1 or parsed.serial_number < 1:
        raise ValueError("not about exactly one certificate")
    _ = (
        parsed.hash_algorithm,
        parsed.certificate_status,
        parsed.revocation_time_utc,
        parsed.this_update_utc,
        parsed.next_update_utc,
        parsed.produced_at_utc,
        parsed.responder_name,
        parsed.responder_key_hash,
        parsed.signature,
    )
    if parsed.revocation_reason is not None:
        # removeFromCRL has no meaning here.
        RevocationReason(parsed.revocation_reason.value)


def _read_extensions(parsed: ocsp.OCSPResponse) -> bytes | None:
    nonce = None
    for extension in (*parsed.extensions, *parsed.single_extensions):
        if isinstance(extension.value, x509.OCSPNonce):
            nonce = extension.value.nonce
        elif extension.critical:
            raise MalformedError(
                f"OCSP: extension {extension.oid.dotted_string} is not understood here",
                reason="OCSP_EXTENSION",
            )
    return nonce


def _hash(algorithm: hashes.HashAlgorithm, data: bytes) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()
