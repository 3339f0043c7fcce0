"""Keys in a PKCS#11 token: made in it, used in it, never out of it.

A key pair is two objects, a secret one. ``CKA_LABEL`` is the key's name
(``owner.purpose.version``); ``CKA_ID``, the same for both halves, is the name
with the time of its making and a random part. Objects under other labels are
not ours and are left alone.

A private key is ``CKA_SENSITIVE`` and not ``CKA_EXTRACTABLE``; one that is not
so is refused. A secret (an Ed25519 seed, an HMAC key, a key-encryption key) is
used in this process, so it can be read after login: the token protects it at
rest, and no longer once it is in use (decision 0013).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.constants import MechanismFlag
from pkcs11.exceptions import ObjectHandleInvalid
from pkcs11.types import SignMixin
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from yinxin_ca.keystore import (
    EXPORTABLE,
    SECRET_KIND,
    KeyInfo,
    KeyRef,
    already_exists,
    check_exportable,
    check_secret_size,
    not_found,
    wrong_kind,
)
from yinxin_ca.pkcs11_connection import Connection, TokenSession
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import (
    InvalidArgumentError,
    KeyStoreError,
    MalformedError,
    UnavailableError,
    VerificationError,
)
from yinxin_proto.signature import PublicKey, Signer, Suite
from yinxin_proto.suite import ES256

_SIGNATURE_BYTES: Final = 64
_P256: Final = encode_named_curve_parameters("secp256r1")
_PRIVATE: Final = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.DERIVE: False,
}


_SECRET: Final = {
    Attribute.CLASS: ObjectClass.SECRET_KEY,
    Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: False,
    Attribute.EXTRACTABLE: True,
}
_KINDS: Final = (ObjectClass.PRIVATE_KEY, ObjectClass.SECRET_KEY)
_MAX_SECONDS_DIGITS: Final = 11


@dataclass(frozen=True, slots=True)
class _Found:
    """What a name stands for in the token."""

    info: KeyInfo
    key: Any
    """A private or a secret key object of python-pkcs11."""


class TokenSigner:
    """Signs with a private key in the token. Safe to share between threads.

    The first signature through every new session is verified: it would show
    another key under the name, or a device that computes wrongly. Verifying
    all would cost more than the signing (decision 0013); what stands for
    long, certificates and lists, is verified by `yinxin_ca.authority`.
    """

    def __init__(self, connection: Connection, ref: KeyRef, public_key: PublicKey) -> None:
        self._connection = connection
        self._ref = ref
        self._name = str(ref)
        self._public_key = public_key

    @property
    def public_key(self) -> PublicKey:
        """The key under which the signatures verify."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Return r ‖ s.

        Raises:
            UnavailableError: The token is not there, or without the key
                (``TOKEN_GONE``): nothing was signed, and the same call may be
                made again.
            KeyStoreError: The signature is not this key's (``TOKEN_FAULT``).
        """
        digest = sha256(message).digest()

        def work(session: TokenSession) -> tuple[bytes, bool]:
            key = session.keys.get(self._name)
            if key is not None:
                return key.sign(digest, mechanism=Mechanism.ECDSA), False
            key = _private_key(session.session, self._ref)
            signature = key.sign(digest, mechanism=Mechanism.ECDSA)
            session.keys[self._name] = key
            return signature, True

        try:
            signature, is_first = self._connection.run(work, is_known=True)
        except KeyStoreError as error:
            if error.reason != "KEY_NOT_FOUND":
                raise
            # It was there: a token that is just being pulled out says this too.
            raise UnavailableError(
                f"the token {self._connection.address.label} does not answer for {self._ref}, or "
                "no longer has it; nothing was signed",
                reason="TOKEN_GONE",
            ) from error
        if is_first or len(signature) != _SIGNATURE_BYTES:
            self._check(signature, message)
        return signature

    def _check(self, signature: bytes, message: bytes) -> None:
        try:
            self._public_key.verify(signature, message)
        except VerificationError as error:
            raise KeyStoreError(
                f"the token's signature under {self._ref} does not verify: another key has its "
                "name, or the device is faulty; take it out of service",
                reason="TOKEN_FAULT",
            ) from error

    def __repr__(self) -> str:
        return f"TokenSigner({self._ref})"


class Pkcs11KeyStore:
    """A `KeyStore` in a token.

    Args:
        connection: From `yinxin_ca.pkcs11_connection.connect`.
        clock: Dates new keys.
        entropy: Makes secrets; key pairs are made by the token.
    """

    def __init__(self, *, connection: Connection, clock: Clock, entropy: Entropy) -> None:
        self._connection = connection
        self._clock = clock
        self._entropy = entropy
        self._signers: dict[KeyRef, TokenSigner] = {}
        self._secrets: dict[KeyRef, bytes] = {}

    def generate(self, ref: KeyRef, suite: Suite) -> Signer:
        """See `KeyStore.generate`.

        Raises:
            KeyStoreError: The token cannot hold keys of this suite
                (``SUITE_NOT_IN_STORE``), or the key must be exportable
                (``KEY_NOT_EXPORTABLE``).
        """
        self._check_possible(ref, suite)
        key_id = self._key_id(ref)

        def work(session: TokenSession) -> bytes:
            _require_free(session.session, ref)
            parameters = session.session.create_domain_parameters(
                KeyType.EC, {Attribute.EC_PARAMS: _P256}, local=True
            )
            public, private = parameters.generate_keypair(
                id=key_id,
                label=str(ref),
                store=True,
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                private_template=_PRIVATE,
            )
            _give_way(session.session, ref, private, public)
            return bytes(encode_ec_public_key(public))

        # Not repeated: whether a first attempt made the key would not be known.
        with self._connection.changing:
            spki = self._connection.run(work, repeat=False)
        # Not looked up by name: who gives way to us may not have done so yet.
        return self._keep_signer(ref, spki)

    def signer(self, ref: KeyRef) -> Signer:
        """See `KeyStore.signer`; looked up once."""
        cached = self._signers.get(ref)
        if cached is not None:
            return cached
        info = self._find(ref).info
        if info.spki is None:
            raise wrong_kind(ref, "key pair")
        return self._keep_signer(ref, info.spki)

    def generate_secret(self, ref: KeyRef, *, size: int = 32) -> bytes:
        """See `KeyStore.generate_secret`."""
        check_secret_size(size)
        secret = self._entropy.token(size)
        template = {
            **_SECRET,
            Attribute.LABEL: str(ref),
            Attribute.ID: self._key_id(ref),
            Attribute.VALUE: secret,
        }

        def work(session: TokenSession) -> None:
            _require_free(session.session, ref)
            _give_way(session.session, ref, session.session.create_object(template))

        with self._connection.changing:
            self._connection.run(work, repeat=False)
        return self._secrets.setdefault(ref, secret)

    def secret(self, ref: KeyRef) -> bytes:
        """See `KeyStore.secret`; read once."""
        cached = self._secrets.get(ref)
        if cached is not None:
            return cached

        def work(session: TokenSession) -> bytes:
            found = _lookup(session.session, ref)
            if found.info.spki is not None:
                raise wrong_kind(ref, "secret")
            return bytes(found.key[Attribute.VALUE])

        return self._secrets.setdefault(ref, self._connection.run(work))

    def export(self, ref: KeyRef) -> bytes:
        """See `KeyStore.export`: nothing leaves a token.

        Raises:
            KeyStoreError: Always (``KEY_NOT_EXPORTABLE``).
        """
        check_exportable(ref)
        raise _not_exportable(ref)

    def list(self) -> tuple[KeyInfo, ...]:
        """See `KeyStore.list`."""

        def work(session: TokenSession) -> tuple[KeyInfo, ...]:
            labels = {
                str(item[Attribute.LABEL])
                for kind in _KINDS
                for item in session.session.get_objects({Attribute.CLASS: kind})
            }
            refs = sorted(ref for ref in map(_ref_of, labels) if ref is not None)
            return tuple(_lookup(session.session, ref).info for ref in refs)

        return self._connection.run(work)

    def destroy(self, ref: KeyRef) -> None:
        """See `KeyStore.destroy`."""
        self._find(ref)

        def work(session: TokenSession) -> None:
            # The private half first: cut short here, the key is gone all the same.
            key = _lookup(session.session, ref).key
            key_id = key[Attribute.ID]
            key.destroy()
            for half in session.session.get_objects(
                {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: key_id}
            ):
                half.destroy()

        with self._connection.changing:
            self._connection.run(work, repeat=False)
        self._signers.pop(ref, None)
        self._secrets.pop(ref, None)

    def _find(self, ref: KeyRef) -> _Found:
        return self._connection.run(lambda session: _lookup(session.session, ref))

    def _keep_signer(self, ref: KeyRef, spki: bytes) -> Signer:
        signer = TokenSigner(self._connection, ref, ES256.load_public(spki))
        return self._signers.setdefault(ref, signer)

    def _check_possible(self, ref: KeyRef, suite: Suite) -> None:
        if ref.purpose in EXPORTABLE:
            raise _not_exportable(ref)
        has_ecdsa = int(Mechanism.ECDSA) in self._connection.mechanisms()
        if suite is not ES256 or not has_ecdsa:
            raise KeyStoreError(
                f"the token {self._connection.address.label} cannot sign in the suite "
                f"{suite.name} (PKCS#11 store: ES256 by CKM_ECDSA); keep the keys of this "
                "purpose in another store, set in [keys] of region.toml",
                reason="SUITE_NOT_IN_STORE",
            )

    def _key_id(self, ref: KeyRef) -> bytes:
        seconds = int(self._clock.now().timestamp())
        return f"{ref}@{seconds}.{self._entropy.token(8).hex()}".encode("ascii")


def _require_free(session: pkcs11.Session, ref: KeyRef) -> None:
    if any(_objects(session, kind, ref) for kind in _KINDS):
        raise already_exists(ref)


def _give_way(session: pkcs11.Session, ref: KeyRef, *made: pkcs11.Object) -> None:
    """Destroy what was just made if another process took the name meanwhile.

    A token does not keep names apart. Whoever finds two keys destroys its own;
    of two at the very same moment both may, so there is never a second one.
    """
    try:
        is_alone = sum(len(_objects(session, kind, ref)) for kind in _KINDS) == 1
    except ObjectHandleInvalid:
        # One was destroyed while we looked: the other process is giving way too.
        is_alone = False
    if not is_alone:
        for item in made:
            item.destroy()
        raise already_exists(ref)


def _lookup(session: pkcs11.Session, ref: KeyRef) -> _Found:
    found = [item for kind in _KINDS for item in _objects(session, kind, ref)]
    if not found:
        raise not_found(ref)
    if len(found) > 1:
        raise KeyStoreError(
            f"the token has {len(found)} keys named {ref}; remove the one that is not ours",
            reason="KEY_AMBIGUOUS",
        )
    key = found[0]
    is_secret = key.object_class is ObjectClass.SECRET_KEY
    if not is_secret:
        _require_guarded(key, ref)
    info = KeyInfo(
        ref=ref,
        kind=SECRET_KIND if is_secret else ES256.name,
        created_at=_created_at(key),
        spki=None if is_secret else _spki(session, ref, bytes(key[Attribute.ID])),
    )
    return _Found(info, key)


def _private_key(session: pkcs11.Session, ref: KeyRef) -> SignMixin:
    found = _lookup(session, ref).key
    if not isinstance(found, SignMixin):
        raise wrong_kind(ref, "key pair")
    return found


def _require_guarded(key: pkcs11.Object, ref: KeyRef) -> None:
    if not key[Attribute.SENSITIVE] or key[Attribute.EXTRACTABLE]:
        raise KeyStoreError(
            f"key {ref} can be read out of the token; it may be elsewhere too. Do not use it: "
            "generate the next version",
            reason="KEY_EXTRACTABLE",
        )


def _spki(session: pkcs11.Session, ref: KeyRef, key_id: bytes) -> bytes:
    # By the pair's own identifier: a power cut may have left halves of others.
    wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: key_id}
    found = session.get_objects(wanted)
    halves = [item for item in found if isinstance(item, pkcs11.PublicKey)]
    if not halves and not any(_objects(session, ObjectClass.PRIVATE_KEY, ref)):
        # The private half was there a moment ago: it is the token that went.
        raise not_found(ref)
    if len(halves) != 1:
        raise KeyStoreError(
            f"key {ref} has {len(halves)} public halves in the token instead of one; restore "
            "the token from its backup",
            reason="KEY_INCOMPLETE",
        )
    try:
        # Through the suite: a key of another curve is none of ours.
        return ES256.load_public(bytes(encode_ec_public_key(halves[0]))).spki
    except MalformedError as error:
        raise KeyStoreError(
            f"key {ref} in the token is not a P-256 key", reason="KEY_KIND"
        ) from error


def _created_at(key: pkcs11.Object) -> datetime:
    seconds = bytes(key[Attribute.ID]).rpartition(b"@")[2].partition(b".")[0]
    # A key that was brought in by another tool has no date of ours.
    known = seconds.isdigit() and len(seconds) <= _MAX_SECONDS_DIGITS
    return datetime.fromtimestamp(int(seconds) if known else 0, UTC)


def _objects(session: pkcs11.Session, kind: ObjectClass, ref: KeyRef) -> list[pkcs11.Object]:
    return list(session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: str(ref)}))


def _ref_of(label: str) -> KeyRef | None:
    try:
        return KeyRef.parse(label)
    except InvalidArgumentError:
        return None


def _not_exportable(ref: KeyRef) -> KeyStoreError:
    return KeyStoreError(
        f"key {ref}: no private key leaves a token, and gRPC needs this one; keep the keys "
        "of this purpose in files",
        reason="KEY_NOT_EXPORTABLE",
    )
