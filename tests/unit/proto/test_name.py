"""Resource names and region codes."""

from __future__ import annotations

from typing import Any

import pytest

from yinxin_proto import identifier
from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.name import (
    AuthorityName,
    LicenceName,
    OperationName,
    PrincipalName,
    RegionName,
    SubjectName,
    TypeName,
    parse_region_code,
    region_contains,
    region_level,
)

BODY = "11100000000013338W011.11430000006122244L.20230000403"
CODE = "11430000006122244L"
NAMES: list[tuple[Any, str]] = [
    (RegionName, "regions/350300"),
    (LicenceName, f"regions/350300/licences/{BODY}"),
    (LicenceName, f"regions/350300/licences/{BODY}@002"),
    (AuthorityName, f"regions/350300/authorities/{CODE}"),
    (TypeName, "regions/350300/licenceTypes/11100000000013338W011"),
    (SubjectName, "regions/350300/subjects/00112233445566778899aabbccddeeff"),
    (PrincipalName, "regions/350300/principals/food-window-1"),
    (OperationName, "regions/350300/operations/7"),
]


@pytest.mark.parametrize(("kind", "text"), NAMES)
def test_a_name_is_read_and_written_back(kind: Any, text: str) -> None:  # noqa: ANN401
    assert str(kind.parse(text)) == text


@pytest.mark.parametrize(("kind", "text"), NAMES)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: f"/{text}",
        lambda text: f"{text}/",
        lambda text: f"{text}/x",
        lambda text: f"{text}\n",
        lambda text: f"{text} ",
        lambda text: text.replace("regions", "region"),
        lambda text: text.replace("350300", ""),
        lambda text: text.replace("350300", ".."),
        lambda text: text.replace("350300", "３50300"),
        lambda text: text.replace("350300", "990300"),
        lambda text: text + "1" * 300,
    ],
)
def test_a_name_of_another_form_is_refused(kind: Any, text: str, spoil: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidArgumentError) as caught:
        kind.parse(spoil(text))
    assert caught.value.reason in {"RESOURCE_NAME", "REGION_CODE"}


def test_a_name_of_one_kind_is_not_one_of_another() -> None:
    for kind, _ in NAMES:
        for other, text in NAMES:
            if other is not kind:
                with pytest.raises(InvalidArgumentError):
                    kind.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        f"regions/350300/licences/{BODY}@2",
        f"regions/350300/licences/{BODY}@000",
        f"regions/350300/licences/{BODY}@",
        f"regions/350300/licences/{BODY}@001@002",
        f"regions/350300/licences/{BODY.lower()}",
        f"regions/350300/licences/{BODY}.001.U",
        "regions/350300/licences/350302188503150016",
        f"regions/350300/authorities/{CODE[:-1]}M",
        "regions/350300/authorities/350302188503150016",
        "regions/350300/licenceTypes/11100000000013338W01",
        "regions/350300/subjects/K3",
        f"regions/350300/subjects/{'0' * 31}",
        "regions/350300/principals/-a",
        "regions/350300/principals/a_b",
        "regions/350300/operations/%2e%2e",
    ],
)
def test_an_id_that_a_resource_cannot_have_is_refused(text: str) -> None:
    for kind, _ in NAMES:
        with pytest.raises(InvalidArgumentError):
            kind.parse(text)


def test_a_licence_is_named_by_the_body_of_its_identifier() -> None:
    region = parse_region_code("350300")
    found = identifier.of_body(BODY, 2)
    name = LicenceName.of(region, found)
    assert name.identifier is None
    assert name.at(2).identifier == found
    assert name.at(2) != name
    assert LicenceName.parse(f"{name}@002") == name.at(2)


def test_an_authority_is_named_by_its_credit_code() -> None:
    assert AuthorityName.parse(f"regions/350300/authorities/{CODE}").code == CODE


def test_a_name_cannot_be_made_that_could_not_be_parsed() -> None:
    region = parse_region_code("350300")
    with pytest.raises(InvalidArgumentError):
        AuthorityName(region, "x/../y")
    with pytest.raises(InvalidArgumentError):
        LicenceName(region, BODY, 1000)
    with pytest.raises(InvalidArgumentError):
        SubjectName(region, "a/b")


@pytest.mark.parametrize("code", ["350000", "350300", "350302", "110000", "659001", "710000"])
def test_a_region_code_is_accepted(code: str) -> None:
    assert parse_region_code(code) == code


@pytest.mark.parametrize(
    "code",
    ["", "35", "3503", "3503000", "000000", "160000", "350002", "35030a", "３50300", "350300\n"],
)
def test_another_region_code_is_refused(code: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_region_code(code)
    assert caught.value.reason == "REGION_CODE"


def test_regions_contain_each_other_by_levels() -> None:
    province, city, county = map(parse_region_code, ("350000", "350300", "350302"))
    other = parse_region_code("350400")
    assert [region_level(code) for code in (province, city, county)] == [1, 2, 3]
    assert region_contains(province, city)
    assert region_contains(province, county)
    assert region_contains(city, county)
    assert region_contains(county, county)
    assert not region_contains(county, city)
    assert not region_contains(city, province)
    assert not region_contains(other, county)
    # 350 is a string prefix of all of them and no region at all.
    assert not region_contains(parse_region_code("360000"), city)
