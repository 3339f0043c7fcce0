"""SignerService: key pairs that others may use, each caller for its purposes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from yinxin_ca.keystore import SECRET_KIND, KeyInfo, KeyRef, KeyStore, Purpose
from yinxin_ca.signer_journal import Act, SignerJournal
from yinxin_edge.call import current_call
from yinxin_edge.server import Service
from yinxin_proto.error import InvalidArgumentError, PermissionDeniedError
from yinxin_proto.suite import suite
from yinxin_proto.v1 import signer_pb2
from yinxin_proto.v1.signer_pb2 import (
    CreateSigningKeyRequest,
    DeleteSigningKeyRequest,
    GetSigningKeyRequest,
    ListSigningKeysRequest,
    ListSigningKeysResponse,
    SigningKey,
    SignRequest,
    SignResponse,
)
from yinxin_proto.v1.signer_pb2_grpc import (
    SignerServiceServicer,
    add_SignerServiceServicer_to_server,
)

MAX_MESSAGE_BYTES: Final = 1 << 20
DEFAULT_PAGE: Final = 200
MAX_PAGE: Final = 1000
OWN: Final = "signer"
"""Owner of the signer's own keys, which serve no caller: whoever signs with its
TLS anchor could pose as the signer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What one client may have done.

    A certificate that names the client is not enough: it is pinned.
    """

    certificate_hash: bytes
    """SHA-256 of the one certificate that it shows."""
    purposes: frozenset[Purpose]
    """Whose keys it may use."""
    may_manage: bool = False
    """Whether it may also make and destroy such keys."""


class SignerServicer(SignerServiceServicer):
    """Serves a key store.

    Args:
        store: Where the keys are.
        journal: What was done with them.
        callers: By the identifier in their certificate.
    """

    def __init__(
        self, *, store: KeyStore, journal: SignerJournal, callers: Mapping[str, Caller]
    ) -> None:
        self._store = store
        self._journal = journal
        self._callers = dict(callers)

    def Sign(self, request: SignRequest, context: grpc.ServicerContext) -> SignResponse:
        """Sign a message; the journal has it before the caller does."""
        ref, _ = self._admit(request.name)
        if not request.message or len(request.message) > MAX_MESSAGE_BYTES:
            raise InvalidArgumentError("a message is 1 byte to 1 MiB", reason="MESSAGE_SIZE")
        signer = self._store.signer(ref)
        current_call().check_deadline()
        self._record("sign", ref, request.message)
        return SignResponse(signature=signer.sign(request.message))

    def GetSigningKey(
        self, request: GetSigningKeyRequest, context: grpc.ServicerContext
    ) -> SigningKey:
        """Look up a key pair's public half."""
        ref, _ = self._admit(request.name)
        key = self._store.signer(ref).public_key
        return SigningKey(name=str(ref), suite=key.suite.name, spki=key.spki)

    def ListSigningKeys(
        self, request: ListSigningKeysRequest, context: grpc.ServicerContext
    ) -> ListSigningKeysResponse:
        """List the key pairs of the caller's purposes."""
        caller = self._caller()
        if not 0 <= request.page_size <= MAX_PAGE:
            raise InvalidArgumentError(f"page_size is 0 to {MAX_PAGE}", reason="PAGE_SIZE")
        after = KeyRef.parse(request.page_token) if request.page_token else None
        infos = [
            info
            for info in self._store.list()
            if info.kind != SECRET_KIND
            and info.ref.owner != OWN
            and info.ref.purpose in caller.purposes
            and (after is None or info.ref > after)
        ]
        size = request.page_size or DEFAULT_PAGE
        page = infos[:size]
        token = str(page[-1].ref) if len(infos) > size else ""
        return ListSigningKeysResponse(keys=map(_key, page), next_page_token=token)

    def CreateSigningKey(
        self, request: CreateSigningKeyRequest, context: grpc.ServicerContext
    ) -> SigningKey:
        """Make a key pair under a name not yet taken."""
        ref, caller = self._admit(request.name)
        self._require_manager(caller)
        wanted = suite(request.suite)
        # Before and after: no key is there that the journal has not heard of.
        self._record("create", ref, wanted.name.encode("utf-8"))
        key = self._store.generate(ref, wanted).public_key
        self._record("created", ref, key.spki)
        return SigningKey(name=str(ref), suite=key.suite.name, spki=key.spki)

    def DeleteSigningKey(
        self, request: DeleteSigningKeyRequest, context: grpc.ServicerContext
    ) -> Empty:
        """Destroy a key pair for good."""
        ref, caller = self._admit(request.name)
        self._require_manager(caller)
        self._record("delete", ref, self._store.signer(ref).public_key.spki)
        self._store.destroy(ref)
        return Empty()

    def _caller(self) -> Caller:
        principal = current_call().principal
        caller = self._callers.get(principal.identifier)
        if caller is None or caller.certificate_hash != principal.certificate_hash:
            raise PermissionDeniedError(
                "this signer does not know the caller's certificate; enrol it with: "
                "yinxin signer client",
                reason="SIGNER_CALLER",
            )
        return caller

    def _admit(self, name: str) -> tuple[KeyRef, Caller]:
        caller, ref = self._caller(), KeyRef.parse(name)
        if ref.owner == OWN:
            raise PermissionDeniedError(
                "these are the signer's own keys; nobody signs with them from outside",
                reason="SIGNER_OWN",
            )
        if ref.purpose not in caller.purposes:
            raise PermissionDeniedError(
                f"the caller may not use keys for {ref.purpose}; the signer's administrator "
                "decides that in signer.toml",
                reason="SIGNER_PURPOSE",
            )
        return ref, caller

    def _require_manager(self, caller: Caller) -> None:
        if not caller.may_manage:
            raise PermissionDeniedError(
                "the caller may sign, and neither make keys nor destroy them",
                reason="SIGNER_MANAGE",
            )

    def _record(self, kind: str, ref: KeyRef, content: bytes) -> None:
        principal = current_call().principal.identifier
        self._journal.record(Act(kind, ref, principal, sha256(content).digest()))


def signer_service(servicer: SignerServicer) -> Service:
    """Return the service, ready to be registered."""
    return Service(
        descriptor=signer_pb2.DESCRIPTOR.services_by_name["SignerService"],
        servicer=servicer,
        register=add_SignerServiceServicer_to_server,
    )


def _key(info: KeyInfo) -> SigningKey:
    made = Timestamp()
    made.FromDatetime(info.created_at)
    return SigningKey(name=str(info.ref), suite=info.kind, spki=info.spki or b"", create_time=made)
