"""``yinxin key`` and ``authority add-key`` at a region's own machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from sqlalchemy import select

from support.requests import AUTHORITY
from support.served_region import PASSPHRASE, ServedRegion, call
from yinxin_proto.suite import ES256
from yinxin_trust import schema


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> ServedRegion:
    return ServedRegion.found(tmp_path_factory.mktemp("keys"))


def listed(served: ServedRegion) -> dict[tuple[str, str, int], dict[str, object]]:
    done = call("key", "list", str(served.directory), "--json")
    assert done.returncode == 0, done.stderr
    return {
        (line["owner"], line["purpose"], line["version"]): line for line in json.loads(done.stdout)
    }


def test_every_key_is_listed_in_both_languages(served: ServedRegion) -> None:
    english = call("key", "list", str(served.directory))
    chinese = call("key", "list", str(served.directory), YINXIN_LANG="zh")
    assert "active" in english.stdout
    assert "启用" in chinese.stdout
    purposes = {purpose for _, purpose, _ in listed(served)}
    assert purposes >= {"licence", "approval", "status", "log", "kek", "index-hmac", "tls-server"}
    for line in listed(served).values():
        assert line["stage"] == "active"
        assert line["waitsFor"] is None


def test_a_rotation_goes_as_far_as_it_may_and_says_what_it_waits_for(served: ServedRegion) -> None:
    words = [str(served.directory), "licence", "--owner", AUTHORITY]
    done = call("key", "rotate", *words)
    assert done.returncode == 0, done.stderr
    assert "publish" in done.stdout
    assert "activate: from" in done.stdout + done.stderr
    line = listed(served)[AUTHORITY, "licence", 2]
    assert (line["stage"], line["next"], line["waitsFor"]) == ("published", "activate", "time")
    early = call("key", "activate", *words)
    assert early.returncode != 0
    assert "KEY_WAITS" in early.stderr
    assert listed(served)[AUTHORITY, "licence", 2]["stage"] == "published"
    with served.open() as region, region.storage.read() as conn:
        trail = conn.execute(
            select(schema.audit.c.method, schema.audit.c.outcome).where(
                schema.audit.c.method == "Console/ActivateKey"
            )
        ).all()
    assert [tuple(row) for row in trail] == [("Console/ActivateKey", "FAILED_PRECONDITION")]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("licence",), "KEY_OWNER"),
        (("status", "--owner", AUTHORITY), "KEY_OWNER"),
        (("log", "--owner", "secrets"), "KEY_OWNER"),
        (("root",), "KEY_PURPOSE"),
        (("approval", "--owner", AUTHORITY), "APPROVAL_KEY_OURS"),
    ],
)
def test_what_cannot_be_rotated_is_refused_with_a_reason(
    served: ServedRegion, words: tuple[str, ...], reason: str
) -> None:
    done = call("key", "rotate", str(served.directory), *words)
    assert done.returncode != 0
    assert reason in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_offline_passphrase_rotates_nothing(served: ServedRegion) -> None:
    before = listed(served)
    done = call(
        "key", "rotate", str(served.directory), "status", YINXIN_OFFLINE_PASSPHRASE="another one"
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert listed(served) == before


def test_an_authority_hands_over_the_public_half_of_its_next_approval_key(
    served: ServedRegion, tmp_path: Path
) -> None:
    pem = tmp_path / "approval.pub"
    key = load_der_public_key(ES256.generate().public_key.spki)
    pem.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    words = [str(served.directory), "--code", AUTHORITY, "--approval-key", str(pem)]
    done = call("authority", "add-key", *words)
    assert done.returncode == 0, done.stderr
    assert listed(served)[AUTHORITY, "approval", 2]["stage"] == "published"
    again = call("authority", "add-key", *words)
    assert again.returncode != 0
    assert "KEY_REUSE" in again.stderr
    assert PASSPHRASE not in done.stdout + again.stderr
