"""What a trust list says, and every list that is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from support.trust_list import (
    CODES,
    DOMAIN,
    ISSUED_AT,
    ORIGIN,
    TYPE,
    pin,
    record,
    retired_pin,
    trust_list,
    vkey,
)
from yinxin_proto.error import ConfigurationError, MalformedError
from yinxin_proto.keyrecord import KeyPurpose, KeyRecord, KeyState, Pin, ranges_of
from yinxin_proto.strict import canonical_json
from yinxin_proto.suite import ES256
from yinxin_proto.trustlist import MAX_TRUST_LIST_BYTES, Authority, TrustList, TypeScope
from yinxin_proto.vkey import SignatureType

Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> bytes:
    """Return the sample list with one change, canonical again."""
    value = json.loads(trust_list().to_bytes())
    change(value)
    return canonical_json(value)


def refused(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        TrustList.parse(data)
    assert caught.value.reason == reason


def authority(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = value["authorities"][0]
    return found


def test_a_list_is_read_back_as_it_was_written() -> None:
    listed = trust_list()
    assert TrustList.parse(listed.to_bytes()) == listed
    assert TrustList.parse(listed.to_bytes()).to_bytes() == listed.to_bytes()


def test_a_key_is_found_by_its_thumbprint_with_its_owner() -> None:
    listed = trust_list()
    licence_key = listed.authorities[0].keys[0]
    assert listed.find_key(licence_key.thumbprint) == (listed.authorities[0], licence_key)
    status_key = listed.status_keys[0]
    assert listed.find_key(status_key.thumbprint) == (None, status_key)
    assert licence_key.public_key.thumbprint == licence_key.thumbprint
    assert listed.find_key(ES256.load_deterministic(999).public_key.thumbprint) is None


def test_authorities_and_logs_are_found_by_name() -> None:
    listed = trust_list()
    assert listed.authority(CODES[1]) == listed.authorities[1]
    assert listed.authority("nobody") is None
    assert listed.log(ORIGIN) == listed.logs[0]
    assert listed.log("nowhere") is None


def test_an_authority_issues_a_type_within_its_scopes_alone() -> None:
    issuer = trust_list().authorities[0]
    assert issuer.may_issue(TYPE, ISSUED_AT)
    assert issuer.may_issue(TYPE, ISSUED_AT + 99)
    assert issuer.may_issue(TYPE, ISSUED_AT + 10**9)
    assert not issuer.may_issue(TYPE, ISSUED_AT - 1)
    assert not issuer.may_issue(TYPE[:-1] + "2", ISSUED_AT)
    ended = Authority(
        code=CODES[0], name="虚构", types=(TypeScope(type=TYPE, not_before=5, not_after=6),)
    )
    assert [ended.may_issue(TYPE, at) for at in (4, 5, 6, 7)] == [False, True, True, False]


def test_a_key_covers_its_validity_both_ends_included() -> None:
    key = record(1, not_after=ISSUED_AT + 1)
    covered = [key.covers(ISSUED_AT + offset) for offset in (-1, 0, 1, 2)]
    assert covered == [False, True, True, False]
    assert record(1).covers(ISSUED_AT + 10**9)


# The stolen key ---------------------------------------------------------------


def test_a_pin_admits_what_is_safe_or_attested_anew() -> None:
    stolen = pin()
    admitted = [index for index in range(895, 1005) if stolen.admits(index)]
    assert admitted == [895, 896, 897, 898, 899, 901, 902, 903, 904, 950]
    assert not stolen.admits(-1)


def test_a_pin_that_says_nothing_safe_admits_nothing() -> None:
    stolen = Pin(origin=ORIGIN, n_stop=10, root=bytes(32), n_safe=0)
    assert not any(stolen.admits(index) for index in range(12))


def test_indexes_become_the_ranges_that_a_pin_wants() -> None:
    assert ranges_of([]) == ()
    assert ranges_of([7, 3, 4, 4, 9, 5]) == ((3, 6), (7, 8), (9, 10))


@pytest.mark.parametrize(
    "ranges",
    [
        [[899, 905]],
        [[990, 1001]],
        [[905, 905]],
        [[906, 905]],
        [[901, 905], [903, 910]],
        [[901, 905], [905, 910]],
        [[950, 951], [901, 905]],
        [[901, 905], [901, 905]],
    ],
)
def test_ranges_out_of_order_or_bounds_are_refused(ranges: list[list[int]]) -> None:
    refused(
        changed(lambda value: authority(value)["keys"][1]["pin"].update(reattested=ranges)),
        "PIN_REATTESTED",
    )


@pytest.mark.parametrize("ranges", [[[901]], [[901, 902, 903]], [901, 902], [{}]])
def test_ranges_of_another_shape_are_refused(ranges: list[Any]) -> None:
    refused(
        changed(lambda value: authority(value)["keys"][1]["pin"].update(reattested=ranges)),
        "MEMBER_TYPE",
    )


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("n_safe", 1001, "PIN_RANGE"),
        ("n_safe", -1, "MEMBER_RANGE"),
        ("n_stop", 1.5, "MEMBER_TYPE"),
        ("n_stop", True, "MEMBER_TYPE"),
        ("root", "AAAA", "MEMBER_RANGE"),
        ("origin", f"{DOMAIN}/log/350399/licences/3", "PIN_ORIGIN"),
        ("origin", f"{DOMAIN}/log/350399/uses/1", "PIN_ORIGIN"),
        ("unknown", 1, "UNKNOWN_MEMBER"),
    ],
)
def test_a_pin_that_cannot_be_judged_by_is_refused(member: str, value: object, reason: str) -> None:
    refused(
        changed(lambda listed: authority(listed)["keys"][1]["pin"].update({member: value})), reason
    )


@pytest.mark.parametrize("state", ["active", "suspended", "retired"])
def test_only_a_compromised_key_has_a_pin_that_leaves_entries_out(state: str) -> None:
    refused(
        changed(lambda v: authority(v)["keys"][1].update(state=state, not_after=ISSUED_AT)),
        "PIN_STATE",
    )


def test_a_retired_key_keeps_its_plain_pin_while_it_is_suspended() -> None:
    listed = TrustList.parse(changed(lambda v: authority(v)["keys"][2].update(state="suspended")))
    held = listed.authorities[0].keys[2].pin
    assert held == retired_pin()
    assert held.is_plain
    assert held.admits(499)
    assert not held.admits(500)
    assert not pin().is_plain
    refused(changed(lambda v: authority(v)["keys"][2].update(state="active")), "PIN_STATE")


@pytest.mark.parametrize("members", [{"n_safe": 499}, {"n_safe": 499, "reattested": [[499, 500]]}])
def test_a_retired_key_leaves_no_entry_below_its_pin_out(members: dict[str, Any]) -> None:
    refused(changed(lambda v: authority(v)["keys"][2]["pin"].update(members)), "PIN_STATE")


# Keys -------------------------------------------------------------------------


def test_one_key_under_two_authorities_is_refused() -> None:
    def steal(value: dict[str, Any]) -> None:
        value["authorities"][1]["keys"] = [value["authorities"][0]["keys"][0]]

    refused(changed(steal), "DUPLICATE_KEY")


def test_one_key_with_two_purposes_is_refused() -> None:
    def reuse(value: dict[str, Any]) -> None:
        value["status_keys"].append({**authority(value)["keys"][0], "purpose": "status"})

    refused(changed(reuse), "DUPLICATE_KEY")


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"purpose": "status"}, "KEY_PURPOSE"),
        ({"purpose": "tls"}, "MEMBER_FORM"),
        ({"state": "revoked"}, "MEMBER_FORM"),
        ({"state": "retired"}, "KEY_VALIDITY"),
        ({"not_after": ISSUED_AT - 1}, "KEY_VALIDITY"),
        ({"not_before": None}, "MEMBER_TYPE"),
        ({"spki": "AAAA"}, "KEY"),
        ({"spki": ""}, "MEMBER_RANGE"),
        ({"spki": "AA=="}, "BASE64URL"),
        ({"suite": "ES 256"}, "MEMBER_FORM"),
        ({"trusted": True}, "UNKNOWN_MEMBER"),
    ],
)
def test_a_record_that_is_not_sound_is_refused(members: dict[str, Any], reason: str) -> None:
    refused(changed(lambda value: authority(value)["keys"][0].update(members)), reason)


def test_a_status_key_is_for_status_alone() -> None:
    refused(changed(lambda value: value["status_keys"][0].update(purpose="licence")), "KEY_PURPOSE")


def test_a_key_of_a_suite_unknown_here_is_listed_but_not_loaded() -> None:
    listed = TrustList.parse(
        changed(lambda value: authority(value)["keys"][0].update(suite="FUTURE-1", spki="AAAA"))
    )
    future = listed.authorities[0].keys[0]
    with pytest.raises(ConfigurationError) as caught:
        _ = future.public_key
    assert caught.value.reason == "UNKNOWN_SUITE"


def test_another_spelling_of_a_key_is_refused() -> None:
    compressed = ES256.load_deterministic(1).public_key.spki
    head, point = compressed[:-65], compressed[-65:]
    short = bytes([2 + (point[-1] & 1)]) + point[1:33]
    # SEQUENCE and BIT STRING are 32 bytes shorter.
    spelled = bytes([0x30, head[1] - 32]) + head[2:-2] + bytes([head[-2] - 32, 0]) + short
    with pytest.raises(MalformedError) as caught:
        KeyRecord(
            suite="ES256",
            purpose=KeyPurpose.LICENCE,
            spki=spelled,
            state=KeyState.ACTIVE,
            not_before=0,
        )
    assert caught.value.reason == "KEY"


# Authorities, logs, witnesses, anchors ----------------------------------------


def test_one_code_for_two_authorities_is_refused() -> None:
    refused(
        changed(lambda value: value["authorities"][1].update(code=CODES[0])),
        "DUPLICATE_AUTHORITY",
    )


def test_a_code_whose_check_digit_is_wrong_is_refused() -> None:
    wrong = CODES[0][:-1] + "2"
    refused(changed(lambda value: authority(value).update(code=wrong)), "CREDIT_CODE")


@pytest.mark.parametrize(
    "scopes",
    [
        [(0, None), (5, None)],
        [(0, 5), (5, 6)],
        [(5, 9), (0, 7)],
        [(0, 9), (3, 4)],
        [(3, 3), (3, 3)],
    ],
)
def test_scopes_of_one_type_that_overlap_are_refused(
    scopes: list[tuple[int, int | None]],
) -> None:
    listed = [{"type": TYPE, "not_before": start, "not_after": end} for start, end in scopes]
    refused(changed(lambda value: authority(value).update(types=listed)), "DUPLICATE_TYPE")


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ({"type": TYPE, "not_before": 5, "not_after": 4}, "TYPE_VALIDITY"),
        ({"type": TYPE[:-1], "not_before": 5, "not_after": None}, "TYPE_CODE"),
        ({"type": TYPE, "not_before": 5}, "MISSING_MEMBER"),
        ([], "MEMBER_TYPE"),
    ],
)
def test_a_scope_that_is_not_sound_is_refused(scope: object, reason: str) -> None:
    refused(changed(lambda value: authority(value).update(types=[scope])), reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda v: v["logs"].append(v["logs"][0]), "DUPLICATE_LOG"),
        (lambda v: v["logs"][1].update(kind="licences"), "LOG_ORIGIN"),
        (lambda v: v.update(domain="other.example"), "LOG_ORIGIN"),
        (lambda v: v.update(region="350300"), "LOG_ORIGIN"),
        (lambda v: v["logs"][0].update(vkey=v["logs"][1]["vkey"]), "LOG_VKEY"),
        (
            lambda v: v["logs"][0].update(vkey=vkey(ORIGIN, 1, SignatureType.ED25519_COSIGNATURE)),
            "LOG_VKEY",
        ),
        (lambda v: v["logs"][0].update(vkey=v["logs"][0]["vkey"] + "AAAA"), "VKEY"),
        (lambda v: v["logs"][0].update(frozen_at=7), "MEMBER_TYPE"),
        (lambda v: v["logs"][0].update(kind="other"), "MEMBER_FORM"),
        (lambda v: v["logs"][0].update(closed_at=v["logs"][0]["frozen_at"]), "LOG_END"),
        (lambda v: v["logs"][0].update(ed25519_broken=True), "LOG_COSIGNER"),
        (lambda v: v["logs"][1].update(cosigner=None), "LOG_COSIGNER"),
        (lambda v: v["logs"][1].update(ed25519_broken=1), "MEMBER_TYPE"),
        (lambda v: v["logs"][1]["cosigner"].update(vkey=v["logs"][1]["vkey"]), "LOG_COSIGNER"),
        (lambda v: v["logs"][1].update(cosigner=v["logs"][2]["cosigner"]), "LOG_COSIGNER"),
        (lambda v: v["logs"][1]["cosigner"].update(certificate="AAAA"), "CERTIFICATE"),
        (lambda v: v["anchors"].update(pq_root=None), "LOG_COSIGNER"),
        (lambda v: v["anchors"].update(pq_root=v["anchors"]["root"]), "DUPLICATE_ANCHOR"),
        (lambda v: v["witnesses"].update(keys=[v["logs"][1]["cosigner"]["vkey"]]), "WITNESS_VKEY"),
        (lambda v: v["witnesses"].update(quorum=2), "QUORUM"),
        (lambda v: v["witnesses"].update(keys=v["witnesses"]["keys"] * 2), "DUPLICATE_WITNESS"),
        (lambda v: v["witnesses"].update(keys=[v["logs"][0]["vkey"]]), "WITNESS_VKEY"),
        (
            lambda v: v["witnesses"]["keys"].append(
                vkey("other.example", 3, SignatureType.ED25519_COSIGNATURE)
            ),
            "DUPLICATE_WITNESS",
        ),
        (
            lambda v: v["witnesses"].update(
                keys=[vkey("w.example", 1, SignatureType.ED25519_COSIGNATURE)]
            ),
            "WITNESS_VKEY",
        ),
        (lambda v: v["anchors"]["tls"].extend(v["anchors"]["licence"]), "DUPLICATE_ANCHOR"),
        (lambda v: v["anchors"].update(root=v["anchors"]["tls"][0]), "DUPLICATE_ANCHOR"),
        (lambda v: v["anchors"].update(root="AAAA"), "CERTIFICATE"),
    ],
)
def test_logs_witnesses_and_anchors_that_are_not_sound_are_refused(
    change: Change, reason: str
) -> None:
    refused(changed(change), reason)


# The document -----------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        lambda v: v,
        lambda v: v["anchors"],
        authority,
        lambda v: authority(v)["types"][0],
        lambda v: authority(v)["keys"][0],
        lambda v: v["logs"][0],
        lambda v: v["logs"][0]["frozen_at"],
        lambda v: v["logs"][1]["cosigner"],
        lambda v: v["logs"][2]["closed_at"],
        lambda v: v["witnesses"],
    ],
)
def test_a_member_that_nobody_knows_is_refused_everywhere(
    place: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    refused(changed(lambda value: place(value).update(surprise=1)), "UNKNOWN_MEMBER")


def test_a_recognition_is_refused_until_a_schema_knows_it() -> None:
    refused(changed(lambda value: value["recognitions"].append({})), "UNKNOWN_MEMBER")


@pytest.mark.parametrize("member", sorted(json.loads(trust_list().to_bytes()).keys() - {"schema"}))
def test_a_member_left_out_is_refused(member: str) -> None:
    refused(changed(lambda value: value.pop(member)), "MISSING_MEMBER")


@pytest.mark.parametrize("schema", [0, 2, True, "1", None])
def test_another_schema_is_refused_by_its_own_reason(schema: object) -> None:
    refused(changed(lambda value: value.update(schema=schema, new=1)), "SCHEMA")


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"region": "35030"}, "MEMBER_FORM"),
        ({"region": "990300"}, "REGION_CODE"),
        ({"domain": "Licence.example"}, "MEMBER_FORM"),
        ({"domain": "a..example"}, "MEMBER_FORM"),
        ({"domain": "-a.example"}, "MEMBER_FORM"),
        ({"domain": "a" * 64}, "MEMBER_FORM"),
        ({"domain": "a.example\n"}, "MEMBER_FORM"),
        ({"issued_at": -1}, "MEMBER_RANGE"),
        ({"issued_at": "now"}, "MEMBER_TYPE"),
        ({"authorities": {}}, "MEMBER_TYPE"),
        ({"anchors": None}, "MEMBER_TYPE"),
    ],
)
def test_a_header_that_is_not_sound_is_refused(members: dict[str, Any], reason: str) -> None:
    refused(changed(lambda value: value.update(members)), reason)


def test_an_absent_english_name_is_absent_not_null() -> None:
    assert b'"name_en":null' not in trust_list().to_bytes()
    refused(changed(lambda value: authority(value).update(name_en=None)), "MEMBER_TYPE")


def test_only_the_canonical_form_is_read() -> None:
    data = trust_list().to_bytes()
    refused(data + b"\n", "JSON_NOT_CANONICAL")
    refused(json.dumps(json.loads(data), sort_keys=True).encode(), "JSON_NOT_CANONICAL")
    refused(data.replace(b'{"anchors"', b'{"schema":1,"anchors"', 1), "JSON_DUPLICATE_MEMBER")


def test_bounds_hold_before_anything_else() -> None:
    refused(b" " * (MAX_TRUST_LIST_BYTES + 1), "TOO_LARGE")
    refused(b"[" * 100 + b"]" * 100, "TOO_DEEP")
    many = changed(lambda value: authority(value).update(types=[{}] * 5000))
    refused(many, "TOO_LARGE")


def test_a_list_that_verifiers_would_refuse_is_not_written() -> None:
    with pytest.raises(MalformedError):
        replace(trust_list(), domain="Upper.example").to_bytes()
