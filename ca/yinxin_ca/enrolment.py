"""Enrolment: whether a request may be answered with a certificate.

Four questions, in this order: does the requester have the key, is the key
fit to be certified, is it this requester's alone, and does the request ask for
no name that is somebody else's? What the certificate then says is decided by
the records of whoever certifies, never by the request.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from yinxin_ca.weakkey import load_strong
from yinxin_proto.certificaterequest import CertificateRequest, parse_request
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import (
    FailedPreconditionError,
    InvalidArgumentError,
    MalformedError,
    PermissionDeniedError,
    VerificationError,
)
from yinxin_proto.signature import PublicKey, Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlement:
    """What a requester may be named as.

    A request that asks for less, or for nothing, is as good: the names of the
    certificate come from here.
    """

    organisation_code: str | None = None
    """Credit code of the requester's own authority."""
    dns: frozenset[str] = frozenset()
    """DNS names of its own servers."""
    addresses: frozenset[str] = frozenset()
    """IP addresses of its own servers."""
    uri: str | None = None
    """Its own URI, as a principal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """A key that is in some record already."""

    spki: bytes
    """DER SubjectPublicKeyInfo."""
    holder: str
    """Whose it is, in whatever way the record names them."""
    purpose: str
    """What it is certified for: the name of a profile or of a key's purpose."""
    revoked: RevocationReason | None = None
    """Why its certificate was revoked, if it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """Who asks, for what.

    Args:
        suite: What the key must be of.
        holder: Who asks, as `KnownKey.holder` names them.
        purpose: What the key is to be certified for.
        entitlement: What they may be named as.
        challenge: What the request must repeat; None where none was agreed.
    """

    suite: Suite
    holder: str
    purpose: str
    entitlement: Entitlement
    challenge: bytes | None = None

    def admit(self, request: bytes, known: Iterable[KnownKey]) -> PublicKey:
        """Return the key that may be certified.

        Args:
            request: DER PKCS#10.
            known: Every key in the records of whoever certifies.

        Raises:
            InvalidArgumentError: Not a request (``CERTIFICATE_REQUEST``), or a
                key that is not fit (`yinxin_ca.weakkey`); no proof of having
                it (``PROOF_OF_POSSESSION``); a request to become an authority
                (``REQUEST_AUTHORITY``).
            PermissionDeniedError: A name that is not the requester's
                (``REQUEST_NAME``), or another challenge than agreed
                (``CHALLENGE``).
            FailedPreconditionError: A key that is somebody else's, or for
                something else (``KEY_REUSED``), or was revoked as compromised
                (``KEY_COMPROMISED``).
        """
        try:
            parsed = parse_request(request)
            # The key first: what is wrong with it is told before its signature is.
            load_strong(parsed.spki, self.suite)
            key = parsed.check_possession(self.suite)
        except (MalformedError, VerificationError) as error:
            reason = error.reason if isinstance(error, VerificationError) else "CERTIFICATE_REQUEST"
            raise InvalidArgumentError(
                f"a PKCS#10 request in DER is expected, signed by the {self.suite.name} key that "
                "it names",
                reason=reason,
            ) from error
        self._check_challenge(parsed)
        self._check_names(parsed)
        self._check_unused(key, known)
        return key

    def _check_challenge(self, request: CertificateRequest) -> None:
        if self.challenge is None:
            return
        if not hmac.compare_digest(request.challenge or b"", self.challenge):
            raise PermissionDeniedError(
                "the request does not repeat the challenge of this enrolment; ask for another",
                reason="CHALLENGE",
            )

    def _check_names(self, request: CertificateRequest) -> None:
        asked, own = request.names, self.entitlement
        if request.asks_for_authority:
            raise InvalidArgumentError(
                "the request asks for a certificate authority; those are made by the region",
                reason="REQUEST_AUTHORITY",
            )
        foreign = [
            kind
            for kind, wanted, allowed in (
                ("organizationIdentifier", asked.organisation_codes, {own.organisation_code}),
                ("DNS name", asked.dns, own.dns),
                ("IP address", asked.addresses, own.addresses),
                ("URI", asked.uris, {own.uri}),
            )
            if not set(wanted) <= set(allowed)
        ]
        if asked.others:
            foreign.append("alternative name of another kind")
        if foreign:
            raise PermissionDeniedError(
                f"the request asks for a name that is not the requester's ({', '.join(foreign)}); "
                "leave names out, or ask for your own",
                reason="REQUEST_NAME",
            )

    def _check_unused(self, key: PublicKey, known: Iterable[KnownKey]) -> None:
        same = [record for record in known if record.spki == key.spki]
        if any(record.revoked is RevocationReason.KEY_COMPROMISE for record in same):
            raise FailedPreconditionError(
                "the key was revoked as compromised; generate another", reason="KEY_COMPROMISED"
            )
        if any((record.holder, record.purpose) != (self.holder, self.purpose) for record in same):
            raise FailedPreconditionError(
                "the key is in use for something or somebody else; one key has one purpose: "
                "generate another",
                reason="KEY_REUSED",
            )
