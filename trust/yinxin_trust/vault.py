"""Subjects' secrets at rest: data keys, sealed payloads, blind indexes.

One data key per subject, AES-256 or SM4 (`yinxin_trust.cipher`), wrapped by a
key-encryption key that the database never holds; destroying the wrapped key
erases everything sealed under it. A plain hash of an ID number falls to a
search of all candidates in hours, so look-ups go by keyed HMAC with a domain
per kind of number.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from sqlalchemy import Connection

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


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultVersions:
    """Which versions of its keys a vault uses."""

    kek: int
    """Wraps new data keys."""
    index: int
    """Looks numbers up, and makes what is handed out."""
    claims: tuple[int, ...]
    """Index every new number: while a successor waits, both versions do, so that
    neither of two writers can miss the other's claim."""
    accepted: tuple[int, ...]
    """Made what may still come back: page tokens, hashes of requests."""


class VaultSource(Protocol):
    """Where a vault learns of new versions, and gets their keys."""

    def vault_versions(self, conn: Connection) -> VaultVersions | None:
        """Return what the transaction sees; None where nothing is recorded yet."""
        ...

    def key_encryption_key(self, version: int) -> bytes:
        """Return a key-encryption key; `KeyStoreError` where the store lacks it."""
        ...

    def index_key(self, version: int) -> bytes:
        """Return an index key; `KeyStoreError` where the store lacks it."""
        ...


class Vault:
    """Makes and opens data keys, and computes blind indexes.

    Args:
        key_encryption_keys: Keys of 32 bytes by version; the highest one wraps.
        index_keys: HMAC keys by version; the highest one indexes.
        entropy: Source of data keys and nonces.
        cipher: What new data keys are for; older ones keep theirs.
        source: Tells of versions that come into use later; none do without it.
    """

    def __init__(
        self,
        *,
        key_encryption_keys: Mapping[int, bytes],
        index_keys: Mapping[int, bytes],
        entropy: Entropy,
        cipher: StorageCipher = AES_256,
        source: VaultSource | None = None,
    ) -> None:
        if not key_encryption_keys or not index_keys:
            raise KeyStoreError("the vault needs a key-encryption key and an index key")
        self._kek = dict(key_encryption_keys)
        self._index = dict(index_keys)
        self._source = source
        self._lock = threading.Lock()
        newest = max(self._index)
        self._versions = VaultVersions(
            kek=max(self._kek), index=newest, claims=(newest,), accepted=tuple(self._index)
        )
        self._entropy = entropy
        self._cipher = cipher

    @property
    def kek_version(self) -> int:
        """The version that wraps."""
        return self._versions.kek

    @property
    def index_version(self) -> int:
        """The version that looks numbers up."""
        return self._versions.index

    def refresh(self, conn: Connection) -> None:
        """Use the versions that the transaction sees; costs one look at one row.

        Whoever looks a number up or claims one calls it first, in the same
        transaction: what it finds is then indexed as it looks.
        """
        if self._source is None:
            return
        found = self._source.vault_versions(conn)
        if found is None or found is self._versions or found == self._versions:
            return
        with self._lock:
            for version in {found.index, *found.claims, *found.accepted} - self._index.keys():
                self._index[version] = self._source.index_key(version)
            self._kek_of(found.kek)
            # Last: whoever reads the versions finds their keys.
            self._versions = found

    def _kek_of(self, version: int) -> bytes:
        kek = self._kek.get(version)
        if kek is None and self._source is not None:
            kek = self._kek[version] = self._source.key_encryption_key(version)
        if kek is None:
            raise KeyStoreError(
                f"key-encryption key version {version} is not in the key store",
                reason="KEK_MISSING",
            )
        return kek

    def new_key(self) -> tuple[DataKey, bytes, int]:
        """Make a data key; return it, its wrapped form, and the version that wrapped it."""
        cipher, version = self._cipher, self.kek_version
        key = self._entropy.token(cipher.key_bytes)
        wrapped = cipher.wrap(self._kek_of(version), key)
        return DataKey(cipher, key, self._entropy), wrapped, version

    def rewrap(self, wrapped: bytes, *, kek_version: int) -> tuple[bytes, int]:
        """Wrap a data key anew, under the version in use; the key stays what it was.

        Raises:
            KeyStoreError: The key-encryption key that wrapped it is not here.
            IntegrityError: The wrapped key was altered.
        """
        version = self.kek_version
        cipher, key = self._unwrap(wrapped, kek_version)
        return cipher.wrap(self._kek_of(version), key), version

    def open_key(self, wrapped: bytes, *, kek_version: int) -> DataKey:
        """Unwrap a data key.

        Raises:
            KeyStoreError: The key-encryption key of that version is not here.
            IntegrityError: The wrapped key was altered.
        """
        return DataKey(*self._unwrap(wrapped, kek_version), self._entropy)

    def _unwrap(self, wrapped: bytes, kek_version: int) -> tuple[StorageCipher, bytes]:
        return unwrap(self._kek_of(kek_version), wrapped)

    def subject_index(self, number: SubjectNumber) -> BlindIndex:
        """Return the blind index by which a subject's number is looked up."""
        return self._subject_index(number, self._versions.index)

    def subject_claims(self, number: SubjectNumber) -> list[BlindIndex]:
        """Return every blind index under which a new number is claimed."""
        return [self._subject_index(number, version) for version in self._versions.claims]

    def subject_index_of(self, number: SubjectNumber, version: int) -> BlindIndex:
        """Return a number's blind index under one version, for whoever rewrites indexes."""
        return self._subject_index(number, version)

    def _subject_index(self, number: SubjectNumber, version: int) -> BlindIndex:
        kind = str(number.type)
        message = _SUBJECT_DOMAIN + kind.encode() + b"\0" + number.reveal().encode()
        return BlindIndex(kind, version, hmac.digest(self._index[version], message, "sha256"))

    def request_hashes(self, digest: bytes) -> Sequence[bytes]:
        """Return keyed hashes of a request's digest, 32 bytes each; the first is the one to store.

        A repeated request is recognised by any of them, though the index key
        changed meanwhile, and nobody can confirm a guess.
        """
        return [
            hmac.digest(self._index[version], _REQUEST_DOMAIN + digest, "sha256")
            for version in self._accepted()
        ]

    def derive(self, label: str) -> Sequence[bytes]:
        """Return keys for another use of this process's own, 32 bytes each.

        The first makes what is handed out; the others made what may come back.
        """
        message = b"yinxin/derive/v1\0" + label.encode()
        return [
            hmac.digest(self._index[version], message, "sha256") for version in self._accepted()
        ]

    def _accepted(self) -> tuple[int, ...]:
        versions = self._versions
        others = (version for version in versions.accepted if version != versions.index)
        return (versions.index, *others)

    def licence_number_index(self, type_code: str, issuer_code: str, number: str) -> BlindIndex:
        """Return the blind index of a licence number, unique per type and issuer.

        Licence numbers often contain a subject's number, so they too are
        claimed only as an HMAC.
        """
        return self._licence_number(type_code, issuer_code, number, self._versions.index)

    def licence_number_claims(
        self, type_code: str, issuer_code: str, number: str
    ) -> list[BlindIndex]:
        """Return every blind index under which a new licence number is claimed."""
        return [
            self._licence_number(type_code, issuer_code, number, version)
            for version in self._versions.claims
        ]

    def licence_number_index_of(
        self, type_code: str, issuer_code: str, number: str, version: int
    ) -> BlindIndex:
        """Return a licence number's blind index under one version."""
        return self._licence_number(type_code, issuer_code, number, version)

    def _licence_number(
        self, type_code: str, issuer_code: str, number: str, version: int
    ) -> BlindIndex:
        message = b"\0".join((type_code.encode(), issuer_code.encode(), number.encode()))
        value = hmac.digest(self._index[version], _LICENCE_NUMBER_DOMAIN + message, "sha256")
        return BlindIndex("licence-number", version, value)
