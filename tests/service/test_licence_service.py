"""Licences over gRPC: who sees which, the holder's file, changes of status."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from support.requests import AUTHORITY, OTHER_AUTHORITY, citizen
from support.running_region import (
    CONTEXT,
    ISSUER,
    OTHER_ISSUER,
    PARENT,
    REGISTRAR,
    VERIFIER,
    RunningRegion,
    nothing_is_made,
    refused,
    violations,
)
from support.small_region import TYPE
from yinxin_proto.error import (
    ConflictError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from yinxin_proto.identifier import parse as parse_identifier
from yinxin_proto.licence import LicenceFile
from yinxin_proto.v1.common_pb2 import SubjectNumber
from yinxin_proto.v1.issuance_pb2_grpc import IssuanceServiceStub
from yinxin_proto.v1.licence_pb2 import (
    ChangeLicenceStatusRequest,
    GetLicenceRequest,
    Licence,
    LicenceOperation,
    LicenceState,
    ListLicenceEventsRequest,
    ListLicenceRevisionsRequest,
    ListLicencesRequest,
)
from yinxin_proto.v1.licence_pb2_grpc import LicenceServiceStub
from yinxin_trust.transition import Operation

FILE = FieldMask(paths=["licence_file", "name"])


@pytest.fixture
def stub(running: RunningRegion) -> Iterator[LicenceServiceStub]:
    with running.channel() as channel:
        yield LicenceServiceStub(channel)


@pytest.fixture(scope="module")
def licence(running: RunningRegion) -> Licence:
    return running.issue()


def _get(name: str, **members: object) -> GetLicenceRequest:
    return GetLicenceRequest(context=CONTEXT, name=name, **members)  # type: ignore[arg-type]


# --- one licence ------------------------------------------------------------------------


def test_a_licence_is_told_without_its_file(stub: LicenceServiceStub, licence: Licence) -> None:
    found = stub.GetLicence(_get(licence.name))

    expected = Licence()
    expected.CopyFrom(licence)
    expected.ClearField("licence_file")
    assert found == expected


def test_the_issuing_authority_gets_the_file_with_its_receipt(
    stub: LicenceServiceStub, licence: Licence
) -> None:
    found = stub.GetLicence(_get(licence.name, read_mask=FILE))

    assert found.name == licence.name
    assert not found.identifier
    file = LicenceFile.parse(found.licence_file)
    assert file.sd_jwt == LicenceFile.parse(licence.licence_file).sd_jwt
    assert file.receipt


def test_one_version_is_found_by_its_revision(stub: LicenceServiceStub, licence: Licence) -> None:
    assert stub.GetLicence(_get(f"{licence.name}@001")).revision_id == "001"
    with refused(NotFoundError):
        stub.GetLicence(_get(f"{licence.name}@002"))


def test_a_verifier_sees_the_state_and_no_file(running: RunningRegion, licence: Licence) -> None:
    with running.channel(VERIFIER) as channel:
        stub = LicenceServiceStub(channel)
        found = stub.GetLicence(_get(licence.name))
        for mask in (FILE, FieldMask(paths=["*"])):
            with refused(PermissionDeniedError) as caught:
                stub.GetLicence(_get(licence.name, read_mask=mask))
            assert caught[0].reason == "AUTHORITY"

    assert found.state == LicenceState.LICENCE_STATE_VALID
    assert not found.licence_file


def test_a_registrar_gets_the_file(running: RunningRegion, licence: Licence) -> None:
    with running.channel(REGISTRAR) as channel:
        found = LicenceServiceStub(channel).GetLicence(_get(licence.name, read_mask=FILE))

    assert found.licence_file


def test_another_authoritys_issuer_sees_nothing(running: RunningRegion, licence: Licence) -> None:
    with running.channel(OTHER_ISSUER) as channel:
        stub = LicenceServiceStub(channel)
        for mask in (None, FILE):
            with refused(PermissionDeniedError) as caught:
                stub.GetLicence(_get(licence.name, read_mask=mask))
            assert caught[0].reason == "AUTHORITY"


def test_a_file_is_never_without_its_receipt(running: RunningRegion) -> None:
    running.paused.set()
    try:
        with running.channel(retries=False) as channel:
            name = (
                IssuanceServiceStub(channel)
                .IssueLicence(running.issue_message(return_immediately=True))
                .name
            )
            stub = LicenceServiceStub(channel)
            assert not stub.GetLicence(_get(name)).HasField("log_index")
            with refused(UnavailableError) as caught:
                stub.GetLicence(_get(name, read_mask=FILE))
    finally:
        running.paused.clear()

    assert caught[0].reason == "NOT_SEQUENCED"


def test_an_unknown_licence_is_not_found(stub: LicenceServiceStub, licence: Licence) -> None:
    body = licence.name.rpartition("/")[2].rpartition(".")[0]

    with refused(NotFoundError):
        stub.GetLicence(_get(f"{PARENT}/licences/{body}.NOSUCHSERIAL"))


@pytest.mark.parametrize(
    "name", ["", "licences/1", f"{PARENT}/licences/1", f"{PARENT}/licences/A.B.C", "x" * 300]
)
def test_what_is_no_name_is_refused(name: str, stub: LicenceServiceStub) -> None:
    with refused(InvalidArgumentError) as caught:
        stub.GetLicence(_get(name, read_mask=FieldMask(paths=["nothing"])))

    assert violations(caught[0]).keys() == {"name", "read_mask"}


def test_a_licence_whose_validity_is_over_shows_as_expired(
    running: RunningRegion, stub: LicenceServiceStub
) -> None:
    yesterday = running.clock.now().date().replace(year=running.clock.now().year - 1).isoformat()
    licence = running.issue(valid_from=yesterday, issued_on=yesterday, valid_until=yesterday)

    assert licence.state == LicenceState.LICENCE_STATE_EXPIRED
    assert stub.GetLicence(_get(licence.name)).state == LicenceState.LICENCE_STATE_EXPIRED


# --- the holder's file --------------------------------------------------------------------


def _list(**members: object) -> ListLicencesRequest:
    return ListLicencesRequest(context=CONTEXT, parent=PARENT, **members)  # type: ignore[arg-type]


def _holder(sequence: int) -> SubjectNumber:
    return SubjectNumber(type="111", value=citizen(sequence))


def _issue_to(running: RunningRegion, sequence: int, count: int, **changes: str) -> list[str]:
    holder = {"name": "虚构丙", "number": citizen(sequence), "number_type": "111"}
    return [running.issue(holders=[holder], **changes).name for _ in range(count)]


def test_a_registrar_sees_the_holders_whole_file(stored: RunningRegion) -> None:
    mine = _issue_to(stored, 301, 3)
    other = {"name": "虚构丙", "number": citizen(301), "number_type": "111"}
    body = stored.request(issuer=OTHER_AUTHORITY, holders=[other])
    with stored.channel(OTHER_ISSUER) as channel:
        message = stored.issue_message(body, approval=stored.approve([body], OTHER_AUTHORITY))
        theirs = IssuanceServiceStub(channel).IssueLicence(message).name
    with stored.channel(REGISTRAR) as channel:
        stub = LicenceServiceStub(channel)
        answer = stub.ListLicences(_list(holder=_holder(301)))
        whole = stub.ListLicences(_list(holder=_holder(301), read_mask=FILE))

    assert {licence.name for licence in answer.licences} == {*mine, theirs}
    assert not any(licence.licence_file for licence in answer.licences)
    assert all(licence.licence_file for licence in whole.licences)


def test_an_issuer_sees_its_own_part_of_a_file(stored: RunningRegion) -> None:
    mine = _issue_to(stored, 302, 2)
    with stored.channel(ISSUER) as own, stored.channel(OTHER_ISSUER) as other:
        answer = LicenceServiceStub(own).ListLicences(_list(holder=_holder(302), read_mask=FILE))
        others = LicenceServiceStub(other).ListLicences(_list(holder=_holder(302)))
        with refused(PermissionDeniedError) as caught:
            LicenceServiceStub(other).ListLicences(
                _list(holder=_holder(302), issuer=f"{PARENT}/authorities/{AUTHORITY}")
            )

    assert {licence.name for licence in answer.licences} == set(mine)
    assert all(licence.licence_file for licence in answer.licences)
    assert not others.licences
    assert caught[0].reason == "AUTHORITY"


def test_pages_follow_each_other_without_gaps(stored: RunningRegion) -> None:
    mine = _issue_to(stored, 303, 5)
    seen: list[str] = []
    token = ""
    with stored.channel(REGISTRAR) as channel:
        stub = LicenceServiceStub(channel)
        while True:
            page = stub.ListLicences(_list(holder=_holder(303), page_size=2, page_token=token))
            seen += [licence.name for licence in page.licences]
            token = page.next_page_token
            if not token:
                break

    assert sorted(seen) == sorted(mine)


def test_a_page_token_is_good_for_its_own_list_alone(stored: RunningRegion) -> None:
    _issue_to(stored, 304, 3)
    _issue_to(stored, 305, 3)
    with stored.channel(REGISTRAR) as channel:
        stub = LicenceServiceStub(channel)
        token = stub.ListLicences(_list(holder=_holder(304), page_size=1)).next_page_token
        for wrong in (token, token[:-2] + "AA", "x"):
            with refused(InvalidArgumentError) as caught:
                stub.ListLicences(_list(holder=_holder(305), page_token=wrong))
            assert violations(caught[0]).keys() == {"page_token"}
        assert citizen(304) not in token


def test_a_file_is_narrowed_by_type_issuer_and_state(stored: RunningRegion) -> None:
    names = _issue_to(stored, 306, 2)
    with stored.channel() as channel:
        first = LicenceServiceStub(channel).GetLicence(_get(names[0]))
    stored.change(first, Operation.SUSPEND)
    with stored.channel(REGISTRAR) as channel:
        stub = LicenceServiceStub(channel)
        suspended = stub.ListLicences(
            _list(holder=_holder(306), states=[LicenceState.LICENCE_STATE_SUSPENDED])
        )
        typed = stub.ListLicences(
            _list(holder=_holder(306), licence_type=f"{PARENT}/licenceTypes/{TYPE}")
        )
        others = stub.ListLicences(
            _list(holder=_holder(306), issuer=f"{PARENT}/authorities/{OTHER_AUTHORITY}")
        )

    assert [licence.name for licence in suspended.licences] == [names[0]]
    assert len(typed.licences) == 2
    assert not others.licences


def test_nobody_on_file_has_an_empty_file(running: RunningRegion) -> None:
    with running.channel(REGISTRAR) as channel:
        assert not LicenceServiceStub(channel).ListLicences(_list(holder=_holder(399))).licences


def test_an_issuer_lists_its_authoritys_licences(running: RunningRegion) -> None:
    made = {licence.name for licence in running.issue_many(3)}
    with running.channel() as channel:
        answer = LicenceServiceStub(channel).ListLicences(_list(page_size=1000))

    assert made <= {licence.name for licence in answer.licences}
    assert {licence.issuer for licence in answer.licences} == {f"{PARENT}/authorities/{AUTHORITY}"}


def test_a_registrar_names_an_authority_or_a_holder(running: RunningRegion) -> None:
    with running.channel(REGISTRAR) as channel, refused(InvalidArgumentError) as caught:
        LicenceServiceStub(channel).ListLicences(_list())

    assert violations(caught[0]).keys() == {"issuer"}


def test_a_verifier_has_no_files_to_look_into(running: RunningRegion) -> None:
    with running.channel(VERIFIER) as channel, refused(PermissionDeniedError) as caught:
        LicenceServiceStub(channel).ListLicences(_list(holder=_holder(301)))

    assert caught[0].reason == "ROLE"


def test_faults_of_a_question_are_named_at_once_and_hold_no_number(
    running: RunningRegion,
) -> None:
    wrong = citizen(7)[:17] + ("0" if citizen(7)[17] != "0" else "1")
    request = ListLicencesRequest(
        context=CONTEXT,
        parent="regions/1",
        holder=SubjectNumber(type="111", value=wrong),
        licence_type="x",
        issuer="y",
        states=[99],  # type: ignore[list-item]
        read_mask=FieldMask(paths=["z"]),
    )
    with running.channel(REGISTRAR) as channel, refused(InvalidArgumentError) as caught:
        LicenceServiceStub(channel).ListLicences(request)

    assert violations(caught[0]).keys() == {
        "parent",
        "holder",
        "licence_type",
        "issuer",
        "states",
        "read_mask",
    }
    assert wrong not in str(caught[0])


# --- changes ----------------------------------------------------------------------------------


def test_a_change_is_made_under_the_authoritys_approval(stored: RunningRegion) -> None:
    licence = stored.issue()

    suspended = stored.change(licence, Operation.SUSPEND)
    reinstated = stored.change(licence, Operation.REINSTATE)
    revoked = stored.change(licence, Operation.REVOKE)

    assert suspended.state == LicenceState.LICENCE_STATE_SUSPENDED
    assert reinstated.state == LicenceState.LICENCE_STATE_VALID
    assert revoked.state == LicenceState.LICENCE_STATE_REVOKED
    assert len({licence.etag, suspended.etag, reinstated.etag, revoked.etag}) == 4


def test_the_same_change_again_is_made_once(stored: RunningRegion) -> None:
    licence = stored.issue()
    message = stored.change_message(licence, Operation.SUSPEND)
    with stored.channel() as channel:
        stub = LicenceServiceStub(channel)
        first = stub.ChangeLicenceStatus(message)
        sizes = stored.table_sizes()
        again = stub.ChangeLicenceStatus(message)
        assert stored.table_sizes() == sizes

    assert (again.state, again.etag) == (first.state, first.etag)


def test_history_is_told_oldest_first(stored: RunningRegion) -> None:
    licence = stored.issue()
    for operation in (Operation.SUSPEND, Operation.REINSTATE, Operation.CANCEL):
        stored.change(licence, operation)
    request = ListLicenceEventsRequest(context=CONTEXT, parent=licence.name, page_size=3)
    with stored.channel() as channel:
        stub = LicenceServiceStub(channel)
        page = stub.ListLicenceEvents(request)
        request.page_token = page.next_page_token
        rest = stub.ListLicenceEvents(request)

    events = [*page.licence_events, *rest.licence_events]
    assert [event.operation for event in events] == [
        LicenceOperation.LICENCE_OPERATION_ISSUE,
        LicenceOperation.LICENCE_OPERATION_SUSPEND,
        LicenceOperation.LICENCE_OPERATION_REINSTATE,
        LicenceOperation.LICENCE_OPERATION_CANCEL,
    ]
    change = events[1]
    assert (change.reason_code, change.reason) == ("PENALTY", "虚构事由")
    assert change.operator == CONTEXT.operator
    assert change.principal == f"{PARENT}/principals/{ISSUER}"
    assert change.from_state == LicenceState.LICENCE_STATE_VALID
    assert not rest.next_page_token


def test_versions_are_listed(stub: LicenceServiceStub, licence: Licence) -> None:
    answer = stub.ListLicenceRevisions(
        ListLicenceRevisionsRequest(context=CONTEXT, name=licence.name)
    )

    assert [found.revision_id for found in answer.licences] == ["001"]
    assert not answer.licences[0].licence_file


def test_a_history_is_the_authoritys_own_and_the_registrars(
    running: RunningRegion, licence: Licence
) -> None:
    request = ListLicenceEventsRequest(context=CONTEXT, parent=licence.name)
    with running.channel(REGISTRAR) as channel:
        assert LicenceServiceStub(channel).ListLicenceEvents(request).licence_events
    with running.channel(OTHER_ISSUER) as channel, refused(PermissionDeniedError):
        LicenceServiceStub(channel).ListLicenceEvents(request)


def test_what_the_table_does_not_allow_is_refused(
    running: RunningRegion, stub: LicenceServiceStub
) -> None:
    licence = running.issue()
    message = running.change_message(licence, Operation.REINSTATE)

    error = nothing_is_made(
        running, lambda: stub.ChangeLicenceStatus(message), FailedPreconditionError
    )

    assert error.reason == "TRANSITION"


def test_a_stale_etag_is_a_conflict(running: RunningRegion, stub: LicenceServiceStub) -> None:
    licence = running.issue()
    running.change(licence, Operation.SUSPEND)
    message = running.change_message(licence, Operation.REVOKE, etag=licence.etag)

    error = nothing_is_made(running, lambda: stub.ChangeLicenceStatus(message), ConflictError)

    assert error.reason == "ETAG"


def test_another_authority_changes_nothing(running: RunningRegion, licence: Licence) -> None:
    body = running.change_message(licence, Operation.REVOKE).change_request
    message = running.change_message(
        licence,
        Operation.REVOKE,
        change_request=body,
        approval=running.approve([body], OTHER_AUTHORITY, operation="revoke"),
    )
    with running.channel(OTHER_ISSUER) as channel:
        stub = LicenceServiceStub(channel)
        nothing_is_made(running, lambda: stub.ChangeLicenceStatus(message), PermissionDeniedError)


def test_the_operation_called_is_the_one_approved(
    running: RunningRegion, stub: LicenceServiceStub, licence: Licence
) -> None:
    message = running.change_message(licence, Operation.SUSPEND)
    message.operation = LicenceOperation.LICENCE_OPERATION_REVOKE

    nothing_is_made(
        running,
        lambda: stub.ChangeLicenceStatus(message),
        PermissionDeniedError,
        InvalidArgumentError,
    )


@pytest.mark.parametrize("operation", [0, 1, 2, 13, 99])
def test_an_operation_that_is_not_offered_is_refused(
    operation: int, stub: LicenceServiceStub, licence: Licence
) -> None:
    with refused(InvalidArgumentError) as caught:
        stub.ChangeLicenceStatus(
            ChangeLicenceStatusRequest(
                context=CONTEXT,
                name=licence.name,
                request_id="r",
                operation=operation,  # type: ignore[arg-type]
            )
        )

    assert violations(caught[0]).keys() == {"operation", "change_request", "approval"}


def test_the_clocks_own_operation_is_nobodys(
    running: RunningRegion, stub: LicenceServiceStub, licence: Licence
) -> None:
    message = running.change_message(licence, Operation.EXPIRE)

    nothing_is_made(running, lambda: stub.ChangeLicenceStatus(message), InvalidArgumentError)


def test_a_change_names_the_certificate_of_who_acted(
    running: RunningRegion, licence: Licence
) -> None:
    issued = running.issue()
    running.change(issued, Operation.SUSPEND)
    body = parse_identifier(issued.identifier).body
    with running.region.storage.read() as conn:
        events = running.region.holding.events(conn, body)

    assert events[-1].operator_certificate_hash is not None
