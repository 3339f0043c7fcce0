"""What was done in an authority's name, for its own comparison."""

from __future__ import annotations

from hashlib import sha256

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from support.requests import AUTHORITY, OTHER_AUTHORITY
from support.running_region import (
    AUDITOR,
    CONTEXT,
    OTHER_ISSUER,
    PARENT,
    RunningRegion,
    refused,
    violations,
)
from yinxin_proto.approval import parse_approval
from yinxin_proto.error import InvalidArgumentError, NotFoundError, PermissionDeniedError
from yinxin_proto.v1.approval_pb2 import Approval, GetApprovalRequest, ListApprovalsRequest
from yinxin_proto.v1.approval_pb2_grpc import ApprovalServiceStub
from yinxin_proto.v1.issuance_pb2_grpc import IssuanceServiceStub
from yinxin_proto.v1.licence_pb2_grpc import LicenceServiceStub
from yinxin_trust.transition import Operation

AUTHORITY_NAME = f"{PARENT}/authorities/{AUTHORITY}"


def _name(token: str, authority: str = AUTHORITY) -> str:
    digest = sha256(token.encode()).hexdigest()
    return f"{PARENT}/authorities/{authority}/approvals/{digest}"


def _get(running: RunningRegion, name: str, principal: str = "housing-bureau") -> Approval:
    with running.channel(principal) as channel:
        return ApprovalServiceStub(channel).GetApproval(
            GetApprovalRequest(context=CONTEXT, name=name)
        )


def test_an_approval_says_what_became_of_each_request(stored: RunningRegion) -> None:
    bodies = [stored.request() for _ in range(3)]
    message = stored.batch_message(bodies)
    with stored.channel() as channel:
        licences = IssuanceServiceStub(channel).BatchIssueLicences(message).licences

    found = _get(stored, _name(message.approval))

    assert found.token == message.approval
    assert found.request_count == 3
    key = stored.approval_keys[AUTHORITY].public_key
    assert found.key_thumbprint == key.thumbprint
    # The authority checks its own signature, over its own copies.
    digests = [sha256(body).digest() for body in bodies]
    parse_approval(found.token).verify(key, digests)
    assert [request.request_digest for request in found.requests] == digests
    assert [request.licence for request in found.requests] == [licence.name for licence in licences]
    assert [request.log_index for request in found.requests] == [
        licence.log_index for licence in licences
    ]
    assert {request.revision_id for request in found.requests} == {"001"}


def test_a_change_is_found_under_its_approval(stored: RunningRegion) -> None:
    licence = stored.issue()
    message = stored.change_message(licence, Operation.SUSPEND)
    with stored.channel() as channel:
        LicenceServiceStub(channel).ChangeLicenceStatus(message)
    stored.issue()  # sequenced after the change

    found = _get(stored, _name(message.approval))

    (request,) = found.requests
    assert request.licence == licence.name
    assert request.request_digest == sha256(message.change_request).digest()
    assert request.log_index > licence.log_index


def test_approvals_are_listed_oldest_first(stored: RunningRegion) -> None:
    stored.clock.advance(hours=1)
    since = Timestamp()
    since.FromDatetime(stored.clock.now())
    tokens: list[str] = []
    with stored.channel() as channel:
        for _ in range(3):
            message = stored.issue_message()
            IssuanceServiceStub(channel).IssueLicence(message)
            tokens.append(message.approval)
            stored.clock.advance(seconds=1)
        stub = ApprovalServiceStub(channel)
        request = ListApprovalsRequest(
            context=CONTEXT, parent=AUTHORITY_NAME, start_time=since, page_size=2
        )
        first = stub.ListApprovals(request)
        request.page_token = first.next_page_token
        rest = stub.ListApprovals(request)

    listed = [*first.approvals, *rest.approvals]
    assert [approval.token for approval in listed] == tokens
    assert not any(approval.requests for approval in listed)
    assert not rest.next_page_token


def test_an_authority_sees_its_own_and_an_auditor_everybodys(running: RunningRegion) -> None:
    message = running.issue_message()
    with running.channel() as channel:
        IssuanceServiceStub(channel).IssueLicence(message)
    name = _name(message.approval)

    assert _get(running, name, AUDITOR).name == name
    with refused(PermissionDeniedError) as caught:
        _get(running, name, OTHER_ISSUER)
    assert caught[0].reason == "AUTHORITY"
    with refused(NotFoundError):
        _get(running, _name(message.approval, OTHER_AUTHORITY), OTHER_ISSUER)


@pytest.mark.parametrize("name", ["", "x", f"{PARENT}/authorities/x/approvals/{'0' * 64}"])
def test_what_is_no_name_is_refused(name: str, running: RunningRegion) -> None:
    with refused(InvalidArgumentError) as caught:
        _get(running, name)

    assert violations(caught[0]).keys() == {"name"}


def test_an_unknown_approval_is_not_found(running: RunningRegion) -> None:
    with refused(NotFoundError):
        _get(running, _name("never given"))
