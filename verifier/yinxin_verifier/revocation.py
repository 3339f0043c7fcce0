"""Certificate revocation lists: they only subtract (RFC 5280 §5).

A CRL can take away what the trust list gave and never gives anything itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from yinxin_proto.certificate import Certificate
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.signature import Suite

MAX_CRL_BYTES: Final = 8 << 20
_PARTIAL: Final = {x509.DeltaCRLIndicator, x509.IssuingDistributionPoint}
"""Extensions of lists that do not speak for all of an issuer's certificates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """A CRL whose signature its CA's key has made."""

    issuer: bytes
    """DER name of the CA."""
    issued_at: int
    """``thisUpdate``, seconds since 1970 UTC."""
    next_update: int
    """``nextUpdate``, seconds since 1970 UTC."""
    entries: Mapping[int, int]
    """Time of revocation by serial number."""

    def revoked_at(self, certificate: Certificate) -> int | None:
        """Return when a certificate of this CA was revoked; None if it was not."""
        if certificate.issuer != self.issuer:
            return None
        return self.entries.get(certificate.serial_number)


def parse(der: bytes) -> x509.CertificateRevocationList:
    """Parse a CRL of at most 8 MiB; nothing is believed yet.

    Raises:
        MalformedError: ``TOO_LARGE``; ``CRL`` for what is no complete DER CRL.
    """
    if len(der) > MAX_CRL_BYTES:
        raise MalformedError("CRL: more than 8 MiB", reason="TOO_LARGE")
    try:
        crl = x509.load_der_x509_crl(der)
        kinds = {type(extension.value) for extension in crl.extensions}
        critical = any(extension.critical for extension in crl.extensions)
        next_update = crl.next_update_utc
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise MalformedError("CRL: not a DER revocation list", reason="CRL") from error
    # Partial lists are for whoever can put them together; here they would
    # read as "not revoked".
    if critical or kinds & _PARTIAL or next_update is None:
        raise MalformedError("CRL: a complete list with nextUpdate is wanted", reason="CRL")
    return crl


def verify(der: bytes, ca: Certificate, suite: Suite) -> RevocationList:
    """Check that ``ca`` signed the list, and read it.

    Args:
        der: The whole CRL.
        ca: A CA of the region's trust list.
        suite: The suite of its key.

    Raises:
        MalformedError: Not a complete CRL.
        VerificationError: Another CA's (``CRL_ISSUER``), another algorithm
            (``CRL_ALGORITHM``), or a signature that does not hold
            (``CRL_SIGNATURE``).
    """
    crl = parse(der)
    if crl.issuer.public_bytes() != ca.subject or "cRLSign" not in ca.key_usages:
        raise VerificationError("CRL: not this CA's", reason="CRL_ISSUER")
    if crl.signature_algorithm_oid != suite.x509_signature_oid():
        raise VerificationError(f"CRL: not signed with {suite.name}", reason="CRL_ALGORITHM")
    signature = suite.from_x509_signature(crl.signature)
    try:
        ca.public_key(suite).verify(signature, crl.tbs_certlist_bytes)
    except VerificationError as error:
        raise VerificationError(
            "CRL: the CA's signature does not hold", reason="CRL_SIGNATURE"
        ) from error
    next_update = crl.next_update_utc
    return RevocationList(
        issuer=ca.subject,
        issued_at=int(crl.last_update_utc.timestamp()),
        next_update=0 if next_update is None else int(next_update.timestamp()),
        entries={entry.serial_number: int(entry.revocation_date_utc.timestamp()) for entry in crl},
    )
