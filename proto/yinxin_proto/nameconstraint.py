"""Name constraints (RFC 5280 §4.2.1.10): whom an authority may name.

Permitted subtrees of DNS names and URIs are understood; whatever else a
constraint says makes a reader refuse the certificate, since a limit that is
not kept is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from yinxin_proto.error import MalformedError

_AUTHORITY: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([A-Za-z0-9._~-]+)(?::[0-9]*)?(?:[/?#]|\Z)"
)
"""RFC 3986 §3.2 with a name as its host; no name fits an address or an escape."""


@dataclass(frozen=True, slots=True)
class PermittedNames:
    """What the certificates below may be named."""

    dns: tuple[str, ...] | None = None
    """DNS names whose subtrees are permitted; None: any."""
    uris: tuple[str, ...] | None = None
    """Hosts of URIs, or domains of hosts with a leading dot; None: any."""

    def permits(self, dns_names: Sequence[str], uris: Sequence[str]) -> bool:
        """Tell whether every name lies within the permitted subtrees."""
        dns_fit = self.dns is None or all(
            any(name == base or name.endswith(f".{base}") for base in self.dns)
            for name in map(str.lower, dns_names)
        )
        uris_fit = self.uris is None or all(_host_fits(uri, self.uris) for uri in uris)
        return dns_fit and uris_fit

    def to_extension(self) -> x509.NameConstraints:
        """Return the extension, which is critical wherever it stands."""
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in self.dns or ()]
        names += [x509.UniformResourceIdentifier(name) for name in self.uris or ()]
        return x509.NameConstraints(permitted_subtrees=names, excluded_subtrees=None)

    @classmethod
    def under(cls, domain: str) -> PermittedNames:
        """Return what permits a domain with everything below it, and nothing else."""
        return cls(dns=(domain,), uris=(domain, f".{domain}"))

    @classmethod
    def read(cls, constraints: x509.NameConstraints) -> PermittedNames:
        """Read the extension.

        Raises:
            MalformedError: It says more than this understands
                (``CERTIFICATE_EXTENSION``).
        """
        permitted = constraints.permitted_subtrees or []
        kinds = (x509.DNSName, x509.UniformResourceIdentifier)
        if constraints.excluded_subtrees or not all(isinstance(name, kinds) for name in permitted):
            raise MalformedError(
                "certificate: name constraints other than permitted DNS names and URIs",
                reason="CERTIFICATE_EXTENSION",
            )
        dns = tuple(name.value.lower() for name in permitted if isinstance(name, x509.DNSName))
        uris = tuple(
            name.value.lower()
            for name in permitted
            if isinstance(name, x509.UniformResourceIdentifier)
        )
        return cls(dns=dns or None, uris=uris or None)


def _host_fits(uri: str, bases: Sequence[str]) -> bool:
    found = _AUTHORITY.match(uri)
    if found is None:
        return False
    host = found[1].lower()
    return any(
        host.endswith(base) and host != base[1:] if base.startswith(".") else host == base
        for base in bases
    )
