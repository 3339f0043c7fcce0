"""Licence identifiers, with real ones as vectors."""

from __future__ import annotations

import pytest

from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.identifier import (
    MAX_SERIAL_CHARACTERS,
    PREFIX,
    LicenceIdentifier,
    is_type,
    new,
    of_body,
    parse,
)

VALID = [
    "11100000000013338W011.11430000006122244L.20230000403.001.U",
    "11100000000013338W011.11430000006122244L.20230000403.002.S",
    "11100000000013338W009.11330105002500287C.2025052201.002.0",
    "11100000000013338W032.11220000013544541J.2430599.001.F",
    "11100000MB03271699022.340100.000000016.001.9",
]
WRONG_CHECK = "11100000000013661B006.113700000045046442.209FA4E88F9E4C878F3E9BED2CE7EA49.001.M"
TYPE, ISSUER = "11100000000013338W011", "11430000006122244L"


def refusal(text: str) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        parse(text)
    return caught.value.reason


@pytest.mark.parametrize("text", VALID)
def test_identifiers_of_real_licences_are_parsed(text: str) -> None:
    found = parse(PREFIX + text)
    type_, issuer, serial, version, check = text.split(".")
    assert found == LicenceIdentifier(type_, issuer, serial, int(version), check)
    assert found.check_matches
    assert found.computed_check == check
    assert found.body == f"{type_}.{issuer}.{serial}"
    assert str(found) == PREFIX + text


def test_a_wrong_check_character_is_told_from_every_other_fault() -> None:
    with pytest.raises(InvalidArgumentError, match="is M, computed is D") as caught:
        parse(PREFIX + WRONG_CHECK)
    assert caught.value.reason == "IDENTIFIER_CHECK"


def test_a_wrong_check_character_can_be_let_pass_and_stays_visible() -> None:
    found = parse(PREFIX + WRONG_CHECK, allow_wrong_check=True)
    assert (found.check, found.computed_check, found.check_matches) == ("M", "D", False)
    assert str(found) == PREFIX + WRONG_CHECK
    assert of_body(found.body, found.version).check == "D"


def test_letting_a_check_character_pass_lets_nothing_else_pass() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse(PREFIX + WRONG_CHECK.replace("001", "000"), allow_wrong_check=True)
    assert caught.value.reason == "IDENTIFIER_VERSION"


def test_a_change_keeps_the_body_and_raises_the_version() -> None:
    first = parse(PREFIX + VALID[0])
    assert str(first.next_version()) == PREFIX + VALID[1]
    last = of_body(first.body, 999)
    with pytest.raises(InvalidArgumentError) as caught:
        last.next_version()
    assert caught.value.reason == "IDENTIFIER_VERSION"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "IDENTIFIER_FORMAT"),
        (VALID[0], "IDENTIFIER_FORMAT"),
        (PREFIX + VALID[0] + ".U", "IDENTIFIER_FORMAT"),
        (PREFIX + VALID[0][:-2], "IDENTIFIER_FORMAT"),
        (PREFIX + VALID[0] + "U", "IDENTIFIER_FORMAT"),
        (PREFIX + VALID[0] + "\n", "IDENTIFIER_FORMAT"),
        (" " + PREFIX + VALID[0], "IDENTIFIER_FORMAT"),
        (PREFIX + VALID[0].lower(), "IDENTIFIER_FORMAT"),
        (PREFIX + VALID[0].replace("W011", "W01"), "IDENTIFIER_TYPE"),
        (PREFIX + VALID[0].replace("W011", "w011"), "IDENTIFIER_TYPE"),
        (PREFIX + VALID[0].replace(ISSUER, ""), "IDENTIFIER_ISSUER"),
        (PREFIX + VALID[0].replace(ISSUER, "1" * 33), "IDENTIFIER_ISSUER"),
        (PREFIX + VALID[0].replace("20230000403", ""), "IDENTIFIER_SERIAL"),
        (PREFIX + VALID[0].replace("20230000403", "2023-403"), "IDENTIFIER_SERIAL"),
        (PREFIX + VALID[0].replace("20230000403", "１２３"), "IDENTIFIER_SERIAL"),
        (PREFIX + VALID[0].replace("20230000403", "1" * 65), "IDENTIFIER_SERIAL"),
        (PREFIX + VALID[0].replace("20230000403", "1" * 500), "IDENTIFIER_FORMAT"),
        (PREFIX + VALID[0].replace(".001.", ".1."), "IDENTIFIER_VERSION"),
        (PREFIX + VALID[0].replace(".001.", ".000."), "IDENTIFIER_VERSION"),
        (PREFIX + VALID[0].replace(".001.", ".0001."), "IDENTIFIER_VERSION"),
        (PREFIX + VALID[0].replace(".001.", ".٠٠١."), "IDENTIFIER_VERSION"),
        (PREFIX + VALID[0].replace(".001.", ".002."), "IDENTIFIER_CHECK"),
        (PREFIX + VALID[0].replace("0403", "0430"), "IDENTIFIER_CHECK"),
    ],
)
def test_every_other_fault_has_its_own_reason(text: str, why: str) -> None:
    assert refusal(text) == why


def test_a_new_identifier_checks() -> None:
    made = new(type=TYPE, issuer=ISSUER, serial="20230000403")
    assert str(made) == PREFIX + VALID[0]
    longest = new(type=TYPE, issuer=ISSUER, serial="Z" * MAX_SERIAL_CHARACTERS, version=999)
    assert parse(str(longest)) == longest


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"type": "11100000000013338X011"}, "IDENTIFIER_TYPE"),
        ({"type": "11100000000013338W01"}, "IDENTIFIER_TYPE"),
        ({"type": "11100000000013338W0a1"}, "IDENTIFIER_TYPE"),
        ({"issuer": "340100"}, "IDENTIFIER_ISSUER"),
        ({"issuer": "11430000006122244M"}, "IDENTIFIER_ISSUER"),
        ({"serial": ""}, "IDENTIFIER_SERIAL"),
        ({"serial": "abc"}, "IDENTIFIER_SERIAL"),
        ({"version": 0}, "IDENTIFIER_VERSION"),
        ({"version": 1000}, "IDENTIFIER_VERSION"),
    ],
)
def test_a_new_identifier_is_stricter_than_a_found_one(
    change: dict[str, str | int], why: str
) -> None:
    arguments: dict[str, str | int] = {"type": TYPE, "issuer": ISSUER, "serial": "1"}
    with pytest.raises(InvalidArgumentError) as caught:
        new(**(arguments | change))  # type: ignore[arg-type]
    assert caught.value.reason == why


@pytest.mark.parametrize("body", ["", "a.b", VALID[0], f"{TYPE}.{ISSUER}.{'1' * 999}"])
def test_a_body_has_three_parts(body: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        of_body(body, 1)
    assert caught.value.reason == "IDENTIFIER_FORMAT"


def test_a_type_has_a_form() -> None:
    assert is_type("11100000MB03271699001")
    assert not is_type("11100000MB0327169900")
    assert not is_type("11100000mb03271699001")
