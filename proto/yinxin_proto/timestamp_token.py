"""Time-stamp tokens (RFC 3161, RFC 5652, RFC 5816), verified.

A token is evidence that a digest existed no later than its time, on the word
of an authority; whose word counts is decided elsewhere. It is taken apart as
the bytes that were received, since the signature covers bytes.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from yinxin_proto import certificate as x509_format
from yinxin_proto.certificate import Certificate, CertificatePurpose, SuiteOf, verify_chain
from yinxin_proto.der import content, dotted, elements, integer, split
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.signature import Suite
from yinxin_proto.timestamp import (
    DIGESTS,
    SHA256,
    Digest,
    Imprint,
    Timestamp,
    algorithm_of,
    malformed,
    parse_tst_info,
)

MAX_TOKEN_BYTES: Final = 65_536
MAX_CERTIFICATES: Final = 6

SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
SIGNING_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"

_OCTETS, _SEQUENCE, _SET = 0x04, 0x30, 0x31
_TAG_0, _TAG_1 = 0xA0, 0xA1
_LONG_FORM: Final = 0x80


def token_of(response: bytes) -> bytes:
    """Return the token in a DER TimeStampResp (RFC 3161 §2.4.2).

    Raises:
        MalformedError: Not one (reason ``TIMESTAMP_RESPONSE``), or a refusal
            (``TIMESTAMP_REFUSED``).
    """
    if len(response) > MAX_TOKEN_BYTES:
        raise MalformedError(
            f"time-stamp response: more than {MAX_TOKEN_BYTES} bytes", reason="TOO_LARGE"
        )
    try:
        fields = elements(response)
        status = integer(elements(fields[0])[0])
    except (IndexError, MalformedError) as error:
        raise MalformedError("not a time-stamp response", reason="TIMESTAMP_RESPONSE") from error
    if status not in (0, 1) or len(fields) != 2:
        raise MalformedError(
            f"the time-stamp authority refused with status {status}", reason="TIMESTAMP_REFUSED"
        )
    return fields[1]


def verify_token(
    token: bytes,
    imprint: Imprint,
    *,
    anchor: Certificate,
    suite: Suite | SuiteOf,
    certificates: tuple[bytes, ...] = (),
    nonce: int | None = None,
) -> Timestamp:
    """Check a TimeStampToken up to an anchor, and return what it says.

    RFC 3161 §2.3, §2.4.2; RFC 5652 §5.4; RFC 5816. Certificates are judged at
    the token's own time; whether one was revoked is the caller's to ask.

    Args:
        token: DER ContentInfo.
        imprint: The digest that it must be about.
        anchor: A certificate above the authority's, which the caller trusts.
        suite: Of every key in the chain, or what tells the suite of each.
        certificates: DER certificates that the token may lack.
        nonce: What the request carried, for a fresh token.

    Raises:
        MalformedError: Not a token in the form that is read (``TIMESTAMP``).
        VerificationError: About another digest (``TIMESTAMP_IMPRINT``), without
            the nonce (``TIMESTAMP_NONCE``), of a certificate that is not for
            time-stamping alone (``TIMESTAMP_PURPOSE``) or not the one that the
            token names (``TIMESTAMP_CERTIFICATE``), with a digest of other
            content (``TIMESTAMP_DIGEST``) or a wrong signature
            (``TIMESTAMP_SIGNATURE``); as `verify_chain`.
    """
    signed = _SignedToken.parse(token)
    said = parse_tst_info(signed.content)
    if said.imprint.algorithm != imprint.algorithm or not hmac.compare_digest(
        said.imprint.digest, imprint.digest
    ):
        raise _refused("TIMESTAMP_IMPRINT", "it is about another digest")
    if nonce is not None and said.nonce != nonce:
        raise _refused("TIMESTAMP_NONCE", "it is not the answer to this request")
    known = [x509_format.parse(der) for der in (*signed.certificates, *certificates)]
    signer = signed.signer_among(known)
    _check_purpose(signer)
    verify_chain(_path(signer, known, anchor), anchor, suite, at=said.at)
    signed.check(signer, suite(signer) if callable(suite) else suite)
    return said


@dataclass(frozen=True, slots=True)
class _SignedToken:
    """SignedData with one SignerInfo, taken apart."""

    content: bytes
    """DER TSTInfo."""
    certificates: tuple[bytes, ...]
    signer_id: bytes
    """DER IssuerAndSerialNumber."""
    digest: Digest
    attributes: bytes
    """Content of signedAttrs."""
    values: dict[str, bytes]
    """The one value of each attribute."""
    algorithm: bytes
    """DER AlgorithmIdentifier of the signature."""
    signature: bytes

    @classmethod
    def parse(cls, token: bytes) -> _SignedToken:
        if len(token) > MAX_TOKEN_BYTES:
            raise MalformedError(
                f"time-stamp: more than {MAX_TOKEN_BYTES} bytes", reason="TOO_LARGE"
            )
        try:
            return cls._parse(token)
        except (IndexError, ValueError, KeyError) as error:
            raise malformed() from error
        except MalformedError as error:
            raise error if error.reason != "DER" else malformed() from error

    @classmethod
    def _parse(cls, token: bytes) -> _SignedToken:
        kind, wrapped = elements(token)
        fields = elements(content(wrapped, _TAG_0))
        inner_kind, inner = elements(fields[2])
        rest = fields[3:]
        enclosed = split(content(rest.pop(0), _TAG_0)) if rest[0][0] == _TAG_0 else []
        if rest[0][0] == _TAG_1:
            rest.pop(0)  # revocation lists: the caller has its own
        (signer,) = split(content(rest[0], _SET))
        if (dotted(kind), dotted(inner_kind), integer(fields[0])) != (
            SIGNED_DATA,
            TST_INFO,
            3,
        ) or len(rest) != 1:
            raise malformed()
        if len(enclosed) > MAX_CERTIFICATES:
            raise MalformedError("time-stamp: too many certificates", reason="TOO_LARGE")
        # Unsigned attributes may follow; nothing here relies on them.
        version, signer_id, digest, attributes, algorithm, signature, *_ = elements(signer)
        if integer(version) != 1:
            raise malformed()
        signed = content(attributes, _TAG_0)
        return cls(
            content=content(content(inner, _TAG_0), _OCTETS),
            certificates=tuple(enclosed),
            signer_id=signer_id,
            digest=DIGESTS[algorithm_of(digest)][1],
            attributes=signed,
            values=_attributes(signed),
            algorithm=algorithm,
            signature=content(signature, _OCTETS),
        )

    def signer_among(self, known: list[Certificate]) -> Certificate:
        """Return the certificate that the token names, by number and by digest."""
        named = elements(self.signer_id)
        if len(named) != 2:
            raise malformed()
        issuer, serial = named
        wanted = self._named_digest()
        for found in known:
            if found.issuer == issuer and found.serial_number == integer(serial):
                # Without the digest, another certificate of the key could be put in its place.
                if wanted[0](found.der) != wanted[1]:
                    break
                return found
        raise _refused("TIMESTAMP_CERTIFICATE", "the signer's certificate is not the one named")

    def _named_digest(self) -> tuple[Digest, bytes]:
        """Return how SigningCertificateV2 names the signer (RFC 5816, ESSCertIDv2)."""
        try:
            first = elements(elements(elements(self.values[SIGNING_CERTIFICATE_V2])[0])[0])
            # DEFAULT SHA-256.
            algorithm = algorithm_of(first.pop(0)) if first[0][0] == _SEQUENCE else SHA256
            return DIGESTS[algorithm][1], content(first[0], _OCTETS)
        except (IndexError, KeyError, MalformedError) as error:
            raise malformed() from error

    def check(self, signer: Certificate, suite: Suite) -> None:
        """Check digest and signature (RFC 5652 §5.4)."""
        named = self.values.get(CONTENT_TYPE, b""), self.values.get(MESSAGE_DIGEST, b"")
        digest = self.digest(self.content)
        if dotted(named[0]) != TST_INFO or not hmac.compare_digest(
            content(named[1], _OCTETS), digest
        ):
            raise _refused("TIMESTAMP_DIGEST", "the signed digest is of other content")
        oid = suite.x509_signature_oid().dotted_string
        if algorithm_of(self.algorithm) != oid:
            raise _refused("TIMESTAMP_SIGNATURE", f"it is not signed with {suite.name}")
        # Signed as the SET that they are, not under the tag that they travel with.
        size = len(self.attributes)
        covered = _encode_set(self.attributes, size)
        try:
            signer.public_key(suite).verify(suite.from_x509_signature(self.signature), covered)
        except VerificationError as error:
            raise VerificationError(
                "time-stamp: the signature does not hold", reason="TIMESTAMP_SIGNATURE"
            ) from error


def _path(signer: Certificate, known: list[Certificate], anchor: Certificate) -> list[Certificate]:
    path = [signer]
    while path[-1].issuer != anchor.subject and len(path) < MAX_CERTIFICATES:
        above = [found for found in known if found.subject == path[-1].issuer]
        if not above:
            break
        path.append(above[0])
    return path


def _check_purpose(signer: Certificate) -> None:
    extension = x509.load_der_x509_certificate(signer.der).extensions
    try:
        critical = extension.get_extension_for_class(x509.ExtendedKeyUsage).critical
    except x509.ExtensionNotFound:
        critical = False
    if signer.purposes != {CertificatePurpose.TIME_STAMPING} or not critical or signer.is_ca:
        raise _refused("TIMESTAMP_PURPOSE", "the signer is not certified for time-stamping alone")


def _attributes(signed: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for attribute in split(signed):
        kind, values = elements(attribute)
        (value,) = split(content(values, _SET))
        if found.setdefault(dotted(kind), value) is not value:
            raise malformed()
    return found


def _encode_set(members: bytes, size: int) -> bytes:
    if size < 0x80:
        return bytes([_SET, size]) + members
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([_SET, 0x80 | len(length)]) + length + members


def _refused(reason: str, message: str) -> VerificationError:
    return VerificationError(f"time-stamp: {message}", reason=reason)
