"""The catalogue over gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.requests import AUTHORITY
from support.running_region import (
    CONTEXT,
    NOBODY,
    PARENT,
    REGISTRAR,
    RunningRegion,
    nothing_is_made,
    refused,
    violations,
)
from support.small_region import TYPE, type_bytes, type_document
from yinxin_proto.error import (
    AlreadyExistsError,
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
)
from yinxin_proto.v1.catalogue_pb2 import (
    CreateLicenceTypeRequest,
    GetLicenceTypeRequest,
    IssueMode,
    LicenceCategory,
    LicenceType,
    ListLicenceTypesRequest,
)
from yinxin_proto.v1.catalogue_pb2_grpc import CatalogueServiceStub
from yinxin_trust.publication import current_view

NEW_TYPE = AUTHORITY + "907"


@pytest.fixture
def stub(stored: RunningRegion) -> Iterator[CatalogueServiceStub]:
    with stored.channel(REGISTRAR) as channel:
        yield CatalogueServiceStub(channel)


def _create(definition: bytes, **members: str) -> CreateLicenceTypeRequest:
    return CreateLicenceTypeRequest(
        context=CONTEXT,
        parent=PARENT,
        licence_type=LicenceType(definition=definition),
        **members,
    )


def _name(code: str) -> str:
    return f"{PARENT}/licenceTypes/{code}"


def test_types_are_listed_by_code_without_their_definitions(stored: RunningRegion) -> None:
    codes: list[str] = []
    token = ""
    with stored.channel(NOBODY) as channel:
        stub = CatalogueServiceStub(channel)
        while True:
            page = stub.ListLicenceTypes(
                ListLicenceTypesRequest(parent=PARENT, page_size=5, page_token=token)
            )
            codes += [entry.code for entry in page.licence_types]
            assert not any(entry.definition for entry in page.licence_types)
            token = page.next_page_token
            if not token:
                break

    assert codes == sorted(codes)
    assert TYPE in codes
    assert "11100000MB03271699001" in codes


def test_a_type_is_told_whole(stub: CatalogueServiceStub) -> None:
    entry = stub.GetLicenceType(GetLicenceTypeRequest(name=_name(TYPE)))

    assert entry.display_name.zh == "虚构许可证"
    assert entry.category == LicenceCategory.LICENCE_CATEGORY_LICENCE
    assert entry.issue_mode == IssueMode.ISSUE_MODE_ISSUE
    assert list(entry.number_types) == ["111", "001"]
    assert json.loads(entry.definition)["code"] == TYPE


def test_a_new_type_is_added_and_published(
    stored: RunningRegion, stub: CatalogueServiceStub
) -> None:
    made = stub.CreateLicenceType(_create(type_bytes(NEW_TYPE)))
    second = stub.CreateLicenceType(_create(type_bytes(NEW_TYPE, schema_version=2)))

    assert (made.schema_version, second.schema_version) == (1, 2)
    assert made.etag != second.etag
    newest = stub.GetLicenceType(GetLicenceTypeRequest(name=_name(NEW_TYPE)))
    first = stub.GetLicenceType(GetLicenceTypeRequest(name=_name(NEW_TYPE), schema_version=1))
    assert (newest.schema_version, first.schema_version) == (2, 1)
    with stored.region.storage.read() as conn:
        view = current_view(conn, stored.clock.now())
        published = json.loads(view.target(f"catalogue/{NEW_TYPE}.json"))
    assert published["schema_version"] == 2


def test_a_version_never_changes(stored: RunningRegion, stub: CatalogueServiceStub) -> None:
    error = nothing_is_made(
        stored,
        lambda: stub.CreateLicenceType(_create(type_bytes(TYPE, validity="P1Y"))),
        AlreadyExistsError,
    )

    assert error.reason == "LICENCE_TYPE"


def test_versions_have_no_gaps(stored: RunningRegion, stub: CatalogueServiceStub) -> None:
    nothing_is_made(
        stored,
        lambda: stub.CreateLicenceType(_create(type_bytes(TYPE, schema_version=7))),
        InvalidArgumentError,
    )


def test_the_same_request_again_adds_it_once(
    stored: RunningRegion, stub: CatalogueServiceStub
) -> None:
    code = AUTHORITY + "908"
    token = stored.token()

    first = stub.CreateLicenceType(_create(type_bytes(code), request_id=token))
    again = stub.CreateLicenceType(_create(type_bytes(code), request_id=token))

    assert again == first
    other = _create(type_bytes(AUTHORITY + "909"), request_id=token)
    nothing_is_made(stored, lambda: stub.CreateLicenceType(other), ConflictError)


def test_every_fault_of_a_definition_is_named_at_once(
    stored: RunningRegion, stub: CatalogueServiceStub
) -> None:
    document = type_document(AUTHORITY + "910", category=9, validity="forever")
    del document["issuing_level"]

    error = nothing_is_made(
        stored,
        lambda: stub.CreateLicenceType(_create(json.dumps(document).encode())),
        InvalidArgumentError,
    )

    fields = violations(error)
    assert len(fields) >= 3
    assert all(field.startswith("licence_type.definition") for field in fields)


@pytest.mark.parametrize("definition", [b"", b"{", b"[]", b"\xff", b'{"a":1,"a":2}'], ids=repr)
def test_what_is_no_definition_is_refused(
    definition: bytes, stored: RunningRegion, stub: CatalogueServiceStub
) -> None:
    nothing_is_made(
        stored, lambda: stub.CreateLicenceType(_create(definition)), InvalidArgumentError
    )


def test_an_unknown_type_is_not_found(stub: CatalogueServiceStub) -> None:
    with refused(NotFoundError):
        stub.GetLicenceType(GetLicenceTypeRequest(name=_name(AUTHORITY + "999")))
    with refused(NotFoundError):
        stub.GetLicenceType(GetLicenceTypeRequest(name=_name(TYPE), schema_version=9))
