"""Subject numbers: what a licence holder is known by.

Parsing normalises (full-width forms, blanks, hyphens, lower case) and checks
what the number's own standard lets anybody check, so that one holder has one
spelling and one blind index. A number never leaves its object by accident:
printing, formatting and logging a `SubjectNumber` show a mask, and only
`SubjectNumber.reveal` gives it back.

Sources: GB 11643-1999 (citizen ID numbers), GB 32100-2015 (unified social
credit codes), GB 11714-1997 (organisation codes). The other kinds have no
public check: their patterns only bound what is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Final, NoReturn

from yinxin_proto.checkdigit import (
    CREDIT_ALPHABET,
    citizen_id_check,
    credit_code_check,
    organisation_check,
)
from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.identifiertype import IdentifierType

__all__ = [
    "MAX_TEXT_CHARACTERS",
    "IdentifierType",
    "SubjectNumber",
    "citizen_id_check",
    "credit_code_check",
    "is_credit_code",
    "organisation_check",
    "parse",
    "parse_credit_code",
]

MAX_TEXT_CHARACTERS: Final = 64
"""Bound on what is typed, before blanks and hyphens are dropped."""

_CITIZEN_ID: Final = re.compile(r"[0-9]{17}[0-9X]")
_CREDIT_CODE: Final = re.compile(rf"[{CREDIT_ALPHABET}]{{2}}[0-9]{{6}}[{CREDIT_ALPHABET}]{{10}}")
_ORGANISATION_CODE: Final = re.compile(r"[0-9A-Z]{8}[0-9X]")

_PROVINCE: Final = re.compile("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]")
"""Provinces, and 81/82/83: residence permits of Hong Kong, Macao and Taiwan
residents. The four digits after them are not looked up: a number keeps the
code of first registration, and many such counties no longer exist."""
_FOREIGN_RESIDENT: Final = "9"
"""First digit of a foreign permanent resident's number."""

_HYPHENS: Final = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63"
_BLANKS: Final = " \t\r\n\u00a0\u2002\u2003\u2009\u200b\u202f\u3000\ufeff"
_WIDTH: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_LOWER: Final = {code: code - 0x20 for code in range(ord("a"), ord("z") + 1)}
_FOLD: Final = (
    _WIDTH
    | _LOWER
    | {code + 0xFEE0: code - 0x20 for code in _LOWER}
    | dict.fromkeys(map(ord, _HYPHENS), "-")
    | dict.fromkeys(map(ord, _BLANKS), None)
)


class SubjectNumber:
    """A checked number and its type; whatever prints it shows a mask.

    Made by `parse` alone. Not a dataclass: ``asdict`` and ``replace`` would be
    ways around `reveal`.
    """

    __slots__ = ("_value", "type")

    type: IdentifierType
    """What kind of number this is."""
    _value: str

    def __init__(self, *, type: IdentifierType, value: str) -> None:  # noqa: A002 - the standard's word
        object.__setattr__(self, "type", type)
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """Return the normalised number: upper case, no blanks.

        The one way to it; search for this name to review every use.
        """
        return self._value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a subject number does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a subject number does not change")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a subject number is not pickled; reveal() it on purpose")

    def __copy__(self) -> SubjectNumber:
        return self

    def __deepcopy__(self, memo: object) -> SubjectNumber:
        return self

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SubjectNumber)
            and self.type is other.type
            and self._value == other._value
        )

    def __hash__(self) -> int:
        return hash((self.type, self._value))

    def __repr__(self) -> str:
        return f"SubjectNumber({self.type.name}, ******)"

    __str__ = __repr__


def parse(kind: IdentifierType | str, text: str) -> SubjectNumber:
    """Normalise and check a subject number.

    Args:
        kind: The type, or its code (``"111"``).
        text: As typed or exported: full-width forms, blanks, hyphens and
            lower case are accepted.

    Raises:
        InvalidArgumentError: Not such a number. ``reason`` is ``NUMBER_TYPE``,
            ``NUMBER_LENGTH``, ``NUMBER_CHARACTER``, ``NUMBER_REGION``,
            ``NUMBER_DATE``, ``NUMBER_CHECKSUM`` or ``NUMBER_FORMAT``. No
            message repeats the number.
    """
    known = IdentifierType.of(kind)
    value = _normalise(text, keep_hyphens=known in _OPEN_TYPES)
    _RULES[known](value)
    return SubjectNumber(type=known, value=value)


def parse_credit_code(text: str) -> str:
    """Normalise and check a unified social credit code of an organisation.

    For issuers and authorities, whose codes are public; a holder's code goes
    through `parse`.

    Raises:
        InvalidArgumentError: See `parse`.
    """
    value = _normalise(text, keep_hyphens=False)
    _check_credit_code(value)
    return value


@lru_cache(maxsize=1024)
def is_credit_code(value: str) -> bool:
    """Whether ``value`` is a credit code in its canonical spelling."""
    return _CREDIT_CODE.fullmatch(value) is not None and credit_code_check(value[:17]) == value[17]


def _refuse(reason: str, message: str) -> NoReturn:
    raise InvalidArgumentError(message, reason=reason)


def _normalise(text: str, *, keep_hyphens: bool) -> str:
    if len(text) > MAX_TEXT_CHARACTERS:
        _refuse("NUMBER_LENGTH", f"a number has at most {MAX_TEXT_CHARACTERS} characters")
    if text.isascii() and text.isalnum() and text == text.upper():
        return text
    value = text.translate(_FOLD)
    return value if keep_hyphens else value.replace("-", "")


def _check_citizen_id(value: str) -> None:
    if len(value) != 18:
        _refuse("NUMBER_LENGTH", "a citizen ID number has 18 characters")
    if _CITIZEN_ID.fullmatch(value) is None:
        _refuse("NUMBER_CHARACTER", "a citizen ID number is 17 digits, then a digit or X")
    if _PROVINCE.match(value) is None and value[0] != _FOREIGN_RESIDENT:
        _refuse("NUMBER_REGION", "a citizen ID number begins with a province's code")
    try:
        born = date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
    except ValueError:
        born = date.min
    if not 1800 <= born.year < 2200:
        _refuse("NUMBER_DATE", "characters 7 to 14 of a citizen ID number are a date of birth")
    if citizen_id_check(value[:17]) != value[17]:
        _refuse("NUMBER_CHECKSUM", "the last character of the citizen ID number does not check")


def _check_credit_code(value: str) -> None:
    if len(value) != 18:
        _refuse("NUMBER_LENGTH", "a unified social credit code has 18 characters")
    if _CREDIT_CODE.fullmatch(value) is None:
        _refuse(
            "NUMBER_CHARACTER",
            "a unified social credit code has digits and capitals except I O S V Z, "
            "and digits at 3 to 8",
        )
    # The organisation code inside has a check of its own. It is not enforced:
    # the code's authority answers for the 18 characters as a whole.
    if credit_code_check(value[:17]) != value[17]:
        _refuse("NUMBER_CHECKSUM", "the last character of the credit code does not check")


def _check_organisation_code(value: str) -> None:
    if len(value) != 9:
        _refuse("NUMBER_LENGTH", "an organisation code has 9 characters")
    if _ORGANISATION_CODE.fullmatch(value) is None:
        _refuse("NUMBER_CHARACTER", "an organisation code has digits and capitals")
    if organisation_check(value[:8]) != value[8]:
        _refuse("NUMBER_CHECKSUM", "the last character of the organisation code does not check")


def _check_social_security(value: str) -> None:
    """Check a card's number, or a social security number (社会保障号码).

    The latter is the citizen's own number, so 18 characters that look like one
    must check like one; a foreigner's is a country code and 15 characters.
    """
    if _CITIZEN_ID.fullmatch(value) is not None:
        _check_citizen_id(value)
    elif re.fullmatch(r"[0-9A-Z]{8,20}", value) is None:
        _refuse("NUMBER_FORMAT", "a social security card number has 8 to 20 digits and capitals")


def _pattern(pattern: str, description: str) -> Callable[[str], None]:
    compiled = re.compile(pattern)

    def check(value: str) -> None:
        if compiled.fullmatch(value) is None:
            _refuse("NUMBER_FORMAT", description)

    return check


_MILITARY: Final = _pattern(
    r"(?=.*[0-9])[0-9A-Z\u4e00-\u9fff]{4,24}",
    "a military document's number has 4 to 24 digits, capitals and Chinese characters",
)
_PASSPORT: Final = _pattern(
    r"(?=.*[0-9])[0-9A-Z]{6,15}", "a passport number has 6 to 15 digits and capitals"
)
_OPEN: Final = _pattern(
    r"(?=.*[0-9])[0-9A-Z\u4e00-\u9fff()\[\]/.-]{2,40}",
    "a number of another document has 2 to 40 digits, capitals, Chinese characters or ()[]/.-",
)
_OPEN_TYPES: Final = frozenset({IdentifierType.OTHER_LEGAL, IdentifierType.OTHER_PERSON})
"""Formats that nobody fixed: there a hyphen may tell two numbers apart."""

_RULES: Final[dict[IdentifierType, Callable[[str], None]]] = {
    IdentifierType.USCC: _check_credit_code,
    IdentifierType.OTHER_LEGAL: _OPEN,
    IdentifierType.CITIZEN_ID: _check_citizen_id,
    IdentifierType.OFFICER_CARD: _MILITARY,
    IdentifierType.ARMED_POLICE_OFFICER_CARD: _MILITARY,
    IdentifierType.SOLDIER_CARD: _MILITARY,
    IdentifierType.ARMED_POLICE_SOLDIER_CARD: _MILITARY,
    IdentifierType.MILITARY_CIVILIAN_CARD: _MILITARY,
    IdentifierType.ARMED_POLICE_CIVILIAN_CARD: _MILITARY,
    IdentifierType.DIPLOMATIC_PASSPORT: _PASSPORT,
    IdentifierType.SERVICE_PASSPORT: _PASSPORT,
    IdentifierType.PUBLIC_AFFAIRS_PASSPORT: _PASSPORT,
    IdentifierType.ORDINARY_PASSPORT: _PASSPORT,
    IdentifierType.TAIWAN_PERMIT: _pattern(
        r"[0-9]{8}|[0-9]{10}(\([A-Z]\)|[A-Z])?",
        "a Taiwan resident's permit has 8 digits, or 10 and a letter",
    ),
    IdentifierType.HONG_KONG_MACAO_PERMIT: _pattern(
        r"[HM][0-9]{8}([0-9]{2})?", "a Hong Kong or Macao permit is H or M and 8 or 10 digits"
    ),
    IdentifierType.OTHER_PERSON: _OPEN,
    IdentifierType.SOCIAL_SECURITY_CARD: _check_social_security,
    IdentifierType.ORGANISATION_CODE: _check_organisation_code,
}
