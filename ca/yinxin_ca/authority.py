"""A certificate authority: signs certificates and revocation lists.

It never holds a private key, only a `Signer`; and it records what it is about
to sign before it signs. Never move the recording after the signing, and never
retry a signature under the same serial number: a power cut in between would
leave a certificate that nobody knows of, or two under one number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import AuthorityInformationAccessOID

from yinxin_ca import assembly, der
from yinxin_ca.crl import MAX_CRL_ENTRIES, RevocationReason
from yinxin_ca.profile import ROOT, AlternativeNames, Profile, Subject
from yinxin_ca.register import CertificateRecord, Register
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import (
    ConfigurationError,
    FailedPreconditionError,
    InvalidArgumentError,
    MalformedError,
    NotFoundError,
    ResourceExhaustedError,
)
from yinxin_proto.signature import PublicKey, Signer, Suite

MAX_CERTIFICATE_BYTES: Final = 8192

_SECOND: Final = timedelta(seconds=1)
_NO_NAMES: Final = AlternativeNames()


@dataclass(frozen=True, slots=True, kw_only=True)
class Locations:
    """Where others find an authority's own documents; written into what it signs."""

    crl: str | None = None
    """URL of its CRL (RFC 5280 §4.2.1.13)."""
    certificate: str | None = None
    """URL of its DER certificate (caIssuers, §4.2.2.1)."""


class CertificateAuthority:
    """One authority: a certificate, the key behind it, and its register.

    Args:
        certificate: Its own DER certificate.
        signer: The key that the certificate names.
        register: Its own register, shared with no other authority.
        clock: Dates what it signs.
        entropy: Draws serial numbers.
        issuers: DER certificates above it without the root, nearest first.
        locations: Where its CRL and certificate are published.

    Raises:
        ConfigurationError: The certificate names another key (reason
            ``CA_KEY_MISMATCH``) or may not sign certificates (``NOT_A_CA``).
        MalformedError: Not a certificate (``CERTIFICATE``).
    """

    def __init__(
        self,
        *,
        certificate: bytes,
        signer: Signer,
        register: Register,
        clock: Clock,
        entropy: Entropy,
        issuers: tuple[bytes, ...] = (),
        locations: Locations | None = None,
    ) -> None:
        self._own = _load(certificate)
        if spki_of(certificate) != signer.public_key.spki:
            raise ConfigurationError(
                "the authority's certificate names another key; open the key store that has "
                "its key",
                reason="CA_KEY_MISMATCH",
            )
        self._path_length, self._purposes = _scope(self._own)
        self._signer = signer
        self._register = register
        self._clock = clock
        self._entropy = entropy
        self._issuers = issuers
        self._locations = locations if locations is not None else Locations()

    @property
    def certificate(self) -> bytes:
        """Its own DER certificate."""
        return self._own.public_bytes(serialization.Encoding.DER)

    def issue(
        self,
        profile: Profile,
        *,
        subject: Subject,
        public_key: PublicKey,
        names: AlternativeNames = _NO_NAMES,
        not_before: datetime | None = None,
    ) -> bytes:
        """Sign a certificate.

        Validity starts ``profile.backdate`` ago unless ``not_before`` says
        later, lasts ``profile.validity``, and is cut to the authority's own.

        Args:
            profile: What kind; must be within what this authority certifies.
            subject: Whom it is for.
            public_key: The key to certify; its holder has proven possession.
            names: Alternative names, as the profile's rule demands.
            not_before: Start of validity, when it is to be later.

        Returns:
            The DER certificate.

        Raises:
            InvalidArgumentError: A profile that this authority does not
                certify (reason ``ISSUER_PURPOSE``), names against the
                profile's rule (``NAME_RULE``), a start in the past
                (``NOT_BEFORE``), or the authority's own key (``KEY_REUSE``).
            FailedPreconditionError: The authority is not valid now or then
                (``ISSUER_VALIDITY``), or the key was revoked as compromised
                (``KEY_COMPROMISED``).
        """
        names.check(profile.names)
        self._check_profile(profile)
        self._check_key(public_key)
        start, end = self._validity(profile, not_before)
        serial = draw_serial(self._entropy)
        draft = assembly.Draft(
            profile=profile,
            subject=subject,
            names=names,
            public_key=public_key,
            serial=serial,
            not_before=start,
            not_after=end,
        )
        extensions = [(self._key_identifier(), False), *_published(self._locations)]
        tbs = assembly.certificate_tbs(
            draft, issuer=_name(self._own), extensions=extensions, suite=self._suite
        )
        return _sign_recorded(self._register, self._signer, serial, profile, tbs)

    def revoke(self, serial: int, reason: RevocationReason, *, at: datetime | None = None) -> None:
        """Record that a certificate is not to be relied upon from ``at`` (now).

        It reaches others with the next list; see `sign_crl`.

        Raises:
            NotFoundError: This authority signed no such certificate
                (reason ``CERTIFICATE_NOT_FOUND``).
            FailedPreconditionError: Revoked already (``ALREADY_REVOKED``).
            InvalidArgumentError: ``at`` is in the future (``REVOKED_AT``).
        """
        now = self._now()
        if at is not None and at > now:
            raise InvalidArgumentError(
                "a revocation cannot be dated in the future", reason="REVOKED_AT"
            )
        self._register.record_revoked(serial, reason, now if at is None else at)

    def sign_crl(self, *, lifetime: timedelta) -> bytes:
        """Sign the list of everything revoked, expired certificates included.

        What expired stays on the list: a verdict may be asked for a past
        moment. Numbers grow by one.

        Args:
            lifetime: How long until the next list is there at the latest.

        Returns:
            The DER CertificateList.

        Raises:
            InvalidArgumentError: A lifetime of less than a second.
            ConflictError: Another process made a list at this moment
                (reason ``CRL_NUMBER``); try again.
            ResourceExhaustedError: More entries than readers accept.
        """
        if lifetime < _SECOND:
            raise InvalidArgumentError("a CRL lives for a second at least", reason="CRL_LIFETIME")
        records = self._register.revoked()
        if len(records) > MAX_CRL_ENTRIES:
            raise ResourceExhaustedError(
                f"a CRL has at most {MAX_CRL_ENTRIES} entries; start a new issuing authority",
                reason="CRL_ENTRIES",
            )
        number, now = self._register.crl_number() + 1, self._now()
        tbs = assembly.crl_tbs(
            assembly.CrlDraft(
                number=number, this_update=now, next_update=now + lifetime, records=records
            ),
            issuer=_name(self._own),
            key_identifier=self._key_identifier(),
            suite=self._suite,
        )
        self._register.record_crl(number, tbs)
        return _sign(self._signer, tbs)

    def chain(self, leaf: bytes) -> tuple[bytes, ...]:
        """Return ``leaf`` and what is above it, without the root: as ``x5c`` has it.

        Raises:
            NotFoundError: This authority did not sign it
                (reason ``CERTIFICATE_NOT_FOUND``).
        """
        record = self._register.find(_load(leaf).serial_number)
        if record is None or record.der != leaf:
            raise NotFoundError(
                "this authority did not sign that certificate", reason="CERTIFICATE_NOT_FOUND"
            )
        return (leaf, self.certificate, *self._issuers)

    @property
    def _suite(self) -> Suite:
        return self._signer.public_key.suite

    def _now(self) -> datetime:
        return self._clock.now().replace(microsecond=0)

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        # The key's identifier alone: issuer and serial would tie what is
        # signed here to one certificate of ours, and forbid cross-signing.
        ski = self._own.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return x509.AuthorityKeyIdentifier(ski.digest, None, None)

    def _check_profile(self, profile: Profile) -> None:
        if profile.path_length is not None:
            allowed = self._path_length is None or profile.path_length < self._path_length
        else:
            # A root certifies authorities alone: its key stays offline.
            allowed = self._own.subject != self._own.issuer
        if self._purposes is not None:
            allowed = allowed and bool(profile.purposes) and self._purposes >= {*profile.purposes}
        if not allowed:
            raise InvalidArgumentError(
                f"this authority does not certify for profile {profile.name}",
                reason="ISSUER_PURPOSE",
            )

    def _check_key(self, key: PublicKey) -> None:
        if key.spki == self._signer.public_key.spki:
            raise InvalidArgumentError(
                "an authority does not certify its own key again", reason="KEY_REUSE"
            )
        for record in self._register.revoked():
            if record.reason is RevocationReason.KEY_COMPROMISE and _key_of(record) == key.spki:
                raise FailedPreconditionError(
                    "the key was revoked as compromised; generate another",
                    reason="KEY_COMPROMISED",
                )

    def _validity(self, profile: Profile, not_before: datetime | None) -> tuple[datetime, datetime]:
        now = self._now()
        start = now - profile.backdate
        if not_before is not None:
            if not_before < start:
                raise InvalidArgumentError("validity cannot start in the past", reason="NOT_BEFORE")
            start = not_before.replace(microsecond=0)
        first, last = self._own.not_valid_before_utc, self._own.not_valid_after_utc
        if not first <= now <= last or start > last:
            raise FailedPreconditionError(
                "the authority's own certificate is not valid at that time; renew it",
                reason="ISSUER_VALIDITY",
            )
        return max(start, first), min(start + profile.validity - _SECOND, last)


def create_root(
    *,
    subject: Subject,
    signer: Signer,
    register: Register,
    clock: Clock,
    entropy: Entropy,
    profile: Profile = ROOT,
    locations: Locations | None = None,
) -> CertificateAuthority:
    """Sign a root certificate with its own key, and return the authority.

    Args:
        subject: The region's name; ``organisation`` and ``common_name``.
        signer: The root key.
        register: The root's own register.
        clock: Dates the certificate.
        entropy: Draws its serial number.
        profile: `ROOT`, or one that lives longer or shorter.
        locations: Written into what the root signs, not into itself.
    """
    start = clock.now().replace(microsecond=0) - profile.backdate
    draft = assembly.Draft(
        profile=profile,
        subject=subject,
        names=_NO_NAMES,
        public_key=signer.public_key,
        serial=draw_serial(entropy),
        not_before=start,
        not_after=start + profile.validity - _SECOND,
    )
    suite = signer.public_key.suite
    tbs = assembly.certificate_tbs(draft, issuer=None, extensions=(), suite=suite)
    certificate = _sign_recorded(register, signer, draft.serial, profile, tbs)
    return CertificateAuthority(
        certificate=certificate,
        signer=signer,
        register=register,
        clock=clock,
        entropy=entropy,
        locations=locations,
    )


def draw_serial(entropy: Entropy) -> int:
    """Return a serial number: 20 bytes, positive, 158 bits of them random.

    RFC 5280 §4.1.2.2 bounds it to 20 bytes and wants it positive; the second
    highest bit is set so that every one has the same length.
    """
    raw = int.from_bytes(entropy.token(20), "big")
    return raw & ((1 << 158) - 1) | 1 << 158


def spki_of(certificate: bytes) -> bytes:
    """Return a certificate's DER SubjectPublicKeyInfo, of whatever suite.

    Raises:
        MalformedError: Not a certificate (reason ``CERTIFICATE``).
    """
    return der.elements(_load(certificate).tbs_certificate_bytes)[6]


def to_pem(certificates: Iterable[bytes]) -> bytes:
    """Return DER certificates as one PEM bundle, in the order given.

    Raises:
        MalformedError: One is not a certificate (reason ``CERTIFICATE``).
    """
    pem = serialization.Encoding.PEM
    return b"".join(_load(certificate).public_bytes(pem) for certificate in certificates)


def _sign_recorded(
    register: Register, signer: Signer, serial: int, profile: Profile, tbs: bytes
) -> bytes:
    register.record_intent(serial, profile.name, tbs)
    certificate = _sign(signer, tbs)
    register.record_issued(serial, certificate)
    return certificate


def _sign(signer: Signer, tbs: bytes) -> bytes:
    key = signer.public_key
    signature = signer.sign(tbs)
    # A faulty device or the wrong key must not get a bad signature published.
    key.verify(signature, tbs)
    return der.signed(tbs, key.suite.x509_signature_oid(), key.suite.to_x509_signature(signature))


def _published(locations: Locations) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    if locations.crl is not None:
        uri = x509.UniformResourceIdentifier(locations.crl)
        point = x509.DistributionPoint([uri], relative_name=None, reasons=None, crl_issuer=None)
        found.append((x509.CRLDistributionPoints([point]), False))
    if locations.certificate is not None:
        issuers = AuthorityInformationAccessOID.CA_ISSUERS
        access = x509.AccessDescription(
            issuers, x509.UniformResourceIdentifier(locations.certificate)
        )
        found.append((x509.AuthorityInformationAccess([access]), False))
    return found


def _load(certificate: bytes) -> x509.Certificate:
    if len(certificate) > MAX_CERTIFICATE_BYTES:
        raise MalformedError(
            f"a certificate has at most {MAX_CERTIFICATE_BYTES} bytes", reason="TOO_LARGE"
        )
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        tuple(parsed.extensions)
    except (ValueError, TypeError, x509.DuplicateExtension, x509.InvalidVersion) as error:
        raise MalformedError("not a DER certificate", reason="CERTIFICATE") from error
    return parsed


def _scope(own: x509.Certificate) -> tuple[int | None, frozenset[x509.ObjectIdentifier] | None]:
    """Return an authority's path length and purposes, each ``None`` if unlimited."""
    try:
        constraints = own.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = own.extensions.get_extension_for_class(x509.KeyUsage).value
        own.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound as error:
        raise _not_an_authority() from error
    if not (constraints.ca and usage.key_cert_sign and usage.crl_sign):
        raise _not_an_authority()
    try:
        purposes = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return constraints.path_length, None
    return constraints.path_length, frozenset(purposes)


def _not_an_authority() -> ConfigurationError:
    return ConfigurationError(
        "the certificate is not an authority's that may sign certificates and CRLs",
        reason="NOT_A_CA",
    )


def _name(certificate: x509.Certificate) -> bytes:
    """The DER Name of the subject, byte for byte as the certificate has it."""
    return der.elements(certificate.tbs_certificate_bytes)[5]


def _key_of(record: CertificateRecord) -> bytes:
    return der.elements(record.tbs)[6]
