"""The call context: why, for which matter, by whom.

Every call carries one and is audited with it (design section 4). It is stored
in clear, so it must not carry a subject's number: a clerk who types one into
the purpose is told to leave it out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from yinxin_proto.checkdigit import citizen_id_check, credit_code_check
from yinxin_proto.error import InvalidArgumentError, Violation

MAX_PURPOSE: Final = 200
_MAX_OTHER: Final = 64
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_CITIZEN_ID: Final = re.compile(r"(?=([0-9]{17})([0-9Xx]))")
_CREDIT_CODE: Final = re.compile(r"(?=([0-9A-HJ-NPQRTUWXY]{17})([0-9A-HJ-NPQRTUWXY]))")


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a caller says of a call."""

    purpose: str
    """用证事由, 1 to 200 characters; mandatory wherever personal data is served."""
    case_number: str = ""
    """办件编号."""
    service_item: str = ""
    """事项编码."""
    operator: str = ""
    """经办人: the officer's name or number, never a subject's."""

    def check(self, *, public: bool = False) -> None:
        """Refuse a context that could not be audited.

        Args:
            public: Nothing personal is asked for, so the purpose may be empty.

        Raises:
            InvalidArgumentError: Names every unacceptable field at once.
        """
        violations = self.violations(public=public)
        if violations:
            raise InvalidArgumentError("the call context is not acceptable", violations=violations)

    def violations(self, *, public: bool = False) -> list[Violation]:
        """Return what is unacceptable; see `check`."""
        violations = [
            *self._text("context.purpose", self.purpose, MAX_PURPOSE),
            *self._text("context.case_number", self.case_number, _MAX_OTHER),
            *self._text("context.service_item", self.service_item, _MAX_OTHER),
            *self._text("context.operator", self.operator, _MAX_OTHER),
        ]
        if not public and not self.purpose.strip():
            violations.append(
                Violation(
                    "context.purpose", "mandatory: say what the licence is needed for", "PURPOSE"
                )
            )
        return violations

    @staticmethod
    def _text(field: str, value: str, limit: int) -> list[Violation]:
        if len(value) > limit or _CONTROL.search(value):
            return [Violation(field, f"at most {limit} characters, none of them a control")]
        # A service item's code contains its authority's credit code; a purpose has no need to.
        if _holds_number(value, credit_codes=field == "context.purpose"):
            return [
                Violation(
                    field,
                    "contains what looks like a subject's number; it is stored in clear, "
                    "so leave the number out",
                    "SUBJECT_NUMBER",
                )
            ]
        return []


def _holds_number(text: str, *, credit_codes: bool) -> bool:
    return any(
        citizen_id_check(match[1]) == match[2].upper() for match in _CITIZEN_ID.finditer(text)
    ) or (
        credit_codes
        and any(credit_code_check(match[1]) == match[2] for match in _CREDIT_CODE.finditer(text))
    )
