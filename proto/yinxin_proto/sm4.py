"""SM4 (GB/T 32907) as it protects values at rest: GCM, and the wrapping of keys."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

KEY_BYTES: Final = 16
TAG_BYTES: Final = 16
WRAPPED_BYTES: Final = 24
"""A wrapped key of 16 bytes."""

_HALF: Final = 8
_INITIAL: Final = b"\xa6" * _HALF
_STEPS: Final = 12


class Sm4Gcm:
    """SM4 in GCM, in the form of `AESGCM`: ciphertext ‖ tag of 16 bytes.

    Args:
        key: 16 bytes.
    """

    __slots__ = ("_algorithm",)

    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.SM4(key)

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Encrypt; a nonce (12 bytes) is used once under a key."""
        context = Cipher(self._algorithm, modes.GCM(nonce)).encryptor()
        context.authenticate_additional_data(associated_data or b"")
        return context.update(data) + context.finalize() + context.tag

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Decrypt.

        Raises:
            InvalidTag: Altered, or under another key, nonce or associated data.
            ValueError: A nonce of no length that GCM takes.
        """
        if len(data) < TAG_BYTES:
            raise InvalidTag
        context = Cipher(self._algorithm, modes.GCM(nonce, data[-TAG_BYTES:])).decryptor()
        context.authenticate_additional_data(associated_data or b"")
        return context.update(data[:-TAG_BYTES]) + context.finalize()


def wrap(cipher: algorithms.SM4 | algorithms.AES128, key: bytes) -> bytes:
    """Wrap a key of 16 bytes (GB/T 36624 mechanism 2; RFC 3394 §2.2.1 on this cipher)."""
    block = _blocks(cipher).encryptor()
    check, halves = _INITIAL, [key[:_HALF], key[_HALF:]]
    for step in range(1, _STEPS + 1):
        out = block.update(check + halves[(step - 1) % 2])
        check, halves[(step - 1) % 2] = _counted(out[:_HALF], step), out[_HALF:]
    return check + halves[0] + halves[1]


def unwrap(cipher: algorithms.SM4 | algorithms.AES128, wrapped: bytes) -> bytes:
    """Unwrap what `wrap` made (RFC 3394 §2.2.2).

    Raises:
        InvalidTag: Altered, wrapped under another key, or of another length.
    """
    if len(wrapped) != WRAPPED_BYTES:
        raise InvalidTag
    block = _blocks(cipher).decryptor()
    check, halves = wrapped[:_HALF], [wrapped[_HALF : 2 * _HALF], wrapped[2 * _HALF :]]
    for step in range(_STEPS, 0, -1):
        out = block.update(_counted(check, step) + halves[(step - 1) % 2])
        check, halves[(step - 1) % 2] = out[:_HALF], out[_HALF:]
    if check != _INITIAL:
        raise InvalidTag
    return halves[0] + halves[1]


def _blocks(cipher: algorithms.SM4 | algorithms.AES128) -> Cipher[modes.ECB]:
    # RFC 3394 is defined on single blocks, none of which repeats: no ECB of data.
    return Cipher(cipher, modes.ECB())  # noqa: S305


def _counted(check: bytes, step: int) -> bytes:
    return (int.from_bytes(check, "big") ^ step).to_bytes(_HALF, "big")
