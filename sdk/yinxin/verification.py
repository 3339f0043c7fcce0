"""Verifying online: the region judges, its report comes back as a `Report`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from yinxin.context import Context
from yinxin.licence import moment, timestamp
from yinxin.presentation import Presentation, read_presentation
from yinxin.session import CallGroup
from yinxin.transport import BATCH_DEADLINE
from yinxin_proto.error import MalformedError
from yinxin_proto.strict import parse_json_object
from yinxin_proto.v1 import verification_pb2 as messages
from yinxin_proto.v1.common_pb2 import LocalizedText
from yinxin_proto.v1.verification_pb2_grpc import VerificationServiceStub
from yinxin_verifier.examination import Request
from yinxin_verifier.path import Hop, RecognitionPath
from yinxin_verifier.policy import ONLINE, Policy
from yinxin_verifier.reason import Finding, Outcome, Text
from yinxin_verifier.report import CheckResult, Indication, Report, SubIndication

MAX_BATCH: Final = 1000
MAX_BATCH_BYTES: Final = 8 << 20
"""Of the presentations in one call; a message may have twice as much."""
MAX_CLAIM_BYTES: Final = 1 << 20

_OUTCOMES: Final = {
    messages.CHECK_OUTCOME_PASSED: Outcome.PASSED,
    messages.CHECK_OUTCOME_FAILED: Outcome.FAILED,
    messages.CHECK_OUTCOME_UNDETERMINED: Outcome.UNDETERMINED,
    messages.CHECK_OUTCOME_NOT_APPLICABLE: Outcome.NOT_APPLICABLE,
    messages.CHECK_OUTCOME_NOT_RUN: Outcome.NOT_RUN,
}
_INDICATIONS: Final = {
    messages.INDICATION_TOTAL_PASSED: Indication.TOTAL_PASSED,
    messages.INDICATION_TOTAL_FAILED: Indication.TOTAL_FAILED,
    messages.INDICATION_INDETERMINATE: Indication.INDETERMINATE,
}
_DECIDED_BY: Final = {
    Indication.TOTAL_FAILED: Outcome.FAILED,
    Indication.INDETERMINATE: Outcome.UNDETERMINED,
}


class VerificationCalls(CallGroup):
    """Calls that verify online."""

    def verify(
        self,
        presentation: Presentation,
        *,
        context: Context,
        at: datetime | None = None,
        policy: Policy | str = ONLINE,
        request: Request | None = None,
    ) -> Report:
        """Have the region verify one licence. A licence that fails is a report too.

        Args:
            presentation: See `Presentation`.
            context: Why.
            at: The moment to judge validity and status at; now when omitted.
            policy: A named policy of the region.
            request: Audience and nonce, where the holder's key is bound.

        Raises:
            UnavailableError: The region could not be reached.
            InvalidArgumentError: An unknown policy, or a moment in the future.
        """
        message = messages.VerifyLicenceRequest(
            context=context.to_message(),
            parent=self._session.parent,
            presentation=read_presentation(presentation),
            policy=policy if isinstance(policy, str) else policy.name,
            at_time=None if at is None else timestamp(at),
        )
        if request is not None:
            message.presentation_request.CopyFrom(
                messages.PresentationRequest(
                    purpose=request.purpose or context.purpose,
                    audience=request.audience or "",
                    nonce=request.nonce or "",
                )
            )
        transport = self._session.transport
        method = transport.stub(VerificationServiceStub).VerifyLicence
        return read_report(transport.call(method, message))

    def verify_many(
        self,
        presentations: Sequence[Presentation],
        *,
        context: Context,
        at: datetime | None = None,
        policy: Policy | str = ONLINE,
        deadline: timedelta = BATCH_DEADLINE,
    ) -> list[Report]:
        """Have the region verify licences, each by itself; any number of them.

        Args:
            presentations: See `Presentation`; sent in batches.
            context: Of the whole.
            at: As `verify`.
            policy: As `verify`.
            deadline: Of each batch.

        Returns:
            The reports, in the order of the presentations.
        """
        transport = self._session.transport
        method = transport.stub(VerificationServiceStub).BatchVerifyLicences
        reports: list[Report] = []
        for batch in _batches(presentations):
            message = messages.BatchVerifyLicencesRequest(
                context=context.to_message(),
                parent=self._session.parent,
                presentations=batch,
                policy=policy if isinstance(policy, str) else policy.name,
                at_time=None if at is None else timestamp(at),
            )
            answer = transport.call(method, message, deadline=deadline)
            if len(answer.reports) != len(batch):
                raise MalformedError("the region left reports out", reason="REPORT")
            reports += map(read_report, answer.reports)
        return reports


def _batches(presentations: Sequence[Presentation]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for data in map(read_presentation, presentations):
        if batch and (len(batch) == MAX_BATCH or size + len(data) > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(data)
        size += len(data)
    if batch:
        yield batch


class RegionReport(Report):
    """A report that a region made, as its message said it.

    Args:
        finding: What decided; None when everything passed.
        message: The rest.
        claims: As presented.
        checks: Every step.
    """

    __slots__ = ("_claims", "_message")

    def __init__(
        self,
        finding: Finding | None,
        message: messages.Report,
        claims: Mapping[str, Any],
        checks: tuple[CheckResult, ...],
    ) -> None:
        # Not the base's: there is no examination here, the region has it.
        self._finding = finding
        self._checks = checks
        self._message = message
        self._claims = claims

    @property
    def now(self) -> datetime:
        """The moment of verification, UTC."""
        return moment(self._message.verify_time)

    @property
    def at(self) -> datetime:
        """The moment that validity and status were judged at, UTC."""
        return moment(self._message.at_time)

    @property
    def policy(self) -> str:
        """Name of the policy that was applied."""
        return self._message.policy

    @property
    def path(self) -> RecognitionPath:
        """From the region that judged to the issuing one; empty where it was not reached."""
        return tuple(map(_hop, self._message.path))

    @property
    def unverified_claims(self) -> Mapping[str, Any]:
        """The claims as presented, whatever the verdict; by this name alone."""
        return self._claims


def read_report(message: messages.Report) -> Report:
    """Return the report that a message carries.

    Raises:
        MalformedError: It says what this version does not know (``REPORT``):
            a verdict is never guessed.
    """
    try:
        checks = tuple(map(_check, message.checks))
        claims: dict[str, Any] = (
            parse_json_object(message.unverified_claims, max_bytes=MAX_CLAIM_BYTES)
            if message.unverified_claims
            else {}
        )
        return RegionReport(_finding(message, checks), message, claims, checks)
    except (KeyError, ValueError) as error:
        raise MalformedError(
            "the region's report says what this version does not know; update yinxin",
            reason="REPORT",
        ) from error


def _finding(message: messages.Report, checks: Sequence[CheckResult]) -> Finding | None:
    indication = _INDICATIONS[message.indication]
    if indication is Indication.TOTAL_PASSED:
        return None
    outcome = _DECIDED_BY[indication]
    # The report's own text wraps the finding's, which the check that decided has bare.
    text = next(
        (c.text for c in checks if c.outcome is outcome and c.reason == message.reason),
        _text(message.text),
    )
    return Finding(
        outcome,
        SubIndication(message.sub_indication),
        message.code,
        text,
        _text(message.advice),
        None if message.reason == message.code else message.reason,
    )


def _check(message: messages.Check) -> CheckResult:
    return CheckResult(
        number=message.number,
        name=message.name,
        title=_text(message.title),
        clause=message.clause,
        outcome=_OUTCOMES[message.outcome],
        reason=message.reason or None,
        text=_text(message.text),
        evidence=_text(message.evidence),
        age=message.age.ToTimedelta() if message.HasField("age") else None,
    )


def _hop(message: messages.RecognitionHop) -> Hop:
    return Hop(
        region=message.region,
        domain=message.domain,
        root_version=message.root_version,
        trust_version=message.trust_version,
        statement=message.statement or None,
    )


def _text(message: LocalizedText) -> Text:
    return Text(message.zh, message.en)
