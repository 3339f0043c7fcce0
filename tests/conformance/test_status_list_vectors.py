"""The draft's own encoded lists and its one token (no key to check it with)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from yinxin_proto.jose import parse_compact
from yinxin_proto.statuslist import StatusList, parse

pytestmark = pytest.mark.vectors

SHORT = {
    "status_list_encoding_json.md": (1, bytes.fromhex("b9a3")),
    "status_list_encoding2_json.md": (2, bytes.fromhex("c944f9")),
}
# From the draft's appendix: what is not named is 0.
LONG: dict[str, dict[int, int]] = {
    "status_list_encoding1_long_json.md": dict.fromkeys(
        [0, 1993, 25460, 159495, 495669, 554353, 645645, 723232, 854545, 934534, 1000345], 1
    ),
    "status_list_encoding2_long_json.md": {
        0: 1,
        1993: 2,
        25460: 1,
        159495: 3,
        495669: 1,
        554353: 1,
        645645: 2,
        723232: 1,
        854545: 1,
        934534: 2,
        1000345: 3,
    },
    "status_list_encoding4_json.md": {
        0: 1,
        1993: 2,
        35460: 3,
        459495: 4,
        595669: 5,
        754353: 6,
        845645: 7,
        923232: 8,
        924445: 9,
        934534: 10,
        1004534: 11,
        1000345: 12,
        1030203: 13,
        1030204: 14,
        1030205: 15,
    },
}


def read(vectors: Path, name: str) -> dict[str, Any]:
    text = (vectors / "status-list" / name).read_text("utf-8")
    joined = re.sub(r"\s*\n\s*(?=[A-Za-z0-9_-])", "", text[text.index("{") :])
    document: dict[str, Any] = json.loads(joined)
    return document


@pytest.mark.parametrize("name", SHORT)
def test_short_lists_hold_the_bytes_given(vectors: Path, name: str) -> None:
    bits, raw = SHORT[name]
    document = read(vectors, name)
    assert document["bits"] == bits
    assert StatusList.decode(document["bits"], document["lst"]).raw == raw


@pytest.mark.parametrize("name", LONG)
def test_long_lists_hold_the_values_given(vectors: Path, name: str) -> None:
    document = read(vectors, name)
    decoded = StatusList.decode(document["bits"], document["lst"])
    blank = StatusList.filled(bits=decoded.bits, size=decoded.size)
    assert decoded.size == 1 << 20
    assert decoded == blank.replace(LONG[name])
    assert {index: decoded.get(index) for index in LONG[name]} == LONG[name]


def test_the_list_of_bytes_has_every_value_once(vectors: Path) -> None:
    document = read(vectors, "status_list_encoding8_json.md")
    decoded = StatusList.decode(document["bits"], document["lst"])
    assert decoded.size == 1 << 20
    assert sorted(value for value in decoded.raw if value) == list(range(1, 256))


@pytest.mark.parametrize("name", [*SHORT, *LONG, "status_list_encoding8_json.md"])
def test_encoding_a_decoded_list_gives_a_list_that_decodes_to_it(vectors: Path, name: str) -> None:
    document = read(vectors, name)
    decoded = StatusList.decode(document["bits"], document["lst"])
    assert StatusList.decode(decoded.bits, decoded.encode()) == decoded


def test_the_token_parses(vectors: Path) -> None:
    raw = (vectors / "status-list" / "status_list_jwt_raw.md").read_text("utf-8")
    token = "".join(raw.split())
    assert parse(token).jws == parse_compact(token)
    claims = json.loads(parse_compact(token).payload)
    assert StatusList.decode(**claims["status_list"]).raw == bytes.fromhex("b9a3")
