"""IssuanceService: licences that an authority approved, singly and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import grpc

from yinxin_proto.clock import Clock
from yinxin_proto.error import UnavailableError
from yinxin_proto.v1.issuance_pb2 import (
    BatchIssueLicencesRequest,
    BatchIssueLicencesResponse,
    IssueLicenceRequest,
)
from yinxin_proto.v1.issuance_pb2_grpc import IssuanceServiceServicer
from yinxin_proto.v1.licence_pb2 import Licence
from yinxin_trust.issuance import Issuance, IssueCommand
from yinxin_trust.namespace import Namespace
from yinxin_trust.receipt_waiter import UNSEEN, ReceiptWaiter
from yinxin_trust.record import LicenceRecord
from yinxin_trust.rows import milliseconds
from yinxin_trust.service.admission import Admission, Visit
from yinxin_trust.service.licence_message import licence_message

MAX_BATCH: Final = 1000
_MARGIN: Final = timedelta(milliseconds=50)
"""Left of the caller's deadline to say that the receipt is late."""


class IssuanceServicer(IssuanceServiceServicer):
    """Issues licences, and hands them out with their receipts.

    Args:
        admission: Who may call.
        issuance: Issues.
        receipts: Waits for receipts.
        patience: How long a call waits at most.
        namespace: The region's names.
        clock: The moment of the answer.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        issuance: Issuance,
        receipts: ReceiptWaiter,
        patience: timedelta,
        namespace: Namespace,
        clock: Clock,
    ) -> None:
        self._admission = admission
        self._issuance = issuance
        self._receipts = receipts
        self._patience = patience
        self._namespace = namespace
        self._clock = clock

    def IssueLicence(self, request: IssueLicenceRequest, context: grpc.ServicerContext) -> Licence:
        """Issue one licence."""
        with self._admission.admit(request.context) as visit:
            visit.form.present("request", request.request)
            return self._issue(visit, request, [request.request])[0]

    def BatchIssueLicences(
        self, request: BatchIssueLicencesRequest, context: grpc.ServicerContext
    ) -> BatchIssueLicencesResponse:
        """Issue many licences under one approval, all of them or none."""
        with self._admission.admit(request.context) as visit:
            if not 1 <= len(request.requests) <= MAX_BATCH:
                visit.form.refuse("requests", f"1 to {MAX_BATCH} are expected", "BATCH_SIZE")
            licences = self._issue(visit, request, request.requests)
            return BatchIssueLicencesResponse(licences=licences)

    def _issue(
        self,
        visit: Visit,
        request: IssueLicenceRequest | BatchIssueLicencesRequest,
        requests: Sequence[bytes],
    ) -> list[Licence]:
        form = visit.form
        form.parent(request.parent)
        form.request_id(request.request_id)
        form.present("approval", request.approval)
        form.check()
        # In this order: what was made after the second was committed after the first.
        seen, started_ms = self._receipts.seen, milliseconds(self._clock.now())
        records = self._issuance.issue(
            IssueCommand(
                caller=visit.caller,
                context=visit.context,
                request_id=request.request_id,
                requests=requests,
                approval=request.approval,
                snapshot=visit.snapshot,
            )
        )
        visit.recorded = True
        if request.return_immediately:
            now_ms = milliseconds(self._clock.now())
            return [licence_message(r, self._namespace, now_ms=now_ms) for r in records]
        # A repeated request finds what it made before: any head may cover that.
        is_new = records[0].created_ms > started_ms
        return self._with_receipts(visit, records, seen if is_new else UNSEEN)

    def _with_receipts(
        self, visit: Visit, records: Sequence[LicenceRecord], seen: int
    ) -> list[Licence]:
        patience = min(self._patience, visit.call.remaining - _MARGIN)
        try:
            found = self._receipts.wait(
                [record.entry for record in records], max(patience, timedelta(0)), since=seen
            )
        except UnavailableError as error:
            name = self._namespace.licence_name(records[0].identifier)
            raise UnavailableError(
                f"issued as {name} ({len(records)} in all), but the log's receipt is late; "
                "repeat the call with the same request_id to have it",
                reason=error.reason,
            ) from error
        now_ms = milliseconds(self._clock.now())
        return [
            licence_message(
                record,
                self._namespace,
                now_ms=now_ms,
                log_index=found[record.entry].index,
                file=record.file(found[record.entry]),
            )
            for record in records
        ]
