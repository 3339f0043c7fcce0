"""Issuing: approved on the caller's side, once whatever is lost on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import yinxin
from support.clock import FixedClock, SeededEntropy
from support.fake_region import FakeRegion, request_content
from support.hierarchy import REGION
from support.region_builder import CODE
from yinxin import (
    Client,
    ConfigurationError,
    ConflictError,
    Context,
    FailedPreconditionError,
    IdentifierType,
    InvalidArgumentError,
    LicenceState,
    MalformedError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from yinxin_proto.approval import parse_approval, request_digest
from yinxin_proto.issuerequest import IssueRequest
from yinxin_proto.licence import LicenceFile
from yinxin_proto.suite import ES256


def test_a_licence_comes_back_with_its_file(
    client: Client, region: FakeRegion, context: Context
) -> None:
    licence = client.issue(request_content(), context=context)

    assert licence.state is LicenceState.VALID
    assert licence.identifier.startswith("1.2.156.3005.2.")
    assert licence.valid_until is not None
    assert licence.valid_until.isoformat() == "2090-12-31T16:00:00+00:00"
    assert licence.file is not None
    assert LicenceFile.parse(licence.file).receipt is not None
    assert region.last.context.purpose == context.purpose


def test_the_approval_is_over_the_exact_bytes_sent(
    client: Client, region: FakeRegion, context: Context
) -> None:
    client.issue(request_content(), context=context)

    sent = region.last
    approval = parse_approval(sent.approval).verify(
        region.approval_key.public_key, [request_digest(sent.request)]
    )
    assert (approval.authority, approval.region, approval.operation) == (CODE, REGION, "issue")


def test_what_is_left_out_is_filled_in(
    client: Client, region: FakeRegion, context: Context
) -> None:
    client.issue(
        request_content(
            issued_on=date(2026, 1, 1),
            valid_until="长期",
            holders=(
                {
                    "name": "虚构人甲",
                    "number": "350302188503150016",
                    "number_type": IdentifierType.CITIZEN_ID,
                },
            ),
        ),
        context=context,
    )

    request = IssueRequest.parse(region.last.request)
    assert (request.region, request.issuer, request.type_version) == (REGION, CODE, 1)
    assert (request.issued_on, request.valid_until) == (date(2026, 1, 1), None)
    assert len(request.nonce) == 32


def test_two_equal_requests_differ_by_their_nonce(
    client: Client, region: FakeRegion, context: Context
) -> None:
    client.issue(request_content("一"), context=context)
    first = region.last.request
    client.issue(request_content("二"), context=context)

    assert json.loads(first)["nonce"] != json.loads(region.last.request)["nonce"]


def test_a_retry_after_a_lost_answer_issues_nothing_twice(
    client: Client, region: FakeRegion, context: Context
) -> None:
    region.lost_answers = 1

    licence = client.issue(request_content(), context=context)

    assert len(region.kept) == 1
    assert len([call for call in region.calls if type(call).__name__ == "IssueLicenceRequest"]) == 2
    assert licence.file is not None


def test_the_caller_may_retry_by_the_same_request_id(
    client: Client, region: FakeRegion, context: Context
) -> None:
    first = client.issue(request_content(), context=context, request_id="case-1")
    again = client.issue(request_content(), context=context, request_id="case-1")

    assert again.identifier == first.identifier
    assert len(region.kept) == 1
    with pytest.raises(ConflictError):
        client.issue(request_content("另一个"), context=context, request_id="case-1")


def test_request_ids_are_new_where_none_is_given(
    client: Client, region: FakeRegion, context: Context
) -> None:
    client.issue(request_content("一"), context=context)
    first = region.last.request_id
    client.issue(request_content("二"), context=context)

    assert len(first) == 36
    assert first != region.last.request_id


def test_whoever_does_not_wait_gets_no_file(
    client: Client, context: Context, tmp_path: Path
) -> None:
    licence = client.issue(request_content(), context=context, wait=False)

    assert licence.file is None
    with pytest.raises(FailedPreconditionError):
        licence.save(tmp_path)


def test_every_fault_is_told_before_anything_is_sent(
    client: Client, region: FakeRegion, context: Context
) -> None:
    content = request_content(
        "",
        issued_on="1.1.2026",
        valid_from="2026-02-01",
        valid_until="2026-01-01",
        holders=[{"name": "", "number": "350302188503150017", "number_type": "111"}],
    )

    with pytest.raises(InvalidArgumentError) as caught:
        client.issue(content, context=context)

    assert {item.field for item in caught.value.violations} == {
        "number",
        "issued_on",
        "valid_until",
        "holders[0].name",
        "holders[0].number",
    }
    assert "350302188503150017" not in str(caught.value)
    assert not any(hasattr(call, "approval") for call in region.calls)


@pytest.mark.parametrize("member", ["type", "holders", "number"])
def test_a_missing_member_is_named(client: Client, context: Context, member: str) -> None:
    content = request_content()
    del content[member]

    with pytest.raises(InvalidArgumentError) as caught:
        client.issue(content, context=context)

    assert member in {item.field for item in caught.value.violations}


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", 1.5, None])
def test_a_value_that_json_has_not_is_refused(
    client: Client, context: Context, value: object
) -> None:
    with pytest.raises(InvalidArgumentError):
        client.issue(request_content(fields={"KZ_F0": value}), context=context)


def test_a_type_that_is_none_is_refused(client: Client, context: Context) -> None:
    with pytest.raises(InvalidArgumentError):
        client.issue(request_content(type="../x"), context=context)
    with pytest.raises(NotFoundError):
        client.issue(request_content(type="11100000MB03271699999"), context=context)


def test_a_request_that_is_built_already_goes_as_it_is(
    client: Client, region: FakeRegion, context: Context
) -> None:
    request = region.builder.request()

    client.issue(request, context=context)

    assert region.last.request == request.to_bytes()


def test_a_batch_is_under_one_approval(
    client: Client, region: FakeRegion, context: Context
) -> None:
    licences = client.issue_many(
        [request_content(f"第{place}号") for place in range(5)], context=context
    )

    sent = region.last
    assert len(sent.requests) == 5
    parse_approval(sent.approval).verify(
        region.approval_key.public_key, [request_digest(data) for data in sent.requests]
    )
    assert len({licence.identifier for licence in licences}) == 5
    assert all(licence.file is not None for licence in licences)


def test_faults_of_a_batch_name_their_request(client: Client, context: Context) -> None:
    contents: list[dict[str, Any]] = [
        request_content("一"),
        request_content(""),
        request_content("三", issued_on="?"),
    ]

    with pytest.raises(InvalidArgumentError) as caught:
        client.issue_many(contents, context=context)

    assert [item.field for item in caught.value.violations] == [
        "requests[1].number",
        "requests[2].issued_on",
    ]


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_is_bounded(client: Client, context: Context, count: int) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        client.issue_many([request_content()] * count, context=context)

    assert caught.value.reason == "BATCH_SIZE"


def test_faults_that_the_region_finds_come_back_whole(client: Client, context: Context) -> None:
    client.issue(request_content("一"), context=context)

    with pytest.raises(InvalidArgumentError) as caught:
        client.issue_many([request_content("一"), request_content("二")], context=context)

    assert [(item.field, item.reason) for item in caught.value.violations] == [
        ("requests[0].number", "LICENCE_NUMBER")
    ]


def test_without_an_approval_key_nothing_can_be_issued(
    region: FakeRegion, address: str, context: Context
) -> None:
    credentials = replace(region.credentials(), approval_key=None)
    with yinxin.connect(address, credentials=credentials) as client:
        with pytest.raises(ConfigurationError) as caught:
            client.issue(request_content(), context=context)
        assert caught.value.reason == "NO_APPROVAL_KEY"

    credentials = replace(region.credentials(), authority=None)
    with yinxin.connect(address, credentials=credentials) as client:
        with pytest.raises(ConfigurationError) as caught:
            client.issue(request_content(), context=context)
        assert caught.value.reason == "NO_AUTHORITY"


def test_another_key_than_the_authoritys_is_refused(
    client: Client, region: FakeRegion, context: Context
) -> None:
    region.approval_key = ES256.load_deterministic(778)

    with pytest.raises(VerificationError):
        client.issue(request_content(), context=context)


def test_a_saved_file_is_its_owners_alone(client: Client, context: Context, tmp_path: Path) -> None:
    licence = client.issue(request_content(), context=context)

    saved = licence.save(tmp_path)
    licence.save(tmp_path / "other.json")

    assert saved.name == f"{licence.identifier}.licence.json"
    assert saved.read_bytes() == licence.file
    assert saved.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([saved.name, "other.json"])
    assert "350302188503150016" not in repr(licence)


def test_time_and_randomness_can_be_given(
    region: FakeRegion, address: str, context: Context
) -> None:
    sent = []
    for _ in range(2):
        with yinxin.connect(
            address,
            credentials=region.credentials(),
            clock=FixedClock(region.clock.now()),
            entropy=SeededEntropy(5),
        ) as client:
            client.issue(request_content(), context=context)
        sent.append((region.last.request, region.last.request_id))

    assert sent[0] == sent[1]


def test_a_region_that_is_not_there_is_unreachable(region: FakeRegion, context: Context) -> None:
    with (
        yinxin.connect("127.0.0.1:1", credentials=region.credentials()) as client,
        pytest.raises(UnavailableError),
    ):
        client.type("11100000MB03271699001")


def test_a_closed_client_says_so(client: Client, context: Context) -> None:
    client.close()

    with pytest.raises(FailedPreconditionError) as caught:
        client.issue(request_content(), context=context)

    assert caught.value.reason == "CLIENT_CLOSED"


def test_an_empty_list_of_holders_is_refused(client: Client, context: Context) -> None:
    with pytest.raises((InvalidArgumentError, MalformedError)):
        client.issue(request_content(holders=[]), context=context)
