"""The certificate that a region's servers show.

Issued by the region's TLS authority for the names and addresses in its
settings, kept beside them in ``tls/server.crt`` (the key is in the key store),
and issued anew when a server starts with other names or the end is near.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from yinxin_ca.keystore import Purpose
from yinxin_ca.profile import TLS_SERVER
from yinxin_ca.subject import AlternativeNames, Subject
from yinxin_edge.tls import TlsIdentity
from yinxin_proto.error import ConfigurationError
from yinxin_trust.certification import open_authority, tls_anchors
from yinxin_trust.keyinventory import active
from yinxin_trust.region import Region
from yinxin_trust.trustlisting import get_anchors

FOLDER: Final = "tls"
FILE: Final = "server.crt"
RENEW_BEFORE: Final = timedelta(days=60)
"""A server that starts with less than this left gets a new certificate."""

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """The certificate of a region's servers.

    Args:
        region: Opened; its TLS authority signs.
        directory: The region's.
    """

    region: Region
    directory: Path

    def ensure(self) -> bool:
        """Issue a certificate unless the present one will do; tell whether it was issued.

        Raises:
            ConfigurationError: It cannot be written (``TLS_FILE``), or there is
                no name that it could be for (``TLS_NAMES``).
        """
        present = self._read()
        if present is not None and self._will_do(present[0]):
            return False
        self._write(self._issue())
        return True

    def identity(self) -> TlsIdentity:
        """Return what a server shows, and whose clients it accepts.

        Raises:
            ConfigurationError: No certificate was issued yet (``TLS_FILE``).
        """
        chain = self._read()
        if chain is None:
            raise ConfigurationError(
                f"{self._path} is missing or unreadable; start the server with: yinxin serve",
                reason="TLS_FILE",
            )
        # The certificate's own key: it may be a step behind the one that is active.
        ref, _ = self.region.keyring.signer_of(Purpose.TLS_SERVER, _spki(chain[0]))
        key = load_der_private_key(self.region.keyring.online.export(ref), None)
        return TlsIdentity(
            private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            certificate_chain=_to_pem(chain),
            roots=_to_pem([x509.load_der_x509_certificate(der) for der in self.anchors()]),
        )

    def not_after(self) -> datetime | None:
        """Return when the present certificate ends; None when there is none."""
        chain = self._read()
        return None if chain is None else chain[0].not_valid_after_utc

    @property
    def _path(self) -> Path:
        return self.directory / FOLDER / FILE

    def anchors(self) -> tuple[bytes, ...]:
        """Return the CAs whose clients are accepted, past ones and the coming one included."""
        with self.region.storage.read() as conn:
            return tls_anchors(conn)

    def stamp(self) -> tuple[object, ...]:
        """Return what differs once the certificate or the CAs have changed."""
        try:
            file = self._path.stat()
        except OSError:
            return ()
        return (file.st_mtime_ns, file.st_ino, file.st_size, *self.anchors())

    def _will_do(self, present: x509.Certificate) -> bool:
        server = self.region.settings.server
        with self.region.storage.read() as conn:
            signer = self.region.keyring.at(conn).signer(Purpose.TLS_SERVER)
            issuer = x509.load_der_x509_certificate(get_anchors(conn).tls)
        return (
            present.not_valid_after_utc - self.region.clock.now() > RENEW_BEFORE
            and present.issuer == issuer.subject
            and _spki(present) == signer.public_key.spki
            and _names(present) == (set(server.names), _addresses(server.addresses))
        )

    def _issue(self) -> tuple[bytes, ...]:
        region, server = self.region, self.region.settings.server
        if not server.names and not server.addresses:
            raise ConfigurationError(
                "the server needs a name: set names or addresses under [server] in region.toml",
                reason="TLS_NAMES",
            )
        with region.storage.read() as conn:
            anchors = get_anchors(conn)
            keyring = region.keyring.at(conn)
            cross = active(conn, region.namespace.code, Purpose.TLS_CA).chain[1:]
        authority = open_authority(
            "tls",
            anchors=anchors,
            keyring=keyring,
            registers=region.foundation.registers,
            clock=region.clock,
            entropy=region.entropy,
        )
        der = authority.issue(
            TLS_SERVER,
            subject=Subject(organisation=region.namespace.name, common_name="Server"),
            public_key=keyring.signer(Purpose.TLS_SERVER).public_key,
            names=AlternativeNames(dns=server.names, addresses=server.addresses),
        )
        # As its predecessor certified the CA: who trusts only that one follows.
        return (der, *cross) if cross else authority.chain(der)

    def _read(self) -> list[x509.Certificate] | None:
        try:
            return x509.load_pem_x509_certificates(self._path.read_bytes())
        except (OSError, ValueError):
            # Absent or damaged: it is public and is simply issued again.
            return None

    def _write(self, chain: tuple[bytes, ...]) -> None:
        draft = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o755, exist_ok=True)
            draft.write_bytes(_to_pem([x509.load_der_x509_certificate(der) for der in chain]))
            draft.replace(self._path)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {self._path}: {error.strerror}", reason="TLS_FILE"
            ) from error


def _to_pem(chain: list[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)


def _addresses(texts: tuple[str, ...]) -> set[_Address]:
    try:
        return {ipaddress.ip_address(text) for text in texts}
    except ValueError as error:
        raise ConfigurationError(
            "addresses under [server] in region.toml are IP addresses", reason="TLS_NAMES"
        ) from error


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _names(
    certificate: x509.Certificate,
) -> tuple[set[str], set[_Address]]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return set(names.get_values_for_type(x509.DNSName)), {
        address
        for address in addresses
        if isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
    }
