"""The exact bytes that an authority signs, whatever suite signs them.

cryptography's builders do the encoding, under a throw-away P-256 key; then
what that key left in the bytes (algorithm, subject's key, issuer) is replaced
by what is meant. So hardware and suites that cryptography does not know sign
the same way as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from yinxin_ca import der
from yinxin_ca.location import Extension
from yinxin_ca.profile import Profile
from yinxin_ca.register import CertificateRecord
from yinxin_ca.subject import AlternativeNames, Subject
from yinxin_proto.certificate import Certificate
from yinxin_proto.clock import Entropy
from yinxin_proto.crl import RevocationReason
from yinxin_proto.der import elements
from yinxin_proto.error import IntegrityError
from yinxin_proto.nameconstraint import PermittedNames
from yinxin_proto.signature import PublicKey, Suite

_SOMEBODY: Final = x509.Name([])


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a certificate is to say of its subject."""

    profile: Profile
    """Its kind."""
    subject: Subject
    """Whom it is for."""
    names: AlternativeNames
    """Alternative names, already checked against the profile."""
    public_key: PublicKey
    """The key it certifies."""
    serial: int
    """Serial number."""
    not_before: datetime
    """First second of validity, UTC."""
    not_after: datetime
    """Last second of validity, UTC."""
    permitted: PermittedNames | None = None
    """Of an authority: what it may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossDraft(Draft):
    """A second certificate of an authority: name and key identifier as they are."""

    certified: Certificate
    """Its first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlDraft:
    """What a revocation list is to say."""

    number: int
    """cRLNumber."""
    this_update: datetime
    """When it is made, UTC."""
    next_update: datetime
    """When the next will be there at the latest, UTC."""
    records: Sequence[CertificateRecord]
    """Revoked certificates."""
    addresses: tuple[str, ...] = ()
    """URLs of the shard that this is; none for a complete list."""


def certificate_tbs(
    draft: Draft, *, issuer: bytes | None, extensions: Sequence[Extension], suite: Suite
) -> bytes:
    """Return a DER TBSCertificate (RFC 5280 §4.1.2).

    Args:
        draft: What it says of its subject.
        issuer: The issuer's DER Name; ``None`` for the subject's own.
        extensions: What the issuer adds to the profile's.
        suite: The suite of the issuer's key.
    """
    throw_away = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(draft.subject.to_name())
        .issuer_name(_SOMEBODY)
        .serial_number(draft.serial)
        .not_valid_before(draft.not_before)
        .not_valid_after(draft.not_after)
        .public_key(throw_away.public_key())
    )
    for value, critical in [*_subject_extensions(draft), *extensions]:
        builder = builder.add_extension(value, critical)
    fields = elements(builder.sign(throw_away, hashes.SHA256()).tbs_certificate_bytes)
    if isinstance(draft, CrossDraft):
        # Byte for byte: what is below names its issuer so, and is compared so.
        fields[5] = draft.certified.subject
    fields[2] = der.algorithm(suite.x509_signature_oid())
    fields[3] = fields[5] if issuer is None else issuer
    fields[6] = draft.public_key.spki
    return der.sequence(*fields)


def crl_tbs(
    draft: CrlDraft, *, issuer: bytes, key_identifier: x509.AuthorityKeyIdentifier, suite: Suite
) -> bytes:
    """Return a DER TBSCertList (RFC 5280 §5.1.2).

    Args:
        draft: What it says.
        issuer: The issuer's DER Name.
        key_identifier: The issuer's key.
        suite: The suite of the issuer's key.
    """
    throw_away = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateRevocationListBuilder(
            revoked_certificates=[_entry(record) for record in draft.records]
        )
        .issuer_name(_SOMEBODY)
        .last_update(draft.this_update)
        .next_update(draft.next_update)
        .add_extension(key_identifier, critical=False)
        .add_extension(x509.CRLNumber(draft.number), critical=False)
    )
    if draft.addresses:
        builder = builder.add_extension(_shard(draft.addresses), critical=True)
    fields = elements(builder.sign(throw_away, hashes.SHA256()).tbs_certlist_bytes)
    fields[1] = der.algorithm(suite.x509_signature_oid())
    fields[2] = issuer
    return der.sequence(*fields)


def draw_serial(entropy: Entropy) -> int:
    """Return a serial number: 20 bytes, positive, 158 bits of them random.

    RFC 5280 §4.1.2.2 bounds it to 20 bytes and wants it positive; the second
    highest bit is set so that every one has the same length.
    """
    raw = int.from_bytes(entropy.token(20), "big")
    return raw & ((1 << 158) - 1) | 1 << 158


def key_identifier(key: PublicKey) -> x509.SubjectKeyIdentifier:
    """Return a key's identifier: the first 160 bits of SHA-256 of its bits.

    RFC 7093 §2 (1), so that SHA-1 is not needed anywhere.
    """
    return x509.SubjectKeyIdentifier(sha256(der.bits(elements(key.spki)[1])).digest()[:20])


def _subject_extensions(draft: Draft) -> list[Extension]:
    profile = draft.profile
    found: list[Extension] = [
        (profile.key_usage, True),
        (_key_identifier(draft), False),
    ]
    if profile.path_length is not None:
        found.append((x509.BasicConstraints(ca=True, path_length=profile.path_length), True))
    if profile.purposes:
        purposes = [x509.ObjectIdentifier(purpose) for purpose in profile.purposes]
        found.append((x509.ExtendedKeyUsage(purposes), profile.critical_purposes))
    if draft.permitted is not None:
        found.append((draft.permitted.to_extension(), True))
    if profile.answers_status:
        found.append((x509.OCSPNoCheck(), False))
    if names := draft.names.to_general_names():
        found.append((x509.SubjectAlternativeName(names), False))
    return found


def _key_identifier(draft: Draft) -> x509.SubjectKeyIdentifier:
    if isinstance(draft, CrossDraft) and draft.certified.subject_key_id is not None:
        return x509.SubjectKeyIdentifier(draft.certified.subject_key_id)
    return key_identifier(draft.public_key)


def _shard(urls: Sequence[str]) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url) for url in urls],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )


def _entry(record: CertificateRecord) -> x509.RevokedCertificate:
    if record.revoked_at is None or record.reason is None:
        raise IntegrityError(
            "the register lists as revoked what has no date or reason", reason="REGISTER_RECORD"
        )
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(record.serial)
        .revocation_date(record.revoked_at)
    )
    # RFC 5280 §5.3.1: rather no reason than "unspecified".
    if record.reason is not RevocationReason.UNSPECIFIED:
        reason = x509.CRLReason(x509.ReasonFlags(record.reason.value))
        builder = builder.add_extension(reason, critical=False)
    return builder.build()
