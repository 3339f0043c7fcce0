"""Where an authority's own documents are published; written into what it signs.

A list of everything that an authority revoked grows with it, so it may be cut
into shards: which shard a certificate belongs to follows from its serial
number, and stands in the certificate as the address of that shard. Which
shards there were and are is read from what was recorded, so the number of
shards may change while certificates keep the address that they have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from yinxin_proto.error import ConfigurationError

MAX_SHARDS: Final = 4_096
_MAX_URL: Final = 200
_SHARD: Final = re.compile(r"(-s(?:0|[1-9][0-9]{0,3}))\.crl\Z")

Extension = tuple[x509.ExtensionType, bool]
"""A value, and whether it is critical."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locations:
    """Where others find an authority's own documents.

    Raises:
        ConfigurationError: A URL that is not plain http with a path
            (``LOCATION_URL``), or a number of shards out of bounds
            (``CRL_SHARDS``).
    """

    crl: str | None = None
    """URL of its CRL (RFC 5280 §4.2.1.13), ending in ``.crl``."""
    certificate: str | None = None
    """URL of its DER certificate (caIssuers, §4.2.2.1)."""
    ocsp: str | None = None
    """URL of its responder (id-ad-ocsp, §4.2.2.1)."""
    shards: int = 1
    """Into how many lists new certificates are sorted."""

    def __post_init__(self) -> None:
        for url in (self.crl, self.certificate, self.ocsp):
            if url is not None and not _is_location(url):
                raise ConfigurationError(
                    "what certificates point at is an http:// URL in ASCII with a path: "
                    "fetching it over TLS would need the very certificates that it is about",
                    reason="LOCATION_URL",
                )
        bound = MAX_SHARDS if self.crl is not None and self.crl.endswith(".crl") else 1
        if not 1 <= self.shards <= bound:
            raise ConfigurationError(
                f"1 to {MAX_SHARDS} shards, and more than one only where the list has a URL",
                reason="CRL_SHARDS",
            )

    def crl_for(self, serial: int) -> str | None:
        """Return the URL of the list that a new certificate belongs to."""
        if self.crl is None or self.shards == 1:
            return self.crl
        return f"{self.crl.removesuffix('.crl')}-s{serial % self.shards}.crl"

    def shard_urls(self) -> tuple[str, ...]:
        """Return the URL of every list that new certificates are sorted into."""
        return tuple(url for n in range(self.shards) if (url := self.crl_for(n)) is not None)

    def to_extensions(self, serial: int) -> list[Extension]:
        """Return CRLDistributionPoints and AuthorityInformationAccess, as known."""
        found: list[Extension] = []
        if (crl := self.crl_for(serial)) is not None:
            uri = x509.UniformResourceIdentifier(crl)
            point = x509.DistributionPoint([uri], None, None, None)
            found.append((x509.CRLDistributionPoints([point]), False))
        methods = (
            (AuthorityInformationAccessOID.OCSP, self.ocsp),
            (AuthorityInformationAccessOID.CA_ISSUERS, self.certificate),
        )
        access = [
            x509.AccessDescription(method, x509.UniformResourceIdentifier(url))
            for method, url in methods
            if url is not None
        ]
        if access:
            found.append((x509.AuthorityInformationAccess(access), False))
        return found


def shard_of(url: str) -> str:
    """Return which list a URL is of: ``""`` for the authority's own, ``-s3`` for a shard."""
    found = _SHARD.search(url)
    return "" if found is None else found[1]


def _is_location(url: str) -> bool:
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > _MAX_URL:
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return (
        parts.scheme == "http"
        and bool(parts.hostname)
        and parts.username is None
        and len(parts.path) > 1
        and not parts.query
        and not parts.fragment
    )
