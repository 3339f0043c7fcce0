"""Certificates that a licensed authority outside 外部电子认证机构 issued for our keys.

For legal seals and signatures, and wherever the law wants it, such an
authority takes the place of ours: a request goes out (`yinxin_ca.request`),
certificates come in, and are held here to what was asked for. An officer has
pinned the authority's root by its fingerprint; nothing that does not lead
there is taken, whatever it says of itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from yinxin_ca.subject import Subject
from yinxin_proto.certificate import (
    MAX_CHAIN,
    Certificate,
    CertificatePurpose,
    check_permitted,
    parse,
    verify_link,
)
from yinxin_proto.error import (
    FailedPreconditionError,
    InvalidArgumentError,
    VerificationError,
    Violation,
)
from yinxin_proto.number import is_credit_code
from yinxin_proto.suite import suite_of

MAX_VALIDITY: Final = timedelta(days=5 * 366)
"""Longest life of an end certificate from outside."""

_CA_USAGES: Final = frozenset({"keyCertSign"})
_SIGNS: Final = frozenset({"digitalSignature", "nonRepudiation"})
_ENCRYPTS: Final = frozenset({"keyEncipherment", "dataEncipherment", "keyAgreement"})
_PREFIXES: Final = ("NTRCN-", "VATCN-", "GOVCN-")
"""What ETSI EN 319 412-1 §5.1.4 puts before a registration number."""


class Use(StrEnum):
    """What an end certificate from outside is for."""

    LICENCE = "licence"
    """Signing licences: the verdict demands the extended key usage."""
    SEAL = "seal"
    """Electronic seals and signatures."""
    ENCRYPTION = "encryption"
    """The other half of the Chinese pair: never for signing."""


_PURPOSES: Final = {
    Use.LICENCE: frozenset({CertificatePurpose.LICENCE_SIGNING.value}),
    Use.SEAL: frozenset(
        {CertificatePurpose.SEALING.value, CertificatePurpose.LICENCE_SIGNING.value}
    ),
    Use.ENCRYPTION: frozenset[str](),
}
"""Extended key usages that a certificate may have, if it has any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalAuthority:
    """An authority outside, as an officer pinned it.

    Raises:
        InvalidArgumentError: The chain is empty, too long, or its last
            certificate is not the one that was pinned (``ANCHOR_FINGERPRINT``).
        VerificationError: The chain does not hold, or holds one that is no
            authority.
        MalformedError: Not a certificate.
    """

    chain: tuple[bytes, ...]
    """DER certificates: the one that issues to us first, its root last."""
    fingerprint: bytes
    """SHA-256 of the root, as the officer has it from another source."""

    def __post_init__(self) -> None:
        path = [parse(der) for der in self.chain]
        if not 1 <= len(path) <= MAX_CHAIN or path[-1].fingerprint != self.fingerprint:
            raise InvalidArgumentError(
                "the last certificate is not the root whose fingerprint was given; compare it "
                "with what the authority publishes",
                reason="ANCHOR_FINGERPRINT",
            )
        _check_path([*path, path[-1]])

    @property
    def issuing(self) -> Certificate:
        """The certificate that issues to us."""
        return parse(self.chain[0])

    def check_validity(self, at: datetime) -> None:
        """Refuse an authority whose own certificates do not hold at ``at``.

        Raises:
            VerificationError: As `Certificate.check_validity`.
        """
        for der in self.chain:
            parse(der).check_validity(at)

    def check_issued(
        self, encoded: bytes, *, use: Use, subject: Subject, spki: bytes, at: datetime
    ) -> Certificate:
        """Return a certificate that this authority issued for one of our keys.

        Args:
            encoded: DER, as it came.
            use: What it was asked for.
            subject: Whom it was asked for.
            spki: The key that it was asked for.
            at: Now.

        Raises:
            VerificationError: Not issued by this authority, or not valid now.
            InvalidArgumentError: It names another key (``CERTIFICATE_KEY``) or
                somebody else (``CERTIFICATE_NAME``), or is not of the kind that
                was asked for (``CERTIFICATE_PROFILE``, each fault listed).
            MalformedError: Not a certificate that is understood.
        """
        found = parse(encoded)
        _check_path([found, *map(parse, self.chain)])
        self.check_validity(at)
        found.check_validity(at)
        if found.spki != spki:
            raise InvalidArgumentError(
                "the certificate is for another key than the request; install it for the key "
                "that asked",
                reason="CERTIFICATE_KEY",
            )
        _check_names(encoded, subject)
        _check_profile(found, use)
        return found


def check_pair(signing: Certificate, encryption: Certificate) -> None:
    """Refuse two certificates that are not a pair of one holder.

    Raises:
        InvalidArgumentError: One key for both (``KEY_REUSED``), or different
            subjects (``CERTIFICATE_NAME``).
    """
    if signing.spki == encryption.spki:
        raise FailedPreconditionError(
            "signing and encryption certificate have one key; each needs its own",
            reason="KEY_REUSED",
        )
    if signing.subject != encryption.subject:
        raise InvalidArgumentError(
            "the two certificates name different holders; a pair has one",
            reason="CERTIFICATE_NAME",
        )


def _check_path(path: Sequence[Certificate]) -> None:
    """Check every link of a path, leaf first; its last certificate is pinned."""
    check_permitted(path)
    for depth, (child, above) in enumerate(itertools.pairwise(path)):
        suite = suite_of(above.spki)
        if suite is None:
            raise VerificationError(
                "certificate: a key of no suite of this build", reason="CHAIN_ALGORITHM"
            )
        # The root repeated under itself counts for no length.
        verify_link(child, above, suite, intermediates=0 if child.der == above.der else depth)


def _check_names(encoded: bytes, subject: Subject) -> None:
    name = x509.load_der_x509_certificate(encoded).subject
    organisations = _texts(name, NameOID.ORGANIZATION_NAME)
    codes = [
        _unprefixed(text)
        for attribute in name
        if is_credit_code(text := _unprefixed(str(attribute.value)))
    ]
    own = {subject.organisation_code}
    is_ours = organisations == [subject.organisation] if organisations else bool(codes)
    if not is_ours or not set(codes) <= own:
        raise InvalidArgumentError(
            "the certificate names another organisation or credit code than the authority's; "
            "ask for it again under the authority's name",
            reason="CERTIFICATE_NAME",
        )


def _texts(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in name.get_attributes_for_oid(oid)]


def _unprefixed(text: str) -> str:
    for prefix in _PREFIXES:
        text = text.removeprefix(prefix)
    return text


def _check_profile(found: Certificate, use: Use) -> None:
    usages, purposes = found.key_usages, found.purposes
    signs = use is not Use.ENCRYPTION
    rules = (
        ("is_ca", "an end certificate", not found.is_ca and not usages & _CA_USAGES),
        (
            "key_usage",
            "digitalSignature" if signs else "encipherment or key agreement, and no signing",
            "digitalSignature" in usages and not usages & _ENCRYPTS
            if signs
            else bool(usages & _ENCRYPTS) and not usages & _SIGNS,
        ),
        (
            "key_usage",
            "nonRepudiation, for what has the effect of a signature",
            not signs or "nonRepudiation" in usages,
        ),
        (
            "extended_key_usage",
            "id-kp-documentSigning (RFC 9336), and nothing else"
            if use is Use.LICENCE
            else "none, or one for this use",
            purposes == _PURPOSES[use] if use is Use.LICENCE else purposes <= _PURPOSES[use],
        ),
        ("authority_key_identifier", "the issuer's", found.authority_key_id is not None),
        (
            "validity",
            f"at most {MAX_VALIDITY.days} days",
            found.not_after - found.not_before <= MAX_VALIDITY,
        ),
        (
            "subject_alternative_name",
            "no hosts: this is no server",
            not found.dns_names,
        ),
    )
    violations = [
        Violation(field, f"must be: {demand}", "CERTIFICATE_PROFILE")
        for field, demand, holds in rules
        if not holds
    ]
    if violations:
        raise InvalidArgumentError(
            "the certificate is not of the kind that was asked for; ask the authority for another",
            reason="CERTIFICATE_PROFILE",
            violations=violations,
        )
