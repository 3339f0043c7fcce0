"""Reading a region's log: checkpoints, receipts, proofs; and its status lists."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from yinxin.licence import moment, timestamp
from yinxin.session import CallGroup
from yinxin_proto import checkpoint, merkle
from yinxin_proto.checkpoint import UnverifiedCheckpoint
from yinxin_proto.merkle import TreeHead
from yinxin_proto.receipt import Receipt
from yinxin_proto.v1 import log_pb2
from yinxin_proto.v1.log_pb2_grpc import LogServiceStub
from yinxin_proto.v1.status_pb2 import GetStatusListRequest
from yinxin_proto.v1.status_pb2_grpc import StatusServiceStub

LICENCES: Final = "licences"
"""The log of licences, status changes and key events."""
USES: Final = "uses"
"""The log of grants and uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedStatusList:
    """A status list as its region signed it, nothing of it believed."""

    uri: str
    """URI of the list, as licences state it."""
    token: str
    """Compact JWS ``statuslist+jwt``."""
    issued_at: datetime
    """When it was signed, UTC."""
    expires_at: datetime
    """When it stops speaking, UTC."""
    log_size: int
    """Size of the log that it reflects."""


class LogCalls(CallGroup):
    """Calls about the log; what they return is public, and names nobody."""

    def checkpoint(self, log: str = LICENCES) -> UnverifiedCheckpoint:
        """Return the newest checkpoint of a log; verify it under the trust list's key."""
        request = log_pb2.GetCheckpointRequest(log=self._log(log))
        transport = self._session.transport
        answer = transport.call(transport.stub(LogServiceStub).GetCheckpoint, request)
        return checkpoint.parse(answer.note)

    def prove_inclusion(self, index: int, log: str = LICENCES) -> Receipt:
        """Return the receipt of the entry at ``index``, against a new checkpoint.

        Raises:
            NotFoundError: There is no such entry.
        """
        request = log_pb2.GetReceiptRequest(log=self._log(log), index=index)
        transport = self._session.transport
        answer = transport.call(transport.stub(LogServiceStub).GetReceipt, request)
        return Receipt.parse(answer.receipt)

    def prove_consistency(
        self, old: TreeHead, new: TreeHead, log: str = LICENCES
    ) -> tuple[bytes, ...]:
        """Ask for the proof that the log only grew from one tree to another, and check it.

        Args:
            old: An earlier head of the log, of at least one entry.
            new: A later one.
            log: Which log.

        Returns:
            The proof's hashes, which hold.

        Raises:
            VerificationError: They do not hold: the log has two histories.
        """
        request = log_pb2.GetConsistencyProofRequest(
            log=self._log(log), old_size=old.size, new_size=new.size
        )
        transport = self._session.transport
        answer = transport.call(transport.stub(LogServiceStub).GetConsistencyProof, request)
        proof = tuple(answer.hashes)
        merkle.verify_consistency(old, new, proof)
        return proof

    def status_list(self, uri: str, *, at: datetime | None = None) -> SignedStatusList:
        """Return a status list: the newest, or the one in force at a moment.

        Raises:
            NotFoundError: No such list, or none as early as that.
        """
        request = GetStatusListRequest(uri=uri, time=None if at is None else timestamp(at))
        transport = self._session.transport
        answer = transport.call(transport.stub(StatusServiceStub).GetStatusList, request)
        return SignedStatusList(
            uri=answer.uri,
            token=answer.token,
            issued_at=moment(answer.issue_time),
            expires_at=moment(answer.expire_time),
            log_size=answer.log_size,
        )

    def _log(self, log: str) -> str:
        return f"{self._session.parent}/logs/{log}"
