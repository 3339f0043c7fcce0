"""The call context: why, for which matter, by whom.

Every call carries one and is audited with it (design section 4). It is stored
in clear, so it must not carry a subject's number: a clerk who types one into
the purpose is told to leave it out.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from yinxin_proto.error import InvalidArgumentError, Violation
from yinxin_proto.number import IdentifierType, is_credit_code
from yinxin_proto.number import parse as parse_number

MAX_PURPOSE: Final = 200
_MAX_OTHER: Final = 64
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_CITIZEN_ID: Final = re.compile(r"(?=([0-9]{17}[0-9X]))")
_CREDIT_CODE: Final = re.compile(r"(?=([0-9A-HJ-NPQRTUWXY]{18}))")
_NUMBER_CHARACTERS: Final = 18
"""Of either kind of number."""
_BETWEEN: Final = re.compile(r"[\s\-\u2010-\u2015\u2212]+")


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
        if holds_number(value, credit_codes=field == "context.purpose"):
            return [
                Violation(
                    field,
                    "contains what looks like a subject's number; it is stored in clear, "
                    "so leave the number out",
                    "SUBJECT_NUMBER",
                )
            ]
        return []


def holds_number(text: str, *, credit_codes: bool) -> bool:
    """Tell whether a text that is to be stored in clear has a subject's number in it.

    Args:
        text: What somebody typed.
        credit_codes: Whether unified social credit codes count too; they are
            authorities' as well.
    """
    # As typed, and as number.parse would read it: full-width, blanks or hyphens between.
    plain = unicodedata.normalize("NFKC", text).upper()
    return len(plain) >= _NUMBER_CHARACTERS and any(
        _has_number(spelling, credit_codes=credit_codes)
        for spelling in {plain, _BETWEEN.sub("", plain)}
    )


def _has_number(text: str, *, credit_codes: bool) -> bool:
    if any(_is_citizen_id(match[1]) for match in _CITIZEN_ID.finditer(text)):
        return True
    return credit_codes and any(is_credit_code(match[1]) for match in _CREDIT_CODE.finditer(text))


def _is_citizen_id(text: str) -> bool:
    # With its date of birth: of case numbers, one in eleven has the right check digit.
    try:
        parse_number(IdentifierType.CITIZEN_ID, text)
    except InvalidArgumentError:
        return False
    return True
