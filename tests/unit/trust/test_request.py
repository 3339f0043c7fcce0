"""Idempotency claims: one outcome for each caller's request."""

from __future__ import annotations

import dataclasses

import pytest

from support.small_region import SmallRegion
from yinxin_edge.database_error import UniqueError
from yinxin_proto.error import ConflictError, InvalidArgumentError
from yinxin_trust.request import RequestKey, check_request_id, claim, find_outcome
from yinxin_trust.rows import RowBatch


@pytest.fixture
def key(small: SmallRegion) -> RequestKey:
    return RequestKey("caller", small.request_id(), bytes(32))


def commit(small: SmallRegion, key: RequestKey, outcome: bytes = b"made") -> None:
    batch = RowBatch()
    claim(batch, key, outcome=outcome, now_ms=1)
    small.region.committer.commit(batch)


def outcome(small: SmallRegion, key: RequestKey) -> bytes | None:
    with small.region.storage.read() as conn:
        return find_outcome(conn, key)


def test_a_new_request_has_no_outcome(small: SmallRegion, key: RequestKey) -> None:
    assert outcome(small, key) is None


def test_a_claimed_request_has_the_outcome_it_had(small: SmallRegion, key: RequestKey) -> None:
    commit(small, key)

    assert outcome(small, key) == b"made"


def test_another_body_is_a_conflict(small: SmallRegion, key: RequestKey) -> None:
    commit(small, key)

    with pytest.raises(ConflictError) as caught:
        outcome(small, dataclasses.replace(key, body_hash=bytes([1]) * 32))
    assert caught.value.reason == "REQUEST_ID_REUSED"


def test_callers_do_not_see_each_others_requests(small: SmallRegion, key: RequestKey) -> None:
    commit(small, key)

    assert outcome(small, dataclasses.replace(key, caller="other")) is None


def test_a_request_is_claimed_once(small: SmallRegion, key: RequestKey) -> None:
    commit(small, key)

    with pytest.raises(UniqueError) as caught:
        commit(small, key, b"made again")
    assert caught.value.table == "request"
    assert outcome(small, key) == b"made"


@pytest.mark.parametrize("text", ["a", "x" * 64, "0b5a-4", "A.b_c:d"])
def test_usual_identifiers_are_accepted(text: str) -> None:
    check_request_id(text)


@pytest.mark.parametrize("text", ["", "x" * 65, "a b", "a\n", "\0", "标识", "a/b", "a'--"])
def test_other_identifiers_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_request_id(text)

    assert [(v.field, v.reason) for v in caught.value.violations] == [("request_id", "REQUEST_ID")]
