"""SM3 (GB/T 32905), in the form of `hashlib`'s constructors.

``cryptography`` carries it in every build; `hashlib` has it only where the
interpreter's own OpenSSL does.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

DIGEST_BYTES: Final = 32
_ALGORITHM: Final = hashes.SM3()


class Sm3:
    """A running SM3 hash.

    Args:
        data: Hashed first.
    """

    __slots__ = ("_state",)

    def __init__(self, data: bytes = b"") -> None:
        self._state = hashes.Hash(_ALGORITHM)
        self._state.update(data)

    def update(self, data: bytes) -> None:
        """Hash more."""
        self._state.update(data)

    def digest(self) -> bytes:
        """Return the digest of everything so far, 32 bytes."""
        return self._state.copy().finalize()


def sm3(data: bytes) -> bytes:
    """Return the SM3 digest of ``data``, 32 bytes."""
    state = hashes.Hash(_ALGORITHM)
    state.update(data)
    return state.finalize()


def hmac_sm3(key: bytes, data: bytes) -> bytes:
    """Return HMAC-SM3 (GB/T 15852.2), 32 bytes."""
    state = HMAC(key, _ALGORITHM)
    state.update(data)
    return state.finalize()
