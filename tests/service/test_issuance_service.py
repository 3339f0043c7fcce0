"""Issuing over gRPC: what is approved is issued once, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from support.requests import OTHER_AUTHORITY, citizen
from support.running_region import (
    CONTEXT,
    ISSUER,
    OTHER_ISSUER,
    PARENT,
    VERIFIER,
    RunningRegion,
    nothing_is_made,
    refused,
    violations,
)
from support.small_region import OTHER_TYPE
from yinxin_proto.error import (
    AlreadyExistsError,
    ConflictError,
    InvalidArgumentError,
    MalformedError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnavailableError,
)
from yinxin_proto.es256 import ES256
from yinxin_proto.licence import LicenceFile
from yinxin_proto.receipt import Receipt
from yinxin_proto.strict import Json, b64url_decode, canonical_json, parse_json_object
from yinxin_proto.v1.common_pb2 import CallContext
from yinxin_proto.v1.issuance_pb2 import IssueLicenceRequest
from yinxin_proto.v1.issuance_pb2_grpc import IssuanceServiceStub
from yinxin_proto.v1.licence_pb2 import Licence, LicenceState


@pytest.fixture
def stub(running: RunningRegion) -> Iterator[IssuanceServiceStub]:
    with running.channel() as channel:
        yield IssuanceServiceStub(channel)


@pytest.fixture
def stored_stub(stored: RunningRegion) -> Iterator[IssuanceServiceStub]:
    with stored.channel() as channel:
        yield IssuanceServiceStub(channel)


# --- what is issued ------------------------------------------------------------------


def test_a_licence_comes_with_its_receipt(stored: RunningRegion) -> None:
    licence = stored.issue()

    file = LicenceFile.parse(licence.licence_file)
    assert file.receipt is not None
    assert Receipt.parse(file.receipt).index == licence.log_index
    assert licence.state == LicenceState.LICENCE_STATE_VALID
    assert licence.name == f"{PARENT}/licences/{'.'.join(licence.identifier.split('.')[5:8])}"
    assert licence.revision_id == "001"


def test_a_licence_may_be_had_by_name_alone(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    licence = stub.IssueLicence(running.issue_message(return_immediately=True))

    assert licence.name
    assert not licence.licence_file
    assert not licence.HasField("log_index")


def test_a_batch_is_issued_under_one_approval_in_its_order(stored: RunningRegion) -> None:
    requests = [stored.request(fields={"KZ_JYCS": f"虚构路 {n} 号"}) for n in range(30)]
    with stored.channel() as channel:
        answer = IssuanceServiceStub(channel).BatchIssueLicences(stored.batch_message(requests))

    assert len({licence.name for licence in answer.licences}) == 30
    # 2 bits, so within one list; each place is taken once.
    places = {(licence.status_uri, licence.status_index) for licence in answer.licences}
    assert len(places) == 30
    for number, licence in enumerate(answer.licences):
        assert f"虚构路 {number} 号" in _disclosed(licence)


def _disclosed(licence: Licence) -> str:
    parts = LicenceFile.parse(licence.licence_file).sd_jwt.split("~")[1:-1]
    return " ".join(b64url_decode(part).decode() for part in parts)


def test_a_receipt_that_is_late_can_be_had_by_asking_again(running: RunningRegion) -> None:
    message = running.issue_message()
    running.paused.set()
    with running.channel(retries=False) as channel:
        stub = IssuanceServiceStub(channel)
        try:
            with refused(UnavailableError) as caught:
                stub.IssueLicence(message, timeout=1.5)
        finally:
            running.paused.clear()
        licence = stub.IssueLicence(message, timeout=10)

    assert caught[0].reason == "NOT_SEQUENCED"
    assert licence.name in caught[0].message
    assert licence.licence_file


# --- the same request again ------------------------------------------------------------


def test_the_same_request_again_returns_the_same_licence(
    stored: RunningRegion, stored_stub: IssuanceServiceStub
) -> None:
    message = stored.issue_message()

    first = stored_stub.IssueLicence(message)
    sizes = stored.table_sizes()
    again = stored_stub.IssueLicence(message)

    assert again.name == first.name
    assert (
        LicenceFile.parse(again.licence_file).sd_jwt == LicenceFile.parse(first.licence_file).sd_jwt
    )
    assert stored.table_sizes() == sizes


def test_the_same_request_from_sixteen_threads_is_issued_once(stored: RunningRegion) -> None:
    message = stored.issue_message()
    before = stored.table_sizes()

    with stored.channel() as channel, ThreadPoolExecutor(16) as threads:
        stub = IssuanceServiceStub(channel)
        answers = list(threads.map(lambda _: stub.IssueLicence(message, timeout=30), range(16)))

    assert len({answer.name for answer in answers}) == 1
    assert len({answer.identifier for answer in answers}) == 1
    after = stored.table_sizes()
    made = {name for name in after if after[name] != before[name]}
    assert all(after[name] - before[name] == 1 for name in made - {"subject", "identifier_index"})
    assert {"licence", "request", "log_entry", "approval"} <= made


def test_many_requests_about_one_new_holder_are_all_issued(stored: RunningRegion) -> None:
    holder = {"name": "虚构乙", "number": citizen(777), "number_type": "111"}
    messages = [stored.issue_message(stored.request(holders=[holder])) for _ in range(16)]
    subjects = stored.table_sizes()["subject"]

    with stored.channel() as channel, ThreadPoolExecutor(16) as threads:
        stub = IssuanceServiceStub(channel)
        answers = list(threads.map(lambda m: stub.IssueLicence(m, timeout=30), messages))

    assert len({answer.name for answer in answers}) == 16
    assert stored.table_sizes()["subject"] == subjects + 1


def test_another_body_under_the_same_id_is_a_conflict(stored: RunningRegion) -> None:
    first = stored.issue_message()
    other = stored.issue_message(request_id=first.request_id)
    with stored.channel() as channel:
        stub = IssuanceServiceStub(channel)
        stub.IssueLicence(first)
        error = nothing_is_made(stored, lambda: stub.IssueLicence(other), ConflictError)

    assert error.reason == "REQUEST_ID_REUSED"


def test_a_request_id_is_the_callers_own(running: RunningRegion) -> None:
    message = running.issue_message(request_id="shared-id")
    body = running.request(issuer=OTHER_AUTHORITY)
    others = running.issue_message(
        body, request_id="shared-id", approval=running.approve([body], OTHER_AUTHORITY)
    )
    with running.channel(ISSUER) as one, running.channel(OTHER_ISSUER) as other:
        first = IssuanceServiceStub(one).IssueLicence(message)
        second = IssuanceServiceStub(other).IssueLicence(others)

    assert first.name != second.name


def test_a_repeated_batch_returns_the_same_licences(
    stored: RunningRegion, stored_stub: IssuanceServiceStub
) -> None:
    message = stored.batch_message([stored.request() for _ in range(5)])

    first = stored_stub.BatchIssueLicences(message)
    again = stored_stub.BatchIssueLicences(message)

    assert [licence.name for licence in again.licences] == [
        licence.name for licence in first.licences
    ]


# --- bad input -------------------------------------------------------------------------


def _document(running: RunningRegion, **changes: Json) -> bytes:
    """A request whose form is not checked: what a faulty client would send."""
    members = parse_json_object(running.request())
    members.update(changes)
    return canonical_json(members)


def _without(running: RunningRegion, *names: str) -> bytes:
    members = parse_json_object(running.request())
    return canonical_json({name: members[name] for name in members if name not in names})


def _call(running: RunningRegion, stub: IssuanceServiceStub, body: bytes) -> Callable[[], object]:
    message = running.issue_message(body, approval=running.approve([body]))
    return lambda: stub.IssueLicence(message)


def test_a_wrong_checksum_is_named_without_the_number(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    number = citizen(5)[:-1] + ("0" if citizen(5)[-1] != "0" else "1")
    body = _document(running, holders=[{"name": "虚构甲", "number": number, "number_type": "111"}])

    error = nothing_is_made(running, _call(running, stub, body), InvalidArgumentError)

    assert violations(error) == {"request.holders[0].number": "NUMBER_CHECKSUM"}
    assert number not in str(error)
    assert number not in running.journal.getvalue()


def test_an_unknown_type_is_refused(running: RunningRegion, stub: IssuanceServiceStub) -> None:
    body = _document(running, type="113503000035501" + "2AX" + "999")

    error = nothing_is_made(running, _call(running, stub, body), InvalidArgumentError)

    assert "request.type" in violations(error)


def test_missing_and_extra_fields_are_all_named(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    body = _document(running, fields={"KZ_NEU": "x"})

    error = nothing_is_made(running, _call(running, stub, body), InvalidArgumentError)

    assert sorted(violations(error).values()) == ["FIELD_MISSING", "FIELD_UNKNOWN"]


def test_missing_members_of_the_request_are_all_named(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    body = _without(running, "number", "valid_from")

    error = nothing_is_made(running, _call(running, stub, body), InvalidArgumentError)

    assert {"request.number", "request.valid_from"} <= violations(error).keys()


def test_a_type_that_the_authority_may_not_issue_is_refused(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    body = _document(running, type=OTHER_TYPE)

    error = nothing_is_made(running, _call(running, stub, body), InvalidArgumentError)

    assert violations(error) == {"request.type": "TYPE_NOT_IN_SCOPE"}


def test_dates_reversed_are_refused(running: RunningRegion, stub: IssuanceServiceStub) -> None:
    body = _document(running, valid_from="2030-01-02", valid_until="2030-01-01")

    error = nothing_is_made(running, _call(running, stub, body), InvalidArgumentError)

    assert set(violations(error)) & {"request.valid_until", "request.valid_from"}


def test_every_fault_of_a_batch_is_named_at_once(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    bodies = [
        _document(running, fields={}),
        running.request(),
        _document(running, valid_from="2030-01-02", valid_until="2030-01-01"),
        _document(running, type=OTHER_TYPE),
    ]
    message = running.batch_message(bodies)

    error = nothing_is_made(running, lambda: stub.BatchIssueLicences(message), InvalidArgumentError)

    faulty = {field.split(".")[0] for field in violations(error)}
    assert faulty == {"requests[0]", "requests[2]", "requests[3]"}


def test_an_unsigned_approval_is_refused(running: RunningRegion, stub: IssuanceServiceStub) -> None:
    body = running.request()
    header, payload, _ = running.approve([body]).split(".")
    message = running.issue_message(body, approval=f"{header}.{payload}.")

    nothing_is_made(
        running, lambda: stub.IssueLicence(message), MalformedError, PermissionDeniedError
    )


def test_an_approval_by_another_key_is_refused(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    body = running.request()
    message = running.issue_message(body, approval=running.approve([body], signer=ES256.generate()))

    error = nothing_is_made(running, lambda: stub.IssueLicence(message), PermissionDeniedError)

    assert error.reason == "APPROVAL_SIGNATURE"


def test_another_authoritys_approval_is_refused(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    body = running.request()
    message = running.issue_message(body, approval=running.approve([body], OTHER_AUTHORITY))

    nothing_is_made(
        running, lambda: stub.IssueLicence(message), PermissionDeniedError, InvalidArgumentError
    )


def test_an_approval_of_another_request_is_refused(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    message = running.issue_message(approval=running.approve([running.request()]))

    error = nothing_is_made(running, lambda: stub.IssueLicence(message), PermissionDeniedError)

    assert error.reason == "APPROVAL_ROOT"


def test_an_approval_is_used_once(running: RunningRegion, stub: IssuanceServiceStub) -> None:
    message = running.issue_message()
    stub.IssueLicence(message)
    again = IssueLicenceRequest()
    again.CopyFrom(message)
    again.request_id = running.token()

    # Both would be right: the number is taken, and the approval was used.
    nothing_is_made(
        running, lambda: stub.IssueLicence(again), PermissionDeniedError, AlreadyExistsError
    )


def test_a_licence_number_is_issued_once(stored: RunningRegion) -> None:
    body = stored.request()
    again = stored.request(number=json.loads(body)["number"])
    with stored.channel() as channel:
        stub = IssuanceServiceStub(channel)
        stub.IssueLicence(stored.issue_message(body))
        error = nothing_is_made(
            stored, lambda: stub.IssueLicence(stored.issue_message(again)), AlreadyExistsError
        )

    assert error.reason == "LICENCE_NUMBER_TAKEN"


def test_an_issuer_acts_for_its_own_authority(running: RunningRegion) -> None:
    message = running.issue_message()
    with running.channel(OTHER_ISSUER) as channel:
        error = nothing_is_made(
            running,
            lambda: IssuanceServiceStub(channel).IssueLicence(message),
            PermissionDeniedError,
        )

    assert error.reason == "AUTHORITY"


def test_a_verifier_issues_nothing(running: RunningRegion) -> None:
    message = running.issue_message()
    with running.channel(VERIFIER) as channel:
        error = nothing_is_made(
            running,
            lambda: IssuanceServiceStub(channel).IssueLicence(message),
            PermissionDeniedError,
        )

    assert error.reason == "ROLE"


def test_an_oversized_message_is_refused_before_it_is_read(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    before = running.table_sizes()
    message = running.issue_message(request=b"{" + b" " * (1 << 20))

    with refused(ResourceExhaustedError) as caught:
        stub.IssueLicence(message)

    assert caught[0].reason == "REQUEST_TOO_LARGE"
    assert running.table_sizes() == before


def test_a_deeply_nested_request_is_refused(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    body = b'{"a":' * 5000 + b"1" + b"}" * 5000
    message = running.issue_message(body, approval=running.approve([body]))

    error = nothing_is_made(running, lambda: stub.IssueLicence(message), InvalidArgumentError)

    assert violations(error).keys() == {"request"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"\xff", b'{"a":1,"a":2}', b'{ "schema" : 1 }'], ids=repr
)
def test_what_is_no_request_is_refused(
    body: bytes, running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    message = running.issue_message(body, approval=running.approve([body]))

    error = nothing_is_made(running, lambda: stub.IssueLicence(message), InvalidArgumentError)

    assert all(field.startswith("request") for field in violations(error))


def test_what_is_wrong_around_the_request_is_named_at_once(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    message = IssueLicenceRequest(
        context=CallContext(purpose=" ", operator="经\u0000办"),
        parent="regions/350400",
        request_id="spaces are not allowed",
    )

    error = nothing_is_made(running, lambda: stub.IssueLicence(message), InvalidArgumentError)

    assert violations(error).keys() == {
        "context.purpose",
        "context.operator",
        "parent",
        "request_id",
        "request",
        "approval",
    }


def test_a_subjects_number_in_the_purpose_is_neither_taken_nor_kept(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    number = citizen(8)
    message = running.issue_message(context=CallContext(purpose=f"核对 {number}"))

    error = nothing_is_made(running, lambda: stub.IssueLicence(message), InvalidArgumentError)

    assert violations(error) == {"context.purpose": "SUBJECT_NUMBER"}
    assert all(number not in str(row) for row in running.audit_rows())


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_has_one_to_a_thousand_requests(
    count: int, running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    body = running.request()
    message = running.batch_message([body])
    del message.requests[:]
    message.requests.extend([body] * count)

    error = nothing_is_made(running, lambda: stub.BatchIssueLicences(message), InvalidArgumentError)

    assert violations(error) == {"requests": "BATCH_SIZE"}


def test_one_bad_request_of_a_batch_issues_none(stored: RunningRegion) -> None:
    bodies = [stored.request() for _ in range(4)]
    bodies.append(_document(stored, fields={}))
    message = stored.batch_message(bodies)
    with stored.channel() as channel:
        stub = IssuanceServiceStub(channel)
        nothing_is_made(stored, lambda: stub.BatchIssueLicences(message), InvalidArgumentError)


def test_a_taken_number_in_a_batch_issues_none(stored: RunningRegion) -> None:
    taken = json.loads(stored.request())["number"]
    stored.issue(number=taken)
    message = stored.batch_message([stored.request(), stored.request(number=taken)])
    with stored.channel() as channel:
        stub = IssuanceServiceStub(channel)
        nothing_is_made(stored, lambda: stub.BatchIssueLicences(message), AlreadyExistsError)


def test_the_context_is_kept_with_the_call(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    with running.recording() as rows:
        licence = stub.IssueLicence(running.issue_message())

    (row,) = rows
    assert row["resource"] == licence.name
    assert row["caller"] == ISSUER
    assert (row["purpose"], row["case_number"]) == (CONTEXT.purpose, CONTEXT.case_number)
    assert (row["service_item"], row["operator"]) == (CONTEXT.service_item, CONTEXT.operator)


def test_a_call_that_nobody_answers_for_is_not_retried_for_ever(
    running: RunningRegion, stub: IssuanceServiceStub
) -> None:
    running.paused.set()
    try:
        with pytest.raises(grpc.RpcError):
            stub.IssueLicence(running.issue_message(), timeout=0.3)
    finally:
        running.paused.clear()
