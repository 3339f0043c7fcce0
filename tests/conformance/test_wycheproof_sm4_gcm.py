"""Wycheproof's SM4-GCM, through the cipher that seals values at rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from yinxin_proto.sm4 import Sm4Gcm

pytestmark = pytest.mark.vectors

CASES = 104
SHORTEST_NONCE = 8
"""The library takes nonces of 8 to 128 bytes; ours always have 12."""
LONGEST_NONCE = 128


def opens(case: dict[str, Any]) -> bool:
    key, nonce, extra, text, sealed, tag = (
        bytes.fromhex(case[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")
    )
    try:
        return Sm4Gcm(key).decrypt(nonce, sealed + tag, extra) == text
    except (InvalidTag, ValueError):
        return False


def test_values_of_others_open_as_they_say(vectors: Path) -> None:
    text = (vectors / "wycheproof" / "sm4_gcm_test.json").read_bytes()
    judged = [
        (case, opens(case))
        for group in json.loads(text)["testGroups"]
        for case in group["tests"]
        if group["ivSize"] == 0 or SHORTEST_NONCE <= group["ivSize"] // 8 <= LONGEST_NONCE
    ]
    assert len(judged) > CASES // 2
    assert [c["tcId"] for c, opened in judged if opened != (c["result"] == "valid")] == []


def test_what_we_seal_is_what_others_say(vectors: Path) -> None:
    text = (vectors / "wycheproof" / "sm4_gcm_test.json").read_bytes()
    for group in json.loads(text)["testGroups"]:
        for case in group["tests"]:
            if group["ivSize"] != 96 or case["result"] != "valid":
                continue
            key, nonce, extra, plain = (
                bytes.fromhex(case[name]) for name in ("key", "iv", "aad", "msg")
            )
            assert Sm4Gcm(key).encrypt(nonce, plain, extra).hex() == case["ct"] + case["tag"]
