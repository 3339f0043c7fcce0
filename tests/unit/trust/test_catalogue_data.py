"""The catalogue's data files are what their shape promises."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema_rs
import pytest

from yinxin_proto.number import IdentifierType, is_credit_code

PACKAGE = files("yinxin_trust")
ENTRIES: dict[str, dict[str, Any]] = {
    path.name: json.loads(path.read_bytes())
    for path in sorted((PACKAGE / "catalogue_data").iterdir(), key=lambda path: path.name)
    if path.name.endswith(".json")
}
SHAPE = jsonschema_rs.validator_for(
    json.loads((PACKAGE / "catalogue_entry.schema.json").read_bytes())
)
each_entry = pytest.mark.parametrize("name", list(ENTRIES))


@each_entry
def test_an_entry_has_the_documented_shape(name: str) -> None:
    assert [error.message for error in SHAPE.iter_errors(ENTRIES[name])] == []


@each_entry
def test_a_file_is_named_by_type_and_version(name: str) -> None:
    entry = ENTRIES[name]

    assert name == f"{entry['code']}-{entry['schema_version']}.json"


@each_entry
def test_a_type_code_begins_with_its_defining_authority(name: str) -> None:
    entry = ENTRIES[name]

    assert is_credit_code(entry["defining_authority"]["code"])
    assert entry["code"][:18] == entry["defining_authority"]["code"]


@each_entry
def test_every_field_has_a_name_in_both_languages(name: str) -> None:
    entry = ENTRIES[name]

    assert list(entry["display_names"]) == list(entry["fields"]["properties"])
    assert set(entry["fields"]["required"]) <= set(entry["display_names"])


@each_entry
def test_chinese_field_names_are_unique_within_a_type(name: str) -> None:
    names = [text["zh"] for text in ENTRIES[name]["display_names"].values()]

    assert len(names) == len(set(names))


@each_entry
def test_holders_can_be_named(name: str) -> None:
    entry = ENTRIES[name]
    kinds = [IdentifierType.of(code) for code in entry["number_types"]]

    assert entry["min_holders"] <= entry["max_holders"]
    assert ("person" in entry["holder_categories"]) == any(kind.is_person for kind in kinds)


@each_entry
def test_the_fields_schema_compiles_and_refuses_what_it_does_not_know(name: str) -> None:
    fields = jsonschema_rs.validator_for(ENTRIES[name]["fields"])

    assert not fields.is_valid({"KZ_UNKNOWN": "x"})


def test_the_catalogue_has_what_a_region_starts_with() -> None:
    modes = {entry["name"]["zh"]: entry["issue_mode"] for entry in ENTRIES.values()}

    assert modes == {
        "营业执照": "issue",
        "食品经营许可证": "issue",
        "不动产权证书": "issue",
        "不动产登记证明": "issue",
        "结婚证": "issue",
        "残疾人证": "issue",
        "出生医学证明": "issue",
        "医师执业证书": "issue",
        "建筑施工企业安全生产许可证": "issue",
        "建设项目环境影响评价文件批复": "issue",
        "居民身份证": "verify-only",
    }


def test_an_unknown_member_is_refused() -> None:
    entry = dict(next(iter(ENTRIES.values())), surprise=True)

    assert not SHAPE.is_valid(entry)


def test_a_fields_schema_cannot_refer_elsewhere() -> None:
    entry = json.loads(json.dumps(next(iter(ENTRIES.values()))))
    entry["fields"]["properties"]["KZ_LX"] = {"$ref": "urn:elsewhere"}

    assert not SHAPE.is_valid(entry)
