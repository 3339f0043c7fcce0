"""The report of one verification. It is not a boolean.

Three outcomes do not fit in two, and a report that could be used as a truth
value would, sooner or later, let "could not be confirmed" through as "valid".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from yinxin_proto.error import NotPassedError
from yinxin_proto.strict import Json
from yinxin_verifier.examination import Examination
from yinxin_verifier.path import RecognitionPath
from yinxin_verifier.reason import Finding, Indication, Outcome, SubIndication, Text

__all__ = [
    "CheckResult",
    "Indication",
    "Outcome",
    "Report",
    "SubIndication",
    "Text",
]

_FRESHNESS: Final = "freshness"
"""The step whose evidence is the trust list."""
_EXIT: Final = {
    Indication.TOTAL_PASSED: 0,
    Indication.TOTAL_FAILED: 1,
    Indication.INDETERMINATE: 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check of a verification: what it was, what it found, on what evidence."""

    number: int
    """Number of the step in `decision.STEPS`."""
    name: str
    """Stable name of the step."""
    title: Text
    """What the step checks."""
    clause: str
    """The rule that the step applies, in the standard's or the design's numbering."""
    outcome: Outcome
    """What it came to."""
    reason: str | None
    """Stable reason; None for a plain pass."""
    text: Text
    """What was found."""
    evidence: Text
    """What the finding rests on; never a subject's number or name."""
    age: timedelta | None
    """How old that evidence was at ``now``; None where it does not age."""

    def to_json(self) -> dict[str, Json]:
        """Return the result as JSON members."""
        return {
            "number": self.number,
            "name": self.name,
            "title": self.title._asdict(),
            "clause": self.clause,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "text": self.text._asdict(),
            "evidence": self.evidence._asdict(),
            "ageSeconds": None if self.age is None else int(self.age.total_seconds()),
        }


class Report:
    """What a verification concluded, and everything it rests on.

    Args:
        finding: The finding that decided; None when everything passed.
        examination: What the steps found out.
        checks: Called once, when the results of the checks are asked for.
    """

    __slots__ = ("_checks", "_finding", "_materialise", "_x")

    def __init__(
        self,
        finding: Finding | None,
        examination: Examination,
        checks: Callable[[], tuple[CheckResult, ...]],
    ) -> None:
        self._finding = finding
        self._x = examination
        self._materialise = checks
        self._checks: tuple[CheckResult, ...] | None = None

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a report is not a boolean: compare report.indication with"
            " Indication.TOTAL_PASSED, or call report.require_passed() for the claims"
        )

    @property
    def indication(self) -> Indication:
        """The verdict."""
        finding = self._finding
        if finding is None:
            return Indication.TOTAL_PASSED
        if finding.outcome is Outcome.FAILED:
            return Indication.TOTAL_FAILED
        return Indication.INDETERMINATE

    @property
    def sub_indication(self) -> SubIndication | None:
        """Why the verdict is not TOTAL_PASSED; None when it is."""
        return None if self._finding is None else self._finding.sub_indication

    @property
    def reason(self) -> str | None:
        """The narrowest stable reason code; None when everything passed."""
        return None if self._finding is None else self._finding.reason

    @property
    def code(self) -> str | None:
        """The finding's own code, which `reason` may narrow; None when all passed."""
        return None if self._finding is None else self._finding.code

    @property
    def now(self) -> datetime:
        """The moment of verification, UTC."""
        return datetime.fromtimestamp(self._x.now, UTC)

    @property
    def at(self) -> datetime:
        """The moment that validity and status were judged at, UTC."""
        return datetime.fromtimestamp(self._x.at, UTC)

    @property
    def policy(self) -> str:
        """Name of the policy that was applied."""
        return self._x.policy.name

    @property
    def path(self) -> RecognitionPath:
        """From the home region to the issuing one; empty where it was not reached."""
        return () if self._x.region is None else self._x.region.path

    @property
    def trust_age(self) -> timedelta | None:
        """How old the issuing region's trust list was at ``now``.

        Whatever happened since, a theft of the signing key included, this
        verdict knows nothing of. None where the region was not reached.
        """
        return next((check.age for check in self.checks if check.name == _FRESHNESS), None)

    @property
    def text(self) -> Text:
        """The verdict in a sentence, for people."""
        finding = self._finding
        if finding is None:
            return Text("核验通过", "Passed")
        if finding.outcome is Outcome.FAILED:
            return Text(f"核验不通过（{finding.text.zh}）", f"Failed ({finding.text.en})")
        return Text(
            f"暂无法确认（{finding.text.zh}；{finding.advice.zh}）",
            f"Cannot be confirmed yet ({finding.text.en}; {finding.advice.en})",
        )

    @property
    def advice(self) -> Text | None:
        """What the person at the window can do, where there is something."""
        if self._finding is None or not self._finding.advice.zh:
            return None
        return self._finding.advice

    @property
    def exit_status(self) -> int:
        """0 passed, 1 failed, 2 indeterminate."""
        return _EXIT[self.indication]

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """Every step with its outcome and evidence; built on first access."""
        if self._checks is None:
            self._checks = self._materialise()
        return self._checks

    @property
    def unverified_claims(self) -> Mapping[str, Any]:
        """The claims as presented, whatever the verdict; by this name alone.

        Where the signature did not hold, selective fields are left out.
        """
        return self._x.sd_jwt.unverified_claims() if self._x.is_whole else self._x.payload

    def require_passed(self) -> Mapping[str, Any]:
        """Return the claims of a licence that passed.

        Raises:
            NotPassedError: The verdict is another; reason is the report's.
        """
        if self._finding is not None:
            raise NotPassedError(
                f"the licence did not pass: {self.text.en}", reason=self._finding.reason
            )
        return self.unverified_claims

    def to_dict(self, *, claims: bool = False) -> dict[str, Json]:
        """Return the report as JSON members.

        Args:
            claims: Whether to add the claims; they may hold names and numbers,
                so a report meant for a log leaves them out.
        """
        advice, age = self.advice, self.trust_age
        members: dict[str, Json] = {
            "indication": self.indication.value,
            "subIndication": None if self.sub_indication is None else self.sub_indication.value,
            "code": self.code,
            "reason": self.reason,
            "text": self.text._asdict(),
            "advice": None if advice is None else advice._asdict(),
            "exitStatus": self.exit_status,
            "policy": self.policy,
            "now": self.now.isoformat(),
            "at": self.at.isoformat(),
            "trustAgeSeconds": None if age is None else int(age.total_seconds()),
            "path": [hop.to_json() for hop in self.path],
            "checks": [check.to_json() for check in self.checks],
        }
        if claims:
            members["claims"] = dict(self.unverified_claims)
        return members

    def to_json(self, *, claims: bool = False, indent: int | None = None) -> str:
        """Return the report as one JSON text; see `to_dict`."""
        return json.dumps(self.to_dict(claims=claims), ensure_ascii=False, indent=indent)

    def __repr__(self) -> str:
        return f"<Report {self.indication.value} {self.reason or ''}>".replace(" >", ">")
