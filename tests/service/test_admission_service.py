"""Who may call what: every method of every contract, by role, on record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from support.requests import AUTHORITY, citizen
from support.running_region import (
    AUDITOR,
    CONTEXT,
    ISSUER,
    NOBODY,
    PARENT,
    PRINCIPALS,
    VERIFIER,
    RunningRegion,
    identity,
    refused,
    violations,
)
from support.small_region import TYPE
from yinxin_edge.status import from_rpc_error
from yinxin_proto.error import (
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    YinxinError,
)
from yinxin_proto.es256 import ES256
from yinxin_proto.v1.administration_pb2 import GetRegionRequest
from yinxin_proto.v1.administration_pb2_grpc import AdministrationServiceStub
from yinxin_proto.v1.common_pb2 import CallContext
from yinxin_proto.v1.licence_pb2 import GetLicenceRequest
from yinxin_proto.v1.licence_pb2_grpc import LicenceServiceStub
from yinxin_proto.v1.subject_pb2 import GetSubjectRequest
from yinxin_proto.v1.subject_pb2_grpc import SubjectServiceStub
from yinxin_proto.v1.verification_pb2 import VerifyLicenceRequest
from yinxin_proto.v1.verification_pb2_grpc import VerificationServiceStub
from yinxin_trust.access import Role
from yinxin_trust.service import services
from yinxin_trust.service.admission import UNNAMED
from yinxin_trust.service.permission import RULES


@pytest.fixture(scope="module")
def methods(running: RunningRegion) -> dict[str, MethodDescriptor]:
    """Every method that is served, by full name."""
    return {
        f"/{service.name}/{method.name}": method
        for service in services(running.region)
        for method in service.descriptor.methods
    }


def _call(channel: grpc.Channel, name: str, method: MethodDescriptor, request: Message) -> Any:  # noqa: ANN401
    answer = GetMessageClass(method.output_type)
    if method.server_streaming:
        stream = channel.unary_stream(name, type(request).SerializeToString, answer.FromString)
        return list(stream(request, timeout=20))
    single = channel.unary_unary(name, type(request).SerializeToString, answer.FromString)
    return single(request, timeout=20)


def _refusal(channel: grpc.Channel, name: str, method: MethodDescriptor) -> YinxinError | None:
    """Call with nothing but a context; return how it was refused."""
    request = GetMessageClass(method.input_type)(context=CONTEXT)
    try:
        _call(channel, name, method, request)
    except grpc.RpcError as error:
        return from_rpc_error(error)
    return None


def test_a_rule_says_who_may_call_each_method(methods: dict[str, MethodDescriptor]) -> None:
    assert RULES.keys() == methods.keys()


def test_every_method_takes_a_call_context(methods: dict[str, MethodDescriptor]) -> None:
    for method in methods.values():
        assert "context" in method.input_type.fields_by_name, method.full_name


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_roles_admit_and_refuse_as_the_table_says(
    principal: str, running: RunningRegion, methods: dict[str, MethodDescriptor]
) -> None:
    roles = set(PRINCIPALS[principal])
    with running.channel(principal) as channel:
        for name, method in methods.items():
            rule = RULES[name]
            error = _refusal(channel, name, method)
            admitted = not rule.roles or bool(rule.roles & roles)
            # What is admitted fails, if at all, for what the empty request lacks.
            denied = isinstance(error, PermissionDeniedError) and error.reason == "ROLE"
            assert denied is not admitted, (name, error)


def test_every_call_is_on_record_refused_ones_too(
    running: RunningRegion, methods: dict[str, MethodDescriptor]
) -> None:
    with running.recording() as rows, running.channel(NOBODY) as channel:
        for name, method in methods.items():
            _refusal(channel, name, method)

    assert sorted(row["method"] for row in rows) == sorted(
        name.removeprefix("/yinxin.v1.") for name in methods
    )
    assert {row["caller"] for row in rows} == {NOBODY}
    assert {row["purpose"] for row in rows} == {CONTEXT.purpose}
    refusals = {row["method"] for row in rows if row["reason"] == "ROLE"}
    assert "SubjectService/LookupSubject" in refusals


def test_a_withdrawn_role_is_gone_at_the_next_call(running: RunningRegion) -> None:
    name = "passing-by"
    shown = running.enrol(name, Role.REGISTRAR)
    request = GetSubjectRequest(context=CONTEXT, name=f"{PARENT}/subjects/{'0' * 32}")
    with running.channel(shown) as channel:
        stub = SubjectServiceStub(channel)
        with refused() as first:
            stub.GetSubject(request)
        with running.region.storage.write() as conn:
            running.region.registrar.withdraw(conn, name, Role.REGISTRAR, by="test")
        with refused(PermissionDeniedError) as second:
            stub.GetSubject(request)

    assert first[0].reason == "SUBJECT"
    assert second[0].reason == "ROLE"


def test_a_caller_that_the_records_do_not_name_is_refused_and_recorded(
    running: RunningRegion,
) -> None:
    key = ES256.generate()
    chain = running.region.registrar.certify_principal("stranger", key.public_key)
    stranger = identity(running.region, key, chain)
    with (
        running.recording() as rows,
        running.channel(stranger) as channel,
        refused(PermissionDeniedError) as caught,
    ):
        AdministrationServiceStub(channel).GetRegion(GetRegionRequest(name=PARENT))

    assert caught[0].reason == "PRINCIPAL_UNKNOWN"
    assert [(row["caller"], row["reason"]) for row in rows] == [("stranger", "PRINCIPAL_UNKNOWN")]


def test_a_purpose_is_mandatory_where_personal_data_is_served(running: RunningRegion) -> None:
    with running.channel(VERIFIER) as channel, refused(InvalidArgumentError) as caught:
        VerificationServiceStub(channel).VerifyLicence(
            VerifyLicenceRequest(parent=PARENT, presentation=b"x")
        )

    assert violations(caught[0]) == {"context.purpose": "PURPOSE"}


def test_a_public_call_may_come_without_one(running: RunningRegion) -> None:
    with running.channel(NOBODY) as channel:
        region = AdministrationServiceStub(channel).GetRegion(GetRegionRequest(name=PARENT))

    assert region.name == PARENT


def test_what_a_refused_context_said_is_not_kept(running: RunningRegion) -> None:
    number = citizen(99)
    request = GetRegionRequest(name=PARENT, context=CallContext(case_number=f"{number}-1"))
    with (
        running.recording() as rows,
        running.channel(AUDITOR) as channel,
        refused(InvalidArgumentError),
    ):
        AdministrationServiceStub(channel).GetRegion(request)

    assert len(rows) == 1
    assert number not in str(rows)


def test_a_name_that_was_not_read_is_not_kept(running: RunningRegion) -> None:
    number = citizen(98)
    request = GetSubjectRequest(context=CONTEXT, name=f"{PARENT}/subjects/{number}/more")
    with (
        running.recording() as rows,
        running.channel("data-bureau") as channel,
        refused(InvalidArgumentError),
    ):
        SubjectServiceStub(channel).GetSubject(request)

    assert number not in str(rows)


@pytest.mark.parametrize("number", [citizen(97), f"X{citizen(97)}Y"])
def test_a_number_where_a_serial_belongs_is_not_kept(running: RunningRegion, number: str) -> None:
    name = f"{PARENT}/licences/{TYPE}.{AUTHORITY}.{number}"
    with (
        running.recording() as rows,
        running.channel(ISSUER) as channel,
        refused(NotFoundError),
    ):
        LicenceServiceStub(channel).GetLicence(GetLicenceRequest(context=CONTEXT, name=name))

    assert [row["resource"] for row in rows] == [UNNAMED]
    assert citizen(97) not in str(rows)


def test_another_regions_name_is_refused(running: RunningRegion) -> None:
    with running.channel(ISSUER) as channel, refused(InvalidArgumentError) as caught:
        AdministrationServiceStub(channel).GetRegion(GetRegionRequest(name="regions/350400"))

    assert violations(caught[0]) == {"name": "REGION"}


@pytest.fixture(autouse=True)
def _no_faults_in_the_journal(running: RunningRegion) -> Iterator[None]:
    before = len(running.journal_lines())
    yield
    faults = [line for line in running.journal_lines()[before:] if line.get("level") == "error"]
    assert not faults
