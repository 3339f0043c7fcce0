"""Reports as messages."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final

from google.protobuf.duration_pb2 import Duration

from yinxin_proto.v1.common_pb2 import LocalizedText
from yinxin_proto.v1.verification_pb2 import (
    Check,
    CheckOutcome,
    Indication,
    RecognitionHop,
)
from yinxin_proto.v1.verification_pb2 import Report as Message
from yinxin_trust.service.timestamp import of_ms
from yinxin_verifier.decision import STEPS
from yinxin_verifier.report import CheckResult, Outcome, Report, Text
from yinxin_verifier.report import Indication as Verdict

_INDICATIONS: Final = {
    verdict: Indication.Value(f"INDICATION_{verdict.name}") for verdict in Verdict
}
_OUTCOMES: Final = {
    outcome: CheckOutcome.Value(f"CHECK_OUTCOME_{outcome.name}") for outcome in Outcome
}


def _text(text: Text) -> LocalizedText:
    return LocalizedText(zh=text.zh, en=text.en)


# What is the same in every report, encoded once: a report is mostly this.
_STEPS: Final = {
    step.number: Check(
        number=step.number, name=step.name, title=_text(step.title), clause=step.clause
    ).SerializeToString()
    for step in STEPS
}


def report_message(report: Report) -> Message:
    """Return a report, every step of it, as a message."""
    message = Message(
        indication=_INDICATIONS[report.indication],
        sub_indication=report.sub_indication or "",
        code=report.code or "",
        reason=report.reason or "",
        text=_text(report.text),
        policy=report.policy,
        verify_time=of_ms(int(report.now.timestamp()) * 1000),
        at_time=of_ms(int(report.at.timestamp()) * 1000),
        path=[
            RecognitionHop(
                region=hop.region,
                domain=hop.domain,
                root_version=hop.root_version,
                trust_version=hop.trust_version,
                statement=hop.statement or "",
            )
            for hop in report.path
        ],
        checks=map(_check, report.checks),
        unverified_claims=json.dumps(
            dict(report.unverified_claims), ensure_ascii=False, separators=(",", ":")
        ).encode("utf-8", "replace"),
    )
    advice = report.advice
    if advice is not None:
        message.advice.zh, message.advice.en = advice
    return message


# Most checks of most reports say the same: what they say is made into a message once.
@lru_cache(maxsize=4096)
def _check(result: CheckResult) -> Check:
    message = Check.FromString(_STEPS[result.number])
    message.outcome = _OUTCOMES[result.outcome]
    if result.reason is not None:
        message.reason = result.reason
    text, evidence = message.text, message.evidence
    text.zh, text.en = result.text
    evidence.zh, evidence.en = result.evidence
    if result.age is not None:
        message.age.CopyFrom(Duration(seconds=int(result.age.total_seconds())))
    return message
