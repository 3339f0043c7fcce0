"""The call context: mandatory purpose, bounded fields, no subject's number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.requests import AUTHORITY, citizen
from yinxin_proto.error import InvalidArgumentError
from yinxin_trust.context import MAX_PURPOSE, CallContext

NUMBER = citizen(17)
FIELDS = ("purpose", "case_number", "service_item", "operator")


def violations(**fields: str) -> list[tuple[str, str]]:
    with pytest.raises(InvalidArgumentError) as caught:
        CallContext(**{"purpose": "开办餐馆审批", **fields}).check()
    assert NUMBER not in str(caught.value)
    return [(v.field, v.reason) for v in caught.value.violations]


@pytest.mark.parametrize(
    "context",
    [
        CallContext("开办餐馆审批"),
        CallContext("审" * MAX_PURPOSE, "案" * 64, "项" * 64, "人" * 64),
        CallContext("核验", "2026010112345600017", f"{AUTHORITY}000072", "工号 100017"),
    ],
)
def test_a_usual_context_is_accepted(context: CallContext) -> None:
    context.check()


@pytest.mark.parametrize("purpose", ["", " ", "\u3000"])
def test_a_purpose_is_mandatory(purpose: str) -> None:
    assert [field for field, _ in violations(purpose=purpose)] == ["context.purpose"]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("text", ["审" * 201, "a\0b", "a\nb", "\x7f"])
def test_texts_are_bounded_and_printable(field: str, text: str) -> None:
    assert violations(**{field: text}) == [(f"context.{field}", "INVALID")]


def test_all_faults_are_told_at_once() -> None:
    assert len(violations(purpose="", case_number="x" * 65, operator="a\tb")) == 3


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    "spelling",
    [
        NUMBER,
        f"为{NUMBER}办理",
        f"1{NUMBER}2",
        NUMBER.translate({ord(d): ord(d) + 0xFEE0 for d in "0123456789"}),
        f"{NUMBER[:6]} {NUMBER[6:14]} {NUMBER[14:]}",
        f"{NUMBER[:6]}-{NUMBER[6:14]}–{NUMBER[14:]}",
    ],
    ids=["bare", "in-text", "between-digits", "full-width", "blanks", "hyphens"],
)
def test_a_subjects_number_is_refused_however_it_is_spelt(field: str, spelling: str) -> None:
    assert violations(**{field: spelling}) == [(f"context.{field}", "SUBJECT_NUMBER")]


def test_a_number_that_ends_with_x_is_noticed_in_either_case() -> None:
    number = next(text for text in map(citizen, range(100, 200)) if text.endswith("X"))

    for spelling in (number, number.lower()):
        assert violations(purpose=spelling) == [("context.purpose", "SUBJECT_NUMBER")]


def test_a_credit_code_is_refused_in_the_purpose_alone() -> None:
    assert violations(purpose=f"为{AUTHORITY}办理") == [("context.purpose", "SUBJECT_NUMBER")]
    CallContext("审批", service_item=AUTHORITY).check()


@given(day=st.dates(), sequence=st.integers(0, 999_999_999))
def test_few_case_numbers_look_like_a_citizens(day: object, sequence: int) -> None:
    # A date and a sequence: the middle of it is no date of birth.
    text = f"{day}".replace("-", "").zfill(8) + f"99{sequence:09}"

    CallContext("审批", case_number=text[:8] + "9999" + text[12:]).check()
