"""Wycheproof's JSON Web Keys against the ES256 key codec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.jose import parse_compact
from yinxin_proto.suite import ES256

pytestmark = pytest.mark.vectors

CASES = 26
MIXED_WITH_A_SECRET = 1
"""The one key set that holds a sound P-256 key: beside a secret that the token is made with."""


@pytest.fixture
def groups(vectors: Path) -> list[dict[str, Any]]:
    text = (vectors / "wycheproof" / "json_web_key_test.json").read_bytes()
    found: list[dict[str, Any]] = json.loads(text)["testGroups"]
    return found


def keys_of(group: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = group.get("public", group["private"])["keys"]
    return found


def loads(jwk: dict[str, Any]) -> bool:
    try:
        ES256.public_from_jwk(jwk)
    except MalformedError:
        return False
    return True


def accepts(token: str, jwk: dict[str, Any]) -> bool:
    try:
        parse_compact(token).verify(ES256.public_from_jwk(jwk), typ=None)
    except (MalformedError, VerificationError):
        return False
    return True


def test_no_unsound_key_is_loaded(groups: list[dict[str, Any]]) -> None:
    loaded = {
        case["tcId"]
        for group in groups
        for case in group["tests"]
        if any(loads(jwk) for jwk in keys_of(group))
    }
    assert loaded == {MIXED_WITH_A_SECRET}


def test_no_token_is_accepted_under_any_key_of_its_set(groups: list[dict[str, Any]]) -> None:
    judged = [
        (case["tcId"], any(accepts(case["jws"], jwk) for jwk in keys_of(group)))
        for group in groups
        for case in group["tests"]
    ]
    assert len(judged) == CASES
    # The five valid ones are HS* and RS256, which no suite of ours offers.
    assert [number for number, accepted in judged if accepted] == []
