"""The audit trail: one row for each call, and how it is read."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from support.small_region import CONTEXT, SmallRegion
from yinxin_proto.error import InvalidArgumentError
from yinxin_trust import schema
from yinxin_trust.audit import AuditFilter, AuditRecord, list_records
from yinxin_trust.context import CallContext
from yinxin_trust.page import Page, PageTokens
from yinxin_trust.rows import RowBatch

PAGES = PageTokens(keys=lambda: [bytes(32)])


def record(small: SmallRegion, method: str, *, outcome: str = "OK", resource: str = "r") -> None:
    with small.region.storage.write() as conn:
        small.region.audit.record(
            conn,
            caller=small.caller(),
            method=method,
            resource=resource,
            context=CONTEXT,
            item_count=3,
            outcome=outcome,
        )


def listed(
    small: SmallRegion, wanted: AuditFilter, *, page_size: int = 0, page_token: str = ""
) -> Page[AuditRecord]:
    with small.region.storage.read() as conn:
        return list_records(conn, wanted, pages=PAGES, page_size=page_size, page_token=page_token)


def test_a_row_says_who_called_what_and_why(small: SmallRegion) -> None:
    record(small, "SayAll", outcome="NOT_FOUND", resource="regions/350300/licences/x")

    (row,) = listed(small, AuditFilter(method="SayAll")).items

    assert row.caller == small.caller().principal_id
    assert row.resource == "regions/350300/licences/x"
    assert row.context == CONTEXT
    assert (row.item_count, row.outcome) == (3, "NOT_FOUND")
    assert row.at == small.clock.now()


def test_a_queued_row_exists_only_once_its_batch_commits(small: SmallRegion) -> None:
    batch = RowBatch()
    small.region.audit.add(
        batch, caller=small.caller(), method="Queued", resource="r", context=CONTEXT
    )

    assert listed(small, AuditFilter(method="Queued")).items == []
    small.region.committer.commit(batch)
    assert len(listed(small, AuditFilter(method="Queued")).items) == 1


def test_references_differ(small: SmallRegion) -> None:
    for _ in range(5):
        record(small, "Many")

    assert len({row.ref for row in listed(small, AuditFilter(method="Many")).items}) == 5


def test_rows_are_listed_oldest_first_page_by_page(small: SmallRegion) -> None:
    for n in range(7):
        small.later(milliseconds=n % 2)
        record(small, "Paged", resource=f"r{n}")
    wanted = AuditFilter(method="Paged")

    seen: list[AuditRecord] = []
    token = ""
    while True:
        page = listed(small, wanted, page_size=3, page_token=token)
        seen += page.items
        token = page.next_token
        if not token:
            break

    assert sorted(row.resource for row in seen) == [f"r{n}" for n in range(7)]
    assert [row.at for row in seen] == sorted(row.at for row in seen)


def test_rows_are_narrowed(small: SmallRegion) -> None:
    start = small.clock.now() + timedelta(seconds=1)
    for method in ("Narrow1", "Narrow2"):
        small.later(seconds=1)
        record(small, method, resource=method.lower())
    second = small.clock.now()

    def methods(wanted: AuditFilter) -> list[str]:
        return [row.method for row in listed(small, wanted).items]

    since = AuditFilter(since=start)
    assert methods(since) == ["Narrow1", "Narrow2"]
    assert methods(dataclasses.replace(since, until=second)) == ["Narrow1"]
    assert methods(dataclasses.replace(since, resource="narrow2")) == ["Narrow2"]
    assert methods(dataclasses.replace(since, caller="somebody")) == []


def test_a_token_serves_its_own_filter_and_key_alone(small: SmallRegion) -> None:
    for _ in range(2):
        record(small, "Bound")
    token = listed(small, AuditFilter(method="Bound"), page_size=1).next_token

    with pytest.raises(InvalidArgumentError):
        listed(small, AuditFilter(), page_token=token)
    with small.region.storage.read() as conn, pytest.raises(InvalidArgumentError):
        list_records(
            conn,
            AuditFilter(method="Bound"),
            pages=PageTokens(keys=lambda: [bytes([1]) * 32]),
            page_token=token,
        )


def test_an_issue_and_its_audit_row_stand_together(small: SmallRegion) -> None:
    licence = small.issue_one()

    rows = listed(
        small, AuditFilter(resource=small.region.namespace.licence_name(licence.identifier))
    ).items

    assert [(row.method, row.item_count) for row in rows] == [("IssuanceService/IssueLicence", 1)]


def test_a_refused_issue_leaves_no_row_of_success(small: SmallRegion) -> None:
    count = select(func.count()).select_from(schema.audit)
    with small.region.storage.read() as conn:
        before = conn.execute(count).scalar_one()

    with pytest.raises(InvalidArgumentError):
        small.issue_one(number="")

    with small.region.storage.read() as conn:
        assert conn.execute(count).scalar_one() == before


def test_the_trail_keeps_what_the_context_said() -> None:
    context = CallContext("用途", "案", "项", "人")

    assert AuditFilter().to_json() == ["audit", None, None, None, None, None]
    assert dataclasses.astuple(context) == ("用途", "案", "项", "人")
