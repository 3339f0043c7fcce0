"""The names that a region gives out, all derived from its code and domain.

They stand inside signed licences for ever, so they are made in one place.
"""

from __future__ import annotations

from dataclasses import dataclass

from yinxin_ca.location import Locations
from yinxin_proto.identifier import LicenceIdentifier
from yinxin_proto.name import LicenceName, parse_region_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """One region's names.

    Raises:
        InvalidArgumentError: The code is not one of GB/T 2260's form.
    """

    code: str
    """GB/T 2260, six digits."""
    domain: str
    """DNS name, lower case."""
    name: str
    """What people call the region."""
    public_url: str = ""
    """Where certificates say that lists, certificates and answers are; empty: nowhere."""
    crl_shards: int = 1
    """Into how many revocation lists an authority's new certificates are sorted."""

    def __post_init__(self) -> None:
        parse_region_code(self.code)

    @property
    def resource(self) -> str:
        """AIP name of the region."""
        return f"regions/{self.code}"

    def issuer_uri(self, authority_code: str) -> str:
        """Return the ``iss`` of an authority's licences."""
        return f"https://{self.domain}/authorities/{authority_code}"

    @property
    def status_prefix(self) -> str:
        """Status lists are at ``<prefix>/<number>``."""
        return f"https://{self.domain}/status"

    def log_origin(self, kind: str, epoch: int) -> str:
        """Return the origin of a log."""
        return f"{self.domain}/log/{self.code}/{kind}/{epoch}"

    def principal_uri(self, principal_id: str) -> str:
        """Return the URI SAN of a principal's certificate."""
        return f"https://{self.domain}/principals/{principal_id}"

    def locations(self, authority: str, *, online: bool) -> Locations:
        """Return where an authority's list and certificate are, and who answers for it.

        Args:
            authority: Its name, such as ``licence``.
            online: Whether it can let a responder answer, and has many certificates.
        """
        if not self.public_url:
            return Locations()
        return Locations(
            crl=f"{self.public_url}/crl/{authority}.crl",
            certificate=f"{self.public_url}/ca/{authority}.crt",
            ocsp=f"{self.public_url}/ocsp" if online else None,
            shards=self.crl_shards if online else 1,
        )

    def licence_name(self, identifier: LicenceIdentifier) -> str:
        """Return the resource name of a licence."""
        return str(LicenceName.of(parse_region_code(self.code), identifier))
