"""PKCS#10 certification requests (RFC 2986): a key, and proof of having it.

The library parses; the signature is checked here, over the exact bytes, through
a suite, so that requests under suites that the library cannot verify go the
same way. What a request says of its subject is only what is *asked for*:
whoever answers it decides what the requester is entitled to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import AttributeOID, NameOID

from yinxin_proto.der import elements
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.signature import PublicKey, Suite

MAX_REQUEST_BYTES: Final = 16_384
"""Room for an ML-DSA key and signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedNames:
    """Names that a request asks for; none of them is believed."""

    organisation_codes: tuple[str, ...] = ()
    """organizationIdentifier of the subject: credit codes of authorities."""
    organisations: tuple[str, ...] = ()
    """O of the subject."""
    common_names: tuple[str, ...] = ()
    """CN of the subject."""
    dns: tuple[str, ...] = ()
    """DNS names of the subject alternative name."""
    addresses: tuple[str, ...] = ()
    """IP addresses of the subject alternative name."""
    uris: tuple[str, ...] = ()
    """URIs of the subject alternative name."""
    others: int = 0
    """How many alternative names of further kinds there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """A parsed request whose signature nobody has checked yet."""

    der: bytes
    """The whole request, as received."""
    info: bytes
    """DER CertificationRequestInfo, what the signature covers."""
    spki: bytes
    """DER SubjectPublicKeyInfo."""
    signature: bytes
    """Content of the signature BIT STRING, in the suite's X.509 form."""
    signature_oid: x509.ObjectIdentifier
    """Algorithm of the signature."""
    subject: bytes
    """DER Name, as asked for."""
    names: RequestedNames
    """Names, as asked for."""
    asks_for_authority: bool
    """Whether it asks to become a certificate authority."""
    challenge: bytes | None
    """challengePassword (RFC 2985 §5.4.1)."""

    def check_possession(self, suite: Suite) -> PublicKey:
        """Return the key, once its signature shows that the requester has it.

        Raises:
            MalformedError: Not a key, or not a signature, of ``suite``.
            VerificationError: The signature does not hold
                (``PROOF_OF_POSSESSION``).
        """
        key = suite.load_public(self.spki)
        try:
            if self.signature_oid != suite.x509_signature_oid():
                raise VerificationError("another algorithm", reason="PROOF_OF_POSSESSION")
            key.verify(suite.from_x509_signature(self.signature), self.info)
        except VerificationError as error:
            raise VerificationError(
                "certificate request: its signature does not show that the requester has the key",
                reason="PROOF_OF_POSSESSION",
            ) from error
        return key


def parse_request(der: bytes) -> CertificateRequest:
    """Parse one DER request.

    Raises:
        MalformedError: ``TOO_LARGE``; ``CERTIFICATE_REQUEST``: not a PKCS#10
            request in DER.
    """
    if len(der) > MAX_REQUEST_BYTES:
        raise MalformedError(
            f"certificate request: more than {MAX_REQUEST_BYTES} bytes", reason="TOO_LARGE"
        )
    try:
        return _read(der, x509.load_der_x509_csr(der))
    except (
        ValueError,
        TypeError,
        MalformedError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
        CryptographyDeprecationWarning,
    ) as error:
        raise MalformedError(
            "certificate request: not PKCS#10 in DER", reason="CERTIFICATE_REQUEST"
        ) from error


def _read(der: bytes, parsed: x509.CertificateSigningRequest) -> CertificateRequest:
    outer, inner = elements(der), elements(parsed.tbs_certrequest_bytes)
    # Nobody signs the count of unused bits: it must be zero.
    if len(outer) != 3 or len(inner) != 4 or not outer[2].endswith(b"\x00" + parsed.signature):
        raise ValueError("not the parts of a request")
    extensions = {extension.oid: extension.value for extension in parsed.extensions}
    basic = extensions.get(x509.BasicConstraints.oid)
    return CertificateRequest(
        der=der,
        info=parsed.tbs_certrequest_bytes,
        spki=inner[2],
        signature=parsed.signature,
        signature_oid=parsed.signature_algorithm_oid,
        subject=inner[1],
        names=_names(parsed.subject, extensions.get(x509.SubjectAlternativeName.oid)),
        asks_for_authority=isinstance(basic, x509.BasicConstraints) and basic.ca,
        challenge=_challenge(parsed),
    )


def _names(subject: x509.Name, alternative: x509.ExtensionType | None) -> RequestedNames:
    def texts(oid: x509.ObjectIdentifier) -> tuple[str, ...]:
        return tuple(str(found.value) for found in subject.get_attributes_for_oid(oid))

    listed = list(alternative) if isinstance(alternative, x509.SubjectAlternativeName) else []
    dns = tuple(name.value for name in listed if isinstance(name, x509.DNSName))
    addresses = tuple(str(name.value) for name in listed if isinstance(name, x509.IPAddress))
    uris = tuple(name.value for name in listed if isinstance(name, x509.UniformResourceIdentifier))
    return RequestedNames(
        organisation_codes=texts(NameOID.ORGANIZATION_IDENTIFIER),
        organisations=texts(NameOID.ORGANIZATION_NAME),
        common_names=texts(NameOID.COMMON_NAME),
        dns=dns,
        addresses=addresses,
        uris=uris,
        others=len(listed) - len(dns) - len(addresses) - len(uris),
    )


def _challenge(parsed: x509.CertificateSigningRequest) -> bytes | None:
    try:
        return parsed.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value
    except x509.AttributeNotFound:
        return None
