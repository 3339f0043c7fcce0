"""Wycheproof's JSON Web Signatures against the parser that production uses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.jose import parse_compact
from yinxin_proto.suite import ES256, PublicKey

pytestmark = pytest.mark.vectors

TOKENS = 401
VALID_ES256 = {18, 378}
"""The only valid tokens under a suite of ours; 44 others are HS, RS, PS, ES512."""


@pytest.fixture
def groups(vectors: Path) -> list[dict[str, Any]]:
    text = (vectors / "wycheproof" / "json_web_signature_test.json").read_bytes()
    found: list[dict[str, Any]] = json.loads(text)["testGroups"]
    return found


def accepts(token: str, jwk: dict[str, Any]) -> bool:
    try:
        parse_compact(token).verify(ES256.public_from_jwk(jwk), typ=None)
    except (MalformedError, VerificationError):
        return False
    return True


def accepts_under(token: str, key: PublicKey) -> bool:
    try:
        parse_compact(token).verify(key, typ=None)
    except (MalformedError, VerificationError):
        return False
    return True


def cases(groups: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for group in groups:
        for case in group["tests"]:
            # The key that the group hands to a verifier; for HS* it is the secret.
            yield group.get("public", group["private"]), case


def test_no_invalid_token_is_accepted(groups: list[dict[str, Any]]) -> None:
    judged = list(cases(groups))
    assert len(judged) == TOKENS
    assert [
        c["tcId"] for key, c in judged if c["result"] != "valid" and accepts(c["jws"], key)
    ] == []


def test_exactly_the_valid_es256_tokens_are_accepted(groups: list[dict[str, Any]]) -> None:
    assert {c["tcId"] for key, c in cases(groups) if accepts(c["jws"], key)} == VALID_ES256


def test_no_token_under_another_algorithm_verifies_under_a_good_key(
    groups: list[dict[str, Any]],
) -> None:
    judged = list(cases(groups))
    (jwk,) = [key for key, case in judged if case["tcId"] == min(VALID_ES256)]
    key = ES256.public_from_jwk(jwk)
    accepted = {case["tcId"]: case for _, case in judged if accepts_under(case["jws"], key)}
    # 354 and 356 are the first valid token again, with a key for another use.
    assert accepted.keys() == VALID_ES256 | {354, 356}
    assert {accepted[n]["jws"] for n in (354, 356)} == {accepted[min(VALID_ES256)]["jws"]}
