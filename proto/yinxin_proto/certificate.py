"""X.509 certificates (RFC 5280), read for what this project decides by them.

The library parses; signatures are checked here, over the exact TBS bytes,
through a suite, so that chains under suites that the library cannot verify go
the same way. Nothing here asks about revocation or trust: a chain is only a
proposal until the trust list names the key.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final, NoReturn, TypeVar

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from yinxin_proto import der as der_format
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.nameconstraint import PermittedNames
from yinxin_proto.signature import PublicKey, Suite

MAX_CERTIFICATE_BYTES: Final = 8_192
MAX_CHAIN: Final = 6

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class CertificatePurpose(StrEnum):
    """What an end certificate's key may do: the OIDs of its extended key usage.

    The private ones lie in the arc that takes UUIDs in pieces, since readers
    refuse arcs over 32 bits (and so 2.25, which takes them whole).
    """

    TLS_SERVER = "1.3.6.1.5.5.7.3.1"
    TLS_CLIENT = "1.3.6.1.5.5.7.3.2"
    LICENCE_SIGNING = "1.3.6.1.5.5.7.3.36"
    """id-kp-documentSigning (RFC 9336)."""
    STATUS_SIGNING = "1.2.840.113556.1.8000.2554.16838.41788.19380.23829.39423.9351955.12703964"
    """Of UUID 41c6a33c-4bb4-5d15-99ff-8eb313c1d8dc. Token Status List §10 names
    id-kp-oauthStatusSigning, which has no number yet; this one stands in."""
    TIME_STAMPING = "1.3.6.1.5.5.7.3.8"
    """id-kp-timeStamping (RFC 3161 §2.3): alone and critical."""
    OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"
    """id-kp-OCSPSigning (RFC 6960 §4.2.2.2)."""
    SEALING = "1.2.840.113556.1.8000.2554.38166.44415.4641.22825.45278.12321355.9512777"
    """Electronic seals 电子印章; of UUID 9516ad7f-1221-5929-b0de-bc024b912749."""
    PERSONAL_SIGNING = "1.2.840.113556.1.8000.2554.48404.19350.5011.22273.41018.3882189.12773897"
    """Signatures of persons; of UUID bd144b96-1393-5701-a03a-3b3ccdc2ea09."""
    REQUEST_SIGNING = "1.2.840.113556.1.8000.2554.61305.49939.54217.21219.40444.4338063.13202477"
    """A department's requests; of UUID ef79c313-d3c9-52e3-9dfc-42318fc9742d."""
    OPERATION_SIGNING = "1.2.840.113556.1.8000.2554.22537.33541.13581.21112.33156.10926006.2740040"
    """An operator's own operations; of UUID 58098305-350d-5278-8184-a6b7b629cf48."""
    CHECKPOINT_SIGNING = "1.2.840.113556.1.8000.2554.23805.47599.13842.20551.46459.6309408.13072416"
    """A log's ML-DSA-44 cosigner, under the parallel root; of UUID
    5cfdb9ef-3612-5047-b57b-604620c77820, in the same arc."""


_TLS: Final = frozenset({CertificatePurpose.TLS_SERVER, CertificatePurpose.TLS_CLIENT})

_KEY_USAGES: Final = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
}
_UNDERSTOOD: Final = frozenset(
    {
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.SubjectAlternativeName.oid,
        x509.SubjectKeyIdentifier.oid,
        x509.AuthorityKeyIdentifier.oid,
        x509.CRLDistributionPoints.oid,
        x509.AuthorityInformationAccess.oid,
        x509.CertificatePolicies.oid,
        x509.NameConstraints.oid,
    }
)
"""Extensions that may be critical."""

_ANY_NAME: Final = PermittedNames()


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A parsed certificate of which nothing is believed yet."""

    der: bytes
    """The whole certificate, as received."""
    tbs: bytes
    """DER TBSCertificate, what the signature covers."""
    signature: bytes
    """Content of the signature BIT STRING, in the suite's X.509 form."""
    signature_oid: x509.ObjectIdentifier
    """Algorithm of the signature, the same inside and outside the TBS."""
    spki: bytes
    """DER SubjectPublicKeyInfo."""
    serial_number: int
    """Positive, at most 20 bytes."""
    subject: bytes
    """DER Name."""
    issuer: bytes
    """DER Name."""
    not_before: datetime
    """First second of validity, UTC."""
    not_after: datetime
    """Last second of validity, UTC."""
    is_ca: bool
    """Whether basic constraints say CA."""
    path_length: int | None
    """How many CA certificates may follow under this one."""
    key_usages: frozenset[str]
    """RFC 5280 names, such as ``digitalSignature``."""
    purposes: frozenset[str]
    """OIDs of the extended key usage."""
    uris: tuple[str, ...]
    """URIs of the subject alternative name: how principals are named."""
    dns_names: tuple[str, ...]
    """DNS names of the subject alternative name."""
    subject_key_id: bytes | None
    """Key identifier of the subject."""
    authority_key_id: bytes | None
    """Key identifier of the issuer."""
    crl_urls: tuple[str, ...]
    """Where the issuer publishes its revocation list."""
    permitted: PermittedNames = _ANY_NAME
    """Of an authority: what the certificates below it may be named."""

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the whole certificate."""
        return sha256(self.der).digest()

    @property
    def thumbprint(self) -> bytes:
        """SHA-256 of ``spki``: how trust records name the key."""
        return sha256(self.spki).digest()

    def public_key(self, suite: Suite) -> PublicKey:
        """Load the subject's key, which must belong to ``suite``.

        Raises:
            MalformedError: A key of another kind.
        """
        return suite.load_public(self.spki)

    def check_validity(self, at: datetime) -> None:
        """Check that ``at`` (timezone-aware) lies within the validity.

        Raises:
            VerificationError: ``CERTIFICATE_NOT_YET_VALID`` or
                ``CERTIFICATE_EXPIRED``.
        """
        if at < self.not_before:
            _refuse("CERTIFICATE_NOT_YET_VALID", "the certificate is not valid yet")
        if at > self.not_after:
            _refuse("CERTIFICATE_EXPIRED", "the certificate has expired")

    def check_purpose(self, purpose: CertificatePurpose) -> None:
        """Check that this is an end certificate for ``purpose`` and no other.

        A TLS certificate may serve both ends of a connection; otherwise one
        key has one purpose. *anyExtendedKeyUsage* never counts.

        Raises:
            VerificationError: ``CERTIFICATE_PURPOSE``.
        """
        allowed = _TLS if purpose in _TLS else {purpose}
        if (
            self.is_ca
            or purpose not in self.purposes
            or not self.purposes <= allowed
            or "digitalSignature" not in self.key_usages
        ):
            _refuse("CERTIFICATE_PURPOSE", f"the certificate is not for {purpose.name}")


SuiteOf = Callable[[Certificate], Suite]
"""Tells the suite of an issuer's key."""


def parse(der: bytes) -> Certificate:
    """Parse one DER certificate.

    Raises:
        MalformedError: ``TOO_LARGE``; ``CERTIFICATE``: not a version 3
            certificate in DER; ``CERTIFICATE_EXTENSION``: a critical
            extension that is not understood here.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise MalformedError(
            f"certificate: more than {MAX_CERTIFICATE_BYTES} bytes", reason="TOO_LARGE"
        )
    try:
        return _read(der, x509.load_der_x509_certificate(der))
    except (
        ValueError,
        TypeError,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
        # Of a serial number that is not positive: a warning that may be an error.
        CryptographyDeprecationWarning,
    ) as error:
        raise MalformedError("certificate: not version 3 in DER", reason="CERTIFICATE") from error


def verify_link(
    child: Certificate, issuer: Certificate, suite: Suite, *, intermediates: int = 0
) -> None:
    """Check that ``issuer`` issued ``child`` (RFC 5280 §6.1.3 and §6.1.4, one step).

    Args:
        child: The certificate below.
        issuer: The certificate above, whose own standing the caller checks.
        suite: The suite of the issuer's key, from its trust record.
        intermediates: How many CA certificates lie between ``issuer`` and the
            end certificate.

    Raises:
        VerificationError: ``CHAIN_NAME``, ``CHAIN_NOT_CA``,
            ``CHAIN_PATH_LENGTH``, ``CHAIN_KEY_ID``, ``CHAIN_PURPOSE``,
            ``CHAIN_PERMITTED_NAMES``, ``CHAIN_ALGORITHM`` or ``CHAIN_SIGNATURE``.
        MalformedError: The issuer's key is not one of ``suite``.
    """
    if child.issuer != issuer.subject:
        _refuse("CHAIN_NAME", "the issuer's name is not the subject of the certificate above")
    if not issuer.is_ca or "keyCertSign" not in issuer.key_usages:
        _refuse("CHAIN_NOT_CA", "the certificate above may not issue certificates")
    if issuer.path_length is not None and intermediates > issuer.path_length:
        _refuse("CHAIN_PATH_LENGTH", "the certificate above may not have as long a path below it")
    if child.authority_key_id is not None and child.authority_key_id != issuer.subject_key_id:
        _refuse("CHAIN_KEY_ID", "the key identifiers do not match")
    # A child that names no purpose would pass its issuer's limits on to nobody.
    if issuer.purposes and not (child.purposes and child.purposes <= issuer.purposes):
        _refuse("CHAIN_PURPOSE", "the certificate above may not issue for this purpose")
    check_permitted([child, issuer])
    if child.signature_oid != suite.x509_signature_oid():
        _refuse("CHAIN_ALGORITHM", f"the certificate is not signed with {suite.name}")
    try:
        issuer.public_key(suite).verify(suite.from_x509_signature(child.signature), child.tbs)
    except VerificationError as error:
        raise VerificationError(
            "certificate: the signature does not verify", reason="CHAIN_SIGNATURE"
        ) from error


def check_permitted(path: Sequence[Certificate]) -> None:
    """Check that no certificate of a path is named against the constraints above it.

    Args:
        path: End certificate first; each issued by the next.

    Raises:
        VerificationError: ``CHAIN_PERMITTED_NAMES``.
    """
    for depth, above in enumerate(path):
        if above.permitted is not _ANY_NAME and not all(
            above.permitted.permits(below.dns_names, below.uris) for below in path[:depth]
        ):
            _refuse("CHAIN_PERMITTED_NAMES", "a name that an authority above may not certify")


def verify_chain(
    chain: Sequence[Certificate],
    anchor: Certificate,
    suite: Suite | SuiteOf,
    *,
    at: datetime,
) -> None:
    """Check a chain, leaf first, up to an anchor that the caller trusts.

    Names, purposes, path lengths, signatures and every validity at ``at``; not
    revocation. The anchor may be repeated at the chain's end.

    Args:
        chain: Leaf first.
        anchor: What the caller trusts.
        suite: Of every issuer's key; or what tells the suite of each issuer's
            key by its trust record, where they differ: a root of SM2 or
            ML-DSA-65 certifies TLS authorities of ES256.
        at: When all of it must be valid, timezone-aware.

    Raises:
        VerificationError: As `verify_link` and `Certificate.check_validity`;
            ``CHAIN_LENGTH``.
        MalformedError: As `verify_link`.
    """
    path = list(chain[:-1] if chain and chain[-1].der == anchor.der else chain)
    if not 1 <= len(path) < MAX_CHAIN:
        _refuse("CHAIN_LENGTH", f"a chain has 1 to {MAX_CHAIN - 1} certificates under its anchor")
    path.append(anchor)
    check_permitted(path)
    for depth, (child, issuer) in enumerate(itertools.pairwise(path)):
        child.check_validity(at)
        above = suite(issuer) if callable(suite) else suite
        verify_link(child, issuer, above, intermediates=depth)
    anchor.check_validity(at)


def _read(der: bytes, parsed: x509.Certificate) -> Certificate:
    tbs = parsed.tbs_certificate_bytes
    outer, inner = der_format.elements(der), der_format.elements(tbs)
    if parsed.version is not x509.Version.v3 or len(inner) < 8 or inner[2] != outer[1]:
        raise ValueError("not version 3, or one algorithm inside and another outside")
    # The count of unused bits is signed by nobody: it must be zero, or one
    # certificate would have several encodings.
    if not outer[2].endswith(b"\x00" + parsed.signature):
        raise ValueError("the signature is not a BIT STRING of whole bytes")
    if not 0 < parsed.serial_number < 1 << 160:
        raise ValueError("a serial number is positive and of at most 20 bytes")
    extensions = parsed.extensions
    _refuse_unknown(extensions)
    basic = _find(extensions, x509.BasicConstraints)
    names = _find(extensions, x509.SubjectAlternativeName)
    subject_key = _find(extensions, x509.SubjectKeyIdentifier)
    authority_key = _find(extensions, x509.AuthorityKeyIdentifier)
    constraints = _find(extensions, x509.NameConstraints)
    return Certificate(
        der=der,
        tbs=tbs,
        signature=parsed.signature,
        signature_oid=parsed.signature_algorithm_oid,
        spki=inner[6],
        serial_number=parsed.serial_number,
        subject=inner[5],
        issuer=inner[3],
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        is_ca=basic is not None and basic.ca,
        path_length=None if basic is None else basic.path_length,
        key_usages=_key_usages(extensions),
        purposes=frozenset(
            oid.dotted_string for oid in _find(extensions, x509.ExtendedKeyUsage) or ()
        ),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)) if names else (),
        dns_names=tuple(names.get_values_for_type(x509.DNSName)) if names else (),
        subject_key_id=None if subject_key is None else subject_key.digest,
        authority_key_id=None if authority_key is None else authority_key.key_identifier,
        crl_urls=_crl_urls(extensions),
        permitted=_ANY_NAME if constraints is None else PermittedNames.read(constraints),
    )


def _refuse_unknown(extensions: x509.Extensions) -> None:
    for extension in extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise MalformedError(
                f"certificate: the critical extension {extension.oid.dotted_string} is unknown",
                reason="CERTIFICATE_EXTENSION",
            )


def _key_usages(extensions: x509.Extensions) -> frozenset[str]:
    usage = _find(extensions, x509.KeyUsage)
    return frozenset(
        name for name, flag in _KEY_USAGES.items() if usage is not None and getattr(usage, flag)
    )


def _find(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    for extension in extensions:
        if isinstance(extension.value, kind):
            return extension.value
    return None


def _crl_urls(extensions: x509.Extensions) -> tuple[str, ...]:
    points = _find(extensions, x509.CRLDistributionPoints)
    return tuple(
        name.value
        for point in points or ()
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )


def _refuse(reason: str, message: str) -> NoReturn:
    raise VerificationError(f"certificate: {message}", reason=reason)
