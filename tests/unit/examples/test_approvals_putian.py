"""The approvals of the demo are acceptable, and about nobody."""

from __future__ import annotations

import csv
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema_rs

from yinxin_proto import number

ROOT = Path(__file__).resolve().parents[3]
CATALOGUE: dict[str, dict[str, Any]] = {
    entry["code"]: entry
    for entry in (
        json.loads(path.read_bytes())
        for path in (ROOT / "trust/yinxin_trust/catalogue_data").glob("*.json")
    )
}
with (ROOT / "examples/approvals-putian.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))


def holders(row: dict[str, str]) -> list[tuple[str, str, str]]:
    columns = ("持证主体", "持证主体代码", "持证主体代码类型代码")
    names, numbers, kinds = (row[column].split(";") for column in columns)
    return list(zip(names, numbers, kinds, strict=True))


def test_there_are_two_hundred_of_several_types_and_authorities() -> None:
    assert len(ROWS) == 200
    assert len({row["证照类型代码"] for row in ROWS}) == 6
    assert len({row["颁发机构代码"] for row in ROWS}) == 5


def test_every_number_passes_its_check() -> None:
    for row in ROWS:
        number.parse_credit_code(row["颁发机构代码"])
        for _, value, kind in holders(row):
            number.parse(kind, value)


def test_nobody_in_it_can_be_alive() -> None:
    citizens = {value for row in ROWS for _, value, kind in holders(row) if kind == "111"}

    assert len(citizens) > 80
    assert all(re.fullmatch(r"\d{6}188\d[\dX]{8}", value) for value in citizens)


def test_every_organisation_is_named_an_example() -> None:
    organisations = {name for row in ROWS for name, _, kind in holders(row) if kind == "001"}

    assert all("示例" in name for name in organisations | {row["颁发机构"] for row in ROWS})


def test_a_licence_number_is_used_once_by_an_authority() -> None:
    numbers = {(row["证照类型代码"], row["颁发机构代码"], row["证照编号"]) for row in ROWS}

    assert len(numbers) == len(ROWS)


def test_holders_and_fields_are_what_the_catalogue_asks_for() -> None:
    for row in ROWS:
        entry = CATALOGUE[row["证照类型代码"]]
        named = {text["zh"]: name for name, text in entry["display_names"].items()}
        fields = {named[column]: row[column] for column in named if row[column]}

        assert entry["issue_mode"] == "issue"
        assert row["证照名称"] == entry["name"]["zh"]
        assert entry["min_holders"] <= len(holders(row)) <= entry["max_holders"]
        assert {kind for _, _, kind in holders(row)} <= set(entry["number_types"])
        jsonschema_rs.validator_for(entry["fields"]).validate(fields)


def test_no_column_speaks_of_another_type() -> None:
    known = {text["zh"] for entry in CATALOGUE.values() for text in entry["display_names"].values()}

    for row in ROWS:
        own = {text["zh"] for text in CATALOGUE[row["证照类型代码"]]["display_names"].values()}
        assert not [column for column in known - own if row.get(column)]


def test_validity_is_within_what_the_type_allows() -> None:
    for row in ROWS:
        validity = CATALOGUE[row["证照类型代码"]]["validity"]
        if row["有效期截止日期"] == "长期":
            assert validity == "长期"
            continue
        start = date.fromisoformat(row["有效期起始日期"])
        until = date.fromisoformat(row["有效期截止日期"])
        years = int(validity.strip("PY"))
        assert start < until < start.replace(year=start.year + years)
