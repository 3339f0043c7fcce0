"""TLS credentials from PEM bytes, checked before gRPC sees them.

gRPC reports an unusable key or certificate late and obscurely; here it is a
`ConfigurationError` that says which. TLS 1.2 is the least that gRPC accepts, and
both ends always present a certificate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from yinxin_proto.error import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsIdentity:
    """What one end of a connection shows, and whom it accepts.

    Raises:
        ConfigurationError: ``TLS_KEY``, ``TLS_CERTIFICATE`` or ``TLS_ROOTS``,
            that member is not PEM of its kind; ``TLS_KEY_MISMATCH``, the key is
            not the certificate's.
    """

    private_key: bytes = field(repr=False)
    """PEM, PKCS#8, unencrypted."""
    certificate_chain: bytes
    """PEM, leaf first."""
    roots: bytes
    """PEM: the CAs of which the other end must show a certificate. A server
    still has each leaf verified against its own region's anchor
    (``yinxin_edge.principal``)."""

    def __post_init__(self) -> None:
        chain = _certificates(self.certificate_chain, "TLS_CERTIFICATE", "certificate chain")
        _certificates(self.roots, "TLS_ROOTS", "root bundle")
        try:
            key = load_pem_private_key(self.private_key, password=None)
        except (ValueError, TypeError):
            # Not chained: a parser's text could quote what it read.
            raise ConfigurationError(
                "the TLS private key is not unencrypted PEM", reason="TLS_KEY"
            ) from None
        if _spki(key.public_key()) != _spki(chain[0].public_key()):
            raise ConfigurationError(
                "the TLS private key is not the certificate's", reason="TLS_KEY_MISMATCH"
            )


def server_credentials(identity: TlsIdentity) -> grpc.ServerCredentials:
    """Return credentials that demand a client certificate under ``identity.roots``."""
    return grpc.ssl_server_credentials(
        [(identity.private_key, identity.certificate_chain)],
        root_certificates=identity.roots,
        require_client_auth=True,
    )


def reloading_server_credentials(
    first: TlsIdentity, renewed: Callable[[], TlsIdentity | None]
) -> grpc.ServerCredentials:
    """Return credentials as `server_credentials` does, that may change while they are used.

    Connections that stand are left alone; the next one shows what is new.

    Args:
        first: What is shown at first.
        renewed: Asked before every handshake; None while nothing has changed.
            It must not raise.
    """

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        identity = renewed()
        return None if identity is None else _configuration(identity)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(first),
        fetch,  # type: ignore[arg-type]  # the stubs leave out None, which means no change
        require_client_authentication=True,
    )


def _configuration(identity: TlsIdentity) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(identity.private_key, identity.certificate_chain)], root_certificates=identity.roots
    )


def channel_credentials(identity: TlsIdentity) -> grpc.ChannelCredentials:
    """Return credentials of a client that shows its certificate."""
    return grpc.ssl_channel_credentials(
        root_certificates=identity.roots,
        private_key=identity.private_key,
        certificate_chain=identity.certificate_chain,
    )


def _certificates(pem: bytes, reason: str, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ConfigurationError(f"the TLS {what} is not PEM", reason=reason) from None


def _spki(key: object) -> bytes:
    encode = getattr(key, "public_bytes", None)
    if encode is None:
        return b""
    encoded: bytes = encode(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded
