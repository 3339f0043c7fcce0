"""Changes of state: what an approved change writes, and every way to be refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import func, select

from support.postgres import temporary_schema
from support.requests import AUTHORITY, OTHER_AUTHORITY
from support.small_region import CONTEXT, SmallRegion
from yinxin_proto.error import (
    ConflictError,
    FailedPreconditionError,
    InvalidArgumentError,
    MalformedError,
    NotFoundError,
    PermissionDeniedError,
    YinxinError,
)
from yinxin_proto.identifier import of_body
from yinxin_proto.statuslist import StatusValue
from yinxin_proto.strict import Json, canonical_json, parse_json_object
from yinxin_trust import schema
from yinxin_trust.access import Role
from yinxin_trust.changecommand import ChangeCommand
from yinxin_trust.event import LicenceEvent
from yinxin_trust.ledger import LICENCES, indexes
from yinxin_trust.record import LicenceRecord
from yinxin_trust.status import current_value
from yinxin_trust.transition import STATUS_VALUES, TRANSITIONS, Operation, State, transition

CHANGES = [row.operation for row in TRANSITIONS if row.approval_required]


def events(small: SmallRegion, record: LicenceRecord) -> list[LicenceEvent]:
    with small.region.storage.read() as conn:
        return small.region.holding.events(conn, record.identifier.body)


def status_of(small: SmallRegion, record: LicenceRecord) -> StatusValue:
    with small.region.storage.read() as conn:
        return current_value(conn, record.status.uri, record.status.index)


def table_sizes(small: SmallRegion) -> dict[str, int]:
    with small.region.storage.read() as conn:
        return {
            table.name: conn.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (
                schema.licence_event,
                schema.log_entry,
                schema.approval,
                schema.request,
                schema.audit,
            )
        }


def refused(small: SmallRegion, command: ChangeCommand, kind: type[YinxinError]) -> YinxinError:
    """Assert that nothing at all was written."""
    before = table_sizes(small)
    with pytest.raises(kind) as caught:
        small.lifecycle.change(command)
    assert table_sizes(small) == before
    return caught.value


def reasons(error: YinxinError) -> list[tuple[str, str]]:
    return [(violation.field, violation.reason) for violation in error.violations]


@pytest.mark.parametrize("operation", CHANGES)
def test_a_change_writes_state_status_event_and_log_entry(
    small: SmallRegion, operation: Operation
) -> None:
    record = small.issue_one()
    if operation is Operation.REINSTATE:
        record = small.change(record, Operation.SUSPEND)

    changed = small.change(record, operation)

    target = transition(operation, record.state).target
    assert (changed.state, changed.generation) == (target, record.generation + 1)
    assert small.get(record) == changed
    assert status_of(small, record) == STATUS_VALUES[target]
    event = events(small, record)[-1]
    assert (event.operation, event.from_state, event.to_state) == (
        operation,
        record.state,
        target,
    )
    assert event.salt is not None
    assert event.leaf().entry(event.salt) == event.entry
    with small.region.storage.read() as conn:
        query = select(schema.log_entry).where(schema.log_entry.c.entry == event.entry)
        assert conn.execute(query).one().log_number == LICENCES


def test_what_was_said_is_in_the_event_and_sealed_in_the_table(small: SmallRegion) -> None:
    record = small.issue_one()
    command = small.change_command(record, Operation.REVOKE)
    certificate = sha256(b"certificate").digest()

    small.lifecycle.change(dataclasses.replace(command, operator_certificate_hash=certificate))

    event = events(small, record)[-1]
    assert event.detail.reason == "虚构事由"
    assert event.detail.legal_basis == "虚构法第一条"
    assert event.detail.operator == CONTEXT.operator
    assert event.caller == command.caller.principal_id
    assert event.operator_certificate_hash == certificate
    assert event.approval_hash == sha256(command.approval.encode()).digest()
    assert event.effective_ms == int(small.clock.now().timestamp() * 1000)
    with small.region.storage.read() as conn:
        sealed = conn.execute(
            select(schema.licence_event.c.sealed_detail).where(
                schema.licence_event.c.entry == event.entry
            )
        ).scalar_one()
    assert "虚构".encode() not in bytes(sealed)


def test_the_leaf_names_the_previous_leaf_once_that_is_in_the_log(small: SmallRegion) -> None:
    record = small.issue_one()
    small.change(record, Operation.SUSPEND)
    small.region.sequence()
    small.change(record, Operation.REINSTATE)
    small.region.sequence()
    small.change(record, Operation.REVOKE)

    issue, suspend, reinstate, revoke = events(small, record)

    with small.region.storage.read() as conn:
        placed = indexes(conn, LICENCES, [issue.entry, suspend.entry, reinstate.entry])
    assert suspend.prior_index is None
    assert reinstate.prior_index == placed[suspend.entry]
    assert revoke.prior_index == placed[reinstate.entry]
    assert placed[issue.entry] != placed[suspend.entry]


def test_a_first_change_names_the_leaf_of_the_issue(small: SmallRegion) -> None:
    record = small.issue_one()
    small.region.sequence()

    small.change(record, Operation.LOSE)

    with small.region.storage.read() as conn:
        placed = indexes(conn, LICENCES, [record.entry])
    assert events(small, record)[-1].prior_index == placed[record.entry]


def test_a_change_leaves_an_audit_row(small: SmallRegion) -> None:
    record = small.issue_one()

    small.change(record, Operation.FREEZE)

    name = small.region.namespace.licence_name(record.identifier)
    method = "LicenceService/ChangeLicenceStatus"
    query = select(schema.audit).where(
        schema.audit.c.resource == name, schema.audit.c.method == method
    )
    with small.region.storage.read() as conn:
        row = conn.execute(query).one()
    assert (row.purpose, row.operator, row.outcome) == (CONTEXT.purpose, CONTEXT.operator, "OK")


# --- idempotency ----------------------------------------------------------------------


def test_the_same_request_again_changes_nothing_more(small: SmallRegion) -> None:
    record = small.issue_one()
    command = small.change_command(record, Operation.SUSPEND)
    first = small.lifecycle.change(command)
    before = table_sizes(small)

    assert small.lifecycle.change(command) == first
    # It is put on record that it was asked again.
    assert table_sizes(small) == {**before, "audit": before["audit"] + 1}


def test_a_repeated_request_is_answered_as_it_was_then(small: SmallRegion) -> None:
    record = small.issue_one()
    command = small.change_command(record, Operation.SUSPEND)
    first = small.lifecycle.change(command)
    small.later(seconds=5)
    small.change(record, Operation.REINSTATE)

    assert small.lifecycle.change(command) == first
    assert small.get(record).state is State.VALID


def test_a_client_may_build_the_same_request_anew(small: SmallRegion) -> None:
    record = small.issue_one()
    command = small.change_command(record, Operation.SUSPEND)
    first = small.lifecycle.change(command)
    anew = dataclasses.replace(
        small.change_command(record, Operation.SUSPEND), request_id=command.request_id
    )

    assert anew.change_request != command.change_request
    assert small.lifecycle.change(anew) == first


def test_a_request_id_with_another_body_is_a_conflict(small: SmallRegion) -> None:
    record, other = small.issue_one(), small.issue_one()
    command = small.change_command(record, Operation.SUSPEND)
    small.lifecycle.change(command)

    for reused in (
        small.change_command(other, Operation.SUSPEND),
        small.change_command(record, Operation.REVOKE),
        small.change_command(
            record,
            Operation.SUSPEND,
            change_request=small.change_request(
                record.identifier, Operation.SUSPEND, reason="别的虚构事由"
            ),
        ),
    ):
        again = dataclasses.replace(reused, request_id=command.request_id)
        assert refused(small, again, ConflictError).reason == "REQUEST_ID_REUSED"


def test_another_callers_request_id_is_its_own(small: SmallRegion) -> None:
    record = small.issue_one()
    other = small.issue_one(issuer=OTHER_AUTHORITY)
    command = small.change_command(record, Operation.SUSPEND)
    small.lifecycle.change(command)
    same = dataclasses.replace(
        small.change_command(other, Operation.SUSPEND), request_id=command.request_id
    )

    assert small.lifecycle.change(same).state is State.SUSPENDED


@pytest.fixture
def threaded(database_kind: str) -> Iterator[SmallRegion]:
    if database_kind == "sqlite":
        with SmallRegion.for_threads() as region:
            yield region
    else:
        with temporary_schema() as url, SmallRegion.for_threads(url) as region:
            yield region


def test_the_same_request_at_the_same_time_is_served_once(threaded: SmallRegion) -> None:
    record = threaded.issue_one()
    command = threaded.change_command(record, Operation.SUSPEND)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: threaded.lifecycle.change(command), range(16)))

    assert all(answer == answers[0] for answer in answers)
    assert len(events(threaded, record)) == 2


def test_of_different_changes_at_the_same_time_one_happens(threaded: SmallRegion) -> None:
    record = threaded.issue_one()
    commands = [
        dataclasses.replace(threaded.change_command(record, operation), etag=record.etag)
        for operation in (Operation.SUSPEND, Operation.FREEZE, Operation.LOSE, Operation.REVOKE)
    ]

    def attempt(command: ChangeCommand) -> str:
        try:
            return threaded.lifecycle.change(command).state.value
        except ConflictError as error:
            return error.reason

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, commands))

    assert outcomes.count("ETAG") == 3
    assert len(events(threaded, record)) == 2


def test_one_request_id_for_two_bodies_at_the_same_time_serves_one(threaded: SmallRegion) -> None:
    records = [threaded.issue_one() for _ in range(4)]
    commands = [
        dataclasses.replace(threaded.change_command(record, Operation.SUSPEND), request_id="same")
        for record in records
    ]

    def attempt(command: ChangeCommand) -> str:
        try:
            return threaded.lifecycle.change(command).state.value
        except ConflictError as error:
            return error.reason

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, commands))

    assert sorted(outcomes) == ["REQUEST_ID_REUSED"] * 3 + ["suspended"]


def test_batches_over_the_same_licences_in_other_orders_do_not_block(
    threaded: SmallRegion,
) -> None:
    records = threaded.issue(*[threaded.issue_request() for _ in range(12)])
    commands = [
        threaded.batch_command(order, Operation.SUSPEND) for order in (records, records[::-1])
    ]

    def attempt(position: int) -> str:
        try:
            threaded.lifecycle.change_many(commands[position])
        except FailedPreconditionError as error:
            return error.reason
        return "changed"

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(attempt, range(2)))

    assert outcomes == ["TRANSITION", "changed"]


# --- etag, version, state -------------------------------------------------------------


def test_a_stale_etag_is_a_conflict(small: SmallRegion) -> None:
    record = small.issue_one()
    small.change(record, Operation.SUSPEND)
    stale = dataclasses.replace(small.change_command(record, Operation.REINSTATE), etag=record.etag)

    assert refused(small, stale, ConflictError).reason == "ETAG"
    current = dataclasses.replace(stale, etag=small.get(record).etag)
    assert small.lifecycle.change(current).state is State.VALID


def test_a_change_approved_for_another_version_is_a_conflict(small: SmallRegion) -> None:
    record = small.issue_one()
    data = small.change_request(record.identifier.next_version(), Operation.SUSPEND)
    command = small.change_command(record, Operation.SUSPEND, change_request=data)

    assert refused(small, command, ConflictError).reason == "REVISION"


def test_what_the_table_does_not_allow_cannot_happen(small: SmallRegion) -> None:
    record = small.issue_one()
    small.change(record, Operation.CANCEL)

    command = small.change_command(record, Operation.REINSTATE)

    assert refused(small, command, FailedPreconditionError).reason == "TRANSITION"
    assert small.get(record).state is State.CANCELLED


def test_nobody_but_the_clock_lets_a_licence_expire(small: SmallRegion) -> None:
    command = small.change_command(small.issue_one(), Operation.EXPIRE)

    assert reasons(refused(small, command, InvalidArgumentError)) == [("operation", "OPERATION")]


def test_a_licence_that_is_not_there_is_not_found(small: SmallRegion) -> None:
    record = small.issue_one()
    elsewhere = of_body(f"{record.identifier.type}.{AUTHORITY}.{'0' * 20}", 1)
    command = dataclasses.replace(
        small.change_command(
            record,
            Operation.SUSPEND,
            change_request=small.change_request(elsewhere, Operation.SUSPEND),
        ),
        body=elsewhere.body,
    )

    assert refused(small, command, NotFoundError).reason == "LICENCE"


# --- the change request ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"region": "350400"}, "region", "REGION"),
        ({"operation": "revoke"}, "operation", "OPERATION"),
        ({"reason": " "}, "reason", "FIELD_LENGTH"),
        ({"legal_basis": ""}, "legal_basis", "FIELD_LENGTH"),
        ({"reason_code": "1"}, "reason_code", "FIELD_VALUE"),
        ({"nonce": "AAAA"}, "nonce", "FIELD_VALUE"),
    ],
)
def test_an_unacceptable_change_request_names_its_fields(
    small: SmallRegion, changes: dict[str, Json], field: str, reason: str
) -> None:
    record = small.issue_one()
    good = small.change_request(record.identifier, Operation.SUSPEND)
    data = _edited(good, changes)
    command = small.change_command(record, Operation.SUSPEND, change_request=data)

    error = refused(small, command, InvalidArgumentError)

    assert reasons(error) == [(f"change_request.{field}", reason)]


def _edited(data: bytes, changes: dict[str, Json]) -> bytes:
    return canonical_json({**parse_json_object(data), **changes})


@pytest.mark.parametrize("data", [b"{", b"[]", b"null", b'{"a":1,"a":1}', b"\xff", b" {}"])
def test_a_change_request_that_is_not_one_is_refused(small: SmallRegion, data: bytes) -> None:
    record = small.issue_one()
    command = small.change_command(record, Operation.SUSPEND, change_request=data)

    error = refused(small, command, InvalidArgumentError)

    assert error.violations[0].field == "change_request"


def test_a_change_request_for_another_licence_is_refused(small: SmallRegion) -> None:
    record, other = small.issue_one(), small.issue_one()
    data = small.change_request(other.identifier, Operation.SUSPEND)
    command = small.change_command(record, Operation.SUSPEND, change_request=data)

    assert reasons(refused(small, command, InvalidArgumentError)) == [
        ("change_request.identifier", "IDENTIFIER")
    ]
    assert small.get(other).state is State.VALID


def test_a_change_cannot_be_ordered_for_later(small: SmallRegion) -> None:
    record = small.issue_one()
    later = small.clock.now() + timedelta(minutes=6)
    data = small.change_request(record.identifier, Operation.SUSPEND, effective_at=later)
    command = small.change_command(record, Operation.SUSPEND, change_request=data)

    assert reasons(refused(small, command, InvalidArgumentError)) == [
        ("change_request.effective_at", "EFFECTIVE_AT")
    ]


def test_a_change_may_have_taken_effect_before(small: SmallRegion) -> None:
    record = small.issue_one()
    before = small.clock.now() - timedelta(days=400)
    data = small.change_request(record.identifier, Operation.ANNUL, effective_at=before)

    small.lifecycle.change(small.change_command(record, Operation.ANNUL, change_request=data))

    assert events(small, record)[-1].effective_ms == int(before.timestamp() * 1000)


# --- the approval ------------------------------------------------------------------------


def test_an_approval_of_another_operation_is_refused(small: SmallRegion) -> None:
    record = small.issue_one()
    data = small.change_request(record.identifier, Operation.REVOKE)
    command = small.change_command(
        record,
        Operation.REVOKE,
        change_request=data,
        approval=small.approve([data], operation="suspend"),
    )

    assert refused(small, command, PermissionDeniedError).reason == "APPROVAL_OPERATION"


def test_an_approval_of_an_issue_does_not_approve_a_change(small: SmallRegion) -> None:
    record = small.issue_one()
    data = small.change_request(record.identifier, Operation.REVOKE)
    command = small.change_command(
        record, Operation.REVOKE, change_request=data, approval=small.approve([data])
    )

    assert refused(small, command, PermissionDeniedError).reason == "APPROVAL_OPERATION"


def test_an_approval_of_another_request_is_refused(small: SmallRegion) -> None:
    record = small.issue_one()
    other = small.change_request(record.identifier, Operation.SUSPEND)
    command = small.change_command(
        record,
        Operation.SUSPEND,
        approval=small.approve([other], operation="suspend"),
    )

    assert refused(small, command, PermissionDeniedError).reason == "APPROVAL_ROOT"


def test_an_approval_works_once(small: SmallRegion) -> None:
    record = small.issue_one()
    command = small.change_command(record, Operation.SUSPEND)
    small.lifecycle.change(command)
    small.change(record, Operation.REINSTATE)
    again = dataclasses.replace(command, request_id=small.request_id())

    assert refused(small, again, PermissionDeniedError).reason == "APPROVAL_USED"
    assert small.get(record).state is State.VALID


def test_an_approval_by_the_region_itself_is_worth_nothing(small: SmallRegion) -> None:
    record = small.issue_one()
    data = small.change_request(record.identifier, Operation.SUSPEND)
    stolen = dataclasses.replace(
        small, approval_keys={AUTHORITY: small.approval_keys[OTHER_AUTHORITY]}
    )
    command = small.change_command(
        record,
        Operation.SUSPEND,
        change_request=data,
        approval=stolen.approve([data], operation="suspend"),
    )

    assert refused(small, command, PermissionDeniedError).reason == "APPROVAL_SIGNATURE"


def test_another_authoritys_approval_is_refused(small: SmallRegion) -> None:
    record = small.issue_one()
    data = small.change_request(record.identifier, Operation.SUSPEND)
    command = small.change_command(
        record,
        Operation.SUSPEND,
        change_request=data,
        approval=small.approve([data], operation="suspend", code=OTHER_AUTHORITY),
    )

    for caller in (small.caller(), small.caller(OTHER_AUTHORITY)):
        error = refused(small, dataclasses.replace(command, caller=caller), PermissionDeniedError)
        assert error.reason == "APPROVAL_AUTHORITY"


def test_an_old_approval_is_refused(small: SmallRegion) -> None:
    record = small.issue_one()
    command = small.change_command(record, Operation.SUSPEND)
    then = small.clock.now()
    small.later(days=31)
    try:
        assert refused(small, command, PermissionDeniedError).reason == "APPROVAL_TIME"
    finally:
        small.clock.set(then)


def test_what_is_no_approval_is_malformed(small: SmallRegion) -> None:
    command = small.change_command(small.issue_one(), Operation.SUSPEND, approval="a.b.c")

    refused(small, command, MalformedError)


# --- the caller --------------------------------------------------------------------------


def test_only_who_acts_for_the_authority_may_change(small: SmallRegion) -> None:
    command = small.change_command(small.issue_one(), Operation.SUSPEND)
    other = dataclasses.replace(command, caller=small.caller(OTHER_AUTHORITY))

    assert refused(small, other, PermissionDeniedError).reason == "AUTHORITY"


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ISSUER])
def test_only_an_issuer_may_change(small: SmallRegion, role: Role) -> None:
    command = small.change_command(small.issue_one(), Operation.SUSPEND)
    caller = dataclasses.replace(command.caller, roles=frozenset({role}))

    error = refused(small, dataclasses.replace(command, caller=caller), PermissionDeniedError)
    assert error.reason == "ROLE"


def test_who_lost_the_role_gets_no_earlier_answer_either(small: SmallRegion) -> None:
    command = small.change_command(small.issue_one(), Operation.SUSPEND)
    small.lifecycle.change(command)
    caller = dataclasses.replace(command.caller, enabled=False)

    error = refused(small, dataclasses.replace(command, caller=caller), PermissionDeniedError)
    assert error.reason == "PRINCIPAL_DISABLED"


def test_a_call_without_a_purpose_is_refused(small: SmallRegion) -> None:
    command = small.change_command(small.issue_one(), Operation.SUSPEND)
    silent = dataclasses.replace(command, context=dataclasses.replace(CONTEXT, purpose=""))

    refused(small, silent, InvalidArgumentError)


# --- batches ------------------------------------------------------------------------------


def test_a_batch_changes_all_under_one_approval(small: SmallRegion) -> None:
    records = small.issue(*[small.issue_request() for _ in range(7)])

    changed = small.lifecycle.change_many(small.batch_command(records, Operation.REVOKE))

    assert [record.identifier for record in changed] == [r.identifier for r in records]
    assert [small.get(record) for record in records] == changed
    assert {status_of(small, record) for record in records} == {StatusValue.INVALID}
    assert len({events(small, record)[-1].approval_hash for record in records}) == 1


def test_a_batch_changes_all_or_nothing(small: SmallRegion) -> None:
    records = small.issue(*[small.issue_request() for _ in range(3)])
    small.change(records[1], Operation.CANCEL)
    command = small.batch_command(records, Operation.SUSPEND)

    with pytest.raises(FailedPreconditionError) as caught:
        small.lifecycle.change_many(command)

    assert reasons(caught.value) == [("changes[1]", "TRANSITION")]
    assert small.get(records[0]).state is State.VALID


def test_a_licence_occurs_once_in_a_batch(small: SmallRegion) -> None:
    record = small.issue_one()
    command = small.batch_command([record, record], Operation.SUSPEND)

    with pytest.raises(InvalidArgumentError) as caught:
        small.lifecycle.change_many(command)

    assert reasons(caught.value) == [("changes[1].change_request.identifier", "IDENTIFIER_TWICE")]


def test_a_part_of_an_approved_batch_is_refused(small: SmallRegion) -> None:
    records = small.issue(*[small.issue_request() for _ in range(3)])
    command = small.batch_command(records, Operation.SUSPEND)
    part = dataclasses.replace(command, changes=command.changes[:2])

    with pytest.raises(PermissionDeniedError) as caught:
        small.lifecycle.change_many(part)

    assert caught.value.reason == "APPROVAL_COUNT"


def test_an_empty_batch_is_refused(small: SmallRegion) -> None:
    command = small.batch_command([small.issue_one()], Operation.SUSPEND)

    with pytest.raises(InvalidArgumentError) as caught:
        small.lifecycle.change_many(dataclasses.replace(command, changes=()))

    assert reasons(caught.value) == [("changes", "BATCH_SIZE")]


def test_a_repeated_batch_is_answered_as_it_was_then(small: SmallRegion) -> None:
    records = small.issue(*[small.issue_request() for _ in range(3)])
    command = small.batch_command(records, Operation.SUSPEND)
    first = small.lifecycle.change_many(command)
    small.change(records[0], Operation.REINSTATE)

    assert small.lifecycle.change_many(command) == first
