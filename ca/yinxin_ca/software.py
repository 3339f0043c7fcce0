"""A key store that holds keys in this process, over any shelf for bytes.

What kinds of keys there are, what may be exported and what is cached is
decided here once; a shelf (memory, `yinxin_ca.keyfile`) only keeps material
under names. Python cannot wipe memory: whoever can read this process's memory
has its keys. Keys that must survive that belong in hardware.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from yinxin_ca.keystore import (
    SECRET_KIND,
    KeyInfo,
    KeyRef,
    already_exists,
    check_exportable,
    check_secret_size,
    not_found,
    wrong_kind,
)
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.mldsa import ML_DSA_44
from yinxin_proto.signature import Signer, SigningKey, Suite
from yinxin_proto.suite import suite as suite_named


@dataclass(frozen=True, slots=True)
class Material:
    """A key and what may be known of it."""

    info: KeyInfo
    """The public part."""
    content: bytes = field(repr=False)
    """Unencrypted DER PKCS#8, or the secret itself."""


class Shelf(Protocol):
    """Where material is kept, each under its own name, never replaced."""

    def put(self, material: Material) -> None:
        """Keep material under a new name, durably before returning.

        Raises:
            AlreadyExistsError: The name is taken (reason ``KEY_EXISTS``).
        """
        ...

    def get(self, ref: KeyRef) -> Material:
        """Return what is kept under ``ref``.

        Raises:
            KeyStoreError: Nothing (reason ``KEY_NOT_FOUND``), or unreadable.
        """
        ...

    def names(self) -> tuple[KeyRef, ...]:
        """Return every name in use."""
        ...

    def remove(self, ref: KeyRef) -> None:
        """Drop what is kept under ``ref``; raises as ``get`` does."""
        ...


class MemoryShelf:
    """A shelf that ends with the process."""

    def __init__(self) -> None:
        self._kept: dict[KeyRef, Material] = {}

    def put(self, material: Material) -> None:
        """See `Shelf.put`."""
        # setdefault is one step under the interpreter's lock: of two threads, one wins.
        if self._kept.setdefault(material.info.ref, material) is not material:
            raise already_exists(material.info.ref)

    def get(self, ref: KeyRef) -> Material:
        """See `Shelf.get`."""
        material = self._kept.get(ref)
        if material is None:
            raise not_found(ref)
        return material

    def names(self) -> tuple[KeyRef, ...]:
        """See `Shelf.names`."""
        return tuple(self._kept)

    def remove(self, ref: KeyRef) -> None:
        """See `Shelf.remove`."""
        if self._kept.pop(ref, None) is None:
            raise not_found(ref)


class SoftwareKeyStore:
    """A `KeyStore` whose signers work in this process.

    Args:
        shelf: Keeps the material.
        clock: Dates new keys.
        entropy: Makes secrets; key pairs come from their suite's library.
    """

    def __init__(self, *, shelf: Shelf, clock: Clock, entropy: Entropy) -> None:
        self._shelf = shelf
        self._clock = clock
        self._entropy = entropy
        self._signers: dict[KeyRef, SigningKey] = {}
        self._secrets: dict[KeyRef, bytes] = {}

    def generate(self, ref: KeyRef, suite: Suite) -> Signer:
        """See `KeyStore.generate`."""
        key = suite.generate()
        info = self._info(ref, kind=suite.name, spki=key.public_key.spki)
        # Stored before it is handed out: nothing may be signed by a key that
        # a power cut could still make us forget.
        self._shelf.put(Material(info, key.to_pkcs8()))
        return self._signers.setdefault(ref, key)

    def adopt(self, ref: KeyRef, key: SigningKey) -> Signer:
        """See `KeyAdopter.adopt`."""
        info = self._info(ref, kind=key.public_key.suite.name, spki=key.public_key.spki)
        self._shelf.put(Material(info, key.to_pkcs8()))
        return self._signers.setdefault(ref, key)

    def signer(self, ref: KeyRef) -> Signer:
        """See `KeyStore.signer`; loaded once, then from memory."""
        return self._key(ref)

    def generate_secret(self, ref: KeyRef, *, size: int = 32) -> bytes:
        """See `KeyStore.generate_secret`."""
        check_secret_size(size)
        secret = self._entropy.token(size)
        self._shelf.put(Material(self._info(ref, kind=SECRET_KIND, spki=None), secret))
        return self._secrets.setdefault(ref, secret)

    def secret(self, ref: KeyRef) -> bytes:
        """See `KeyStore.secret`; loaded once, then from memory."""
        cached = self._secrets.get(ref)
        if cached is not None:
            return cached
        material = self._shelf.get(ref)
        if material.info.kind != SECRET_KIND:
            raise wrong_kind(ref, "secret")
        return self._secrets.setdefault(ref, material.content)

    def export(self, ref: KeyRef) -> bytes:
        """See `KeyStore.export`."""
        check_exportable(ref)
        return self._key(ref).to_pkcs8()

    def list(self) -> tuple[KeyInfo, ...]:
        """See `KeyStore.list`; every key is opened, so a damaged one shows."""
        return tuple(self._shelf.get(ref).info for ref in sorted(self._shelf.names()))

    def destroy(self, ref: KeyRef) -> None:
        """See `KeyStore.destroy`."""
        self._shelf.remove(ref)
        self._signers.pop(ref, None)
        self._secrets.pop(ref, None)

    def _key(self, ref: KeyRef) -> SigningKey:
        cached = self._signers.get(ref)
        if cached is not None:
            return cached
        material = self._shelf.get(ref)
        if material.info.kind == SECRET_KIND:
            raise wrong_kind(ref, "key pair")
        key = _codec(material.info.kind).load_private(material.content)
        return self._signers.setdefault(ref, key)

    def _info(self, ref: KeyRef, *, kind: str, spki: bytes | None) -> KeyInfo:
        created_at = self._clock.now().replace(microsecond=0)
        return KeyInfo(ref=ref, kind=kind, created_at=created_at, spki=spki)


def _codec(kind: str) -> Suite:
    # No licence is signed with it, so it is not among the suites.
    return ML_DSA_44 if kind == ML_DSA_44.name else suite_named(kind)


def in_memory_key_store(*, clock: Clock, entropy: Entropy) -> SoftwareKeyStore:
    """Return an empty store that ends with the process: for tests and demos."""
    return SoftwareKeyStore(shelf=MemoryShelf(), clock=clock, entropy=entropy)
