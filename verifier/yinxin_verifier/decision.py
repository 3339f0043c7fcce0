"""The verdict: a loop over numbered steps, pure and deterministic.

The same evidence, policy and moments always give the same report. Nothing here
reads a file, a socket or a clock. A licence that fails is a result, not an
exception; an exception means that the question could not be asked.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Final

from yinxin_proto.error import InvalidArgumentError
from yinxin_verifier import (
    account,
    authority,
    binding,
    existence,
    keystate,
    presentation,
    reason,
    recognition,
    validity,
)
from yinxin_verifier.evidence import Evidence
from yinxin_verifier.examination import Examination, Request
from yinxin_verifier.policy import Policy
from yinxin_verifier.reason import Finding, Outcome, Text
from yinxin_verifier.report import Report
from yinxin_verifier.step import Check, Ground, Step

__all__ = ["STEPS", "Evidence", "Request", "Step", "steps_table", "verify"]

_r = reason


def _order(
    *rows: tuple[str, Text, str, Check, Ground, tuple[Finding, ...], str],
) -> tuple[Step, ...]:
    """Number the steps, and turn the names of what each builds on into bits."""
    bits: dict[str, int] = {}
    steps = []
    for number, (name, title, clause, check, grounds, findings, needs) in enumerate(rows, start=1):
        steps.append(
            Step(
                number=number,
                name=name,
                title=title,
                clause=clause,
                check=check,
                findings=findings,
                requires=sum(bits[needed] for needed in needs.split()),
                grounds=grounds,
                bit=1 << number,
            )
        )
        bits[name] = 1 << number
    return tuple(steps)


STEPS: Final = _order(
    (
        "format",
        Text("文件格式", "file format"),
        "RFC 9901 §4, RFC 7515 §7.1",
        presentation.check_format,
        presentation.ground_format,
        (_r.FORMAT,),
        "",
    ),
    (
        "type",
        Text("凭证与证照类型", "token and licence type"),
        "SD-JWT VC §2.2 (typ, vct), RFC 8725 §3.11",
        presentation.check_type,
        presentation.ground_type,
        (_r.TOKEN_TYPE, _r.LICENCE_TYPE),
        "format",
    ),
    (
        "region",
        Text("颁发地区互认", "recognition of the issuing region"),
        "design §7",
        recognition.check_region,
        recognition.ground_region,
        (_r.ISSUER, _r.REGION),
        "format type",
    ),
    (
        "freshness",
        Text("信任列表有效期", "currency of the trust list"),
        "TUF §5.3.10, §5.6.6; design §7",
        recognition.check_freshness,
        recognition.ground_freshness,
        (_r.TRUST_EXPIRED, _r.TRUST_STALE),
        "region",
    ),
    (
        "key",
        Text("签发密钥在信任列表中", "issuer's key in the trust list"),
        "design §6; EN 319 102-1 §5.2.3",
        authority.check_key,
        authority.ground_key,
        (_r.NO_CHAIN, _r.KEY_NOT_TRUSTED, _r.KEY_OF_ANOTHER, _r.ALGORITHM, _r.SUITE_UNKNOWN),
        "region",
    ),
    (
        "chain",
        Text("证书链", "certificate chain"),
        "RFC 5280 §6.1; EN 319 102-1 §5.2.6",
        authority.check_chain,
        authority.ground_chain,
        (_r.NO_CHAIN, _r.CHAIN_CONSTRAINTS),
        "key",
    ),
    (
        "signature",
        Text("签名", "signature"),
        "RFC 7515 §5.2; EN 319 102-1 §5.2.7",
        presentation.check_signature,
        presentation.ground_signature,
        (_r.SIGNATURE,),
        "key",
    ),
    (
        "disclosures",
        Text("出示的字段", "disclosed fields"),
        "RFC 9901 §7.1",
        presentation.check_disclosures,
        presentation.ground_disclosures,
        (_r.DISCLOSURE,),
        "signature",
    ),
    (
        "claims",
        Text("必备内容", "claims of every licence"),
        "design §4; GB/T 36903",
        presentation.check_claims,
        presentation.ground_claims,
        (_r.CLAIMS,),
        "signature",
    ),
    (
        "identifier",
        Text("证照标识", "licence identifier"),
        "GB/T 36904; ISO 7064 MOD 37,36",
        presentation.check_identifier,
        presentation.ground_identifier,
        (_r.IDENTIFIER, _r.IDENTIFIER_CHECK, _r.IDENTIFIER_MISMATCH),
        "claims",
    ),
    (
        "opening",
        Text("登记内容", "what was logged"),
        "design §5 (leaf version 1)",
        existence.check_opening,
        existence.ground_opening,
        (
            _r.RECEIPT,
            _r.OPENING,
            _r.NO_RECEIPT,
            _r.RECEIPT_NOT_ASKED,
            _r.LOG_CONFIRMED,
            _r.NOT_LOGGED,
            _r.LOG_UNREACHABLE,
        ),
        "claims",
    ),
    (
        "inclusion",
        Text("存证证明", "inclusion in the log"),
        "RFC 9162 §2.1.3.2; C2SP tlog-proof",
        existence.check_inclusion,
        existence.ground_inclusion,
        (_r.RECEIPT, _r.INCLUSION, _r.RECEIPT_NOT_ASKED),
        "opening",
    ),
    (
        "checkpoint",
        Text("日志检查点", "the log's checkpoint"),
        "C2SP tlog-checkpoint; RFC 9162 §2.1.4.2",
        existence.check_checkpoint,
        existence.ground_checkpoint,
        (
            _r.LOG_UNKNOWN,
            _r.CHECKPOINT,
            _r.LOG_BROKEN,
            _r.EQUIVOCATION,
            _r.BEYOND_CLOSE,
            _r.BEYOND_SEAL,
            _r.SEAL_OTHER_ENTRY,
            _r.SEAL_UNLINKED,
            _r.RECEIPT_NOT_ASKED,
        ),
        "inclusion",
    ),
    (
        "key-state",
        Text("密钥状态", "state of the key"),
        "design §5 (a stolen key), decision 0012; EN 319 102-1 §5.6.2",
        keystate.check_key_state,
        keystate.ground_key_state,
        (
            _r.KEY_SUSPENDED,
            _r.KEY_NOT_YET,
            _r.KEY_AFTER_END,
            _r.KEY_RETIRED,
            _r.RETIRED_BEYOND,
            _r.RETIRED_CONTRADICTED,
            _r.KEY_COMPROMISED,
            _r.PIN_NO_RECEIPT,
            _r.PIN_OTHER_ENTRY,
            _r.PIN_UNLINKED,
            _r.PIN_INCONSISTENT,
            _r.PIN_BEYOND,
        ),
        "claims",
    ),
    (
        "period",
        Text("证书有效期", "certificates' validity"),
        "RFC 5280 §4.1.2.5; EN 319 102-1 §5.2.6, §5.6.2",
        authority.check_period,
        authority.ground_period,
        (_r.CERTIFICATE_EARLY, _r.CERTIFICATE_EXPIRED),
        "chain claims",
    ),
    (
        "revocation",
        Text("证书吊销", "certificate revocation"),
        "RFC 5280 §6.3; EN 319 102-1 §5.2.5",
        authority.check_revocation,
        authority.ground_revocation,
        (
            _r.CERTIFICATE_REVOKED,
            _r.CERTIFICATE_REVOKED_NO_POE,
            _r.REVOCATION_UNKNOWN,
            _r.REVOCATION_NOT_AT_HAND,
        ),
        "chain claims",
    ),
    (
        "scope",
        Text("颁发权限", "authority's scope"),
        "design §6 (issuer × type × time)",
        authority.check_scope,
        authority.ground_scope,
        (_r.TYPE_NOT_IN_SCOPE, _r.SCOPE_NOT_THEN, _r.SCOPE_ENDED),
        "claims",
    ),
    (
        "validity",
        Text("证照有效期", "licence's validity"),
        "RFC 7519 §4.1.4, §4.1.5",
        validity.check_validity,
        validity.ground_validity,
        (_r.NOT_YET_VALID, _r.EXPIRED),
        "claims",
    ),
    (
        "status",
        Text("证照状态", "licence's status"),
        "Token Status List §8.3; design §12",
        validity.check_status,
        validity.ground_status,
        (
            _r.STATUS_UNAVAILABLE,
            _r.STATUS_STALE,
            _r.STATUS_OLDER,
            _r.STATUS_NOT_THEN,
            _r.STATUS_INDEX,
            _r.STATUS_UNKNOWN,
            _r.REVOKED,
            _r.SUSPENDED,
            _r.FROZEN,
        ),
        "claims",
    ),
    (
        "holder-binding",
        Text("持证人证明", "holder binding"),
        "RFC 9901 §7.3",
        binding.check_binding,
        binding.ground_binding,
        (
            _r.BINDING_MISSING,
            _r.BINDING,
            _r.HOLDER_KEY_ABSENT,
            _r.NO_HOLDER_KEY,
            _r.BINDING_NOT_ASKED,
        ),
        "signature",
    ),
    (
        "purpose",
        Text("用证事由", "purpose"),
        "design §6; 国务院令第716号",
        recognition.check_purpose,
        recognition.ground_purpose,
        (_r.PURPOSE, _r.PURPOSE_MISSING, _r.PURPOSE_NOT_ASKED),
        "",
    ),
)
"""Every step of a verdict, in order."""


def verify(
    evidence: Evidence,
    policy: Policy,
    now: datetime,
    at: datetime | None = None,
    request: Request | None = None,
) -> Report:
    """Decide whether to believe a licence.

    Design section 6. The issuer's authority is judged at the proven time, the
    licence's validity and status at ``at``, recognition and every age at
    ``now``.

    Args:
        evidence: The licence and what is believed about regions.
        policy: How much evidence is enough.
        now: The moment of verification, timezone-aware.
        at: The moment asked about, not after ``now``; ``now`` when omitted.
        request: Purpose, audience and nonce of the presentation.

    Returns:
        The report; a licence that fails is a report too.

    Raises:
        InvalidArgumentError: A moment without timezone (``NAIVE_TIME``), or
            ``at`` after ``now`` (``AT_IN_FUTURE``).
    """
    moment, asked = _seconds(now, at)
    x = Examination(evidence, policy, moment, asked, request)
    findings: dict[int, Finding] = {}
    stopped = 0
    verdict: Finding | None = None
    for step in STEPS:
        if stopped and stopped & step.requires:
            stopped |= step.bit
            continue
        finding = step.check(x)
        if finding is None:
            continue
        findings[step.number] = finding
        outcome = finding.outcome
        if outcome is Outcome.NOT_APPLICABLE:
            continue
        stopped |= step.bit
        # Failed beats undetermined; among equals the first step decides.
        if verdict is None or (outcome is Outcome.FAILED and verdict.outcome is not Outcome.FAILED):
            verdict = finding
    return Report(verdict, x, partial(account.results, STEPS, x, findings, stopped))


def _seconds(now: datetime, at: datetime | None) -> tuple[int, int]:
    if now.tzinfo is None or (at is not None and at.tzinfo is None):
        raise InvalidArgumentError("verify: moments must be timezone-aware", reason="NAIVE_TIME")
    moment = int(now.timestamp())
    asked = moment if at is None else int(at.timestamp())
    if asked > moment:
        raise InvalidArgumentError(
            "verify: the moment asked about lies in the future", reason="AT_IN_FUTURE"
        )
    return moment, asked


def steps_table() -> str:
    """Return the table of `STEPS` for the documentation, in Markdown."""
    return account.table(STEPS)
