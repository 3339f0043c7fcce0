from __future__ import annotations

import dataclasses
from hashlib import sha256

import pytest

from yinxin_proto.error import InvalidArgumentError, MalformedError
from yinxin_proto.leaf import (
    KeyEventLeaf,
    Leaf,
    LeafKind,
    LicenceLeaf,
    Opening,
    StatusChangeLeaf,
    evidence_hash,
)
from yinxin_proto.strict import b64url_encode, canonical_json

SALT = b"\x5a" * 32
JWT = b"header.payload.signature"
IDENTIFIER = "1.2.156.3005.2.11100000000013338W011.11350300MB0000000X.ABCDEFGH.001.Q"
"""Of an invented authority."""
STATUS = "https://region.example/status/7"

LICENCE = LicenceLeaf(
    issuer_jwt_hash=sha256(JWT).digest(),
    key_spki_hash=b"\x02" * 32,
    identifier=IDENTIFIER,
    status_uri=STATUS,
    status_idx=131_071,
    approval_hash=b"\x03" * 32,
    evidence_hash=b"\x04" * 32,
    request_hash=b"\x05" * 32,
)
CHANGE = StatusChangeLeaf(
    identifier=IDENTIFIER,
    from_state="VALID",
    to_state="SUSPENDED",
    operation="SUSPEND",
    reason_code="INVESTIGATION",
    effective_time=1_767_225_600,
    operator_certificate_hash=b"\x06" * 32,
    approval_hash=b"\x07" * 32,
    prior_index=41,
)
EVENT = KeyEventLeaf(
    key_spki_hash=b"\x08" * 32,
    purpose="licence",
    event="COMPROMISED",
    effective_time=1_767_225_600,
    trust_list_version=9,
    evidence_hash=b"\x09" * 32,
)
OPENING = Opening(approval=b"\x03" * 32, evidence=b"\x04" * 32, request=b"\x05" * 32, salt=SALT)


def framed(kind: int, *fields: bytes) -> bytes:
    """The formula of the design, spelled out again."""
    body = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return sha256(b"yinxin/leaf/v1" + kind.to_bytes(2, "big") + body + SALT).digest()


def test_the_kinds_keep_their_numbers() -> None:
    assert {kind.name: int(kind) for kind in LeafKind} == {
        "LICENCE": 1,
        "STATUS_CHANGE": 2,
        "KEY_EVENT": 3,
    }


def test_a_licence_leaf_has_its_fields_in_order() -> None:
    assert LICENCE.entry(SALT) == framed(
        1,
        sha256(JWT).digest(),
        b"\x02" * 32,
        IDENTIFIER.encode(),
        STATUS.encode(),
        (131_071).to_bytes(8, "big"),
        b"\x03" * 32,
        b"\x04" * 32,
        b"\x05" * 32,
    )


def test_a_status_change_leaf_has_its_fields_in_order() -> None:
    assert CHANGE.entry(SALT) == framed(
        2,
        IDENTIFIER.encode(),
        b"VALID",
        b"SUSPENDED",
        b"SUSPEND",
        b"INVESTIGATION",
        (1_767_225_600).to_bytes(8, "big"),
        b"\x06" * 32,
        b"\x07" * 32,
        (41).to_bytes(8, "big"),
    )


def test_a_key_event_leaf_has_its_fields_in_order() -> None:
    assert EVENT.entry(SALT) == framed(
        3,
        b"\x08" * 32,
        b"licence",
        b"COMPROMISED",
        (1_767_225_600).to_bytes(8, "big"),
        (9).to_bytes(8, "big"),
        b"\x09" * 32,
    )


def test_an_absent_field_has_length_zero() -> None:
    bare = LicenceLeaf(
        issuer_jwt_hash=sha256(JWT).digest(),
        key_spki_hash=b"\x02" * 32,
        identifier=IDENTIFIER,
        status_uri=None,
        status_idx=None,
        approval_hash=None,
        evidence_hash=None,
        request_hash=None,
    )
    hashes = (sha256(JWT).digest(), b"\x02" * 32, IDENTIFIER.encode())
    assert bare.entry(SALT) == framed(1, *hashes, b"", b"", b"", b"", b"")
    first = dataclasses.replace(
        CHANGE,
        reason_code=None,
        operator_certificate_hash=None,
        approval_hash=None,
        prior_index=None,
    )
    assert first.entry(SALT) != dataclasses.replace(first, prior_index=0).entry(SALT)


CHANGES: list[tuple[Leaf, str, object]] = [
    (LICENCE, "issuer_jwt_hash", sha256(b"another").digest()),
    (LICENCE, "key_spki_hash", b"\x22" * 32),
    (LICENCE, "identifier", IDENTIFIER.replace("001", "002")),
    (LICENCE, "status_uri", STATUS + "1"),
    (LICENCE, "status_idx", 0),
    (LICENCE, "approval_hash", None),
    (LICENCE, "evidence_hash", None),
    (LICENCE, "request_hash", None),
    (CHANGE, "from_state", "FROZEN"),
    (CHANGE, "to_state", "REVOKED"),
    (CHANGE, "operation", "REVOKE"),
    (CHANGE, "reason_code", None),
    (CHANGE, "effective_time", 0),
    (CHANGE, "operator_certificate_hash", None),
    (CHANGE, "approval_hash", None),
    (CHANGE, "prior_index", None),
    (EVENT, "key_spki_hash", b"\x22" * 32),
    (EVENT, "purpose", "approval"),
    (EVENT, "event", "RETIRED"),
    (EVENT, "effective_time", 0),
    (EVENT, "trust_list_version", 10),
    (EVENT, "evidence_hash", None),
]


@pytest.mark.parametrize(("leaf", "field", "value"), CHANGES)
def test_every_field_is_committed_to(leaf: Leaf, field: str, value: object) -> None:
    changed = dataclasses.replace(leaf, **{field: value})  # type: ignore[arg-type]
    assert changed.entry(SALT) != leaf.entry(SALT)


def test_hashes_swapped_between_fields_make_another_entry() -> None:
    swapped = dataclasses.replace(
        LICENCE, approval_hash=LICENCE.request_hash, request_hash=LICENCE.approval_hash
    )
    assert swapped.entry(SALT) != LICENCE.entry(SALT)


def test_the_salt_hides_the_fields() -> None:
    assert LICENCE.entry(SALT) != LICENCE.entry(bytes(32))


@pytest.mark.parametrize("salt", [b"", bytes(16), bytes(33)])
def test_a_shorter_salt_is_refused(salt: bytes) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        LICENCE.entry(salt)
    assert caught.value.reason == "LEAF_SALT"


WRONG: list[tuple[Leaf, str, object]] = [
    (LICENCE, "issuer_jwt_hash", b""),
    (LICENCE, "issuer_jwt_hash", b"short"),
    (LICENCE, "identifier", ""),
    (LICENCE, "identifier", "x" * 1025),
    (LICENCE, "identifier", "\ud800"),
    (LICENCE, "status_uri", None),
    (LICENCE, "status_uri", ""),
    (LICENCE, "status_idx", None),
    (LICENCE, "status_idx", -1),
    (LICENCE, "status_idx", 1 << 64),
    (CHANGE, "operation", ""),
    (CHANGE, "operation", "暂扣"),
    (CHANGE, "operation", "two words"),
    (CHANGE, "from_state", "x" * 65),
    (CHANGE, "reason_code", ""),
    (CHANGE, "effective_time", -1),
    (CHANGE, "approval_hash", b""),
    (EVENT, "purpose", "licence\n"),
]


@pytest.mark.parametrize(("leaf", "field", "value"), WRONG)
def test_a_field_out_of_bounds_is_refused(leaf: Leaf, field: str, value: object) -> None:
    wrong = dataclasses.replace(leaf, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError) as caught:
        wrong.entry(SALT)
    assert caught.value.reason == "LEAF_FIELD"


def test_evidence_is_framed_so_that_nothing_can_move() -> None:
    framing = b"\x00\x00\x00\x02" + b"\x00\x00\x00\x02ab" + b"\x00\x00\x00\x01c"
    expected = sha256(b"yinxin/evidence/v1" + framing + b"\x00\x00\x00\x01r").digest()
    assert evidence_hash([b"ab", b"c"], b"r") == expected
    others = [([b"a", b"bc"], b"r"), ([b"abc"], b"r"), ([b"ab", b"c", b"r"], b""), ([b"ab"], b"cr")]
    assert expected not in {evidence_hash(chain, snapshot) for chain, snapshot in others}


def test_an_opening_beside_the_licence_gives_its_entry() -> None:
    entry = OPENING.licence_entry(JWT, b"\x02" * 32, IDENTIFIER, STATUS, 131_071)
    assert entry == LICENCE.entry(SALT)


def test_an_opening_beside_another_licence_gives_another_entry() -> None:
    entry = OPENING.licence_entry(JWT + b"x", b"\x02" * 32, IDENTIFIER, STATUS, 131_071)
    assert entry != LICENCE.entry(SALT)


@pytest.mark.parametrize("absent", [None, "approval", "evidence", "request"])
def test_an_opening_is_canonical_json(absent: str | None) -> None:
    opening = OPENING if absent is None else dataclasses.replace(OPENING, **{absent: None})  # type: ignore[arg-type]
    data = opening.to_bytes()
    assert data == canonical_json(opening.to_json())
    assert Opening.parse(data) == opening
    assert Opening.from_json(opening.to_json()) == opening


SHORT = b64url_encode(b"short")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v": 2}, "OPENING_VERSION"),
        ({"v": True}, "OPENING_VERSION"),
        ({"v": "1"}, "OPENING_VERSION"),
        ({"kind": 2}, "OPENING_KIND"),
        ({"kind": 1.0}, "OPENING_KIND"),
        ({"holder": ""}, "OPENING"),
        ({"salt": ""}, "OPENING"),
        ({"salt": SHORT}, "OPENING"),
        ({"salt": None}, "OPENING"),
        ({"approval": SHORT}, "OPENING"),
        ({"approval": None}, "OPENING"),
        ({"evidence": "A" * 44}, "TOO_LARGE"),
        ({"request": "A" * 42 + "B"}, "BASE64URL"),
        ({"request": "A" * 42 + "="}, "BASE64URL"),
    ],
)
def test_an_opening_with_a_wrong_member_is_malformed(
    change: dict[str, object], reason: str
) -> None:
    members = OPENING.to_json() | change
    with pytest.raises(MalformedError) as caught:
        Opening.from_json(members)
    assert caught.value.reason == reason


@pytest.mark.parametrize("name", ["approval", "evidence", "kind", "request", "salt", "v"])
def test_an_opening_lacks_no_member(name: str) -> None:
    members = OPENING.to_json()
    del members[name]
    with pytest.raises(MalformedError) as caught:
        Opening.from_json(members)
    assert caught.value.reason == "OPENING"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (OPENING.to_bytes().replace(b",", b", "), "JSON_NOT_CANONICAL"),
        (OPENING.to_bytes().replace(b'"v":1', b'"v":1,"v":1'), "JSON_DUPLICATE_MEMBER"),
        (OPENING.to_bytes().replace(b'"kind"', b'"\\u006bind"'), "JSON_NOT_CANONICAL"),
        (OPENING.to_bytes() + b" " * 1024, "TOO_LARGE"),
        (b"[]", "JSON"),
        (b"", "JSON"),
    ],
)
def test_an_opening_has_one_spelling(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Opening.parse(data)
    assert caught.value.reason == reason
