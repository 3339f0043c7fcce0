"""Licence types: what a request may say, and what a catalogue document must."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.requests import AUTHORITY, citizen, document
from support.small_region import OTHER_TYPE, TYPE, SmallRegion, type_bytes, type_document
from yinxin_proto.approval import IssueRequest
from yinxin_proto.error import (
    AlreadyExistsError,
    InvalidArgumentError,
    MalformedError,
    NotFoundError,
)
from yinxin_proto.strict import Json
from yinxin_trust.catalogue import (
    LicenceType,
    _plus_period,
    add_type,
    builtin_types,
    load_catalogue,
    parse_type,
)

ENTRY = parse_type(type_bytes())
SECRET = citizen(33)


def violations(entry: LicenceType, **changes: Json) -> list[tuple[str, str]]:
    request = IssueRequest.from_document(document(type=TYPE, **changes))
    found = list(entry.violations(request))
    for violation in found:
        assert SECRET not in violation.description
        assert SECRET not in violation.field
        assert "虚构甲" not in violation.description
    return [(violation.field, violation.reason) for violation in found]


def entry(**changes: Json) -> LicenceType:
    return parse_type(type_bytes(**changes))


# --- requests -------------------------------------------------------------------------------


def test_an_ordinary_request_is_accepted() -> None:
    assert violations(ENTRY) == []


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({}, "fields.KZ_JYCS", "FIELD_MISSING"),
        ({"KZ_JYCS": "场" * 101}, "fields.KZ_JYCS", "FIELD"),
        ({"KZ_JYCS": "场", "KZ_OTHER": "值"}, "fields", "FIELD_UNKNOWN"),
    ],
)
def test_fields_that_break_the_schema_are_named(
    fields: dict[str, Json], field: str, reason: str
) -> None:
    assert violations(ENTRY, fields=fields) == [(field, reason)]


def test_all_faults_are_told_at_once() -> None:
    found = violations(
        entry(max_holders=1, number_types=["001"], validity="P1Y"),
        fields={"KZ_JYXM": "项" * 101, "KZ_NO": "x"},
        holders=[{"name": "虚构甲", "number": citizen(n), "number_type": "111"} for n in (1, 2)],
    )

    assert sorted(found) == [
        ("fields", "FIELD_UNKNOWN"),
        ("fields.KZ_JYCS", "FIELD_MISSING"),
        ("fields.KZ_JYXM", "FIELD"),
        ("holders", "HOLDER_COUNT"),
        ("holders[0].number_type", "NUMBER_TYPE"),
        ("holders[1].number_type", "NUMBER_TYPE"),
        ("valid_until", "VALIDITY"),
    ]


def test_a_refused_value_is_never_repeated() -> None:
    assert violations(ENTRY, fields={"KZ_JYCS": "场" * 90 + SECRET})


def test_a_number_typed_as_a_fields_name_is_not_repeated() -> None:
    assert violations(ENTRY, fields={"KZ_JYCS": "场", f"KZ_{SECRET}": "x"}) == [
        ("fields", "FIELD_UNKNOWN")
    ]


def test_an_unknown_field_that_looks_like_one_is_named() -> None:
    request = IssueRequest.from_document(
        document(type=TYPE, fields={"KZ_JYCS": "场", "KZ_TYPO": "x"})
    )

    assert "KZ_TYPO" in next(ENTRY.violations(request)).description


def test_a_type_that_is_only_verified_is_never_issued() -> None:
    assert violations(entry(issue_mode="verify-only")) == [("type", "VERIFY_ONLY")]


@pytest.mark.parametrize(
    ("validity", "until", "accepted"),
    [
        ("长期", None, True),
        ("长期", "2999-12-31", True),
        ("P5Y", "2031-01-01", True),
        ("P5Y", "2031-01-02", False),
        ("P5Y", None, False),
        ("P18M", "2027-07-01", True),
        ("P18M", "2027-07-02", False),
        ("P1Y6M", "2027-07-01", True),
        ("P99Y99M", "9999-12-31", False),
    ],
)
def test_validity_is_bounded_by_the_type(validity: str, until: str | None, accepted: bool) -> None:
    found = violations(entry(validity=validity), valid_until=until)

    assert found == ([] if accepted else [("valid_until", "VALIDITY")])


@given(
    start=st.dates(),
    years=st.integers(0, 99),
    months=st.integers(0, 99),
)
def test_a_period_after_any_day_is_a_day(start: date, years: int, months: int) -> None:
    period = "P" + (f"{years}Y" if years else "") + (f"{months}M" if months else "")

    end = _plus_period(start, period)

    assert end >= start
    assert (end - start).days <= 366 * years + 31 * months


def test_a_period_from_29_february_ends_with_february() -> None:
    assert _plus_period(date(2024, 2, 29), "P1Y") == date(2025, 2, 28)
    assert _plus_period(date(2026, 1, 31), "P1M") == date(2026, 2, 28)


# --- documents ------------------------------------------------------------------------------


def test_every_type_that_ships_is_acceptable() -> None:
    types = builtin_types()

    assert len(types) >= 10
    assert all(parse_type(entry.to_bytes()) == entry for entry in types)


def test_a_document_keeps_the_order_of_its_fields() -> None:
    names = list(json.loads(ENTRY.to_bytes())["display_names"])

    assert names == ["KZ_JYCS", "KZ_JYXM"]


def edited(edit: Callable[[dict[str, Any]], object]) -> bytes:
    members: dict[str, Any] = type_document()
    edit(members)
    return json.dumps(members).encode()


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (lambda d: d.pop("name"), "name"),
        (lambda d: d.update(surplus=1), ""),
        (lambda d: d.update(schema=2), "schema"),
        (lambda d: d.update(code="001"), "code"),
        (lambda d: d.update(schema_version=0), "schema_version"),
        (lambda d: d.update(schema_version=True), "schema_version"),
        (lambda d: d.update(schema_version=1.0), ""),
        (lambda d: d["name"].pop("en"), "name.en"),
        (lambda d: d.update(min_holders=3, max_holders=2), "max_holders"),
        (lambda d: d.update(min_holders=0), "min_holders"),
        (lambda d: d.update(number_types=["身份证"]), "number_types.0"),
        (lambda d: d.update(validity="P0Y"), "validity"),
        (lambda d: d.update(validity="5年"), "validity"),
        (lambda d: d.update(issue_mode="both"), "issue_mode"),
        (lambda d: d["display_names"].pop("KZ_JYXM"), "display_names"),
        (lambda d: d["fields"].update(additionalProperties=True), "fields.additionalProperties"),
        (lambda d: d["fields"].update({"$ref": "http://elsewhere.example/"}), "fields"),
        (lambda d: d["fields"]["required"].append("KZ_NONE"), "fields.required"),
        (
            lambda d: d["fields"]["properties"]["KZ_JYCS"].pop("maxLength"),
            "fields.properties.KZ_JYCS",
        ),
        (lambda d: d["fields"]["properties"]["KZ_JYCS"].update(pattern="("), "fields"),
        (lambda d: d["fields"]["properties"].update(NAME={"enum": ["x"]}), "fields.properties"),
        (
            lambda d: d["defining_authority"].update(code="1" * 18),
            "defining_authority.code",
        ),
    ],
)
def test_an_unacceptable_document_names_the_member(
    edit: Callable[[dict[str, Any]], object], field: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_type(edited(edit))

    assert field in [violation.field for violation in caught.value.violations]


def test_a_type_code_begins_with_its_authoritys_code() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_type(type_bytes(code=f"{'9' * 18}901"))

    assert [violation.reason for violation in caught.value.violations] == ["TYPE_CODE"]


def test_what_is_not_json_is_malformed() -> None:
    for data in (b"", b"{", b"[]", b'{"a":1,"a":2}', b"\xff", b" " * (257 << 10)):
        with pytest.raises(MalformedError):
            parse_type(data)


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(name=st.sampled_from(sorted(type_document())), value=_values)
def test_any_value_of_any_member_is_accepted_or_refused_by_name(name: str, value: Json) -> None:
    with suppress(InvalidArgumentError, MalformedError):
        parse_type(json.dumps(type_document(**{name: value})).encode())


# --- the region's catalogue -------------------------------------------------------------------


def test_a_stored_type_is_loaded_as_it_was(small: SmallRegion) -> None:
    with small.region.storage.read() as conn:
        catalogue = load_catalogue(conn)

    assert catalogue.get(TYPE).to_bytes() == ENTRY.to_bytes()
    assert {TYPE, OTHER_TYPE} < {entry.code for entry in catalogue.newest()}
    with pytest.raises(NotFoundError):
        catalogue.get(TYPE, 2)
    with pytest.raises(NotFoundError):
        catalogue.get("0" * 21)


def test_versions_have_no_gaps_and_never_change(small: SmallRegion) -> None:
    code = AUTHORITY + "903"
    with small.region.storage.write() as conn:
        with pytest.raises(InvalidArgumentError):
            add_type(conn, parse_type(type_bytes(code, schema_version=2)), now_ms=0)
        add_type(conn, parse_type(type_bytes(code)), now_ms=0)
        with pytest.raises(AlreadyExistsError):
            add_type(conn, parse_type(type_bytes(code, validity="P1Y")), now_ms=0)
        add_type(conn, parse_type(type_bytes(code, schema_version=2, validity="P1Y")), now_ms=0)

    with small.region.storage.read() as conn:
        catalogue = load_catalogue(conn)
    assert catalogue.get(code).schema_version == 2
    assert catalogue.get(code, 1).document["validity"] == "长期"
