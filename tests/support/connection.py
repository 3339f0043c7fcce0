"""Both ends of a TLS connection, certified by an invented region."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from support.clock import FixedClock
from support.hierarchy import DOMAIN, ORGANISATION, Hierarchy
from yinxin_ca.profile import TLS_CLIENT, TLS_SERVER
from yinxin_ca.subject import AlternativeNames, Subject, principal_uri
from yinxin_edge.clock import SystemClock
from yinxin_edge.tls import TlsIdentity
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.suite import ES256, SigningKey


def present_hierarchy() -> Hierarchy:
    """A region whose certificates begin today: the TLS stack reads the machine's clock."""
    return Hierarchy(clock=FixedClock(SystemClock().now()))


def pem(der: bytes) -> bytes:
    """One certificate as PEM."""
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def tls_anchor(hierarchy: Hierarchy) -> Certificate:
    """The region's TLS-only issuing authority."""
    return parse(hierarchy.tls.certificate)


def server_identity(hierarchy: Hierarchy, *roots: bytes) -> TlsIdentity:
    """A server of the region; ``roots`` are further CAs (DER) that it loads."""
    key = ES256.generate()
    certificate = hierarchy.tls.issue(
        TLS_SERVER,
        subject=Subject(organisation=ORGANISATION, common_name=DOMAIN),
        public_key=key.public_key,
        names=AlternativeNames(dns=("localhost",), addresses=("127.0.0.1",)),
    )
    return _identity(key, certificate, hierarchy.tls.certificate, *roots)


def client_identity(
    hierarchy: Hierarchy,
    identifier: str = "housing-bureau",
    *,
    domain: str = DOMAIN,
    server: Hierarchy | None = None,
) -> TlsIdentity:
    """A principal certified by ``hierarchy``, calling a server of ``server``."""
    key = ES256.generate()
    certificate = hierarchy.tls.issue(
        TLS_CLIENT,
        subject=Subject(organisation=ORGANISATION, common_name=identifier),
        public_key=key.public_key,
        names=AlternativeNames(uri=principal_uri(domain, identifier)),
    )
    return _identity(key, certificate, (server or hierarchy).tls.certificate)


def _identity(key: SigningKey, certificate: bytes, *roots: bytes) -> TlsIdentity:
    private = load_der_private_key(key.to_pkcs8(), password=None)
    return TlsIdentity(
        private_key=private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        certificate_chain=pem(certificate),
        roots=b"".join(pem(root) for root in roots),
    )
