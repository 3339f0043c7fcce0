"""RFC 6962 proofs of transparency-dev/merkle: the good hold, the bad do not."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.merkle import TreeHead, verify_consistency, verify_inclusion

pytestmark = pytest.mark.vectors

CONSISTENCY_CASES = 98
INCLUSION_CASES = 98


def cases(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    files = sorted(folder.rglob("*.json"))
    return [(str(file.relative_to(folder)), json.loads(file.read_bytes())) for file in files]


def hashes(case: dict[str, Any]) -> list[bytes]:
    return [b64decode(text) for text in case["proof"] or []]


def accepts_inclusion(case: dict[str, Any]) -> bool:
    head = TreeHead(case["treeSize"], b64decode(case["root"]))
    try:
        verify_inclusion(b64decode(case["leafHash"]), case["leafIdx"], hashes(case), head)
    except (MalformedError, VerificationError):
        return False
    return True


def accepts_consistency(case: dict[str, Any]) -> bool:
    old = TreeHead(case["size1"], b64decode(case["root1"]))
    new = TreeHead(case["size2"], b64decode(case["root2"]))
    try:
        verify_consistency(old, new, hashes(case))
    except (MalformedError, VerificationError):
        return False
    return True


def test_inclusion_proofs_of_others_are_judged_as_they_say(vectors: Path) -> None:
    found = cases(vectors / "merkle" / "inclusion")
    assert len(found) >= INCLUSION_CASES
    wrong = [name for name, case in found if accepts_inclusion(case) == case["wantErr"]]
    assert wrong == []


def test_consistency_proofs_of_others_are_judged_as_they_say(vectors: Path) -> None:
    found = cases(vectors / "merkle" / "consistency")
    assert len(found) >= CONSISTENCY_CASES
    wrong = [name for name, case in found if accepts_consistency(case) == case["wantErr"]]
    assert wrong == []
