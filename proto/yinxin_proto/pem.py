"""PEM (RFC 7468): one block, and nothing else that could be meant.

``cryptography`` reads PEM only of keys that it knows, and it knows none of SM2.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from yinxin_proto.error import MalformedError

MAX_BYTES: Final = 1 << 16
PRIVATE_KEY: Final = "PRIVATE KEY"
"""PKCS#8 (§10)."""
ENCRYPTED_PRIVATE_KEY: Final = "ENCRYPTED PRIVATE KEY"
"""PKCS#8 under a passphrase (§11)."""
PUBLIC_KEY: Final = "PUBLIC KEY"
"""SubjectPublicKeyInfo (§13)."""

_LINE: Final = 64
_BLOCK: Final = re.compile(
    rb"\s*-----BEGIN ([A-Z0-9 ]{1,40})-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END \1-----\s*"
)


def encode(label: str, der: bytes) -> bytes:
    """Return DER as one block with a label."""
    text = binascii.b2a_base64(der, newline=False)
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    name = label.encode("ascii")
    return b"\n".join([b"-----BEGIN %b-----" % name, *lines, b"-----END %b-----" % name, b""])


def decode(pem: bytes) -> tuple[str, bytes]:
    """Return the label and the DER of one block.

    Raises:
        MalformedError: Not exactly one block (reason ``PEM``), or more than
            64 KiB (``TOO_LARGE``).
    """
    if len(pem) > MAX_BYTES:
        raise MalformedError(f"PEM: more than {MAX_BYTES} bytes", reason="TOO_LARGE")
    found = _BLOCK.fullmatch(pem)
    try:
        if found is not None:
            body = found[2].replace(b"\r", b"").replace(b"\n", b"")
            return found[1].decode("ascii"), binascii.a2b_base64(body, strict_mode=True)
    except ValueError:
        pass
    raise MalformedError("PEM: exactly one block was expected", reason="PEM")
