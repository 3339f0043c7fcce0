"""What may follow a trust list."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from support.trust_list import CODES, ISSUED_AT, ORIGIN, record, trust_list, vkey
from yinxin_proto.error import VerificationError
from yinxin_proto.strict import canonical_json
from yinxin_proto.succession import changes, check_succession
from yinxin_proto.trustlist import TrustList

OLD = trust_list()
ACTIVE, STOLEN = 0, 1

Change = Callable[[dict[str, Any]], object]


def after(change: Change) -> TrustList:
    value = json.loads(OLD.to_bytes())
    change(value)
    return TrustList.parse(canonical_json(value))


def key(value: dict[str, Any], place: int) -> dict[str, Any]:
    found: dict[str, Any] = value["authorities"][0]["keys"][place]
    return found


def move(value: dict[str, Any]) -> None:
    value["authorities"][1]["keys"].append(value["authorities"][0]["keys"].pop(ACTIVE))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda v: v.update(region="350300", logs=[]) or key(v, STOLEN).update(pin=None),
            "SUCCESSION_REGION",
        ),
        (lambda v: v.update(issued_at=ISSUED_AT - 1), "SUCCESSION_TIME"),
        (lambda v: v["authorities"][0]["keys"].pop(ACTIVE), "KEY_DROPPED"),
        (lambda v: v["authorities"].pop(0), "KEY_DROPPED"),
        (lambda v: v["status_keys"].clear(), "KEY_DROPPED"),
        (move, "KEY_DROPPED"),
        (lambda v: key(v, ACTIVE).update(purpose="approval"), "KEY_DROPPED"),
        (lambda v: key(v, STOLEN).update(state="active", pin=None), "KEY_REVIVED"),
        (lambda v: key(v, STOLEN)["pin"].update(n_safe=901), "PIN_RAISED"),
        (lambda v: key(v, STOLEN)["pin"].update(root="E" * 43), "PIN_RAISED"),
        (lambda v: v["logs"][0]["frozen_at"].update(root="E" * 43), "LOG_CHANGED"),
        (lambda v: v["logs"].pop(1), "LOG_CHANGED"),
        (lambda v: v["logs"][0].update(vkey=vkey(ORIGIN, 9)), "LOG_CHANGED"),
        (lambda v: v["logs"][0].update(frozen_at=None), "LOG_CHANGED"),
        (lambda v: v["logs"][0]["frozen_at"].update(size=8), "LOG_CHANGED"),
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
        lambda v: key(v, STOLEN).update(pin=None),
        lambda v: v["logs"][0]["frozen_at"].update(size=6),
        lambda v: v["authorities"][0].update(types=[]),
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
