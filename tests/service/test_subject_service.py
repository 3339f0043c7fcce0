"""Subjects over gRPC: several numbers, one holder, and no number told."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from support.requests import AUTHORITY, citizen
from support.running_region import (
    CONTEXT,
    ISSUER,
    PARENT,
    REGISTRAR,
    RunningRegion,
    nothing_is_made,
    refused,
    violations,
)
from yinxin_proto.error import (
    AlreadyExistsError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from yinxin_proto.v1.common_pb2 import SubjectNumber
from yinxin_proto.v1.licence_pb2 import ListLicencesRequest
from yinxin_proto.v1.licence_pb2_grpc import LicenceServiceStub
from yinxin_proto.v1.subject_pb2 import (
    GetSubjectRequest,
    LinkIdentifierRequest,
    LookupSubjectRequest,
    RegisterSubjectRequest,
    SubjectKind,
)
from yinxin_proto.v1.subject_pb2_grpc import SubjectServiceStub
from yinxin_trust import schema

PERSON = SubjectKind.SUBJECT_KIND_PERSON


@pytest.fixture
def stub(stored: RunningRegion) -> Iterator[SubjectServiceStub]:
    with stored.channel(REGISTRAR) as channel:
        yield SubjectServiceStub(channel)


def _person(sequence: int) -> SubjectNumber:
    return SubjectNumber(type="111", value=citizen(sequence))


def _passport(value: str) -> SubjectNumber:
    return SubjectNumber(type="414", value=value)


def _register(*numbers: SubjectNumber, **members: object) -> RegisterSubjectRequest:
    return RegisterSubjectRequest(
        **{  # type: ignore[arg-type]
            "context": CONTEXT,
            "parent": PARENT,
            "kind": PERSON,
            "display_name": "虚构丁",
            "numbers": numbers,
            **members,
        }
    )


def test_a_subject_is_registered_once_and_found_by_each_number(
    stored: RunningRegion, stub: SubjectServiceStub
) -> None:
    made = stub.RegisterSubject(_register(_person(501), _passport("E50100001")))
    sizes = stored.table_sizes()
    again = stub.RegisterSubject(_register(_person(501), _passport("E50100001")))

    assert again == made
    assert stored.table_sizes() == sizes
    for number in (_person(501), _passport("E50100001")):
        found = stub.LookupSubject(
            LookupSubjectRequest(context=CONTEXT, parent=PARENT, number=number)
        )
        assert found == made
    assert stub.GetSubject(GetSubjectRequest(context=CONTEXT, name=made.name)) == made


def test_numbers_are_masked(stub: SubjectServiceStub) -> None:
    made = stub.RegisterSubject(_register(_person(502)))

    (number,) = made.identifiers
    value = citizen(502)
    assert number.masked_value == f"{value[0]}{'*' * 16}{value[-1]}"
    assert number.type == "111"
    assert "虚构丁" not in str(made)
    assert made.kind == PERSON


def test_a_number_is_normalised_before_it_is_looked_for(stub: SubjectServiceStub) -> None:
    made = stub.RegisterSubject(_register(_person(503)))
    spaced = " ".join(citizen(503)).lower()

    found = stub.LookupSubject(
        LookupSubjectRequest(
            context=CONTEXT, parent=PARENT, number=SubjectNumber(type="111", value=spaced)
        )
    )

    assert found.name == made.name


def test_one_more_number_is_linked(stub: SubjectServiceStub) -> None:
    made = stub.RegisterSubject(_register(_person(504)))
    request = LinkIdentifierRequest(
        context=CONTEXT, name=made.name, number=_passport("E50400001"), etag=made.etag
    )

    linked = stub.LinkIdentifier(request)

    assert [number.type for number in linked.identifiers] == ["111", "414"]
    assert linked.etag != made.etag
    found = stub.LookupSubject(
        LookupSubjectRequest(context=CONTEXT, parent=PARENT, number=_passport("E50400001"))
    )
    assert found == linked


def test_a_number_of_another_subject_is_not_linked(
    stored: RunningRegion, stub: SubjectServiceStub
) -> None:
    one = stub.RegisterSubject(_register(_person(505)))
    stub.RegisterSubject(_register(_person(506)))
    request = LinkIdentifierRequest(context=CONTEXT, name=one.name, number=_person(506))

    error = nothing_is_made(stored, lambda: stub.LinkIdentifier(request), AlreadyExistsError)

    assert error.reason == "SUBJECT_SPLIT"


def test_a_stale_etag_is_a_conflict(stored: RunningRegion, stub: SubjectServiceStub) -> None:
    made = stub.RegisterSubject(_register(_person(507)))
    stub.LinkIdentifier(
        LinkIdentifierRequest(context=CONTEXT, name=made.name, number=_passport("E50700001"))
    )
    request = LinkIdentifierRequest(
        context=CONTEXT, name=made.name, number=_passport("E50700002"), etag=made.etag
    )

    error = nothing_is_made(stored, lambda: stub.LinkIdentifier(request), ConflictError)

    assert error.reason == "ETAG"


def test_numbers_of_different_subjects_are_not_joined(
    stored: RunningRegion, stub: SubjectServiceStub
) -> None:
    stub.RegisterSubject(_register(_person(508)))
    stub.RegisterSubject(_register(_person(509)))

    nothing_is_made(
        stored,
        lambda: stub.RegisterSubject(_register(_person(508), _person(509))),
        AlreadyExistsError,
    )


def test_a_subject_registered_by_sixteen_at_once_is_one(
    stored: RunningRegion, stub: SubjectServiceStub
) -> None:
    before = stored.table_sizes()["subject"]
    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(lambda _: stub.RegisterSubject(_register(_person(510))), range(16)))

    assert len({subject.name for subject in made}) == 1
    assert stored.table_sizes()["subject"] == before + 1


def test_the_same_request_id_with_another_body_is_a_conflict(
    stored: RunningRegion, stub: SubjectServiceStub
) -> None:
    token = stored.token()
    made = stub.RegisterSubject(_register(_person(511), request_id=token))
    assert stub.RegisterSubject(_register(_person(511), request_id=token)) == made

    error = nothing_is_made(
        stored,
        lambda: stub.RegisterSubject(_register(_person(512), request_id=token)),
        ConflictError,
    )

    assert error.reason == "REQUEST_ID_REUSED"


def test_a_subject_made_by_issuing_is_the_same_subject(
    stored: RunningRegion, stub: SubjectServiceStub
) -> None:
    stored.issue(holders=[{"name": "虚构戊", "number": citizen(513), "number_type": "111"}])

    found = stub.RegisterSubject(_register(_person(513), _passport("E51300001")))

    assert [number.type for number in found.identifiers] == ["111", "414"]
    with stored.channel(REGISTRAR) as channel:
        answer = LicenceServiceStub(channel).ListLicences(
            ListLicencesRequest(context=CONTEXT, parent=PARENT, holder=_passport("E51300001"))
        )
    assert len(answer.licences) == 1


def test_an_organisation_is_registered_by_its_credit_code(stub: SubjectServiceStub) -> None:
    made = stub.RegisterSubject(
        _register(
            SubjectNumber(type="001", value=AUTHORITY),
            kind=SubjectKind.SUBJECT_KIND_OTHER_ORGANISATION,
            display_name="虚构社",
        )
    )

    assert made.kind == SubjectKind.SUBJECT_KIND_OTHER_ORGANISATION


def test_every_fault_is_named_at_once_and_no_number_is_told(
    stored: RunningRegion, stub: SubjectServiceStub
) -> None:
    wrong = citizen(1)[:17] + ("0" if citizen(1)[17] != "0" else "1")
    request = RegisterSubjectRequest(
        context=CONTEXT,
        parent="regions/1",
        request_id="a b",
        display_name="\u202e",
        numbers=[SubjectNumber(type="111", value=wrong), SubjectNumber(type="9", value="1")],
    )

    error = nothing_is_made(stored, lambda: stub.RegisterSubject(request), InvalidArgumentError)

    assert violations(error).keys() == {
        "parent",
        "request_id",
        "kind",
        "display_name",
        "numbers[0]",
        "numbers[1]",
    }
    assert wrong not in str(error)


def test_a_persons_number_does_not_make_an_organisation(
    stored: RunningRegion, stub: SubjectServiceStub
) -> None:
    request = _register(_person(514), kind=SubjectKind.SUBJECT_KIND_LEGAL_PERSON)

    error = nothing_is_made(stored, lambda: stub.RegisterSubject(request), InvalidArgumentError)

    assert violations(error) == {"kind": "SUBJECT_KIND"}


def test_an_unknown_subject_is_not_found(stub: SubjectServiceStub) -> None:
    with refused(NotFoundError) as caught:
        stub.GetSubject(GetSubjectRequest(context=CONTEXT, name=f"{PARENT}/subjects/{'0' * 32}"))

    assert caught[0].reason == "SUBJECT"


@pytest.mark.parametrize("last", ["nothing", "ffff", citizen(517)])
def test_what_is_no_reference_names_no_subject(last: str, stub: SubjectServiceStub) -> None:
    with refused(InvalidArgumentError) as caught:
        stub.GetSubject(GetSubjectRequest(context=CONTEXT, name=f"{PARENT}/subjects/{last}"))

    assert violations(caught[0]) == {"name": "RESOURCE_NAME"}


def test_an_issuer_looks_nobody_up(stored: RunningRegion) -> None:
    with stored.channel(ISSUER) as channel, refused(PermissionDeniedError):
        SubjectServiceStub(channel).LookupSubject(
            LookupSubjectRequest(context=CONTEXT, parent=PARENT, number=_person(501))
        )


def test_no_table_holds_a_number_or_a_name(stored: RunningRegion, stub: SubjectServiceStub) -> None:
    stub.RegisterSubject(_register(_person(515), _passport("E51500001"), request_id="clear-text"))
    secrets = [citizen(515), "E51500001", "虚构丁"]
    with stored.region.storage.read() as conn:
        for table in schema.metadata.sorted_tables:
            for row in conn.execute(select(table)):
                content = b"\0".join(
                    value if isinstance(value, bytes) else str(value).encode() for value in row
                )
                assert not any(secret.encode() in content for secret in secrets), table.name
