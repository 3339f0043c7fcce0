"""Check characters, as the numbers' own standards compute them.

They catch slips of the hand and prove nothing: anybody can compute them.
"""

from __future__ import annotations

import operator
import string
from typing import Final

from yinxin_proto.error import InvalidArgumentError

CREDIT_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""GB 32100: digits and capitals except I, O, S, V and Z."""
ALPHANUMERIC: Final = string.digits + string.ascii_uppercase

_CITIZEN_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CITIZEN_CHECKS: Final = "10X98765432"
_CREDIT_WEIGHTS: Final = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_ORGANISATION_WEIGHTS: Final = (3, 7, 9, 10, 5, 8, 4, 2)
_NO_VALUE: Final = 255


def _values(alphabet: str) -> bytes:
    """Return the values of characters as a translation table."""
    return bytes(
        alphabet.index(chr(code)) if chr(code) in alphabet else _NO_VALUE for code in range(256)
    )


_DIGIT_VALUES: Final = _values(string.digits)
_CREDIT_VALUES: Final = _values(CREDIT_ALPHABET)
_ALPHANUMERIC_VALUES: Final = _values(ALPHANUMERIC)

# ISO 7064 MOD 37,36 as a table: on the path of every verification, and four
# times as fast as the arithmetic. A character outside the alphabet leads to a
# state that has no row.
_NO_STATE: Final = 255
_IDENTIFIER_STEPS: Final = tuple(
    bytes(
        ((state + value) % 36 or 36) * 2 % 37
        if (value := ALPHANUMERIC.find(chr(character))) >= 0
        else _NO_STATE
        for character in range(128)
    )
    for state in range(37)
)
IDENTIFIER_CHECKS: Final = tuple(ALPHANUMERIC[(1 - state) % 36] for state in range(37))
"""Check character by the state that `identifier_state` returns."""


def citizen_id_check(body: str) -> str:
    """Return the check character of 17 digits (GB 11643, ISO 7064 MOD 11-2).

    Raises:
        InvalidArgumentError: Another length, or a character that is no digit;
            so for every function here.
    """
    return _CITIZEN_CHECKS[_weighted(_CITIZEN_WEIGHTS, _DIGIT_VALUES, body) % 11]


def credit_code_check(body: str) -> str:
    """Return the check character of 17 characters of a credit code (GB 32100)."""
    return CREDIT_ALPHABET[-_weighted(_CREDIT_WEIGHTS, _CREDIT_VALUES, body) % 31]


def organisation_check(body: str) -> str:
    """Return the check character of 8 characters of an organisation code (GB 11714)."""
    return "0123456789X"[-_weighted(_ORGANISATION_WEIGHTS, _ALPHANUMERIC_VALUES, body) % 11]


def identifier_check(body: str) -> str:
    """Return the check character of a licence identifier (ISO 7064 MOD 37,36).

    Args:
        body: Type, issuer, serial and version (three digits), without dots.
    """
    return IDENTIFIER_CHECKS[identifier_state(body)]


def identifier_state(part: str, state: int = 36) -> int:
    """Return the state of the computation after ``part``; it can go on from there.

    `IDENTIFIER_CHECKS` has the check character of each state.
    """
    try:
        for character in part.encode("ascii"):
            state = _IDENTIFIER_STEPS[state][character]
    except (UnicodeEncodeError, IndexError) as error:
        raise _not_alphanumeric() from error
    if state == _NO_STATE:
        raise _not_alphanumeric()
    return state


def _not_alphanumeric() -> InvalidArgumentError:
    return InvalidArgumentError(
        f"a check is computed over the characters {ALPHANUMERIC}", reason="NUMBER_CHARACTER"
    )


def _weighted(weights: tuple[int, ...], values: bytes, body: str) -> int:
    if len(body) != len(weights):
        raise InvalidArgumentError(
            f"a check is computed over {len(weights)} characters", reason="NUMBER_LENGTH"
        )
    # What is not ASCII becomes a question mark, which has no value either.
    found = body.encode("ascii", "replace").translate(values)
    if _NO_VALUE in found:
        raise InvalidArgumentError(
            "a check is computed over digits and the capitals of its standard",
            reason="NUMBER_CHARACTER",
        )
    return sum(map(operator.mul, weights, found))
