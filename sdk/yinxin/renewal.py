"""Renewing the certificate of a credentials folder, before it ends.

::

    client.key.next   PEM, the next private key
    client.csr.next   the request for it, DER: sent again after an interruption
    client.crt.next   PEM, the certificate that came; from here on only names change

Each step leaves the folder usable: until the certificate is there, the present
one counts; once it is, whoever loads the folder finishes what was begun.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from yinxin.credentialsfile import (
    CERTIFICATE,
    NEXT,
    PRIVATE_KEY,
    REQUEST,
    finish_renewal,
    unwritable,
)
from yinxin.licence import write_private
from yinxin.session import CallGroup
from yinxin_proto.certificaterequest import parse_request
from yinxin_proto.error import ConfigurationError, MalformedError, VerificationError
from yinxin_proto.v1.administration_pb2 import RenewCertificateRequest
from yinxin_proto.v1.administration_pb2_grpc import AdministrationServiceStub

_PRINCIPAL: Final = re.compile(r"https://[^/]+/principals/([a-z0-9-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """A certificate of a principal's own."""

    principal: str
    """Whose."""
    not_after: datetime
    """Last second of its validity, UTC."""


class RenewalCalls(CallGroup):
    """Calls about the caller's own certificate."""

    def renew_certificate(self, folder: Path | str) -> Renewal:
        """Renew the certificate in a credentials folder, with a new key.

        The folder is that of this client's credentials. An interrupted
        renewal is continued: the same request is sent again. The certificate
        before holds until it ends; this client goes on with it.

        Raises:
            ConfigurationError: The folder holds no certificate of a principal
                (``CREDENTIALS``), or cannot be written (``CREDENTIALS_WRITE``).
            VerificationError: The region certified another key (``RENEWAL_KEY``).
            YinxinError: As the region answers.
        """
        place = Path(folder)
        principal = principal_of(place)
        request = _request(place)
        spki = parse_request(request).spki
        transport = self._session.transport
        answer = transport.call(
            transport.stub(AdministrationServiceStub).RenewCertificate,
            RenewCertificateRequest(
                name=f"{self._session.parent}/principals/{principal}",
                # Of the request: sent again, it is answered with the same certificate.
                request_id=str(UUID(bytes=sha256(request).digest()[:16], version=4)),
                certificate_request=request,
            ),
        )
        chain = _chain(answer.certificate_chain)
        if not chain or _spki(chain[0].public_key()) != spki:
            raise VerificationError(
                "the region certified another key than was asked for", reason="RENEWAL_KEY"
            )
        pem = b"".join(found.public_bytes(Encoding.PEM) for found in chain)
        _write(place / f"{CERTIFICATE}{NEXT}", pem)
        finish_renewal(place)
        return Renewal(principal=principal, not_after=chain[0].not_valid_after_utc)


def is_due(folder: Path | str, now: datetime) -> bool:
    """Tell whether less than a third of the certificate's life is left.

    Raises:
        ConfigurationError: The folder holds no certificate (``CREDENTIALS``).
    """
    found = _certificate(Path(folder))
    life: timedelta = found.not_valid_after_utc - found.not_valid_before_utc
    return (found.not_valid_after_utc - now) * 3 < life


def principal_of(folder: Path) -> str:
    """Return the principal whom the certificate in a folder names.

    Raises:
        ConfigurationError: None there (``CREDENTIALS``).
    """
    try:
        names = _certificate(folder).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound as error:
        raise _no_certificate(folder) from error
    for uri in names.value.get_values_for_type(x509.UniformResourceIdentifier):
        if (found := _PRINCIPAL.fullmatch(uri)) is not None:
            return found[1]
    raise _no_certificate(folder)


def _request(folder: Path) -> bytes:
    """Return the request of a renewal under way, or begin one."""
    key_path, request_path = folder / f"{PRIVATE_KEY}{NEXT}", folder / f"{REQUEST}{NEXT}"
    try:
        if not key_path.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            _write(key_path, pem)
        kept = request_path.read_bytes() if request_path.exists() else b""
        loaded = _private_key(key_path)
    except OSError as error:
        raise unwritable(folder, error) from error
    if kept and _is_of(kept, loaded):
        return kept
    # Without names: the region gives its own.
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(loaded, hashes.SHA256()).public_bytes(Encoding.DER)
    _write(request_path, request)
    return request


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        loaded = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        loaded = None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise ConfigurationError(f"{path.name} is not a P-256 key; remove it", reason="CREDENTIALS")
    return loaded


def _is_of(request: bytes, key: ec.EllipticCurvePrivateKey) -> bool:
    try:
        return parse_request(request).spki == _spki(key.public_key())
    except MalformedError:
        return False


def _chain(ders: Iterable[bytes]) -> list[x509.Certificate]:
    try:
        return [x509.load_der_x509_certificate(der) for der in ders]
    except ValueError as error:
        raise MalformedError(
            "the region's answer holds no certificate", reason="CERTIFICATE"
        ) from error


def _spki(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _certificate(folder: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
    except (OSError, ValueError) as error:
        raise _no_certificate(folder) from error


def _write(path: Path, content: bytes) -> None:
    try:
        write_private(path, content)
    except OSError as error:
        raise unwritable(path.parent, error) from error


def _no_certificate(folder: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{folder} holds no certificate of a principal; ask the region for credentials",
        reason="CREDENTIALS",
    )
