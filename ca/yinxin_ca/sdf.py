"""SM2 keys in a cryptographic machine (密码机) that speaks GM/T 0018.

The machine's own administrators make its key pairs, at numbered indexes; GM/T
0018 has no call that does. To `generate` a key here is to take the next index
of our range that holds a key nobody uses yet, to prove that it signs, and to
bind it to the key's name (`yinxin_ca.sdf_index`).

The digest e = SM3(Z ‖ M) is computed here, with the identity
``1234567812345678``; the machine signs it inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yinxin_ca.keystore import (
    EXPORTABLE,
    KeyInfo,
    KeyRef,
    already_exists,
    check_exportable,
    check_secret_size,
    not_found,
    wrong_kind,
)
from yinxin_ca.sdf_device import SdfDevice, SdfSession
from yinxin_ca.sdf_index import Binding, Bindings, IndexFile
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import KeyStoreError, MalformedError, VerificationError
from yinxin_proto.signature import PublicKey, Signer, Suite
from yinxin_proto.sm2 import SM2
from yinxin_proto.sm2curve import identity_hash
from yinxin_proto.sm2der import public_info, read_public_info
from yinxin_proto.sm3 import sm3

INDEX_FILE: Final = "sdf-index.json"
_PROOF_BYTES: Final = 32
_PROOF_PREFIX: Final = b"yinxin/proof-of-use/v1\0"


@dataclass(frozen=True, slots=True)
class IndexRange:
    """The key indexes of the machine that are ours, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


class SdfSigner:
    """Signs with a private key in the machine. Safe to share between threads.

    As with tokens, the first signature through every new session is verified.
    """

    def __init__(self, device: SdfDevice, index: int, public_key: PublicKey) -> None:
        self._device = device
        self._index = index
        self._public_key = public_key
        self._z = identity_hash(read_public_info(public_key.spki))

    @property
    def public_key(self) -> PublicKey:
        """The key under which the signatures verify."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Return r ‖ s.

        Raises:
            UnavailableError: The machine is not there (``SDF_GONE``) or has no
                session free (``SDF_BUSY``): nothing was signed, and the same
                call may be made again.
            WrongPassphraseError: It refused the access code (``SDF_CODE_WRONG``).
            KeyStoreError: No key there any more (``SDF_INDEX``), or its
                signature is not this key's (``SDF_FAULT``).
        """
        digest = sm3(self._z + message)

        def work(session: SdfSession) -> tuple[bytes, bool]:
            is_first = self._index not in session.rights
            self._device.require_right(session, self._index)
            signature = self._device.library.sign_digest(session.handle, self._index, digest)
            return signature, is_first

        signature, is_first = self._device.run(work, index=self._index)
        if is_first:
            self._check(signature, message)
        return signature

    def _check(self, signature: bytes, message: bytes) -> None:
        try:
            self._public_key.verify(signature, message)
        except VerificationError as error:
            raise KeyStoreError(
                f"the machine's signature under key index {self._index} does not verify: another "
                "key is there, or the machine is faulty; take it out of service",
                reason="SDF_FAULT",
            ) from error

    def __repr__(self) -> str:
        return f"SdfSigner(index {self._index})"


class SdfKeyStore:
    """A `KeyStore` in a machine; it holds SM2 key pairs alone.

    Args:
        device: The opened machine.
        directory: Holds the index file.
        indexes: The key indexes that are ours.
        clock: Dates bindings.
        entropy: Draws what a key must sign before it is bound.
    """

    def __init__(
        self,
        *,
        device: SdfDevice,
        directory: Path,
        indexes: IndexRange,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._device = device
        self._range = indexes
        self._clock = clock
        self._entropy = entropy
        self._file = IndexFile(directory / INDEX_FILE, entropy=entropy)
        self._signers: dict[KeyRef, SdfSigner] = {}

    def generate(self, ref: KeyRef, suite: Suite) -> Signer:
        """See `KeyStore.generate`: bind the name to a key that waits in the machine.

        Raises:
            KeyStoreError: Another suite than SM2 (``SUITE_NOT_IN_STORE``), a
                key that must be exportable (``KEY_NOT_EXPORTABLE``), or no key
                left in our range (``SDF_NO_KEY_LEFT``).
        """
        if ref.purpose in EXPORTABLE:
            raise _not_exportable(ref)
        if suite is not SM2:
            raise KeyStoreError(
                f"a cryptographic machine signs in SM2 here, not in {suite.name}; keep the keys of "
                "this purpose in another store, set in [keys] of region.toml",
                reason="SUITE_NOT_IN_STORE",
            )
        with self._file.change() as bindings:
            if ref in bindings.keys:
                raise already_exists(ref)
            signer, index = self._next(bindings)
            at = self._clock.now().replace(microsecond=0)
            bindings.keys[ref] = Binding(index, signer.public_key.spki, at)
        return self._signers.setdefault(ref, signer)

    def signer(self, ref: KeyRef) -> Signer:
        """See `KeyStore.signer`.

        Raises:
            KeyStoreError: Another key is at the index now (``KEY_CHANGED``).
        """
        cached = self._signers.get(ref)
        if cached is not None:
            return cached
        binding = self._file.read().keys.get(ref)
        if binding is None:
            raise not_found(ref)
        if self._public(binding.index).spki != binding.spki:
            raise KeyStoreError(
                f"key {ref}: the machine has another key at index {binding.index} than the one "
                "that was bound; restore the machine's backup, or rotate the key",
                reason="KEY_CHANGED",
            )
        signer = SdfSigner(self._device, binding.index, SM2.load_public(binding.spki))
        return self._signers.setdefault(ref, signer)

    def generate_secret(self, ref: KeyRef, *, size: int = 32) -> bytes:
        """See `KeyStore.generate_secret`: refused.

        Raises:
            KeyStoreError: Always (``SECRET_NOT_IN_STORE``).
        """
        check_secret_size(size)
        raise KeyStoreError(
            f"key {ref}: a cryptographic machine holds key pairs alone here; keep the secrets of "
            "this purpose in files or a token, set in [keys] of region.toml",
            reason="SECRET_NOT_IN_STORE",
        )

    def secret(self, ref: KeyRef) -> bytes:
        """See `KeyStore.secret`: there is none.

        Raises:
            KeyStoreError: Always (``KEY_KIND``, ``KEY_NOT_FOUND``).
        """
        raise wrong_kind(ref, "secret") if ref in self._file.read().keys else not_found(ref)

    def export(self, ref: KeyRef) -> bytes:
        """See `KeyStore.export`: nothing leaves a machine.

        Raises:
            KeyStoreError: Always (``KEY_NOT_EXPORTABLE``).
        """
        check_exportable(ref)
        raise _not_exportable(ref)

    def list(self) -> tuple[KeyInfo, ...]:
        """See `KeyStore.list`; the machine is asked for every key, so one that is gone shows."""
        keys = self._file.read().keys
        for ref in keys:
            self.signer(ref)
        self._device.run(lambda _: None)
        return tuple(
            KeyInfo(ref=ref, kind=SM2.name, created_at=keys[ref].created_at, spki=keys[ref].spki)
            for ref in sorted(keys)
        )

    def destroy(self, ref: KeyRef) -> None:
        """See `KeyStore.destroy`: unbind, for good.

        The key itself is destroyed with the machine's own tool.
        """
        with self._file.change() as bindings:
            binding = bindings.keys.pop(ref, None)
            if binding is None:
                raise not_found(ref)
            bindings.spent.add(binding.index)
        self._signers.pop(ref, None)

    def _next(self, bindings: Bindings) -> tuple[SdfSigner, int]:
        taken = {binding.spki for binding in bindings.keys.values()}
        for index in range(self._range.first, self._range.last + 1):
            if not bindings.is_free(index):
                continue
            try:
                public = self._public(index)
            except KeyStoreError as error:
                if error.reason == "SDF_INDEX":
                    continue
                raise
            if public.spki in taken:
                # One key at two indexes would be one key for two purposes.
                continue
            signer = SdfSigner(self._device, index, public)
            signer.sign(_PROOF_PREFIX + self._entropy.token(_PROOF_BYTES))
            return signer, index
        raise KeyStoreError(
            f"the cryptographic machine has no unused signing key at the indexes {self._range}; "
            "make SM2 signing key pairs with its own tool, or widen the range in region.toml",
            reason="SDF_NO_KEY_LEFT",
        )

    def _public(self, index: int) -> PublicKey:
        point = self._device.run(
            lambda session: self._device.library.public_point(session.handle, index), index=index
        )
        try:
            return SM2.load_public(public_info(point))
        except MalformedError as error:
            raise KeyStoreError(
                f"what the machine has at index {index} is not an SM2 key", reason="KEY_KIND"
            ) from error


def _not_exportable(ref: KeyRef) -> KeyStoreError:
    return KeyStoreError(
        f"key {ref}: no private key leaves a cryptographic machine, and gRPC needs this one; "
        "keep the keys of this purpose in files",
        reason="KEY_NOT_EXPORTABLE",
    )
