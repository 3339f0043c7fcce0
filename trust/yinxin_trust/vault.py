"""Subjects' secrets at rest: data keys, sealed payloads, blind indexes.

One data key per subject, AES-256 or SM4 (`yinxin_trust.cipher`), wrapped by a
key-encryption key that the database never holds; destroying the wrapped key
erases everything sealed under it. A plain hash of an ID number falls to a
search of all candidates in hours, so look-ups go by keyed HMAC with a domain
per kind of number.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag

from yinxin_proto.clock import Entropy
from yinxin_proto.error import IntegrityError, KeyStoreError
from yinxin_proto.number import SubjectNumber
from yinxin_trust.cipher import AES_256, StorageCipher, unwrap

_NONCE_BYTES: Final = 12
_SUBJECT_DOMAIN: Final = b"yinxin/index/subject/v1\0"
_REQUEST_DOMAIN: Final = b"yinxin/index/request/v1\0"
_LICENCE_NUMBER_DOMAIN: Final = b"yinxin/index/licence-number/v1\0"


@dataclass(frozen=True, slots=True)
class BlindIndex:
    """What stands in the database for a number: kind, key version, HMAC-SHA256."""

    kind: str
    key_version: int
    value: bytes


class DataKey:
    """One subject's data key, unwrapped for as long as it is needed."""

    __slots__ = ("_aead", "_entropy")

    def __init__(self, cipher: StorageCipher, key: bytes, entropy: Entropy) -> None:
        self._aead = cipher.aead(key)
        self._entropy = entropy

    def seal(self, plaintext: bytes, *, row: bytes) -> bytes:
        """Encrypt for one row; ``row`` names table and primary key.

        A sealed value copied to another row does not open there.
        """
        nonce = self._entropy.token(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plaintext, row)

    def open(self, sealed: bytes, *, row: bytes) -> bytes:
        """Decrypt what `seal` made for the same row.

        Raises:
            IntegrityError: Altered, or sealed for another row or subject.
        """
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], row)
        except (InvalidTag, ValueError) as error:
            raise IntegrityError(
                "a sealed value does not open in its row: the database was altered",
                reason="SEAL_BROKEN",
            ) from error

    def __repr__(self) -> str:
        return "DataKey(…)"


class Vault:
    """Makes and opens data keys, and computes blind indexes.

    Args:
        key_encryption_keys: Keys of 32 bytes by version; the highest one wraps.
        index_keys: HMAC keys by version; the highest one indexes.
        entropy: Source of data keys and nonces.
        cipher: What new data keys are for; older ones keep theirs.
    """

    def __init__(
        self,
        *,
        key_encryption_keys: Mapping[int, bytes],
        index_keys: Mapping[int, bytes],
        entropy: Entropy,
        cipher: StorageCipher = AES_256,
    ) -> None:
        if not key_encryption_keys or not index_keys:
            raise KeyStoreError("the vault needs a key-encryption key and an index key")
        self._kek = dict(key_encryption_keys)
        self._index = dict(index_keys)
        self.kek_version: Final = max(self._kek)
        self.index_version: Final = max(self._index)
        self._entropy = entropy
        self._cipher = cipher

    def new_key(self) -> tuple[DataKey, bytes]:
        """Make a data key; return it with its wrapped form."""
        cipher = self._cipher
        key = self._entropy.token(cipher.key_bytes)
        return (
            DataKey(cipher, key, self._entropy),
            cipher.wrap(self._kek[self.kek_version], key),
        )

    def open_key(self, wrapped: bytes, *, kek_version: int) -> DataKey:
        """Unwrap a data key.

        Raises:
            KeyStoreError: The key-encryption key of that version is not here.
            IntegrityError: The wrapped key was altered.
        """
        kek = self._kek.get(kek_version)
        if kek is None:
            raise KeyStoreError(
                f"key-encryption key version {kek_version} is not in the key store",
                reason="KEK_MISSING",
            )
        return DataKey(*unwrap(kek, wrapped), self._entropy)

    def subject_index(self, number: SubjectNumber) -> BlindIndex:
        """Return the blind index of a subject's number."""
        kind = str(number.type)
        message = _SUBJECT_DOMAIN + kind.encode() + b"\0" + number.reveal().encode()
        value = hmac.digest(self._index[self.index_version], message, "sha256")
        return BlindIndex(kind, self.index_version, value)

    def request_hash(self, digest: bytes) -> bytes:
        """Return a keyed hash of a request's digest, 32 bytes.

        A repeated request is recognised by it, and nobody can confirm a guess.
        """
        return hmac.digest(self._index[self.index_version], _REQUEST_DOMAIN + digest, "sha256")

    def derive(self, label: str) -> bytes:
        """Return a key for another use of this process's own, 32 bytes."""
        message = b"yinxin/derive/v1\0" + label.encode()
        return hmac.digest(self._index[self.index_version], message, "sha256")

    def licence_number_index(self, type_code: str, issuer_code: str, number: str) -> BlindIndex:
        """Return the blind index of a licence number, unique per type and issuer.

        Licence numbers often contain a subject's number, so they too are
        claimed only as an HMAC.
        """
        message = b"\0".join((type_code.encode(), issuer_code.encode(), number.encode()))
        value = hmac.digest(
            self._index[self.index_version], _LICENCE_NUMBER_DOMAIN + message, "sha256"
        )
        return BlindIndex("licence-number", self.index_version, value)
