"""Taking DER apart."""

from __future__ import annotations

import pytest

from yinxin_proto.der import elements
from yinxin_proto.error import MalformedError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("3000", []),
        ("3003020105", ["020105"]),
        ("30060201050c0161", ["020105", "0c0161"]),
        ("3005a003020102", ["a003020102"]),
        ("308184048181" + "00" * 129, ["048181" + "00" * 129]),
        ("3082010404820100" + "00" * 256, ["04820100" + "00" * 256]),
    ],
)
def test_a_sequence_is_split_into_the_bytes_it_holds(text: str, parts: list[str]) -> None:
    assert [part.hex() for part in elements(bytes.fromhex(text))] == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        "3001",
        "30000500",
        "3103020105",
        "3080",
        "30800000",
        "308103020105",
        "30820003020105",
        "30ff",
        "3084ffffffff",
        "3003020205",
        "30021f00",
        "300102",
        "30020280",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        elements(bytes.fromhex(text))
    assert caught.value.reason == "DER"
