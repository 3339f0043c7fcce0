"""What data keys are wrapped with and payloads sealed under: AES-256, or SM4 in an SM region.

A region writes with one cipher, its suite's. Which one a subject's data key
belongs to is recorded in the length of its wrapped form (AES: 40 bytes, SM4:
24), so whatever was sealed can be opened whatever is written today.
"""

from __future__ import annotations

from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from yinxin_proto import sm4
from yinxin_proto.error import IntegrityError
from yinxin_proto.sm3 import hmac_sm3
from yinxin_trust.suites import RegionSuites

_SM4_KEK_LABEL: Final = b"yinxin/kek/sm4/v1"


class Aead(Protocol):
    """Authenticated encryption under one key, as `AESGCM` has it."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Return ciphertext ‖ tag."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Return the plaintext; `InvalidTag` when it was altered."""
        ...


class StorageCipher(Protocol):
    """A cipher for values at rest, with its way of wrapping keys."""

    @property
    def name(self) -> str:
        """For people: ``AES-256-GCM``, ``SM4-GCM``."""
        ...

    @property
    def key_bytes(self) -> int:
        """Size of a data key."""
        ...

    @property
    def wrapped_bytes(self) -> int:
        """Size of a wrapped data key; no two ciphers share one."""
        ...

    def aead(self, key: bytes) -> Aead:
        """Return what seals and opens under a data key."""
        ...

    def wrap(self, kek: bytes, key: bytes) -> bytes:
        """Wrap a data key under a key-encryption key of 32 bytes."""
        ...

    def unwrap(self, kek: bytes, wrapped: bytes) -> bytes:
        """Unwrap a data key; `InvalidUnwrap` or `InvalidTag` when it was altered."""
        ...


class _Aes256:
    name = "AES-256-GCM"
    key_bytes = 32
    wrapped_bytes = 40

    def aead(self, key: bytes) -> Aead:
        return AESGCM(key)

    def wrap(self, kek: bytes, key: bytes) -> bytes:
        return aes_key_wrap(kek, key)

    def unwrap(self, kek: bytes, wrapped: bytes) -> bytes:
        return aes_key_unwrap(kek, wrapped)


class _Sm4:
    name = "SM4-GCM"
    key_bytes = sm4.KEY_BYTES
    wrapped_bytes = sm4.WRAPPED_BYTES

    def aead(self, key: bytes) -> Aead:
        return sm4.Sm4Gcm(key)

    def wrap(self, kek: bytes, key: bytes) -> bytes:
        return sm4.wrap(_kek(kek), key)

    def unwrap(self, kek: bytes, wrapped: bytes) -> bytes:
        return sm4.unwrap(_kek(kek), wrapped)


AES_256: Final[StorageCipher] = _Aes256()
SM4: Final[StorageCipher] = _Sm4()
_BY_WRAPPED_BYTES: Final = {cipher.wrapped_bytes: cipher for cipher in (AES_256, SM4)}


def cipher_for(suites: RegionSuites) -> StorageCipher:
    """Return what a region writes with."""
    return SM4 if suites.is_commercial else AES_256


def unwrap(kek: bytes, wrapped: bytes) -> tuple[StorageCipher, bytes]:
    """Unwrap a data key of whichever cipher; return that cipher with it.

    Raises:
        IntegrityError: Altered, or wrapped under another key (``SEAL_BROKEN``).
    """
    cipher = _BY_WRAPPED_BYTES.get(len(wrapped))
    try:
        if cipher is not None:
            return cipher, cipher.unwrap(kek, wrapped)
    except (InvalidUnwrap, InvalidTag):
        pass
    raise IntegrityError(
        "a subject's data key does not unwrap: the database was altered, or belongs "
        "to another key store",
        reason="SEAL_BROKEN",
    )


def _kek(secret: bytes) -> algorithms.SM4:
    # Derived, so that one secret never serves two ciphers.
    return algorithms.SM4(hmac_sm3(secret, _SM4_KEK_LABEL)[: sm4.KEY_BYTES])
