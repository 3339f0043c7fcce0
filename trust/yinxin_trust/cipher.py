"""What data keys are wrapped with and payloads sealed under: AES-256, or SM4 in an SM region.

A region writes with one cipher, its suite's. Which one a subject's data key
belongs to is recorded in the length of its wrapped form (AES: 40 bytes, SM4:
24), so whatever was sealed can be opened whatever is written today.
"""

from __future__ import annotations

from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from yinxin_proto.error import IntegrityError
from yinxin_proto.sm3 import hmac_sm3
from yinxin_trust.suites import RegionSuites

TAG_BYTES: Final = 16
_SM4_KEY_BYTES: Final = 16
_SM4_KEK_LABEL: Final = b"yinxin/kek/sm4/v1"
_HALF: Final = 8
_INITIAL: Final = b"\xa6" * _HALF
_ROUNDS: Final = 6


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
        """Unwrap a data key; `InvalidUnwrap` when it was altered."""
        ...


class Sm4Gcm:
    """SM4 (GB/T 32907) in GCM (GB/T 36624), in the form of `AESGCM`.

    Args:
        key: 16 bytes.
    """

    __slots__ = ("_algorithm",)

    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.SM4(key)

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """See `Aead.encrypt`."""
        context = BlockCipher(self._algorithm, modes.GCM(nonce)).encryptor()
        context.authenticate_additional_data(associated_data or b"")
        return context.update(data) + context.finalize() + context.tag

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """See `Aead.decrypt`."""
        if len(data) < TAG_BYTES:
            raise InvalidTag
        mode = modes.GCM(nonce, data[-TAG_BYTES:])
        context = BlockCipher(self._algorithm, mode).decryptor()
        context.authenticate_additional_data(associated_data or b"")
        return context.update(data[:-TAG_BYTES]) + context.finalize()


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
    key_bytes = _SM4_KEY_BYTES
    wrapped_bytes = _SM4_KEY_BYTES + _HALF

    def aead(self, key: bytes) -> Aead:
        return Sm4Gcm(key)

    def wrap(self, kek: bytes, key: bytes) -> bytes:
        """Wrap by mechanism 2 of GB/T 36624 (RFC 3394 §2.2.1, with SM4 as the cipher)."""
        block = _block_cipher(kek).encryptor()
        check, halves = _INITIAL, [key[:_HALF], key[_HALF:]]
        for step in range(1, 2 * _ROUNDS + 1):
            out = block.update(check + halves[(step - 1) % 2])
            check = _counted(out[:_HALF], step)
            halves[(step - 1) % 2] = out[_HALF:]
        return check + halves[0] + halves[1]

    def unwrap(self, kek: bytes, wrapped: bytes) -> bytes:
        """Unwrap (RFC 3394 §2.2.2)."""
        block = _block_cipher(kek).decryptor()
        check, halves = wrapped[:_HALF], [wrapped[_HALF : 2 * _HALF], wrapped[2 * _HALF :]]
        for step in range(2 * _ROUNDS, 0, -1):
            out = block.update(_counted(check, step) + halves[(step - 1) % 2])
            check, halves[(step - 1) % 2] = out[:_HALF], out[_HALF:]
        if check != _INITIAL:
            raise InvalidUnwrap
        return halves[0] + halves[1]


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
    except InvalidUnwrap:
        pass
    raise IntegrityError(
        "a subject's data key does not unwrap: the database was altered, or belongs "
        "to another key store",
        reason="SEAL_BROKEN",
    )


def _block_cipher(kek: bytes) -> BlockCipher[modes.ECB]:
    # Derived, so that one secret never serves two ciphers.
    key = hmac_sm3(kek, _SM4_KEK_LABEL)[:_SM4_KEY_BYTES]
    # RFC 3394 is defined on single blocks: this is no ECB of data.
    return BlockCipher(algorithms.SM4(key), modes.ECB())  # noqa: S305


def _counted(check: bytes, step: int) -> bytes:
    return (int.from_bytes(check, "big") ^ step).to_bytes(_HALF, "big")
