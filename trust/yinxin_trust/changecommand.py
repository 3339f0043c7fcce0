"""What a caller asks for when a licence's state is to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from yinxin_trust.access import Principal
from yinxin_trust.context import CallContext
from yinxin_trust.intake import body_hash
from yinxin_trust.transition import Operation


@dataclass(frozen=True, slots=True)
class LicenceChange:
    """What is to be done to one licence."""

    body: str
    """``type.issuer.serial``."""
    change_request: bytes
    """The exact bytes that were approved."""
    etag: str = ""
    """The licence's etag as last seen; unchecked when empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChangeCommand:
    """One call: one operation on many licences, under one approval."""

    caller: Principal
    context: CallContext
    request_id: str
    operation: Operation
    changes: Sequence[LicenceChange]
    """In the order in which they were approved."""
    approval: str
    operator_certificate_hash: bytes | None = None
    """SHA-256 of the caller's TLS certificate, DER."""

    def body_hash(self) -> bytes:
        """Return the hash by which a repeated request is recognised.

        As `intake.body_hash`, without the nonces and the approval. The etag is
        left out too: it is a condition, not what is asked for.
        """
        digest = sha256(b"change\0" + self.operation.value.encode())
        for change in self.changes:
            digest.update(b"\0" + change.body.encode("utf-8", "surrogatepass"))
        digest.update(body_hash([change.change_request for change in self.changes]))
        return digest.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeCommand:
    """One call: one operation on one licence, under one approval."""

    caller: Principal
    context: CallContext
    request_id: str
    body: str
    operation: Operation
    change_request: bytes
    approval: str
    etag: str = ""
    operator_certificate_hash: bytes | None = None

    def batch(self) -> BatchChangeCommand:
        """Return the batch of one that it is."""
        return BatchChangeCommand(
            caller=self.caller,
            context=self.context,
            request_id=self.request_id,
            operation=self.operation,
            changes=(LicenceChange(self.body, self.change_request, self.etag),),
            approval=self.approval,
            operator_certificate_hash=self.operator_certificate_hash,
        )
