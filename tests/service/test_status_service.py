"""Status lists over gRPC, now and as they were."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from support.running_region import NOBODY, RunningRegion, refused, violations
from yinxin_ca.keystore import Purpose
from yinxin_proto import statuslist
from yinxin_proto.error import InvalidArgumentError, NotFoundError
from yinxin_proto.statuslist import StatusValue
from yinxin_proto.v1.status_pb2 import GetStatusListRequest, StatusList
from yinxin_proto.v1.status_pb2_grpc import StatusServiceStub
from yinxin_trust.refresh import refresh
from yinxin_trust.transition import Operation


def _get(running: RunningRegion, uri: str, time: Timestamp | None = None) -> StatusList:
    with running.channel(NOBODY) as channel:
        return StatusServiceStub(channel).GetStatusList(GetStatusListRequest(uri=uri, time=time))


def _value(running: RunningRegion, found: StatusList, index: int) -> int:
    key = running.region.keyring.signer(Purpose.STATUS).public_key
    token = statuslist.parse(found.token).verify(key)
    assert token.uri == found.uri
    assert token.log_size == found.log_size
    return token.list.get(index)


def test_a_revocation_is_in_the_next_list_and_not_in_the_earlier_one(
    stored: RunningRegion,
) -> None:
    licence = stored.issue()
    uri, index = licence.status_uri, licence.status_index
    refresh(stored.region)
    then = Timestamp()
    then.FromDatetime(stored.clock.now())
    stored.clock.advance(minutes=10)
    stored.change(licence, Operation.REVOKE)
    refresh(stored.region)

    now, before = _get(stored, uri), _get(stored, uri, time=then)

    assert _value(stored, now, index) == StatusValue.INVALID
    assert _value(stored, before, index) == StatusValue.VALID
    assert now.log_size >= before.log_size
    assert now.issue_time.seconds - before.issue_time.seconds == 600
    assert now.expire_time.seconds > now.issue_time.seconds


def test_the_list_reflects_the_log_that_it_states(stored: RunningRegion) -> None:
    licence = stored.issue()
    refresh(stored.region)

    assert _get(stored, licence.status_uri).log_size > licence.log_index


def test_no_list_was_in_force_before_the_region_was_founded(stored: RunningRegion) -> None:
    licence = stored.issue()
    before = Timestamp()
    before.FromDatetime(stored.clock.now() - timedelta(days=400))

    with refused(NotFoundError):
        _get(stored, licence.status_uri, time=before)


@pytest.mark.parametrize("uri", ["https://elsewhere.example/status/1", "x"])
def test_another_regions_list_is_not_found(uri: str, running: RunningRegion) -> None:
    with refused(NotFoundError) as caught:
        _get(running, uri)

    assert caught[0].reason == "STATUS_LIST"


def test_a_list_is_named(running: RunningRegion) -> None:
    with refused(InvalidArgumentError) as caught:
        _get(running, "", time=Timestamp(seconds=1 << 62))

    assert violations(caught[0]).keys() == {"uri", "time"}
