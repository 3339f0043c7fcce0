"""Keys on another machine, behind `SignerService` over mutual TLS.

Signing is safe to repeat, and is repeated by the channel when the signer
cannot be reached: nothing is stored but a line in its journal, and a second
signature of the same message takes nothing from the first. Making a key is not
repeated by us: when the answer was lost, the name is taken, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Final, TypeVar

import grpc

from yinxin_ca.keystore import (
    EXPORTABLE,
    KeyInfo,
    KeyRef,
    check_exportable,
    check_secret_size,
    not_found,
    wrong_kind,
)
from yinxin_edge.status import from_rpc_error
from yinxin_proto.error import (
    DeadlineExceededError,
    KeyStoreError,
    MalformedError,
    UnavailableError,
    VerificationError,
    YinxinError,
)
from yinxin_proto.signature import PublicKey, Signer, Suite
from yinxin_proto.suite import suite
from yinxin_proto.v1.signer_pb2 import (
    CreateSigningKeyRequest,
    DeleteSigningKeyRequest,
    GetSigningKeyRequest,
    ListSigningKeysRequest,
    SigningKey,
    SignRequest,
)
from yinxin_proto.v1.signer_pb2_grpc import SignerServiceStub

Q = TypeVar("Q")
R = TypeVar("R")

MAX_KEYS: Final = 100_000
"""More than any signer keeps for one caller."""
_PASSING: Final = frozenset({"GRPC_UNAVAILABLE", "GRPC_CANCELLED"})


class RemoteSigner:
    """Signs with a private key on another machine. Safe to share between threads.

    The first signature is verified, as with tokens: it would show a signer that
    answers for another key.
    """

    def __init__(self, store: RemoteKeyStore, ref: KeyRef, public_key: PublicKey) -> None:
        self._store = store
        self._ref = ref
        self._public_key = public_key
        self._is_tried = False

    @property
    def public_key(self) -> PublicKey:
        """The key under which the signatures verify."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Return a signature in the suite's JOSE form.

        Raises:
            UnavailableError: The signer cannot be reached (``SIGNER_UNREACHABLE``),
                or what it signs with cannot: the same call may be made again.
            DeadlineExceededError: It did not answer in time (``SIGNER_SLOW``);
                the same.
            PermissionDeniedError: It does not sign this for us.
            KeyStoreError: Its signature is not this key's (``SIGNER_FAULT``).
        """
        signature = self._store.sign(self._ref, message)
        if not self._is_tried:
            try:
                self._public_key.verify(signature, message)
            except VerificationError as error:
                raise KeyStoreError(
                    f"the remote signer's signature under {self._ref} does not verify: it answers "
                    "for another key, or is faulty; take it out of service",
                    reason="SIGNER_FAULT",
                ) from error
            self._is_tried = True
        return signature

    def __repr__(self) -> str:
        return f"RemoteSigner({self._ref})"


class RemoteKeyStore:
    """A `KeyStore` on another machine; it holds key pairs alone.

    Args:
        channel: From `yinxin_edge.channel.open_channel`, with our certificate.
        timeout: How long one call may take.
    """

    def __init__(self, *, channel: grpc.Channel, timeout: timedelta) -> None:
        self._stub = SignerServiceStub(channel)
        self._timeout = timeout.total_seconds()
        self._signers: dict[KeyRef, RemoteSigner] = {}

    def generate(self, ref: KeyRef, suite: Suite) -> Signer:
        """See `KeyStore.generate`.

        Raises:
            KeyStoreError: The key must be exportable (``KEY_NOT_EXPORTABLE``), or
                the signer made another (``SIGNER_FAULT``).
            PermissionDeniedError: We may not make such keys there.
        """
        if ref.purpose in EXPORTABLE:
            raise _not_exportable(ref)
        request = CreateSigningKeyRequest(name=str(ref), suite=suite.name)
        made = self._call(self._stub.CreateSigningKey, request)
        if made.suite != suite.name:
            raise KeyStoreError(
                f"the remote signer made {ref} in another suite than {suite.name}",
                reason="SIGNER_FAULT",
            )
        return self._keep(ref, made)

    def signer(self, ref: KeyRef) -> Signer:
        """See `KeyStore.signer`; looked up once."""
        cached = self._signers.get(ref)
        if cached is not None:
            return cached
        return self._keep(
            ref, self._call(self._stub.GetSigningKey, GetSigningKeyRequest(name=str(ref)))
        )

    def sign(self, ref: KeyRef, message: bytes) -> bytes:
        """Return a signature under a key there; see `RemoteSigner.sign`."""
        return self._call(self._stub.Sign, SignRequest(name=str(ref), message=message)).signature

    def generate_secret(self, ref: KeyRef, *, size: int = 32) -> bytes:
        """See `KeyStore.generate_secret`: refused.

        Raises:
            KeyStoreError: Always (``SECRET_NOT_IN_STORE``).
        """
        check_secret_size(size)
        raise KeyStoreError(
            f"key {ref}: a remote signer holds key pairs alone; keep the secrets of this purpose "
            "in files or a token, set in [keys] of region.toml",
            reason="SECRET_NOT_IN_STORE",
        )

    def secret(self, ref: KeyRef) -> bytes:
        """See `KeyStore.secret`: there is none.

        Raises:
            KeyStoreError: Always (``KEY_KIND``, ``KEY_NOT_FOUND``).
        """
        known = any(info.ref == ref for info in self.list())
        raise wrong_kind(ref, "secret") if known else not_found(ref)

    def export(self, ref: KeyRef) -> bytes:
        """See `KeyStore.export`: nothing leaves a signer.

        Raises:
            KeyStoreError: Always (``KEY_NOT_EXPORTABLE``).
        """
        check_exportable(ref)
        raise _not_exportable(ref)

    def list(self) -> tuple[KeyInfo, ...]:
        """See `KeyStore.list`: the keys of our purposes."""
        found: list[KeyInfo] = []
        token = ""
        while True:
            page = self._call(self._stub.ListSigningKeys, ListSigningKeysRequest(page_token=token))
            found += map(_info, page.keys)
            if not page.next_page_token:
                return tuple(found)
            if page.next_page_token == token or len(found) > MAX_KEYS or not page.keys:
                raise MalformedError("the signer's pages do not end", reason="PAGE_TOKEN")
            token = page.next_page_token

    def destroy(self, ref: KeyRef) -> None:
        """See `KeyStore.destroy`."""
        self._call(self._stub.DeleteSigningKey, DeleteSigningKeyRequest(name=str(ref)))
        self._signers.pop(ref, None)

    def _keep(self, ref: KeyRef, key: SigningKey) -> Signer:
        if key.name != str(ref):
            raise KeyStoreError(
                f"the remote signer answered for another key than {ref}", reason="SIGNER_FAULT"
            )
        signer = RemoteSigner(self, ref, suite(key.suite).load_public(key.spki))
        return self._signers.setdefault(ref, signer)

    def _call(self, method: Callable[..., R], request: object) -> R:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise _told(from_rpc_error(error)) from error


def _told(error: YinxinError) -> YinxinError:
    if error.reason in _PASSING:
        return UnavailableError(
            "the remote signer cannot be reached; it is not known to have signed, and the same "
            "call may be made again. See to it and to the network: the service goes on by itself",
            reason="SIGNER_UNREACHABLE",
        )
    if isinstance(error, DeadlineExceededError):
        return DeadlineExceededError(
            "the remote signer did not answer in time; the same call may be made again",
            reason="SIGNER_SLOW",
        )
    return error


def _info(key: SigningKey) -> KeyInfo:
    return KeyInfo(
        ref=KeyRef.parse(key.name),
        kind=key.suite,
        created_at=key.create_time.ToDatetime(UTC),
        spki=key.spki,
    )


def _not_exportable(ref: KeyRef) -> KeyStoreError:
    return KeyStoreError(
        f"key {ref}: no private key leaves a remote signer, and gRPC needs this one; keep the "
        "keys of this purpose in files",
        reason="KEY_NOT_EXPORTABLE",
    )
