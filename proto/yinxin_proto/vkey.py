"""Verifier keys of signed notes, and the base64 that C2SP formats use.

A vkey is ``name+hex(key ID)+base64(type ‖ public key)`` (C2SP signed-note). A
name and a key ID together say whose line a signature is; the ID is short, an
identifier and not a commitment.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final

from yinxin_proto.error import MalformedError

MAX_NAME_BYTES: Final = 255
KEY_ID_BYTES: Final = 4


class SignatureType(IntEnum):
    """The byte that names an algorithm in key IDs and vkeys."""

    ED25519 = 0x01
    """Over the note's text: the log's own signature."""
    ED25519_COSIGNATURE = 0x04
    """Over a time and the note's text: a witness."""
    ML_DSA_44_COSIGNATURE = 0x06
    """Over a time and the tree head: a witness, or the log itself."""


_PUBLIC_KEY_BYTES: Final = {
    SignatureType.ED25519: 32,
    SignatureType.ED25519_COSIGNATURE: 32,
    SignatureType.ML_DSA_44_COSIGNATURE: 1312,
}


def b64_encode(data: bytes) -> str:
    """Encode as base64 with padding (RFC 4648 §4), as all C2SP formats use it."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def b64_decode(text: str) -> bytes:
    """Decode base64, refusing every encoding but the canonical one.

    Raises:
        MalformedError: A foreign character, missing padding, stray bits (``BASE64``).
    """
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise MalformedError("base64: not the canonical encoding", reason="BASE64") from error
    if b64_encode(data) != text:
        raise MalformedError("base64: stray bits after the last byte", reason="BASE64")
    return data


def _utf8(name: str) -> bytes:
    try:
        return name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedError("note: not a key name", reason="KEY_NAME") from error


def check_key_name(name: str) -> str:
    """Return ``name`` if it may name a key: no space, no plus, no control character.

    Raises:
        MalformedError: It may not (``KEY_NAME``).
    """
    if (
        not name
        or any(char in "+\x7f" or char < "\x20" or char.isspace() for char in name)
        or len(_utf8(name)) > MAX_NAME_BYTES
    ):
        raise MalformedError("note: not a key name", reason="KEY_NAME")
    return name


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key by which lines are known, as a vkey states it.

    Raises:
        MalformedError: The name (``KEY_NAME``) or key length (``VKEY``) does not do.
    """

    name: str
    type: SignatureType
    public_key: bytes
    """Raw: 32 bytes for Ed25519, 1312 for ML-DSA-44."""

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.public_key) != _PUBLIC_KEY_BYTES[self.type]:
            raise MalformedError("vkey: the key has another length", reason="VKEY")

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ key)."""
        named = self.name.encode("utf-8") + b"\n" + bytes([self.type])
        return sha256(named + self.public_key).digest()[:KEY_ID_BYTES]

    def to_text(self) -> str:
        """Return ``name+hex(key ID)+base64(type ‖ key)``."""
        key = b64_encode(bytes([self.type]) + self.public_key)
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Parse a vkey.

        Raises:
            MalformedError: Not a vkey (``VKEY``, ``BASE64``, ``KEY_NAME``), of a type
                unknown here (``VKEY_TYPE``), or with another key's ID (``VKEY_ID``).
        """
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise MalformedError("vkey: name, key ID and key are expected", reason="VKEY")
        name, key_id, encoded = parts
        raw = b64_decode(encoded)
        if not raw or raw[0] not in _PUBLIC_KEY_BYTES:
            raise MalformedError("vkey: unknown signature type", reason="VKEY_TYPE")
        key = cls(name=name, type=SignatureType(raw[0]), public_key=raw[1:])
        if key.key_id.hex() != key_id:
            raise MalformedError("vkey: the key ID is not this key's", reason="VKEY_ID")
        return key
