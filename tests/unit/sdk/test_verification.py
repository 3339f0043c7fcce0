"""Reports that cross the wire say what the region concluded, to the letter."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from support.fake_region import FakeRegion, request_content
from yinxin import (
    OFFLINE,
    Client,
    Context,
    FailedPreconditionError,
    Indication,
    InvalidArgumentError,
    MalformedError,
    NotFoundError,
    NotPassedError,
    Report,
    Request,
)
from yinxin.verification import MAX_BATCH, MAX_BATCH_BYTES, read_report
from yinxin_proto.licence import LicenceFile
from yinxin_proto.v1 import verification_pb2
from yinxin_trust.service.report_message import report_message
from yinxin_verifier import decision
from yinxin_verifier.evidence import Evidence


def reports(region: FakeRegion) -> list[Report]:
    """One report of each kind: passed, failed, failed for a narrower reason, indeterminate."""
    builder = region.builder
    good = builder.issue()
    suspended = builder.issue()
    builder.values[suspended.status_index] = 2
    trust = builder.trust()
    licences = [
        builder.file(good),
        builder.file(suspended),
        b"{}",
        good.sd_jwt.encode(),
    ]
    return [
        decision.verify(Evidence(licence=one, trust=trust), OFFLINE, region.clock.now())
        for one in licences
    ]


def test_a_report_survives_the_crossing(region: FakeRegion) -> None:
    made = reports(region)

    assert len({report.indication for report in made}) == 3
    for report in made:
        crossed = read_report(report_message(report))
        assert crossed.to_dict(claims=True) == report.to_dict(claims=True)
        assert crossed.exit_status == report.exit_status
        assert crossed.path == report.path


def test_a_report_from_afar_is_no_boolean_either(region: FakeRegion) -> None:
    crossed = read_report(report_message(reports(region)[0]))

    with pytest.raises(TypeError):
        bool(crossed)


def test_what_this_version_does_not_know_is_never_guessed(region: FakeRegion) -> None:
    unknown = report_message(reports(region)[1])
    unknown.sub_indication = "SOMETHING_NEW"
    unstated = report_message(reports(region)[0])
    unstated.indication = verification_pb2.INDICATION_UNSPECIFIED
    odd = report_message(reports(region)[0])
    odd.unverified_claims = b'{"a":1,"a":2}'

    for message in (unknown, unstated, odd, verification_pb2.Report()):
        with pytest.raises(MalformedError):
            read_report(message)


def test_an_issued_licence_verifies_online(
    client: Client, region: FakeRegion, context: Context, tmp_path: Path
) -> None:
    licence = client.issue(request_content(), context=context)
    assert licence.file is not None
    saved = licence.save(tmp_path)

    for presentation in (licence, licence.file, licence.file.decode(), saved):
        report = client.verify(presentation, context=context)
        assert report.indication is Indication.TOTAL_PASSED
        assert report.require_passed()["ZZBS"] == licence.identifier


def test_a_suspended_licence_fails_and_gives_no_claims(
    client: Client, region: FakeRegion, context: Context
) -> None:
    licence = client.issue(request_content(), context=context)
    region.builder.values[licence.status_index] = 2

    report = client.verify(licence, context=context)

    assert (report.indication, report.reason) == (Indication.TOTAL_FAILED, "SUSPENDED")
    with pytest.raises(NotPassedError):
        report.require_passed()


def test_the_question_travels_whole(client: Client, region: FakeRegion, context: Context) -> None:
    licence = client.issue(request_content(), context=context)
    at = region.clock.now() - timedelta(days=1)

    client.verify(
        licence, context=context, at=at, policy=OFFLINE, request=Request(audience="x", nonce="y")
    )

    sent = region.last
    assert sent.policy == "OFFLINE"
    assert sent.at_time.ToDatetime(at.tzinfo) == at
    assert sent.presentation_request.purpose == context.purpose
    assert (sent.presentation_request.audience, sent.presentation_request.nonce) == ("x", "y")
    with pytest.raises(InvalidArgumentError):
        client.verify(licence, context=context, policy="NO_SUCH")


def test_many_are_sent_in_batches_and_answered_in_order(
    client: Client, region: FakeRegion, context: Context
) -> None:
    licence = client.issue(request_content(), context=context)
    assert licence.file is not None
    bare = LicenceFile.parse(licence.file).sd_jwt
    before = len(region.calls)

    found = client.verify_many([b"x"] * MAX_BATCH + [licence, bare], context=context)

    assert len(region.calls) == before + 2
    assert len(found) == MAX_BATCH + 2
    assert found[0].indication is Indication.TOTAL_FAILED
    assert found[-2].indication is Indication.TOTAL_PASSED


def test_large_presentations_do_not_overflow_a_message(
    client: Client, region: FakeRegion, context: Context
) -> None:
    large = b"x" * (MAX_BATCH_BYTES // 3)

    assert len(client.verify_many([large] * 5, context=context)) == 5
    assert len(region.calls) == 2
    assert client.verify_many([], context=context) == []


def test_what_is_not_there_to_present_is_said(
    client: Client, context: Context, tmp_path: Path
) -> None:
    licence = client.issue(request_content(), context=context, wait=False)

    with pytest.raises(FailedPreconditionError):
        client.verify(licence, context=context)
    with pytest.raises(NotFoundError):
        client.verify(tmp_path / "nothing", context=context)
    with pytest.raises(MalformedError):
        client.verify(tmp_path, context=context)
