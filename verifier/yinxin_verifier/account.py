"""The account of a verdict: every step in words, written when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from yinxin_verifier.examination import Examination
from yinxin_verifier.reason import NO_TEXT, Finding, Outcome, Text
from yinxin_verifier.report import CheckResult
from yinxin_verifier.step import Grounds, Step

_NOT_RUN: Final = Text("未进行：所依据的步骤未通过", "not run: a step it builds on did not pass")
_PASSED: Final = Text("通过", "passed")
_NO_GROUNDS: Final = Grounds(NO_TEXT)


def results(
    steps: Sequence[Step], x: Examination, findings: Mapping[int, Finding], stopped: int
) -> tuple[CheckResult, ...]:
    """Describe every step.

    Args:
        steps: In order.
        x: What they found out.
        findings: By number of the step; one that passed has none.
        stopped: Bits of the steps that did not pass or did not run.
    """
    return tuple(_result(x, step, findings.get(step.number), stopped) for step in steps)


def _result(x: Examination, step: Step, finding: Finding | None, stopped: int) -> CheckResult:
    if finding is not None:
        outcome, code, text, grounds = (
            finding.outcome,
            finding.reason,
            finding.text,
            step.grounds(x),
        )
    elif stopped & step.bit:
        outcome, code, text, grounds = Outcome.NOT_RUN, None, _NOT_RUN, _NO_GROUNDS
    else:
        outcome, code, text, grounds = Outcome.PASSED, None, _PASSED, step.grounds(x)
    return CheckResult(
        number=step.number,
        name=step.name,
        title=step.title,
        clause=step.clause,
        outcome=outcome,
        reason=code,
        text=text,
        evidence=grounds.text,
        age=grounds.age,
    )


def table(steps: Sequence[Step]) -> str:
    """Return the steps as a Markdown table."""
    return "".join(
        [
            "| # | step 步骤 | rule | fails as | cannot be confirmed as |\n",
            "|---|---|---|---|---|\n",
            *(
                f"| {step.number} | `{step.name}` {step.title.zh}: {step.title.en} | {step.clause} "
                f"| {_codes(step, Outcome.FAILED)} | {_codes(step, Outcome.UNDETERMINED)} |\n"
                for step in steps
            ),
        ]
    )


def _codes(step: Step, outcome: Outcome) -> str:
    return (
        ", ".join(
            f"{finding.sub_indication} `{finding.code}`"
            for finding in step.findings
            if finding.outcome is outcome
        )
        or "–"
    )
