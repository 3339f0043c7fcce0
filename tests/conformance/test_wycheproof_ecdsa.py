"""Wycheproof's ECDSA on P-256 with SHA-256, through the ES256 suite's codecs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.suite import ES256

pytestmark = pytest.mark.vectors

SIGNATURES = 484


def accepts(spki: str, case: dict[str, Any]) -> bool:
    key = ES256.load_public(bytes.fromhex(spki))
    try:
        signature = ES256.from_x509_signature(bytes.fromhex(case["sig"]))
        key.verify(signature, bytes.fromhex(case["msg"]))
    except (MalformedError, VerificationError):
        return False
    return True


def test_signatures_of_others_are_judged_as_they_say(vectors: Path) -> None:
    text = (vectors / "wycheproof" / "ecdsa_secp256r1_sha256_test.json").read_bytes()
    judged = [
        (case, accepts(group["publicKeyDer"], case))
        for group in json.loads(text)["testGroups"]
        for case in group["tests"]
    ]
    assert len(judged) == SIGNATURES
    assert [c["tcId"] for c, accepted in judged if accepted != (c["result"] == "valid")] == []


def test_signatures_survive_the_way_to_x509_and_back(vectors: Path) -> None:
    text = (vectors / "wycheproof" / "ecdsa_secp256r1_sha256_test.json").read_bytes()
    valid = [
        bytes.fromhex(case["sig"])
        for group in json.loads(text)["testGroups"]
        for case in group["tests"]
        if case["result"] == "valid"
    ]
    assert [
        der.hex() for der in valid if ES256.to_x509_signature(ES256.from_x509_signature(der)) != der
    ] == []
