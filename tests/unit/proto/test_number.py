"""Subject numbers. Every person and body here is invented."""

from __future__ import annotations

import copy
import json
import logging
import pickle

import pytest

from yinxin_proto.checkdigit import citizen_id_check, credit_code_check
from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.number import (
    IdentifierType,
    SubjectNumber,
    is_credit_code,
    parse,
    parse_credit_code,
)

CITIZEN = "350302188503150016"
"""Invented: born in 1885."""
CITIZEN_X = "35030218850315018X"


def citizen(body: str) -> str:
    return body + citizen_id_check(body)


def credit(body: str) -> str:
    return body + credit_code_check(body)


def refusal(kind: IdentifierType | str, text: str) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        parse(kind, text)
    assert len(text) < 4 or text not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize(
    "text",
    [
        CITIZEN_X,
        CITIZEN_X.lower(),
        f"  {CITIZEN_X}\t\n",
        "350302 18850315 018X",
        "350302-18850315-018x",
        "３５０３０２１８８５０３１５０１８Ｘ",
        "３５０３０２　１８８５０３１５－０１８ｘ",
        "350302\u00a018850315\u2014018X",
        "350302\u200b18850315\u2212018X\ufeff",
    ],
)
def test_every_way_to_type_a_number_is_one_number(text: str) -> None:
    assert parse("111", text).reveal() == CITIZEN_X


@pytest.mark.parametrize(
    "text",
    [
        CITIZEN,
        CITIZEN_X,
        citizen("11010518491231002"),
        citizen("81000018850315001"),
        citizen("82000018850315001"),
        citizen("83000018850315001"),
        citizen("93535618850315001"),
        # Counties that are gone: IDs keep the code of first registration.
        citizen("35032118850315001"),
        citizen("51021318850315001"),
        # A leap day that there was.
        citizen("35030218840229001"),
    ],
)
def test_a_citizen_id_number_is_accepted(text: str) -> None:
    assert parse(IdentifierType.CITIZEN_ID, text).reveal() == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "NUMBER_LENGTH"),
        (CITIZEN[:-1], "NUMBER_LENGTH"),
        (CITIZEN + "1", "NUMBER_LENGTH"),
        ("350302850315001", "NUMBER_LENGTH"),
        ("1" * 65, "NUMBER_LENGTH"),
        ("X" + CITIZEN[1:], "NUMBER_CHARACTER"),
        (CITIZEN[:-1] + "Y", "NUMBER_CHARACTER"),
        ("٣" + CITIZEN[1:], "NUMBER_CHARACTER"),
        ("三" + CITIZEN[1:], "NUMBER_CHARACTER"),
        (citizen("00030218850315001"), "NUMBER_REGION"),
        (citizen("16030218850315001"), "NUMBER_REGION"),
        (citizen("84000018850315001"), "NUMBER_REGION"),
        (citizen("35030218850230001"), "NUMBER_DATE"),
        (citizen("35030218850229001"), "NUMBER_DATE"),
        (citizen("35030218851301001"), "NUMBER_DATE"),
        (citizen("35030218850400001"), "NUMBER_DATE"),
        (citizen("35030200000101001"), "NUMBER_DATE"),
        (citizen("35030217991231001"), "NUMBER_DATE"),
        (citizen("35030222000101001"), "NUMBER_DATE"),
        (CITIZEN[:-1] + "7", "NUMBER_CHECKSUM"),
        (CITIZEN[:-1] + "X", "NUMBER_CHECKSUM"),
        # Two digits swapped, as hands do.
        ("350302188503150061", "NUMBER_CHECKSUM"),
    ],
)
def test_a_wrong_citizen_id_number_says_what_is_wrong(text: str, why: str) -> None:
    assert refusal("111", text) == why


REAL_CODES = ["91110000600037341L", "11220000013544541J", "11430000006122244L"]


@pytest.mark.parametrize(
    "text",
    [
        *REAL_CODES,
        # First characters that some libraries reject: army, agriculture, others.
        credit("A1350300MA0000001"),
        credit("N2350300MF0000002"),
        credit("Y1350300MA0000003"),
        credit("52350300MJ0000004"),
    ],
)
def test_a_credit_code_is_accepted(text: str) -> None:
    assert parse("001", text.lower()).reveal() == text
    assert parse_credit_code(f" {text} ") == text
    assert is_credit_code(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("91500102563638729E", "NUMBER_CHECKSUM"),
        ("91110000600037341", "NUMBER_LENGTH"),
        ("9111000060003734IL", "NUMBER_CHARACTER"),
        ("911100006000O7341L", "NUMBER_CHARACTER"),
        ("91110A00600037341L", "NUMBER_CHARACTER"),
        ("", "NUMBER_LENGTH"),
    ],
)
def test_a_wrong_credit_code_says_what_is_wrong(text: str, why: str) -> None:
    assert refusal("001", text) == why
    assert not is_credit_code(text)


def test_a_code_in_another_spelling_is_not_canonical() -> None:
    assert not is_credit_code(REAL_CODES[0].lower())
    assert not is_credit_code(f"{REAL_CODES[0]}\n")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("X02", "00612224-4", "006122244"),
        ("X02", "MA00000a-2", None),
        ("X01", "a12345678", "A12345678"),
        ("X01", CITIZEN, CITIZEN),
        ("X01", "USA000012345678901", "USA000012345678901"),
        ("099", "社证字 第3503-12号", "社证字第3503-12号"),
        ("114", "军字第1234567号", "军字第1234567号"),
        ("115", "武字第7654321号", "武字第7654321号"),
        ("118", "士字第0012345号", "士字第0012345号"),
        ("119", "武士字第0012345号", "武士字第0012345号"),
        ("120", "文字第0012345号", "文字第0012345号"),
        ("122", "武文字第0012345号", "武文字第0012345号"),
        ("411", "de1234567", "DE1234567"),
        ("412", "SE1234567", "SE1234567"),
        ("413", "PE1234567", "PE1234567"),
        ("414", "e 1234 5678", "E12345678"),
        ("511", "01234567", "01234567"),
        ("511", "0012345678（A）", "0012345678(A)"),
        ("516", "h12345678", "H12345678"),
        ("516", "M1234567800", "M1234567800"),
        ("999", "A123456(3)", "A123456(3)"),
        ("999", "2019-001", "2019-001"),
    ],
)
def test_every_other_kind_is_normalised(kind: str, text: str, value: str | None) -> None:
    if value is None:
        assert refusal(kind, text) == "NUMBER_CHECKSUM"
    else:
        assert parse(kind, text).reveal() == value


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("X01", CITIZEN[:-1] + "7", "NUMBER_CHECKSUM"),
        ("X01", "A1", "NUMBER_FORMAT"),
        ("X02", "00612224", "NUMBER_LENGTH"),
        ("X02", "军0612224-4", "NUMBER_CHARACTER"),
        ("114", "军字第号", "NUMBER_FORMAT"),
        ("414", "ABCDEFGH", "NUMBER_FORMAT"),
        ("414", "E1234567890123456", "NUMBER_FORMAT"),
        ("511", "1234567", "NUMBER_FORMAT"),
        ("516", "A12345678", "NUMBER_FORMAT"),
        ("999", "1", "NUMBER_FORMAT"),
        ("999", "1;DROP", "NUMBER_FORMAT"),
        ("999", "12\x0034", "NUMBER_FORMAT"),
        ("099", "1" * 41, "NUMBER_FORMAT"),
        ("000", CITIZEN, "NUMBER_TYPE"),
        ("", CITIZEN, "NUMBER_TYPE"),
        ("USCC", CITIZEN, "NUMBER_TYPE"),
    ],
)
def test_every_other_kind_is_bounded(kind: str, text: str, why: str) -> None:
    assert refusal(kind, text) == why


def test_every_kind_has_a_rule_a_code_and_two_names() -> None:
    for kind in IdentifierType:
        assert IdentifierType.of(str(kind)) is kind
        assert len(kind) == 3
        assert kind.name_zh
        assert kind.name_en
        assert refusal(kind, "!") in {"NUMBER_LENGTH", "NUMBER_FORMAT"}


def test_persons_are_told_from_bodies() -> None:
    assert {str(kind) for kind in IdentifierType if not kind.is_person} == {"001", "099", "X02"}


def test_a_number_does_not_print(caplog: pytest.LogCaptureFixture) -> None:
    number = parse("111", CITIZEN)
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("subject %s %r", number, [number])
    shown = f"{number} {number!r} {number!s} {[number]} {caplog.text}"
    assert CITIZEN[6:] not in shown
    assert "SubjectNumber(CITIZEN_ID, ******)" in shown


def test_a_number_does_not_leave_by_a_side_door() -> None:
    number = parse("111", CITIZEN)
    with pytest.raises(TypeError):
        json.dumps(number)
    with pytest.raises(TypeError):
        pickle.dumps(number)
    assert not hasattr(number, "__dict__")
    assert not hasattr(number, "__dataclass_fields__")


def test_a_number_does_not_change() -> None:
    number = parse("111", CITIZEN)
    with pytest.raises(AttributeError):
        number._value = CITIZEN_X
    with pytest.raises(AttributeError):
        del number.type
    assert copy.copy(number) is number
    assert copy.deepcopy([number])[0] is number


def test_numbers_are_equal_by_type_and_value() -> None:
    assert parse("111", CITIZEN) == parse("111", f" {CITIZEN}")
    assert parse("111", CITIZEN) != parse("111", CITIZEN_X)
    assert parse("111", CITIZEN) != parse("X01", CITIZEN)
    assert parse("111", CITIZEN) != CITIZEN
    assert len({parse("111", CITIZEN), parse("111", CITIZEN), parse("X01", CITIZEN)}) == 2
    assert isinstance(parse("111", CITIZEN), SubjectNumber)
