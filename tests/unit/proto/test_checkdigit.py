"""Check characters, against python-stdnum."""

from __future__ import annotations

import pytest
from stdnum.cn import ric, uscc
from stdnum.iso7064 import mod_37_36

from support.clock import SeededEntropy
from yinxin_proto.checkdigit import (
    ALPHANUMERIC,
    CREDIT_ALPHABET,
    citizen_id_check,
    credit_code_check,
    identifier_check,
    organisation_check,
)
from yinxin_proto.error import InvalidArgumentError


def words(alphabet: str, length: int) -> list[str]:
    entropy = SeededEntropy(alphabet)
    return [
        "".join(alphabet[entropy.below(len(alphabet))] for _ in range(length)) for _ in range(100)
    ]


def test_citizen_id_numbers_check_as_stdnum_says() -> None:
    for body in words("0123456789", 17):
        assert citizen_id_check(body) == ric.calc_check_digit(body + "0")


def test_credit_codes_check_as_stdnum_says() -> None:
    for body in words(CREDIT_ALPHABET, 17):
        assert credit_code_check(body) == uscc.calc_check_digit(body + "0")


@pytest.mark.parametrize("length", [1, 17, 45, 100])
def test_licence_identifiers_check_as_stdnum_says(length: int) -> None:
    for body in words(ALPHANUMERIC, length):
        assert identifier_check(body) == mod_37_36.calc_check_digit(body)


def test_organisation_codes_check_by_their_standard() -> None:
    # The three kinds of remainder: plain, 10 written X, 11 written 0.
    assert organisation_check("00612224") == "4"
    found = {organisation_check(f"{n:08}") for n in range(200)}
    assert found == set("0123456789X")


def test_every_single_slip_is_noticed() -> None:
    body = "35030218850315001"
    for place in range(17):
        for digit in "0123456789":
            slipped = body[:place] + digit + body[place + 1 :]
            assert (citizen_id_check(slipped) == citizen_id_check(body)) == (slipped == body)


@pytest.mark.parametrize(
    ("check", "body", "why"),
    [
        (citizen_id_check, "1", "NUMBER_LENGTH"),
        (citizen_id_check, "1" * 16 + "X", "NUMBER_CHARACTER"),
        (citizen_id_check, "1" * 16 + "１", "NUMBER_CHARACTER"),
        (credit_code_check, "I" * 17, "NUMBER_CHARACTER"),
        (organisation_check, "1" * 9, "NUMBER_LENGTH"),
        (identifier_check, "1.2", "NUMBER_CHARACTER"),
        (identifier_check, "a", "NUMBER_CHARACTER"),
    ],
)
def test_what_has_no_check_is_refused(check: object, body: str, why: str) -> None:
    assert callable(check)
    with pytest.raises(InvalidArgumentError) as caught:
        check(body)
    assert caught.value.reason == why
