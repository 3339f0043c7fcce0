"""PKCS#10 requests: a key, with proof that whoever asks has it."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from yinxin_proto.error import InvalidArgumentError, MalformedError
from yinxin_proto.signature import PublicKey, Suite

MAX_REQUEST_BYTES: Final = 8192


def parse_request(der: bytes, suite: Suite) -> PublicKey | None:
    """Return the key that a request proves possession of; None for an empty one.

    Nothing else of it is believed: what the certificate says is the region's.

    Args:
        der: At most 8 KiB.
        suite: What the key must be of.

    Raises:
        InvalidArgumentError: Not such a request, another kind of key, or a
            signature that does not hold (``CERTIFICATE_REQUEST``).
    """
    if not der:
        return None
    try:
        if len(der) > MAX_REQUEST_BYTES:
            raise ValueError("too long")
        request = x509.load_der_x509_csr(der)
        if not request.is_signature_valid:
            raise ValueError("its signature does not hold")
        spki = request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return suite.load_public(spki)
    except (ValueError, TypeError, UnsupportedAlgorithm, MalformedError) as error:
        raise _refused(suite) from error


def _refused(suite: Suite) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"a PKCS#10 request in DER is expected, signed by the {suite.name} key that it names",
        reason="CERTIFICATE_REQUEST",
    )
