"""What may follow a trust list."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.trust_list import CLOSED as CLOSED_ORIGIN
from support.trust_list import CODES, ISSUED_AT, ORIGIN, record, trust_list, vkey
from yinxin_proto.error import VerificationError
from yinxin_proto.strict import canonical_json
from yinxin_proto.succession import changes, check_succession
from yinxin_proto.trustlist import TrustList
from yinxin_proto.vkey import SignatureType

OLD = trust_list()
ACTIVE, STOLEN, RETIRED = 0, 1, 2
FROZEN, BROKEN, CLOSED = 0, 1, 2
COMPROMISED = {"state": "compromised"}

Change = Callable[[dict[str, Any]], object]


def after(change: Change) -> TrustList:
    value = json.loads(OLD.to_bytes())
    change(value)
    return TrustList.parse(canonical_json(value))


def key(value: dict[str, Any], place: int) -> dict[str, Any]:
    found: dict[str, Any] = value["authorities"][0]["keys"][place]
    return found


def relocate(value: dict[str, Any]) -> None:
    """Make it another region's list, without what names the old one."""
    value.update(region="350300", logs=[])
    for place in (STOLEN, RETIRED):
        key(value, place).update(pin=None)


def freeze(value: dict[str, Any], **members: object) -> None:
    """Freeze the closed log, as a key stolen after its retirement does."""
    log = value["logs"][CLOSED]
    log.update(closed_at=None, frozen_at={**log["closed_at"], **members})


def move(value: dict[str, Any]) -> None:
    value["authorities"][1]["keys"].append(value["authorities"][0]["keys"].pop(ACTIVE))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (relocate, "SUCCESSION_REGION"),
        (lambda v: v.update(issued_at=ISSUED_AT - 1), "SUCCESSION_TIME"),
        (lambda v: v["authorities"][0]["keys"].pop(ACTIVE), "KEY_DROPPED"),
        (lambda v: v["authorities"].pop(0), "KEY_DROPPED"),
        (lambda v: v["status_keys"].clear(), "KEY_DROPPED"),
        (move, "KEY_DROPPED"),
        (lambda v: key(v, ACTIVE).update(purpose="approval"), "KEY_DROPPED"),
        (lambda v: key(v, STOLEN).update(state="active", pin=None), "KEY_REVIVED"),
        (lambda v: key(v, STOLEN)["pin"].update(n_safe=901), "PIN_RAISED"),
        # One that is gone would be forgotten, and the one after it could admit anything.
        (lambda v: key(v, STOLEN).update(pin=None), "PIN_RAISED"),
        (lambda v: key(v, RETIRED).update(COMPROMISED, pin=None), "PIN_RAISED"),
        (
            lambda v: key(v, STOLEN)["pin"].update(
                n_stop=key(v, STOLEN)["pin"]["n_stop"] + 9, root="E" * 43
            ),
            "PIN_RAISED",
        ),
        (lambda v: key(v, STOLEN)["pin"].update(root="E" * 43), "PIN_RAISED"),
        (lambda v: v["logs"][0]["frozen_at"].update(root="E" * 43), "LOG_CHANGED"),
        (lambda v: v["logs"].pop(1), "LOG_CHANGED"),
        (lambda v: v["logs"][0].update(vkey=vkey(ORIGIN, 9)), "LOG_CHANGED"),
        (lambda v: v["logs"][0].update(frozen_at=None), "LOG_CHANGED"),
        (lambda v: v["logs"][0]["frozen_at"].update(size=8), "LOG_CHANGED"),
        (lambda v: key(v, RETIRED).update(state="active", pin=None), "KEY_REVIVED"),
        (lambda v: key(v, RETIRED).update(pin=None), "PIN_RAISED"),
        (lambda v: key(v, RETIRED)["pin"].update(n_safe=501, n_stop=501), "PIN_RAISED"),
        (lambda v: key(v, RETIRED)["pin"].update(n_safe=499, n_stop=499), "PIN_RAISED"),
        (lambda v: key(v, RETIRED).update(state="suspended", pin=None), "PIN_RAISED"),
        (
            lambda v: key(v, RETIRED).update(
                COMPROMISED, pin={**key(v, RETIRED)["pin"], "n_stop": 501}
            ),
            "PIN_RAISED",
        ),
        (
            lambda v: key(v, RETIRED).update(
                COMPROMISED, pin={**key(v, RETIRED)["pin"], "root": "E" * 43}
            ),
            "PIN_RAISED",
        ),
        (lambda v: v["logs"][CLOSED].update(closed_at=None), "LOG_CHANGED"),
        (lambda v: v["logs"][CLOSED]["closed_at"].update(size=2001), "LOG_CHANGED"),
        (lambda v: v["logs"][CLOSED]["closed_at"].update(size=1999), "LOG_CHANGED"),
        (lambda v: v["logs"][CLOSED]["closed_at"].update(root="E" * 43), "LOG_CHANGED"),
        (lambda v: freeze(v, size=2001), "LOG_CHANGED"),
        (lambda v: freeze(v, root="E" * 43), "LOG_CHANGED"),
        (lambda v: v["logs"][CLOSED].update(cosigner=None), "LOG_CHANGED"),
        (
            lambda v: v["logs"][CLOSED]["cosigner"].update(
                vkey=vkey(CLOSED_ORIGIN, 9, SignatureType.ML_DSA_44_COSIGNATURE)
            ),
            "LOG_CHANGED",
        ),
        (lambda v: v["logs"][BROKEN].update(ed25519_broken=False), "LOG_CHANGED"),
    ],
)
def test_a_list_that_forgets_may_not_follow(change: Change, reason: str) -> None:
    with pytest.raises(VerificationError) as caught:
        check_succession(OLD, after(change))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "change",
    [
        lambda _: None,
        lambda v: key(v, ACTIVE).update(state="compromised"),
        lambda v: key(v, ACTIVE).update(state="retired", not_after=ISSUED_AT + 1),
        lambda v: key(v, STOLEN)["pin"].update(n_safe=0, reattested=[[3, 9]]),
        lambda v: v["logs"][0]["frozen_at"].update(size=6),
        lambda v: v["authorities"][0].update(types=[]),
        lambda v: key(v, RETIRED).update(state="suspended"),
        lambda v: key(v, RETIRED).update(COMPROMISED),
        lambda v: key(v, RETIRED).update(COMPROMISED, pin={**key(v, RETIRED)["pin"], "n_safe": 0}),
        lambda v: key(v, RETIRED).update(
            COMPROMISED, pin={**key(v, RETIRED)["pin"], "n_safe": 9, "reattested": [[10, 20]]}
        ),
        freeze,
        lambda v: freeze(v, size=5, root="E" * 43),
        lambda v: v["logs"][CLOSED].update(ed25519_broken=True),
        lambda v: v["logs"][CLOSED]["cosigner"].update(certificate="MAAA"),
        lambda v: v["logs"][FROZEN].update(
            cosigner={
                "vkey": vkey(ORIGIN, 8, SignatureType.ML_DSA_44_COSIGNATURE),
                "certificate": "MAAA",
            }
        ),
    ],
)
def test_a_list_that_learns_may_follow(change: Change) -> None:
    check_succession(OLD, after(change))


def test_a_first_pin_may_follow_a_compromise_without_one() -> None:
    check_succession(after(lambda v: key(v, STOLEN).update(pin=None)), OLD)


def test_every_change_is_named_for_whoever_signs_next() -> None:
    assert changes(OLD, OLD) == ()

    def change(value: dict[str, Any]) -> None:
        key(value, ACTIVE).update(state="suspended")
        value["authorities"][0]["types"].pop()
        value["authorities"][1]["keys"].append(record(900).to_json())
        value["logs"].pop(1)
        value["witnesses"].update(quorum=0)
        value["anchors"]["tls"] = []

    new = after(change)
    forward, backward = changes(OLD, new), changes(new, OLD)
    assert [line[0] for line in forward] == ["~", "+", "~", "-", "~", "~"]
    assert [line[0] for line in backward] == ["~", "-", "~", "+", "~", "~"]
    assert "active → suspended" in forward[0]
    fewer = after(lambda v: v["authorities"].pop(1))
    assert changes(OLD, fewer) == (f"- authority {CODES[1]}",)
    assert changes(fewer, OLD) == (f"+ authority {CODES[1]}",)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda v: key(v, STOLEN)["pin"].update(n_safe=10, reattested=[[20, 25]]),
            f"the first 10 entries of {ORIGIN} stand and 5 attested anew before 1000",
        ),
        (
            lambda v: key(v, RETIRED).update(COMPROMISED),
            f"retired → compromised, within the first 500 entries of {ORIGIN}",
        ),
        (
            lambda v: v["logs"][CLOSED].update(ed25519_broken=True),
            ", closed at 2000 entries, cosigned by ML-DSA-44, its Ed25519 key broken",
        ),
        (
            lambda v: freeze(v, size=1),
            f"~ log {CLOSED_ORIGIN}, frozen at 1 entries, cosigned by ML-DSA-44",
        ),
        (lambda v: v["anchors"].update(pq_root="MAAA"), "~ anchors, the ML-DSA root too"),
    ],
)
def test_what_becomes_unsafe_is_said_before_anyone_signs(change: Change, line: str) -> None:
    (said,) = changes(OLD, after(change))
    assert said.endswith(line)
