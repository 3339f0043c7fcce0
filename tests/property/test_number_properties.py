"""Subject numbers on any input. Every number here is invented."""

from __future__ import annotations

from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto.checkdigit import CREDIT_ALPHABET, citizen_id_check, credit_code_check
from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.number import IdentifierType, is_credit_code, parse, parse_credit_code

KINDS = st.sampled_from(list(IdentifierType))
BIRTHS = st.dates(date(1800, 1, 1), date(1899, 12, 31)).map(lambda day: day.strftime("%Y%m%d"))
CITIZENS = st.builds(
    lambda region, birth, sequence: f"{region}{birth}{sequence:03}",
    st.sampled_from(["350302", "110101", "659001", "810000", "935156"]),
    BIRTHS,
    st.integers(0, 999),
).map(lambda body: body + citizen_id_check(body))
CREDITS = st.builds(
    lambda head, region, tail: f"{head}{region:06}{tail}",
    st.text(CREDIT_ALPHABET, min_size=2, max_size=2),
    st.integers(0, 999_999),
    st.text(CREDIT_ALPHABET, min_size=9, max_size=9),
).map(lambda body: body + credit_code_check(body))


@given(CITIZENS)
def test_a_citizen_id_number_is_accepted(number: str) -> None:
    assert parse("111", number).reveal() == number


@given(CITIZENS, st.data())
def test_one_wrong_digit_is_always_noticed(number: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, 17))
    wrong = data.draw(st.sampled_from("0123456789X").filter(lambda digit: digit != number[place]))
    with pytest.raises(InvalidArgumentError):
        parse("111", number[:place] + wrong + number[place + 1 :])


@given(CREDITS)
def test_a_credit_code_is_accepted(code: str) -> None:
    assert is_credit_code(code)
    assert parse_credit_code(code.lower()) == code
    assert parse("001", f"{code[:8]} {code[8:17]}-{code[17]}").reveal() == code


@given(CITIZENS, st.data())
def test_spelling_does_not_matter(number: str, data: st.DataObject) -> None:
    spelt = "".join(
        data.draw(st.sampled_from([digit, digit.lower(), chr(ord(digit) + 0xFEE0), f" {digit}-"]))
        for digit in number
    )
    with suppress(InvalidArgumentError):  # blanks may take it beyond 64 characters
        assert parse("111", spelt) == parse("111", number)


@given(KINDS, st.text(max_size=70) | st.text("0123456789XHMA字第号()-　", max_size=30))
def test_any_text_is_a_number_or_refused_without_repeating_it(
    kind: IdentifierType, text: str
) -> None:
    refused: InvalidArgumentError | None = None
    try:
        number = parse(kind, text)
        assert parse(kind, number.reveal()) == number
        assert len(number.reveal()) < 5 or number.reveal() not in f"{number}{number!r}"
    except InvalidArgumentError as error:
        refused = error
    if refused is not None:
        assert refused.reason.startswith("NUMBER_")
        assert len(text) < 12 or text not in str(refused)


@given(KINDS, st.text("0123456789XHMA字第号()-　", max_size=30))
def test_normalising_twice_changes_nothing(kind: IdentifierType, text: str) -> None:
    with suppress(InvalidArgumentError):
        once = parse(kind, text).reveal()
        assert parse(kind, once).reveal() == once
