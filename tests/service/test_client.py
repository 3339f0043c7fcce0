"""The SDK's client against a region that really runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import yinxin
from support.fake_region import pem
from support.requests import AUTHORITY, citizen
from support.running_region import ISSUER, NOBODY, REGISTRAR, VERIFIER, RunningRegion
from support.small_region import TYPE
from yinxin import (
    ApprovalKey,
    Client,
    ConflictError,
    Context,
    Credentials,
    FailedPreconditionError,
    Indication,
    InvalidArgumentError,
    LicenceState,
    NotFoundError,
    Operation,
    PermissionDeniedError,
    Pinning,
    SubjectKind,
    Verifier,
    parse_number,
)
from yinxin_edge.tls import TlsIdentity
from yinxin_proto.name import parse_region_code
from yinxin_proto.suite import ES256, SigningKey
from yinxin_trust.access import Role
from yinxin_trust.region import EXAMPLE

CONTEXT = Context("虚构事项审批", case_number="BJ-0001", service_item="SX-01", operator="经办甲")
SAID: Any = {"reason": "虚构事由", "legal_basis": "虚构法第一条", "context": CONTEXT}


@contextmanager
def connected(
    running: RunningRegion, principal: str | TlsIdentity, key: SigningKey | None = None
) -> Iterator[Client]:
    credentials = Credentials(
        region=parse_region_code(running.region.namespace.code),
        domain=running.region.namespace.domain,
        authority=AUTHORITY,
        approval_key=ApprovalKey(pem(key or running.approval_keys[AUTHORITY])),
    )
    with (
        running.channel(principal) as channel,
        yinxin.connect(channel=channel, credentials=credentials, clock=running.clock) as client,
    ):
        yield client


@pytest.fixture(scope="module", params=["ES256", "SM2"])
def running(request: pytest.FixtureRequest) -> Iterator[RunningRegion]:
    """Everything that a department does, in both suites."""
    with RunningRegion.start(table=replace(EXAMPLE, suite=request.param)) as region:
        yield region


@pytest.fixture(scope="module")
def department(running: RunningRegion) -> TlsIdentity:
    """An authority's own system: it issues, and verifies what others issued."""
    return running.enrol("sdk-department", Role.ISSUER, Role.VERIFIER, authority=AUTHORITY)


@pytest.fixture
def client(running: RunningRegion, department: TlsIdentity) -> Iterator[Client]:
    with connected(running, department) as made:
        yield made


def content(running: RunningRegion, **changes: object) -> dict[str, object]:
    """A request as a department writes it: what can be filled in is left out."""
    today = running.clock.now().date()
    return {
        "type": TYPE,
        "number": f"虚构证字第{running.token()}号",
        "issued_on": today,
        "valid_from": today,
        "valid_until": "2099-12-31",
        "holders": [{"name": "虚构甲", "number": citizen(7), "number_type": "111"}],
        "fields": {"KZ_JYCS": "虚构路 1 号", "KZ_JYXM": "预包装食品"},
        **changes,
    }


def test_a_licence_is_issued_read_and_verified(
    running: RunningRegion, client: Client, tmp_path: Path
) -> None:
    licence = client.issue(content(running), context=CONTEXT)

    assert licence.file is not None
    assert client.get(licence, context=CONTEXT).file == licence.file
    report = client.verify(licence, context=CONTEXT)
    assert report.indication is Indication.TOTAL_PASSED, report.text
    assert report.require_passed()["ZZBS"] == licence.identifier

    pack = client.export_pack(tmp_path)
    verifier = Verifier.open(pack, clock=running.clock)
    assert verifier.pinning is Pinning.FIRST_USE
    offline = verifier.verify(licence)
    assert offline.indication is Indication.TOTAL_PASSED, offline.text
    assert "KZ_JYCS" in verifier.field_names("11100000MB0143028R002")


def test_the_same_request_id_returns_the_same_licence(
    running: RunningRegion, client: Client
) -> None:
    request = content(running)
    first = client.issue(request, context=CONTEXT, request_id="sdk-1")

    # Built anew, with another nonce and another approval.
    assert client.issue(request, context=CONTEXT, request_id="sdk-1").name == first.name
    with pytest.raises(ConflictError):
        client.issue(content(running), context=CONTEXT, request_id="sdk-1")


def test_a_batch_is_all_or_nothing(running: RunningRegion, client: Client) -> None:
    good = [content(running) for _ in range(3)]
    licences = client.issue_many(good, context=CONTEXT)
    assert [one.state for one in licences] == [LicenceState.VALID] * 3
    reports = client.verify_many(licences, context=CONTEXT)
    assert {one.indication for one in reports} == {Indication.TOTAL_PASSED}

    with pytest.raises(InvalidArgumentError) as caught:
        client.issue_many([content(running), content(running, fields={})], context=CONTEXT)
    assert all(item.field.startswith("requests[1].") for item in caught.value.violations)


def test_whoever_does_not_wait_gets_the_file_later(running: RunningRegion, client: Client) -> None:
    licence = client.issue(content(running), context=CONTEXT, wait=False)

    assert licence.file is None
    assert client.get(licence, context=CONTEXT).file is not None


def test_status_changes_reach_the_verdict(running: RunningRegion, client: Client) -> None:
    licence = client.issue(content(running), context=CONTEXT)
    suspended = client.suspend(licence, **SAID)
    assert suspended.state is LicenceState.SUSPENDED
    with pytest.raises(FailedPreconditionError):
        client.suspend(suspended, **SAID)
    with pytest.raises(ConflictError):
        client.revoke(licence, **SAID)
    client.reinstate(suspended, **SAID)
    client.revoke(licence.identifier, **SAID)

    events = [event.operation for event in client.events(licence, context=CONTEXT)]
    assert events == [Operation.ISSUE, Operation.SUSPEND, Operation.REINSTATE, Operation.REVOKE]
    states = [one.state for one in client.revisions(licence, context=CONTEXT)]
    assert states == [LicenceState.REVOKED]


def test_a_change_can_be_retried(running: RunningRegion, client: Client) -> None:
    licence = client.issue(content(running), context=CONTEXT)
    said = {**SAID, "request_id": running.token(), "effective_at": running.clock.now()}

    first = client.suspend(licence, **said)

    assert client.suspend(licence, **said).etag == first.etag
    assert len(list(client.events(licence, context=CONTEXT))) == 2


def test_a_holders_file_is_found_by_number(running: RunningRegion, client: Client) -> None:
    holder = {"name": "虚构乙", "number": citizen(77), "number_type": "111"}
    licences = client.issue_many(
        [content(running, holders=[holder]) for _ in range(3)], context=CONTEXT
    )

    found = client.list(context=CONTEXT, holder=parse_number("111", citizen(77)))

    assert {one.name for one in found} == {one.name for one in licences}


def test_the_log_proves_what_it_holds(running: RunningRegion, client: Client) -> None:
    old = client.checkpoint().claimed.head
    licence = client.issue(content(running), context=CONTEXT)
    assert licence.log_index is not None

    receipt = client.prove_inclusion(licence.log_index)

    new = client.checkpoint().claimed.head
    assert receipt.index == licence.log_index
    if old.size:
        assert client.prove_consistency(old, new) is not None


def test_the_catalogue_and_the_status_list(running: RunningRegion, client: Client) -> None:
    licence = client.issue(content(running), context=CONTEXT)

    assert TYPE in {kind.code for kind in client.types()}
    assert client.type(TYPE).field_names["KZ_JYCS"].zh
    listed = client.status_list(licence.status_uri)
    assert listed.uri == licence.status_uri
    assert listed.expires_at > running.clock.now()
    with pytest.raises(NotFoundError):
        client.status_list(licence.status_uri, at=running.clock.now() - timedelta(days=900))


def test_a_subject_is_registered_and_found(running: RunningRegion) -> None:
    number = parse_number("111", citizen(555))
    with connected(running, REGISTRAR) as client:
        subject = client.register_subject(
            [number], display_name="虚构丙", kind=SubjectKind.PERSON, context=CONTEXT
        )
        assert client.find_subject(number, context=CONTEXT).name == subject.name
        assert client.get_subject(subject.name, context=CONTEXT).kind is SubjectKind.PERSON


def test_roles_and_keys_are_asked_for(running: RunningRegion) -> None:
    with connected(running, VERIFIER) as client, pytest.raises(PermissionDeniedError):
        client.issue(content(running), context=CONTEXT)
    with connected(running, NOBODY) as client, pytest.raises(PermissionDeniedError):
        client.verify(b"x", context=CONTEXT)
    with (
        connected(running, ISSUER, ES256.generate()) as client,
        pytest.raises(PermissionDeniedError) as caught,
    ):
        client.issue(content(running), context=CONTEXT)
    assert caught.value.reason == "APPROVAL_SIGNATURE"


def test_every_fault_that_the_region_finds_comes_back(
    running: RunningRegion, client: Client
) -> None:
    holders = [
        {"name": f"虚构{n}", "number": citizen(600 + n), "number_type": "111"} for n in range(4)
    ]
    broken = content(running, fields={"KZ_NO": "乙"}, holders=holders)

    with pytest.raises(InvalidArgumentError) as caught:
        client.issue(broken, context=CONTEXT)

    assert {"request.fields", "request.holders"} <= {item.field for item in caught.value.violations}
