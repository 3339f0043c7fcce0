"""VerificationService: verdicts with everything that they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc

from yinxin_proto import identifier as identifiers
from yinxin_proto.v1.verification_pb2 import (
    BatchVerifyLicencesRequest,
    BatchVerifyLicencesResponse,
    PresentationRequest,
    Report,
    VerifyLicenceRequest,
)
from yinxin_proto.v1.verification_pb2_grpc import VerificationServiceServicer
from yinxin_trust.namespace import Namespace
from yinxin_trust.service.admission import Admission, Visit
from yinxin_trust.service.report_message import report_message
from yinxin_trust.verification import OnlineVerifier, Question, policy_named
from yinxin_verifier.examination import Request
from yinxin_verifier.report import Indication
from yinxin_verifier.report import Report as Verdict

MAX_BATCH: Final = 1000
MAX_PRESENTATION_BYTES: Final = 1 << 20


class VerificationServicer(VerificationServiceServicer):
    """Judges licences. One that fails is an answer, not an error.

    Args:
        admission: Who may call.
        verifier: Judges.
        namespace: The region's names.
    """

    def __init__(
        self, *, admission: Admission, verifier: OnlineVerifier, namespace: Namespace
    ) -> None:
        self._admission = admission
        self._namespace = namespace
        self._verifier = verifier

    def VerifyLicence(self, request: VerifyLicenceRequest, context: grpc.ServicerContext) -> Report:
        """Judge one licence."""
        with self._admission.admit(request.context) as visit:
            visit.form.present("presentation", request.presentation)
            asked = _request(visit, request.presentation_request)
            (verdict,) = self._judge(visit, request, [request.presentation], asked)
            if verdict.indication is Indication.TOTAL_PASSED:
                # Signed by an authority of ours: no caller's text stands on record.
                visit.resource(self._name(verdict))
            return report_message(verdict)

    def BatchVerifyLicences(
        self, request: BatchVerifyLicencesRequest, context: grpc.ServicerContext
    ) -> BatchVerifyLicencesResponse:
        """Judge many licences, each by itself."""
        with self._admission.admit(request.context) as visit:
            presentations = request.presentations
            if not 1 <= len(presentations) <= MAX_BATCH:
                visit.form.refuse("presentations", f"1 to {MAX_BATCH} are expected", "BATCH_SIZE")
            asked = _request(visit, PresentationRequest())
            verdicts = self._judge(visit, request, presentations, asked)
            visit.item_count = len(verdicts)
            return BatchVerifyLicencesResponse(reports=map(report_message, verdicts))

    def _name(self, verdict: Verdict) -> str:
        identifier = identifiers.parse(str(verdict.require_passed()["ZZBS"]))
        return self._namespace.licence_name(identifier)

    def _judge(
        self,
        visit: Visit,
        request: VerifyLicenceRequest | BatchVerifyLicencesRequest,
        presentations: Sequence[bytes],
        asked: Request,
    ) -> list[Verdict]:
        form = visit.form
        form.parent(request.parent)
        policy = form.read("policy", policy_named, request.policy)
        at = form.moment("at_time", request.at_time, given=request.HasField("at_time"))
        for place, presentation in enumerate(presentations):
            if len(presentation) > MAX_PRESENTATION_BYTES:
                form.refuse(f"presentations[{place}]", "more than 1 MiB", "TOO_LARGE")
        form.check()
        visit.resource(request.parent)
        return self._verifier.verify_many(
            presentations, Question(policy=policy.value, at=at, request=asked)
        )


def _request(visit: Visit, message: PresentationRequest) -> Request:
    """Return what the presentation is for: the call's purpose, unless it says another."""
    return Request(
        purpose=message.purpose or visit.context.purpose or None,
        audience=message.audience or None,
        nonce=message.nonce or None,
    )
