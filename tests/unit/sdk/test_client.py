"""Reading licences, changing their status, subjects, the catalogue, the log."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

import yinxin
from support.fake_region import FakeRegion, request_content
from support.hierarchy import REGION
from support.region_builder import CODE, STATUS_URI, TYPE
from yinxin import (
    Client,
    ConfigurationError,
    ConflictError,
    Context,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    LicenceState,
    NotFoundError,
    Operation,
    PermissionDeniedError,
    SubjectKind,
    UnavailableError,
    VerificationError,
    parse_number,
)
from yinxin_proto.approval import ChangeRequest
from yinxin_proto.error import YinxinError
from yinxin_proto.merkle import TreeHead
from yinxin_proto.note import NoteVerifier
from yinxin_proto.statuslist import parse as parse_status
from yinxin_verifier.packfile import open_pack

PERSON = parse_number("111", "350302188503150016")


@pytest.fixture
def details(context: Context) -> dict[str, Any]:
    return {"reason": "投诉调查", "legal_basis": "虚构条例第一条", "context": context}


# --- connecting -------------------------------------------------------------------------


def test_a_ready_channel_serves_as_well_and_stays_open(
    region: FakeRegion, address: str, context: Context
) -> None:
    with grpc.insecure_channel(address) as channel:
        with yinxin.connect(channel=channel, region=REGION) as client:
            assert client.region == REGION
            assert client.credentials is None
            assert [kind.code for kind in client.types()] == sorted(region.types)
        with yinxin.connect(channel=channel, credentials=region.credentials()) as client:
            assert client.issue(request_content(), context=context).file is not None


def test_a_target_or_a_channel_but_not_both(region: FakeRegion) -> None:
    with pytest.raises(ConfigurationError):
        yinxin.connect(credentials=region.credentials())
    with pytest.raises(ConfigurationError):
        yinxin.connect("127.0.0.1:1")
    with (
        grpc.insecure_channel("127.0.0.1:1") as channel,
        pytest.raises(ConfigurationError),
    ):
        yinxin.connect("127.0.0.1:1", channel=channel, region=REGION)


def test_a_passing_failure_is_retried_by_the_channel(client: Client, region: FakeRegion) -> None:
    region.failures = [UnavailableError("one"), UnavailableError("two")]

    assert client.type(TYPE).code == TYPE
    assert len(region.calls) == 3


@pytest.mark.parametrize(
    "error",
    [
        PermissionDeniedError("no", reason="ROLE"),
        ConflictError("no", reason="ETAG"),
        InvalidArgumentError("no", violations=[yinxin.Violation("a", "b", "C")]),
        FailedPreconditionError("no"),
    ],
)
def test_errors_arrive_as_they_were_raised(
    client: Client, region: FakeRegion, error: YinxinError
) -> None:
    region.failures = [error]

    with pytest.raises(type(error)) as caught:
        client.type(TYPE)

    assert (caught.value.reason, caught.value.violations) == (error.reason, error.violations)
    assert len(region.calls) == 1


def test_a_call_has_a_deadline(region: FakeRegion, address: str) -> None:
    region.delay = 0.5
    with (
        yinxin.connect(address, region=REGION, deadline=timedelta(milliseconds=50)) as client,
        pytest.raises(DeadlineExceededError),
    ):
        client.type(TYPE)


# --- licences -----------------------------------------------------------------------------


def test_a_licence_is_named_in_three_ways(client: Client, context: Context) -> None:
    issued = client.issue(request_content(), context=context)

    for named in (issued, issued.name, issued.identifier):
        assert client.get(named, context=context).identifier == issued.identifier


def test_the_file_is_asked_for_or_not(client: Client, context: Context) -> None:
    issued = client.issue(request_content(), context=context)

    assert client.get(issued, context=context).file is not None
    assert client.get(issued, context=context, with_file=False).file is None


def test_an_identifier_stands_for_its_revision(
    client: Client, region: FakeRegion, context: Context
) -> None:
    issued = client.issue(request_content(), context=context)
    client.get(issued.identifier, context=context)

    assert region.last.name == issued.name + "@001"


@pytest.mark.parametrize("name", ["", "x", "regions/350300", "1.2.156.3005.2.x"])
def test_what_names_no_licence_is_refused(client: Client, context: Context, name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        client.get(name, context=context)


def test_pages_are_fetched_as_they_are_taken(
    client: Client, region: FakeRegion, context: Context
) -> None:
    client.issue_many([request_content(f"第{n}号") for n in range(5)], context=context)
    before = len(region.calls)

    listed = client.list(context=context, holder=PERSON)
    next(listed)
    assert len(region.calls) == before + 1
    assert len(list(listed)) == 4
    assert len(region.calls) == before + 3


def test_a_holders_number_is_in_the_body_and_nowhere_else(
    client: Client, region: FakeRegion, context: Context
) -> None:
    list(client.list(context=context, holder=PERSON, licence_type=TYPE, issuer=CODE))

    sent = region.last
    assert sent.holder.value == PERSON.reveal()
    assert sent.licence_type == f"regions/{REGION}/licenceTypes/{TYPE}"
    assert PERSON.reveal() not in sent.parent + sent.licence_type + sent.issuer


def test_revisions_and_events(client: Client, context: Context, details: dict[str, Any]) -> None:
    issued = client.issue(request_content(), context=context)
    client.suspend(issued, **details)
    client.reinstate(issued.name, **details)

    events = list(client.events(issued, context=context))
    assert [event.operation for event in events] == [Operation.SUSPEND, Operation.REINSTATE]
    assert events[0].to_state is LicenceState.SUSPENDED
    assert events[0].reason == "投诉调查"
    assert [one.revision_id for one in client.revisions(issued, context=context)] == ["001"]


# --- changes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        ("suspend", LicenceState.SUSPENDED),
        ("revoke", LicenceState.REVOKED),
        ("cancel", LicenceState.CANCELLED),
        ("freeze", LicenceState.FROZEN),
        ("lose", LicenceState.LOST),
        ("annul", LicenceState.ANNULLED),
        ("withdraw", LicenceState.WITHDRAWN),
    ],
)
def test_each_change_is_approved_and_made(
    client: Client,
    region: FakeRegion,
    context: Context,
    details: dict[str, Any],
    verb: str,
    state: LicenceState,
) -> None:
    issued = client.issue(request_content(), context=context)

    assert getattr(client, verb)(issued, **details).state is state

    change = ChangeRequest.parse(region.last.change_request)
    assert (change.operation, str(change.identifier)) == (verb, issued.identifier)
    assert region.last.operation == Operation(verb).number


def test_a_change_by_name_asks_for_the_revision_first(
    client: Client, region: FakeRegion, context: Context, details: dict[str, Any]
) -> None:
    issued = client.issue(request_content(), context=context)

    assert client.suspend(issued.name, **details).state is LicenceState.SUSPENDED
    assert region.last.etag


def test_a_licence_that_was_changed_since_is_not_changed(
    client: Client, context: Context, details: dict[str, Any]
) -> None:
    issued = client.issue(request_content(), context=context)
    client.suspend(issued, **details)

    with pytest.raises(ConflictError):
        client.revoke(issued, **details)


def test_a_state_that_does_not_allow_it_says_so(
    client: Client, context: Context, details: dict[str, Any]
) -> None:
    issued = client.issue(request_content(), context=context)
    suspended = client.suspend(issued, **details)

    with pytest.raises(FailedPreconditionError) as caught:
        client.suspend(suspended, **details)

    assert caught.value.reason == "TRANSITION"


def test_a_retry_must_say_the_same_moment(
    client: Client, region: FakeRegion, context: Context, details: dict[str, Any]
) -> None:
    issued = client.issue(request_content(), context=context)

    with pytest.raises(InvalidArgumentError) as caught:
        client.suspend(issued, **details, request_id="r1")
    assert caught.value.reason == "EFFECTIVE_AT"

    moment = region.clock.now()
    client.suspend(issued, **details, request_id="r1", effective_at=moment)
    assert region.last.request_id == "r1"


def test_a_change_says_why(client: Client, context: Context) -> None:
    issued = client.issue(request_content(), context=context)

    with pytest.raises(InvalidArgumentError) as caught:
        client.suspend(issued, reason="", legal_basis=" ", reason_code="?", context=context)

    assert {item.field for item in caught.value.violations} == {
        "reason",
        "legal_basis",
        "reason_code",
    }


# --- subjects, catalogue --------------------------------------------------------------------


def test_a_subject_is_registered_found_and_linked(
    client: Client, region: FakeRegion, context: Context
) -> None:
    subject = client.register_subject(
        [PERSON], display_name="虚构人甲", kind=SubjectKind.PERSON, context=context
    )

    assert region.last.request_id
    assert (subject.kind, subject.identifiers) == (SubjectKind.PERSON, (("111", "3****6"),))
    assert client.find_subject(PERSON, context=context).name == subject.name
    assert client.get_subject(subject.name, context=context).name == subject.name
    assert client.link_identifier(subject, PERSON, context=context).etag == "1"
    assert region.last.etag == subject.etag


def test_a_type_says_how_its_fields_are_called(client: Client) -> None:
    kind = client.type("11100000MB0143028R002")

    assert kind.display_name.zh == "食品经营许可证"
    assert kind.field_names["KZ_JYCS"].zh == "经营场所"
    assert kind.is_issued
    with pytest.raises(NotFoundError):
        client.type("11100000MB0143028R999")


# --- log, status, repository ------------------------------------------------------------------


def test_a_receipt_leads_to_the_checkpoint(
    client: Client, region: FakeRegion, context: Context
) -> None:
    issued = client.issue(request_content(), context=context)
    assert issued.log_index is not None

    receipt = client.prove_inclusion(issued.log_index)

    checkpoint = client.checkpoint()
    checkpoint.verify(NoteVerifier(region.builder.log_signer.vkey.to_text()))
    assert receipt.parse_checkpoint().claimed == checkpoint.claimed
    with pytest.raises(NotFoundError):
        client.prove_inclusion(99)


def test_consistency_is_checked_not_believed(client: Client, region: FakeRegion) -> None:
    region.builder.fill_log(3)
    old = client.checkpoint().claimed.head
    region.builder.fill_log(4)
    new = client.checkpoint().claimed.head

    assert client.prove_consistency(old, new)
    with pytest.raises(VerificationError):
        client.prove_consistency(TreeHead(3, bytes(32)), new)


def test_a_status_list_comes_as_it_was_signed(client: Client, region: FakeRegion) -> None:
    found = client.status_list(STATUS_URI)

    assert parse_status(found.token).verify(region.builder.status_key.public_key).uri == found.uri
    client.status_list(STATUS_URI, at=region.clock.now())
    assert region.last.HasField("time")


def test_a_file_of_the_repository(client: Client) -> None:
    assert client.repository_file("metadata/1.root.json").startswith(b"{")
    with pytest.raises(NotFoundError):
        client.repository_file("nothing")


def test_a_pack_is_put_in_place_when_it_is_whole(
    client: Client, region: FakeRegion, tmp_path: Path
) -> None:
    region.builder.fill_log(1)

    saved = client.export_pack(tmp_path)
    assert saved == tmp_path / f"pack-{REGION}.zip"
    assert client.export_pack(tmp_path / "other.zip").name == "other.zip"
    assert open_pack(saved).read("pack.json", 1 << 20)

    region.pack_zip = lambda: b"no pack at all"  # type: ignore[method-assign]  # a broken server
    with pytest.raises(yinxin.MalformedError):
        client.export_pack(tmp_path / "third.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.zip", saved.name]
