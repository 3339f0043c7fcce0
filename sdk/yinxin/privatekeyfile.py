"""Private keys in PEM files, of every suite, under a passphrase or not."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from yinxin_proto import pem as pem_format
from yinxin_proto.error import MalformedError
from yinxin_proto.sm2provider import provider


def read_private_key(pem: bytes, passphrase: bytes | None) -> bytes:
    """Return DER PKCS#8 from a PEM file.

    ``cryptography`` reads most; libcrypto opens what is under a passphrase and
    ``cryptography`` has no type for, such as a key of SM2 under SM4.

    Raises:
        MalformedError: Not a private key, or the passphrase does not open it
            (``KEY``): which of them, a wrong passphrase cannot tell.
    """
    try:
        key = load_pem_private_key(pem, passphrase)
        return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not chained: a parser's text could quote what it read.
        pass
    label, der = pem_format.decode(pem)
    found = None
    if label == pem_format.PRIVATE_KEY and passphrase is None:
        found = der
    elif label == pem_format.ENCRYPTED_PRIVATE_KEY and passphrase is not None:
        library = provider().find()
        found = None if library is None else library.decrypt_pkcs8(der, passphrase)
    if found is None:
        raise MalformedError("not a private key in PEM, or not under this passphrase", reason="KEY")
    return found
