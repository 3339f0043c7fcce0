"""Certificate revocation lists (RFC 5280 §5): read, verify, ask.

A list only subtracts: a certificate that is not on it is not thereby good.
A list is complete, or one shard of an issuer's: then it names its own address
in a critical IssuingDistributionPoint, and speaks only for certificates that
name the same address. A delta list, an indirect list, one for some reasons
alone or any other critical extension is refused rather than half understood.
This is the one parser: verdicts, the service's own callers and the authority
that writes lists (`yinxin_ca.authority`) all read through it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from yinxin_proto.certificate import Certificate
from yinxin_proto.der import elements
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.signature import Suite

MAX_CRL_BYTES: Final = 8 << 20
MAX_CRL_ENTRIES: Final = 100_000
_MAX_ADDRESSES: Final = 8


class RevocationReason(StrEnum):
    """CRLReason (RFC 5280 §5.3.1), without ``removeFromCRL``: delta lists are not used."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    CERTIFICATE_HOLD = "certificateHold"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"
    AA_COMPROMISE = "aACompromise"


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry of a list."""

    serial: int
    """Serial number of the certificate."""
    revoked_at: datetime
    """From when it is not to be relied upon, UTC."""
    reason: RevocationReason
    """Why; ``UNSPECIFIED`` where the list gives no reason."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list whose signature has been verified."""

    issuer: bytes
    """DER Name of the authority it speaks for."""
    number: int
    """cRLNumber; grows with every list of this issuer."""
    this_update: datetime
    """When it was made, UTC."""
    next_update: datetime
    """When a newer one will be there at the latest, UTC."""
    entries: Mapping[int, Revocation]
    """By serial number."""
    addresses: tuple[str, ...] = ()
    """URLs of the shard that this list is; none: it is the issuer's complete list."""

    def covers(self, certificate: Certificate) -> bool:
        """Whether this list would name the certificate if it were revoked.

        RFC 5280 §6.3.3 (b): its issuer's complete list, or the shard whose
        address the certificate carries. What another shard does not say,
        nobody has said.
        """
        return self.issuer == certificate.issuer and (
            not self.addresses or not set(self.addresses).isdisjoint(certificate.crl_urls)
        )

    def revocation(self, serial: int, at: datetime) -> Revocation | None:
        """Return the entry that applies to a certificate at a moment, if any.

        A revocation after ``at`` does not apply. Whether ``at`` lies within
        what this list can speak for is the caller's to judge (`is_current`).
        """
        entry = self.entries.get(serial)
        return entry if entry is not None and entry.revoked_at <= at else None

    def is_revoked(self, serial: int, at: datetime) -> bool:
        """Whether an entry applies to a certificate at a moment; see `revocation`."""
        return self.revocation(serial, at) is not None

    def is_current(self, at: datetime) -> bool:
        """Whether ``this_update`` ≤ ``at`` < ``next_update``."""
        return self.this_update <= at < self.next_update


@dataclass(frozen=True, slots=True)
class UnverifiedRevocationList:
    """A list that parses; nothing in it may be relied upon yet."""

    der: bytes
    """The whole list, as received."""
    parsed: x509.CertificateRevocationList
    """The list as read."""
    content: RevocationList
    """What it says."""

    def verify(self, issuer: Certificate, *, suite: Suite) -> RevocationList:
        """Check that ``issuer`` signed this list.

        RFC 5280 §6.3.3 (f), (g). Whether that authority is to be trusted is
        decided elsewhere, as is how old a list may be.

        Args:
            issuer: Certificate of the authority.
            suite: The suite of its key, from the trust record.

        Raises:
            MalformedError: The issuer's key, or the signature, is not of that suite.
            VerificationError: Another issuer (reason ``CRL_ISSUER``), one that
                may not sign lists (``CRL_KEY_USAGE``), another algorithm
                (``CRL_ALGORITHM``), or a wrong signature (``CRL_SIGNATURE``).
        """
        tbs = self.parsed.tbs_certlist_bytes
        if self.content.issuer != issuer.subject or not self._names_key_of(issuer):
            raise VerificationError("the CRL is another authority's", reason="CRL_ISSUER")
        if not issuer.is_ca or "cRLSign" not in issuer.key_usages:
            raise VerificationError(
                "the certificate is not one of an authority that signs CRLs",
                reason="CRL_KEY_USAGE",
            )
        named = self.parsed.signature_algorithm_oid
        if named != suite.x509_signature_oid() or elements(self.der)[1] != elements(tbs)[1]:
            raise VerificationError(
                f"the CRL is not signed with {suite.name}", reason="CRL_ALGORITHM"
            )
        signature = suite.from_x509_signature(self.parsed.signature)
        try:
            issuer.public_key(suite).verify(signature, tbs)
        except VerificationError as error:
            raise VerificationError(
                "the CRL's signature does not hold", reason="CRL_SIGNATURE"
            ) from error
        return self.content

    def _names_key_of(self, issuer: Certificate) -> bool:
        """Whether the authority key identifier, if any, is that of ``issuer``."""
        for extension in self.parsed.extensions:
            if isinstance(extension.value, x509.AuthorityKeyIdentifier):
                named = extension.value.key_identifier
                return named is None or named == issuer.subject_key_id
        return True


def parse_crl(
    data: bytes, *, max_bytes: int = MAX_CRL_BYTES, max_entries: int = MAX_CRL_ENTRIES
) -> UnverifiedRevocationList:
    """Parse a DER CertificateList.

    Raises:
        MalformedError: Not one (reason ``CRL``), without number or nextUpdate
            (``CRL``), with a critical extension or of a kind that is not read
            (``CRL_EXTENSION``), or beyond a bound (``TOO_LARGE``).
    """
    if len(data) > max_bytes:
        raise MalformedError(f"CRL: more than {max_bytes} bytes", reason="TOO_LARGE")
    try:
        parsed = x509.load_der_x509_crl(data)
        return UnverifiedRevocationList(data, parsed, _read(data, parsed, max_entries))
    except (
        ValueError,
        TypeError,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
        # The library warns of a serial number that is not positive; where
        # warnings are errors, it is refused here rather than below.
        CryptographyDeprecationWarning,
    ) as error:
        raise MalformedError("CRL: not a DER certificate revocation list", reason="CRL") from error


def _read(data: bytes, parsed: x509.CertificateRevocationList, max_entries: int) -> RevocationList:
    # The count of unused bits is signed by nobody: it must be zero, or one list
    # would have several encodings.
    if not elements(data)[2].endswith(b"\x00" + parsed.signature):
        raise MalformedError("CRL: the signature is not of whole bytes", reason="CRL")
    if len(parsed) > max_entries:
        raise MalformedError(f"CRL: more than {max_entries} entries", reason="TOO_LARGE")
    _refuse_unread(
        parsed.extensions,
        refused={x509.DeltaCRLIndicator},
        read={x509.IssuingDistributionPoint},
    )
    try:
        number = parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound as error:
        raise MalformedError("CRL: it has no number", reason="CRL") from error
    if parsed.next_update_utc is None:
        raise MalformedError("CRL: it does not say when the next one comes", reason="CRL")
    entries: dict[int, Revocation] = {}
    for entry in map(_read_entry, parsed):
        earlier = entries.get(entry.serial)
        if earlier is None or entry.revoked_at < earlier.revoked_at:
            entries[entry.serial] = entry
    return RevocationList(
        issuer=elements(parsed.tbs_certlist_bytes)[2],
        number=number,
        this_update=parsed.last_update_utc,
        next_update=parsed.next_update_utc,
        entries=MappingProxyType(entries),
        addresses=_read_addresses(parsed.extensions),
    )


def _read_addresses(extensions: x509.Extensions) -> tuple[str, ...]:
    """Return the URLs of an IssuingDistributionPoint (RFC 5280 §5.2.5), if there is one."""
    for extension in extensions:
        point = extension.value
        if not isinstance(point, x509.IssuingDistributionPoint):
            continue
        limits = (
            point.only_contains_user_certs,
            point.only_contains_ca_certs,
            point.only_contains_attribute_certs,
            point.indirect_crl,
            point.only_some_reasons is not None,
            point.relative_name is not None,
        )
        urls = tuple(
            name.value
            for name in point.full_name or ()
            if isinstance(name, x509.UniformResourceIdentifier)
        )
        if (
            any(limits)
            or not extension.critical
            or not 1 <= len(urls) <= _MAX_ADDRESSES
            or len(urls) != len(point.full_name or ())
        ):
            raise MalformedError(
                "CRL: a shard names its URLs, critically, and limits nothing else",
                reason="CRL_EXTENSION",
            )
        return urls
    return ()


def _read_entry(entry: x509.RevokedCertificate) -> Revocation:
    reason = RevocationReason.UNSPECIFIED
    if entry.serial_number < 1:
        raise MalformedError("CRL: a serial number is positive", reason="CRL")
    _refuse_unread(entry.extensions, refused={x509.CertificateIssuer})
    for extension in entry.extensions:
        if isinstance(extension.value, x509.CRLReason):
            # removeFromCRL is no member: in a complete list it has no meaning.
            reason = RevocationReason(extension.value.reason.value)
    return Revocation(entry.serial_number, entry.revocation_date_utc, reason)


def _refuse_unread(
    extensions: x509.Extensions,
    *,
    refused: set[type[x509.ExtensionType]],
    read: Iterable[type[x509.ExtensionType]] = (),
) -> None:
    for extension in extensions:
        kind = type(extension.value)
        if kind in refused or (extension.critical and kind not in read):
            raise MalformedError(
                f"CRL: extension {extension.oid.dotted_string} is not understood here",
                reason="CRL_EXTENSION",
            )
