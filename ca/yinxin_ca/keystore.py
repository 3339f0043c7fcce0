"""Key stores: where private keys and secrets live, and who may use them.

A key belongs to one owner, one purpose and one suite; a new version never
replaces an old one (retired keys still have to be named). Encrypted files
(`yinxin_ca.keyfile`) are one store; hardware will be another behind the same
protocol, so nothing here promises that a private key can be read back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from yinxin_proto.error import (
    AlreadyExistsError,
    InvalidArgumentError,
    KeyStoreError,
)
from yinxin_proto.signature import Signer, SigningKey, Suite

SECRET_KIND: Final = "secret"  # noqa: S105 - the name of a kind, not a secret
"""`KeyInfo.kind` of raw bytes: Ed25519 seeds, HMAC keys, key-encryption keys."""
MIN_SECRET_BYTES: Final = 16
MAX_SECRET_BYTES: Final = 4096
MAX_VERSION: Final = 999_999

_VERSION: Final = re.compile(r"[1-9][0-9]{0,5}\Z")
_OWNER: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}\Z")


class Purpose(StrEnum):
    """The one thing a key is for."""

    ROOT = "root"
    PQ_ROOT = "pq-root"
    """The parallel ML-DSA-65 root, which certifies the logs' cosigners."""
    LICENCE_CA = "licence-ca"
    STATUS_CA = "status-ca"
    TLS_CA = "tls-ca"
    SEAL_CA = "seal-ca"
    TIMESTAMP_CA = "timestamp-ca"
    MEMBER_CA = "member-ca"
    LICENCE = "licence"
    APPROVAL = "approval"
    REQUEST = "request"
    STATUS = "status"
    OCSP = "ocsp"
    TLS_OCSP = "tls-ocsp"
    TIMESTAMP = "timestamp"
    LOG = "log"
    LOG_COSIGNER = "log-cosigner"
    """The log's ML-DSA-44 key, beside its Ed25519 one."""
    TLS_SERVER = "tls-server"
    TLS_CLIENT = "tls-client"
    TUF_ROOT = "tuf-root"
    TUF_TARGETS = "tuf-targets"
    TUF_SNAPSHOT = "tuf-snapshot"
    TUF_TIMESTAMP = "tuf-timestamp"
    TUF_STATUS = "tuf-status"
    TUF_CRL = "tuf-crl"
    TUF_CATALOGUE = "tuf-catalogue"
    INDEX_HMAC = "index-hmac"
    KEK = "kek"
    SEAL = "seal"
    SEAL_ENCRYPTION = "seal-encryption"
    LICENCE_ENCRYPTION = "licence-encryption"
    CUSTODIAN = "custodian"
    CUSTODIAN_SEAL = "custodian-seal"
    OFFICERS = "officers"
    INTEGRITY = "integrity"


EXPORTABLE: Final = frozenset({Purpose.TLS_SERVER, Purpose.TLS_CLIENT})
"""Purposes whose private key may leave a store: gRPC wants it as PEM."""


@dataclass(frozen=True, slots=True, order=True)
class KeyRef:
    """The name of a key: whose, for what, and the how-manieth.

    Raises:
        InvalidArgumentError: An owner that could not be part of a file name
            (reason ``KEY_OWNER``), or a version outside 1…999,999
            (``KEY_VERSION``).
    """

    owner: str
    """A region code, an authority's credit code, or a role's name."""
    purpose: Purpose
    """What the key is for."""
    version: int = 1
    """From 1 upwards; rotation adds a version."""

    def __post_init__(self) -> None:
        if _OWNER.match(self.owner) is None:
            raise InvalidArgumentError(
                "a key's owner is 1 to 64 letters, digits, hyphens or underscores",
                reason="KEY_OWNER",
            )
        if isinstance(self.version, bool) or not 1 <= self.version <= MAX_VERSION:
            raise InvalidArgumentError(
                f"a key's version is 1 to {MAX_VERSION}", reason="KEY_VERSION"
            )

    def __str__(self) -> str:
        return f"{self.owner}.{self.purpose}.{self.version}"

    @classmethod
    def parse(cls, text: str) -> KeyRef:
        """Read what ``str(ref)`` wrote.

        Raises:
            InvalidArgumentError: Not three parts (reason ``KEY_NAME``), an
                unknown purpose (``KEY_PURPOSE``), or as for the class.
        """
        parts = text.split(".")
        if len(parts) != 3 or _VERSION.match(parts[2]) is None:
            raise InvalidArgumentError("a key's name is owner.purpose.version", reason="KEY_NAME")
        if parts[1] not in frozenset(Purpose):
            raise InvalidArgumentError(
                f"a key's purpose is one of {', '.join(Purpose)}", reason="KEY_PURPOSE"
            )
        return cls(parts[0], Purpose(parts[1]), int(parts[2]))


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be known of a key without using it."""

    ref: KeyRef
    """Its name."""
    kind: str
    """Its suite's name, or ``secret``."""
    created_at: datetime
    """When the store made it, UTC, to the second."""
    spki: bytes | None
    """DER SubjectPublicKeyInfo; ``None`` for a secret."""


class KeyStore(Protocol):
    """What every key store offers. Safe to share between threads.

    Every method raises `KeyStoreError` when the store cannot be read or
    written, and with reason ``KEY_NOT_FOUND`` when it has no such key.
    """

    def generate(self, ref: KeyRef, suite: Suite) -> Signer:
        """Make and store a key pair of ``suite`` under a name not yet taken.

        Raises:
            AlreadyExistsError: The name is taken (reason ``KEY_EXISTS``); the
                key that has it is untouched.
        """
        ...

    def signer(self, ref: KeyRef) -> Signer:
        """Return the signer of a stored key pair.

        Raises:
            KeyStoreError: It is a secret (reason ``KEY_KIND``).
        """
        ...

    def generate_secret(self, ref: KeyRef, *, size: int = 32) -> bytes:
        """Make, store and return ``size`` random bytes (16…4096).

        Raises:
            AlreadyExistsError: The name is taken (reason ``KEY_EXISTS``).
            InvalidArgumentError: A size out of bounds (``SECRET_SIZE``).
        """
        ...

    def secret(self, ref: KeyRef) -> bytes:
        """Return a stored secret.

        Raises:
            KeyStoreError: It is a key pair (reason ``KEY_KIND``).
        """
        ...

    def export(self, ref: KeyRef) -> bytes:
        """Return a key pair's unencrypted DER PKCS#8, for TLS purposes alone.

        Raises:
            KeyStoreError: Its purpose is another, or the store's hardware
                keeps it (reason ``KEY_NOT_EXPORTABLE``).
        """
        ...

    def list(self) -> tuple[KeyInfo, ...]:
        """Return what there is, ordered by name."""
        ...

    def destroy(self, ref: KeyRef) -> None:
        """Forget a key for good.

        Another process that has loaded the key keeps it until it ends:
        withdraw the key from the trust list first.
        """
        ...


@runtime_checkable
class KeyAdopter(Protocol):
    """A key store that also takes a key pair made elsewhere.

    Only for encryption keys, which a licensed authority makes: a signing key
    is made where it is used.
    """

    def adopt(self, ref: KeyRef, key: SigningKey) -> Signer:
        """Store a key pair under a name not yet taken.

        Raises:
            AlreadyExistsError: The name is taken (reason ``KEY_EXISTS``).
        """
        ...


def check_exportable(ref: KeyRef) -> None:
    """Refuse to let a private key out unless its purpose is TLS.

    Raises:
        KeyStoreError: Another purpose (reason ``KEY_NOT_EXPORTABLE``).
    """
    if ref.purpose not in EXPORTABLE:
        raise KeyStoreError(
            f"key {ref}: only TLS keys leave a key store; ask for its signer",
            reason="KEY_NOT_EXPORTABLE",
        )


def check_secret_size(size: int) -> None:
    """Refuse a secret too short to be one, or too long to be meant.

    Raises:
        InvalidArgumentError: Outside 16…4096 bytes (reason ``SECRET_SIZE``).
    """
    if not MIN_SECRET_BYTES <= size <= MAX_SECRET_BYTES:
        raise InvalidArgumentError(
            f"a secret is {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes", reason="SECRET_SIZE"
        )


def not_found(ref: KeyRef) -> KeyStoreError:
    """Return the error for a key that is not there."""
    return KeyStoreError(
        f"the key store has no key {ref}; generate it, or open the store that has it",
        reason="KEY_NOT_FOUND",
    )


def already_exists(ref: KeyRef) -> AlreadyExistsError:
    """Return the error for a name that is taken."""
    return AlreadyExistsError(
        f"the key store already has a key {ref}; use it, or generate the next version",
        reason="KEY_EXISTS",
    )


def wrong_kind(ref: KeyRef, wanted: str) -> KeyStoreError:
    """Return the error for a secret used as a key pair, or the reverse."""
    return KeyStoreError(f"key {ref} is not a {wanted}", reason="KEY_KIND")
