"""Who calls: the client certificate, verified again against its own region's anchor.

gRPC accepts a certificate of any CA in its bundle for any name: with two regions'
CAs loaded, a peer region could certify *our* department (tried, and accepted).
And it shows the server nothing but the leaf. So the leaf is verified here against
the TLS-only anchors of the region that its URI names, with purpose, validity and
revocation. A certificate says who it is, never what they may do: roles come from
the region's records.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

import grpc

from yinxin_proto.certificate import Certificate, CertificatePurpose, parse, verify_link
from yinxin_proto.clock import Clock
from yinxin_proto.error import MalformedError, UnauthenticatedError, VerificationError
from yinxin_proto.suite import ES256, Suite

MAX_KNOWN_PEERS: Final = 4096

_MAX_PEM_BYTES: Final = 16_384
_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)-----END CERTIFICATE-----\n?\Z"
)
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_URI: Final = re.compile(rf"https://({_LABEL}(?:\.{_LABEL})*)/principals/({_LABEL})\Z")

IsRevoked = Callable[[Certificate], bool]
"""Says whether a verified leaf has since been revoked; asked at every call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, as a verified certificate names them."""

    domain: str
    """Domain of the region that certified them."""
    identifier: str
    """Their name within that region, e.g. ``housing-bureau``."""
    certificate_hash: bytes
    """SHA-256 of the certificate, 32 bytes: what an operator's log leaf names."""

    @property
    def uri(self) -> str:
        """The URI that the certificate carries."""
        return f"https://{self.domain}/principals/{self.identifier}"


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    certificate: Certificate
    not_after: datetime


class PeerVerifier:
    """Turns a client's certificate into a `Principal`, or refuses it.

    A verified certificate is remembered by its exact bytes; its expiry and its
    revocation are looked at again at every call.

    Args:
        anchors: By region domain, the certificates of the CAs that certify TLS
            for that region, and nothing else.
        clock: Judges validity.
        is_revoked: Asked at every call.
        suite: Of the anchors' keys.
    """

    def __init__(
        self,
        *,
        anchors: Mapping[str, Sequence[Certificate]],
        clock: Clock,
        is_revoked: IsRevoked,
        suite: Suite = ES256,
    ) -> None:
        self._anchors = {domain: tuple(chain) for domain, chain in anchors.items()}
        self._clock = clock
        self._is_revoked = is_revoked
        self._suite = suite
        self._known: dict[bytes, _Known] = {}

    def replace_anchors(self, anchors: Mapping[str, Sequence[Certificate]]) -> None:
        """Judge by other anchors from now on; nothing remembered survives."""
        self._anchors = {domain: tuple(chain) for domain, chain in anchors.items()}
        self._known = {}

    def __call__(self, context: grpc.ServicerContext) -> Principal:
        """Return who makes this call; see `verify`."""
        # The stubs give single values; gRPC gives a sequence for each property.
        properties = cast("Mapping[str, Sequence[bytes]]", context.auth_context())
        presented = properties.get("x509_pem_cert")
        if not presented:
            raise UnauthenticatedError(
                "a client certificate is required", reason="PEER_CERTIFICATE_MISSING"
            )
        return self.verify(presented[0])

    def verify(self, pem: bytes) -> Principal:
        """Return whom a client certificate names.

        Args:
            pem: The leaf, as the TLS stack reports it.

        Raises:
            UnauthenticatedError: ``PEER_CERTIFICATE_MALFORMED``; ``PEER_NAME``,
                not exactly one URI of the form
                ``https://<domain>/principals/<id>``; ``PEER_REGION_UNKNOWN``;
                ``PEER_PURPOSE``; ``PEER_CHAIN``, not issued by an anchor of the
                region it names; ``PEER_EXPIRED``, or not yet valid;
                ``PEER_REVOKED``.
        """
        # One reference: `replace_anchors` may swap the table meanwhile, and what
        # was verified against old anchors must not enter the new one.
        table = self._known
        known = table.get(pem)
        now = self._clock.now()
        if known is None:
            known = self._examine(pem, now)
            if len(table) >= MAX_KNOWN_PEERS:
                table.clear()
            table[pem] = known
        if now > known.not_after:
            raise UnauthenticatedError("the client certificate expired", reason="PEER_EXPIRED")
        if self._is_revoked(known.certificate):
            raise UnauthenticatedError("the client certificate is revoked", reason="PEER_REVOKED")
        return known.principal

    def _examine(self, pem: bytes, now: datetime) -> _Known:
        leaf = _parse(pem)
        domain, identifier = _name(leaf)
        anchors = self._anchors.get(domain)
        if anchors is None:
            raise UnauthenticatedError(
                "the certificate names a region that is not known here",
                reason="PEER_REGION_UNKNOWN",
            )
        try:
            leaf.check_purpose(CertificatePurpose.TLS_CLIENT)
        except VerificationError as error:
            raise UnauthenticatedError(error.message, reason="PEER_PURPOSE") from error
        anchor = self._issuer(leaf, anchors)
        try:
            leaf.check_validity(now)
            anchor.check_validity(now)
        except VerificationError as error:
            raise UnauthenticatedError(error.message, reason="PEER_EXPIRED") from error
        principal = Principal(
            domain=domain, identifier=identifier, certificate_hash=leaf.fingerprint
        )
        return _Known(principal, leaf, min(leaf.not_after, anchor.not_after))

    def _issuer(self, leaf: Certificate, anchors: Sequence[Certificate]) -> Certificate:
        failure: Exception | None = None
        for anchor in anchors:
            try:
                verify_link(leaf, anchor, self._suite)
            except (VerificationError, MalformedError) as error:
                failure = error
            else:
                return anchor
        raise UnauthenticatedError(
            "the certificate was not issued by the region that it names", reason="PEER_CHAIN"
        ) from failure


def _parse(pem: bytes) -> Certificate:
    block = _PEM.match(pem) if len(pem) <= _MAX_PEM_BYTES else None
    try:
        if block is None:
            raise ValueError("not one PEM certificate")
        return parse(binascii.a2b_base64(block[1]))
    except (ValueError, MalformedError) as error:
        raise UnauthenticatedError(
            "the client certificate cannot be read", reason="PEER_CERTIFICATE_MALFORMED"
        ) from error


def _name(leaf: Certificate) -> tuple[str, str]:
    match = _URI.match(leaf.uris[0]) if len(leaf.uris) == 1 else None
    if match is None:
        raise UnauthenticatedError(
            "the certificate must name one https://<domain>/principals/<id>", reason="PEER_NAME"
        )
    return match[1], match[2]
