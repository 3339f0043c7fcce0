"""Encryption keys that a licensed authority makes and sends enveloped.

Under the Chinese two-certificate rule the holder makes the signing key, and
the authority makes the encryption key, keeps a copy in escrow, and sends the
private half enveloped for the signing key: an SM4 key encrypted with SM2, and
the private key encrypted with SM4. Two spellings are read:

- ``SM2EnvelopedKey``, DER (GM/T 0009 §7.4, GB/T 35276 §7.4), also in PEM;
- ``ENVELOPEDKEYBLOB``, the structure of GM/T 0016 §6.4.10 that smart-key
  middleware passes around, little-endian and packed.

SM4 in ECB mode is what both prescribe: 32 random bytes under a key used once.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from yinxin_ca import der as der_format
from yinxin_proto.der import dotted, elements
from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.signature import SigningKey
from yinxin_proto.sm2 import SM2
from yinxin_proto.sm2der import check_point, public_info

MAX_ENVELOPE_BYTES: Final = 4096

_HALF: Final = 32
_FIELD: Final = 64
"""A coordinate or private key in the middleware's structures: 512 bits, right-aligned."""
_KEY: Final = 16
_SM4: Final = frozenset({"1.2.156.10197.1.104", "1.2.156.10197.1.104.1"})
"""SM4 without a mode, which means ECB here, and SM4-ECB."""
_SGD_SM4_ECB: Final = 0x00000401
_SEQUENCE: Final = 0x30
_BLOB: Final = struct.Struct("<III64sI64s64s64s64s32sI")
_PEM: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]+-----([A-Za-z0-9+/=\s]+)-----END [A-Z0-9 ]+-----")


@runtime_checkable
class Opener(Protocol):
    """A private key that can decrypt, not only sign."""

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Open what was encrypted to it, DER of GM/T 0009 §7.2.

        Raises:
            MalformedError: It does not open (``CIPHERTEXT``).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopedKey:
    """An envelope, read and not yet opened."""

    encrypted_key: bytes
    """DER SM2Cipher of the SM4 key."""
    encrypted_private_key: bytes = field(repr=False)
    """The private key under SM4: 32 bytes, or 64 with zeros before it."""
    spki: bytes
    """The public key that it belongs to, as the envelope says."""

    def open(self, opener: Opener) -> SigningKey:
        """Return the private key, which is the one that the envelope names.

        Raises:
            MalformedError: It does not open under this key (``CIPHERTEXT``),
                or what is in it is no private key (``KEY``).
            VerificationError: It is another key's (``ENVELOPE_KEY``).
        """
        key = opener.decrypt(self.encrypted_key)
        if len(key) != _KEY:
            raise MalformedError("envelope: not an SM4 key in it", reason="CIPHERTEXT")
        decryptor = Cipher(algorithms.SM4(key), modes.ECB()).decryptor()  # noqa: S305 - as prescribed
        plain = decryptor.update(self.encrypted_private_key) + decryptor.finalize()
        if any(plain[:-_HALF]):
            raise MalformedError("envelope: the private key is longer than one", reason="KEY")
        private = SM2.load_scalar(plain[-_HALF:])
        if private.public_key.spki != self.spki:
            raise VerificationError(
                "envelope: the private key in it is not that of the public key in it",
                reason="ENVELOPE_KEY",
            )
        return private


def parse_envelope(data: bytes) -> EnvelopedKey:
    """Read an envelope, in whichever spelling it comes.

    Raises:
        MalformedError: Neither spelling (``ENVELOPE``); another cipher than
            SM4 (``ENVELOPE_ALGORITHM``); a key off the curve (``KEY``).
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise MalformedError(f"envelope: more than {MAX_ENVELOPE_BYTES} bytes", reason="TOO_LARGE")
    raw = _unarmoured(data)
    if len(raw) == _BLOB.size + _KEY and raw[0] != _SEQUENCE:
        return _from_blob(raw)
    return _from_der(raw)


def _from_der(raw: bytes) -> EnvelopedKey:
    try:
        algorithm, encrypted, public, private = elements(raw)
        kind = dotted(elements(algorithm)[0])
        elements(encrypted)
        point, sealed = der_format.bits(public), der_format.bits(private)
    except (MalformedError, ValueError, IndexError) as error:
        raise _malformed() from error
    if kind not in _SM4:
        raise _not_sm4()
    if point[:1] != b"\x04" or len(sealed) not in (_HALF, _FIELD):
        raise _malformed()
    return EnvelopedKey(
        encrypted_key=encrypted,
        encrypted_private_key=sealed,
        spki=public_info(check_point(point[1:])),
    )


def _from_blob(raw: bytes) -> EnvelopedKey:
    (version, kind, bits, sealed, public_bits, x, y, cx, cy, digest, size) = _BLOB.unpack(
        raw[: _BLOB.size]
    )
    if version != 1 or bits != 8 * _HALF or public_bits != 8 * _HALF or size != _KEY:
        raise _malformed()
    if kind != _SGD_SM4_ECB:
        raise _not_sm4()
    if any(part[:_HALF] != bytes(_HALF) for part in (x, y, cx, cy)):
        raise _malformed()
    cipher = der_format.sequence(
        _integer(cx[_HALF:]),
        _integer(cy[_HALF:]),
        der_format.octets(digest),
        der_format.octets(raw[_BLOB.size :]),
    )
    # Middleware encrypts the whole field, or its 32 bytes and leaves the rest zero.
    if sealed[:_HALF] == bytes(_HALF):
        sealed = sealed[_HALF:]
    elif sealed[_HALF:] == bytes(_HALF):
        sealed = sealed[:_HALF]
    return EnvelopedKey(
        encrypted_key=cipher,
        encrypted_private_key=sealed,
        spki=public_info(check_point(x[_HALF:] + y[_HALF:])),
    )


def _unarmoured(data: bytes) -> bytes:
    """Return the bytes of PEM, of bare base64, or as they are."""
    text = data.strip()
    armoured = _PEM.fullmatch(text)
    body = armoured[1] if armoured else text
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        return data


def _integer(magnitude: bytes) -> bytes:
    value = magnitude.lstrip(b"\0") or b"\0"
    value = b"\0" + value if value[0] > 0x7F else value
    return bytes([0x02, len(value)]) + value


def _malformed() -> MalformedError:
    return MalformedError(
        "envelope: neither SM2EnvelopedKey nor ENVELOPEDKEYBLOB; ask the authority for one of them",
        reason="ENVELOPE",
    )


def _not_sm4() -> MalformedError:
    return MalformedError(
        "envelope: the private key is under another cipher than SM4; ask the authority for SM4",
        reason="ENVELOPE_ALGORITHM",
    )
