"""The sweep: what is over becomes expired, logged, without touching the status list."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from support.postgres import temporary_schema
from support.small_region import SmallRegion
from yinxin_proto.error import ConflictError
from yinxin_proto.statuslist import StatusValue
from yinxin_trust import schema
from yinxin_trust.audit import AuditFilter, list_records
from yinxin_trust.event import EventDetail
from yinxin_trust.expiry import CLOCK, REASON_CODE, ExpirySweep
from yinxin_trust.page import PageTokens
from yinxin_trust.record import LicenceRecord
from yinxin_trust.status import current_value
from yinxin_trust.transition import Operation, State


@pytest.fixture
def small(database_kind: str) -> Iterator[SmallRegion]:
    """A region of each test's own: a sweep is about all of it."""
    if database_kind == "sqlite":
        with SmallRegion.found() as region:
            yield region
    else:
        with temporary_schema() as url, SmallRegion.found(url) as region:
            yield region


def expiry(small: SmallRegion) -> ExpirySweep:
    region = small.region
    return ExpirySweep(
        storage=region.storage, audit=region.audit, clock=region.clock, entropy=region.entropy
    )


def issue(small: SmallRegion, until: str | None = "2026-01-31") -> LicenceRecord:
    return small.issue_one(valid_until=until)


def status(small: SmallRegion, record: LicenceRecord) -> StatusValue:
    with small.region.storage.read() as conn:
        return current_value(conn, record.status.uri, record.status.index)


def test_a_licence_expires_when_its_last_day_is_over(small: SmallRegion) -> None:
    record = issue(small)
    assert record.valid_until_ms is not None
    # The end of 31 January at UTC+8, and a minute's grace.
    small.later(days=30, hours=16)
    assert expiry(small).expire_due() == 0

    small.later(minutes=1)
    assert expiry(small).expire_due() == 1

    expired = small.get(record)
    assert (expired.state, expired.generation) == (State.EXPIRED, 2)
    assert status(small, record) is StatusValue.VALID


def test_what_is_open_ended_or_not_over_stays(small: SmallRegion) -> None:
    kept = [issue(small, None), issue(small, "2026-02-28")]
    small.later(days=32)

    assert expiry(small).expire_due() == 0
    assert [small.get(record) for record in kept] == kept


@pytest.mark.parametrize("operation", [Operation.SUSPEND, Operation.FREEZE, Operation.LOSE])
def test_what_is_held_expires_and_its_status_stays(
    small: SmallRegion, operation: Operation
) -> None:
    record = issue(small)
    small.change(record, operation)
    before = status(small, record)
    small.later(days=32)

    assert expiry(small).expire_due() == 1

    assert small.get(record).state is State.EXPIRED
    assert status(small, record) is before is not StatusValue.VALID


def test_what_has_ended_does_not_expire(small: SmallRegion) -> None:
    ended = [
        small.change(issue(small), operation)
        for operation in (Operation.CANCEL, Operation.REVOKE, Operation.ANNUL, Operation.WITHDRAW)
    ]
    small.later(days=32)

    assert expiry(small).expire_due() == 0
    assert [small.get(record) for record in ended] == ended


def test_a_second_sweep_finds_nothing(small: SmallRegion) -> None:
    issue(small)
    small.later(days=32)

    assert [expiry(small).expire_due(), expiry(small).expire_due()] == [1, 0]


def test_an_expiry_is_logged_without_approval_or_operator(small: SmallRegion) -> None:
    record = issue(small)
    small.region.sequence()
    small.later(days=32)
    expiry(small).expire_due()

    with small.region.storage.read() as conn:
        event = small.region.holding.events(conn, record.identifier.body)[-1]
        queued = conn.execute(
            select(schema.log_entry.c.idx).where(schema.log_entry.c.entry == event.entry)
        ).one()

    assert queued.idx is None
    assert (event.operation, event.reason_code) == (Operation.EXPIRE, REASON_CODE)
    assert event.approval_hash is None
    assert event.operator_certificate_hash is None
    assert (event.caller, event.detail) == ("", EventDetail())
    assert event.effective_ms == record.valid_until_ms
    assert event.prior_index is not None
    assert event.salt is not None
    assert event.leaf().entry(event.salt) == event.entry


def test_a_sweep_that_found_something_is_on_record(small: SmallRegion) -> None:
    for _ in range(3):
        issue(small)
    small.later(days=32)
    expiry(small).expire_due()
    expiry(small).expire_due()

    with small.region.storage.read() as conn:
        rows = list_records(
            conn, AuditFilter(caller=CLOCK.principal_id), pages=PageTokens(keys=lambda: [bytes(32)])
        ).items
    assert [(row.method, row.item_count) for row in rows] == [("ExpireLicences", 3)]


def test_a_sweep_goes_batch_by_batch_up_to_its_bound(
    small: SmallRegion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yinxin_trust.expiry.MAX_BATCH", 4)
    small.issue(*[small.issue_request(valid_until="2026-01-31") for _ in range(11)])
    small.later(days=32)

    assert expiry(small).expire_due(max_batches=2) == 8
    assert expiry(small).expire_due() == 3


def test_an_expired_licence_can_still_be_revoked(small: SmallRegion) -> None:
    record = issue(small)
    small.later(days=32)
    expiry(small).expire_due()

    revoked = small.change(record, Operation.REVOKE)

    assert revoked.state is State.REVOKED
    assert status(small, record) is StatusValue.INVALID


def test_an_expired_licence_does_not_come_back(small: SmallRegion) -> None:
    record = issue(small)
    small.later(days=32)
    expiry(small).expire_due()
    stale = dataclasses.replace(small.change_command(record, Operation.SUSPEND), etag=record.etag)

    with pytest.raises(ConflictError):
        small.lifecycle.change(stale)
    assert small.get(record).state is State.EXPIRED
