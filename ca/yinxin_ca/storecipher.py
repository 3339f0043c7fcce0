"""What a key directory is sealed under: AES-256-GCM, or SM4-GCM in a region of SM2."""

from __future__ import annotations

from typing import Final, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from yinxin_proto import sm4
from yinxin_proto.error import ConfigurationError
from yinxin_proto.sm3 import hmac_sm3

AES_256_GCM: Final = "AES-256-GCM"
SM4_GCM: Final = "SM4-GCM"
CIPHERS: Final = (AES_256_GCM, SM4_GCM)

_SM4_LABEL: Final = b"yinxin/keyfile/sm4/v1"


class Aead(Protocol):
    """Authenticated encryption under one key, as `AESGCM` has it."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Return ciphertext ‖ tag."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Return the plaintext; `InvalidTag` when it was altered."""
        ...


def aead(cipher: str, key: bytes) -> Aead:
    """Return a cipher by name under a key of 32 bytes.

    Raises:
        ConfigurationError: No such cipher (``CIPHER``).
    """
    if cipher not in CIPHERS:
        raise ConfigurationError(
            f"a key directory is sealed under one of {', '.join(CIPHERS)}", reason="CIPHER"
        )
    if cipher == AES_256_GCM:
        return AESGCM(key)
    # Derived, so that one key never serves two ciphers.
    return sm4.Sm4Gcm(hmac_sm3(key, _SM4_LABEL)[: sm4.KEY_BYTES])
