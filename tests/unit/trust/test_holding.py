"""The holder's file, licences by issuer, versions and events."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from support.requests import AUTHORITY, OTHER_AUTHORITY, citizen
from support.small_region import OTHER_TYPE, TYPE, SmallRegion, person
from yinxin_proto.checkdigit import credit_code_check
from yinxin_proto.error import IntegrityError, InvalidArgumentError, NotFoundError
from yinxin_proto.number import IdentifierType, SubjectNumber
from yinxin_proto.number import parse as parse_number
from yinxin_proto.strict import Json, b64url_decode, b64url_encode
from yinxin_trust import schema
from yinxin_trust.page import Page
from yinxin_trust.record import LicenceRecord, payload_row
from yinxin_trust.transition import Operation, State

_next_person = iter(range(100, 900))


@pytest.fixture
def number() -> SubjectNumber:
    """Somebody who has no licence yet."""
    return person(next(_next_person))


def holders(*numbers: SubjectNumber) -> Json:
    return [
        {"name": f"虚构人{n}", "number": number.reveal(), "number_type": "111"}
        for n, number in enumerate(numbers)
    ]


def issue_for(small: SmallRegion, *numbers: SubjectNumber, **changes: Json) -> LicenceRecord:
    small.later(milliseconds=1)
    return small.issue_one(holders=holders(*numbers), **changes)


def file_of(small: SmallRegion, number: SubjectNumber, **filters: Any) -> Page[LicenceRecord]:  # noqa: ANN401
    with small.region.storage.read() as conn:
        return small.region.holding.of_holder(conn, number, **filters)


def bodies(page: Page[LicenceRecord]) -> list[str]:
    return [record.identifier.body for record in page.items]


def all_pages(fetch: Callable[[str], Page[LicenceRecord]]) -> Iterator[LicenceRecord]:
    token = ""
    while True:
        page = fetch(token)
        yield from page.items
        token = page.next_token
        if not token:
            return


def revise(small: SmallRegion, record: LicenceRecord) -> None:
    """Put a second version of a licence beside its first, as a change of it would."""
    lic = schema.licence
    key = (lic.c.subject_ref == record.subject_ref) & (lic.c.licence_ref == record.licence_ref)
    with small.region.storage.write() as conn:
        row = dict(conn.execute(select(lic).where(key)).one()._mapping)
        owner = small.region.subjects.by_ref(conn, [record.subject_ref])[record.subject_ref]
        payload = owner.key.open(
            bytes(row["sealed_payload"]),
            row=payload_row(record.subject_ref, record.licence_ref, 1),
        )
        sealed = owner.key.seal(payload, row=payload_row(record.subject_ref, record.licence_ref, 2))
        conn.execute(update(lic).where(key).values(state="superseded"))
        conn.execute(
            insert(lic).values(
                **{
                    **row,
                    "revision": 2,
                    "generation": 2,
                    "state": "valid",
                    "sealed_payload": sealed,
                    "created_ms": row["created_ms"] + 60_000,
                }
            )
        )


# --- one licence -----------------------------------------------------------------------


def test_a_licence_is_found_as_it_was_issued(small: SmallRegion) -> None:
    record = small.issue_one()

    assert small.get(record) == record
    assert record.sd_jwt.count("~") > 3


def test_first_revisions_keep_the_order_asked_for(small: SmallRegion) -> None:
    records = small.issue(*[small.issue_request() for _ in range(9)])
    wanted = [records[i].identifier.body for i in (4, 0, 8, 4, 2)]

    with small.region.storage.read() as conn:
        found = small.region.holding.first_revisions(conn, wanted)

    assert [record.identifier.body for record in found] == wanted


def test_more_licences_than_one_query_takes_are_found(small: SmallRegion) -> None:
    records = small.issue(*[small.issue_request() for _ in range(520)])

    with small.region.storage.read() as conn:
        found = small.region.holding.first_revisions(
            conn, [record.identifier.body for record in records]
        )

    assert found == records


def test_an_unknown_licence_is_not_found(small: SmallRegion) -> None:
    holding = small.region.holding
    body = f"{TYPE}.{AUTHORITY}.{'Z' * 20}"
    with small.region.storage.read() as conn:
        asks: list[Callable[[], object]] = [
            lambda: holding.get(conn, body),
            lambda: holding.revisions(conn, body),
            lambda: holding.events(conn, body),
            lambda: holding.first_revisions(conn, [body]),
            lambda: holding.at_revisions(conn, [(body, 1)]),
        ]
        for ask in asks:
            with pytest.raises(NotFoundError) as caught:
                ask()
            assert caught.value.reason == "LICENCE"


def test_the_newest_version_is_meant_unless_one_is_named(small: SmallRegion) -> None:
    record = small.issue_one()
    revise(small, record)
    body = record.identifier.body
    holding = small.region.holding

    with small.region.storage.read() as conn:
        assert holding.get(conn, body).identifier.version == 2
        assert holding.get(conn, body, 1).identifier == record.identifier
        assert [r.identifier.version for r in holding.revisions(conn, body)] == [2, 1]
        assert holding.first_revisions(conn, [body])[0].identifier.version == 1
        assert [r.state for r in holding.at_revisions(conn, [(body, 2), (body, 1)])] == [
            State.VALID,
            State.SUPERSEDED,
        ]
        with pytest.raises(NotFoundError):
            holding.get(conn, body, 3)
        with pytest.raises(NotFoundError):
            holding.at_revisions(conn, [(body, 3)])


def test_a_payload_moved_to_another_licence_does_not_open(small: SmallRegion) -> None:
    record, other = small.issue_one(), small.issue_one()
    lic = schema.licence
    with small.region.storage.write() as conn:
        stolen = conn.execute(
            select(lic.c.sealed_payload).where(lic.c.licence_ref == other.licence_ref)
        ).scalar_one()
        conn.execute(
            update(lic).where(lic.c.licence_ref == record.licence_ref).values(sealed_payload=stolen)
        )

    with pytest.raises(IntegrityError) as caught:
        small.get(record)

    assert caught.value.reason == "SEAL_BROKEN"


# --- the holder's file -------------------------------------------------------------------


def test_a_file_lists_the_newest_licences_first(small: SmallRegion, number: SubjectNumber) -> None:
    issued = [issue_for(small, number) for _ in range(4)]

    assert file_of(small, number).items == issued[::-1]


def test_a_file_holds_nobody_elses_licences(small: SmallRegion, number: SubjectNumber) -> None:
    issue_for(small, person(next(_next_person)))
    mine = issue_for(small, number)

    assert file_of(small, number).items == [mine]


def test_a_licence_of_several_holders_is_in_each_ones_file(small: SmallRegion) -> None:
    numbers = [person(next(_next_person)) for _ in range(3)]
    shared = issue_for(small, *numbers)

    for number in numbers:
        assert file_of(small, number).items == [shared]


def test_a_holder_who_is_not_on_file_has_an_empty_one(
    small: SmallRegion, number: SubjectNumber
) -> None:
    assert file_of(small, number) == Page([], "")


def test_a_file_has_each_licence_once_at_its_newest_version(
    small: SmallRegion, number: SubjectNumber
) -> None:
    older, newer = issue_for(small, number), issue_for(small, number)
    revise(small, older)

    page = file_of(small, number)

    assert bodies(page) == [newer.identifier.body, older.identifier.body]
    assert [record.identifier.version for record in page.items] == [1, 2]
    assert file_of(small, number, states=[State.SUPERSEDED]).items == []


def test_a_file_is_narrowed_by_type_issuer_and_state(
    small: SmallRegion, number: SubjectNumber
) -> None:
    plain = issue_for(small, number)
    typed = issue_for(small, number, type=OTHER_TYPE)
    foreign = issue_for(small, number, issuer=OTHER_AUTHORITY)
    held = small.change(issue_for(small, number), Operation.SUSPEND)

    assert file_of(small, number, type_code=OTHER_TYPE).items == [typed]
    assert file_of(small, number, issuer=OTHER_AUTHORITY).items == [foreign]
    assert file_of(small, number, states=[State.SUSPENDED]).items == [held]
    assert file_of(small, number, states=[State.VALID]).items == [foreign, typed, plain]
    assert file_of(small, number, type_code=TYPE, issuer=AUTHORITY, states=[State.VALID]).items == [
        plain
    ]


def test_an_organisation_has_a_file_too(small: SmallRegion) -> None:
    code = "91350300MA00000" + "00"
    company = parse_number(IdentifierType.USCC, code + credit_code_check(code))
    record = small.issue_one(
        holders=[{"name": "虚构公司", "number": company.reveal(), "number_type": "001"}]
    )

    assert file_of(small, company).items == [record]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_pages_make_up_the_file(small: SmallRegion, number: SubjectNumber, size: int) -> None:
    # Several of one moment: the reference tells them apart.
    small.later(milliseconds=1)
    first = small.issue(*[small.issue_request(holders=holders(number)) for _ in range(4)])
    small.later(milliseconds=1)
    second = small.issue(*[small.issue_request(holders=holders(number)) for _ in range(3)])

    listed = list(all_pages(lambda token: file_of(small, number, page_size=size, page_token=token)))

    assert sorted(r.identifier.body for r in listed) == sorted(
        r.identifier.body for r in first + second
    )
    assert {r.identifier.body for r in listed[:3]} == {r.identifier.body for r in second}


def test_licences_issued_meanwhile_disturb_no_later_page(
    small: SmallRegion, number: SubjectNumber
) -> None:
    issued = [issue_for(small, number) for _ in range(4)]
    page = file_of(small, number, page_size=2)
    issue_for(small, number)

    rest = file_of(small, number, page_size=10, page_token=page.next_token)

    assert page.items + rest.items == issued[::-1]


@pytest.mark.parametrize("spoil", ["flip", "cut", "empty-tag", "foreign", "text"])
def test_a_page_token_that_was_altered_is_refused(
    small: SmallRegion, number: SubjectNumber, spoil: str
) -> None:
    for _ in range(2):
        issue_for(small, number)
    token = file_of(small, number, page_size=1).next_token
    raw = b64url_decode(token)
    spoilt = {
        "flip": b64url_encode(bytes([raw[0] ^ 1]) + raw[1:]),
        "cut": b64url_encode(raw[:-1]),
        "empty-tag": b64url_encode(raw[:8]),
        "foreign": b64url_encode(b"\0" * len(raw)),
        "text": "第二页",
    }[spoil]

    with pytest.raises(InvalidArgumentError) as caught:
        file_of(small, number, page_token=spoilt)

    assert [(v.field, v.reason) for v in caught.value.violations] == [("page_token", "PAGE_TOKEN")]


def test_every_flipped_bit_of_a_page_token_is_noticed(
    small: SmallRegion, number: SubjectNumber
) -> None:
    for _ in range(2):
        issue_for(small, number)
    raw = b64url_decode(file_of(small, number, page_size=1).next_token)

    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(InvalidArgumentError):
            file_of(small, number, page_token=b64url_encode(bytes(changed)))


def test_a_page_token_serves_its_own_query_alone(small: SmallRegion, number: SubjectNumber) -> None:
    other = person(next(_next_person))
    for _ in range(2):
        issue_for(small, number)
        issue_for(small, other)
    token = file_of(small, number, page_size=1).next_token

    foreign_uses: list[Callable[[], object]] = [
        lambda: file_of(small, other, page_token=token),
        lambda: file_of(small, number, type_code=TYPE, page_token=token),
        lambda: file_of(small, number, issuer=AUTHORITY, page_token=token),
        lambda: file_of(small, number, states=[State.VALID], page_token=token),
    ]
    for foreign in foreign_uses:
        with pytest.raises(InvalidArgumentError):
            foreign()
    assert len(file_of(small, number, page_token=token, page_size=7).items) == 1


def test_a_page_token_says_nothing_of_the_holder(small: SmallRegion, number: SubjectNumber) -> None:
    for _ in range(2):
        issue_for(small, number)
    token = file_of(small, number, page_size=1).next_token
    with small.region.storage.read() as conn:
        subject = small.region.subjects.get(conn, number)

    raw = b64url_decode(token)

    assert number.reveal().encode() not in raw
    assert number.reveal() not in token
    assert subject.ref not in raw


@pytest.mark.parametrize(("asked", "got"), [(0, 50), (1, 1), (1000, 52), (2_000_000_000, 52)])
def test_a_page_is_bounded(small: SmallRegion, asked: int, got: int) -> None:
    number = person(950)
    if not file_of(small, number).items:
        small.issue(*[small.issue_request(holders=holders(number)) for _ in range(52)])

    assert len(file_of(small, number, page_size=asked).items) == got


def test_a_negative_page_size_is_refused(small: SmallRegion, number: SubjectNumber) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        file_of(small, number, page_size=-1)

    assert caught.value.violations[0].reason == "PAGE_SIZE"


# --- by issuer -----------------------------------------------------------------------------


def test_an_issuers_licences_are_listed_newest_first(small: SmallRegion) -> None:
    small.later(seconds=1)
    issued = []
    for _ in range(5):
        small.later(milliseconds=1)
        issued.append(small.issue_one(issuer=OTHER_AUTHORITY))
    small.issue_one()
    revise(small, issued[1])
    holding = small.region.holding

    def fetch(token: str) -> Page[LicenceRecord]:
        with small.region.storage.read() as conn:
            return holding.by_issuer(conn, OTHER_AUTHORITY, page_size=2, page_token=token)

    listed = list(all_pages(fetch))[:5]

    assert [r.identifier.body for r in listed] == [r.identifier.body for r in issued[::-1]]
    assert [r.identifier.version for r in listed] == [1, 1, 1, 2, 1]
    assert all(r.identifier.issuer == OTHER_AUTHORITY for r in all_pages(fetch))


def test_an_issuers_licences_are_narrowed(small: SmallRegion) -> None:
    typed = small.issue_one(type=OTHER_TYPE)
    lost = small.change(small.issue_one(type=OTHER_TYPE), Operation.LOSE)
    holding = small.region.holding

    with small.region.storage.read() as conn:
        found = holding.by_issuer(
            conn, AUTHORITY, type_code=OTHER_TYPE, states=[State.LOST], page_size=1000
        )
        every = holding.by_issuer(conn, AUTHORITY, type_code=OTHER_TYPE, page_size=1000)

    assert lost in found.items
    assert typed not in found.items
    assert typed in every.items


# --- events ---------------------------------------------------------------------------------


def test_events_tell_a_licences_story_from_its_issue(small: SmallRegion) -> None:
    record = small.issue_one()
    for operation in (Operation.SUSPEND, Operation.REINSTATE, Operation.CANCEL):
        small.later(seconds=1)
        small.change(record, operation)

    with small.region.storage.read() as conn:
        story = small.region.holding.events(conn, record.identifier.body)

    assert [event.operation for event in story] == ["issue", "suspend", "reinstate", "cancel"]
    assert [event.generation for event in story] == [1, 2, 3, 4]
    assert story[0].from_state is None
    assert story[0].entry == record.entry
    assert story[0].approval_hash == record.opening.approval
    assert story[0].recorded_ms == record.created_ms
    assert [event.recorded_ms for event in story] == sorted(e.recorded_ms for e in story)
    for earlier, later in itertools.pairwise(story):
        assert later.from_state is earlier.to_state


def test_an_events_words_moved_to_another_event_do_not_open(small: SmallRegion) -> None:
    record = small.issue_one()
    small.change(record, Operation.SUSPEND)
    small.change(record, Operation.REINSTATE)
    e = schema.licence_event
    mine = e.c.licence_ref == record.licence_ref
    with small.region.storage.write() as conn:
        words = conn.execute(
            select(e.c.sealed_detail).where(mine, e.c.generation == 2)
        ).scalar_one()
        conn.execute(update(e).where(mine, e.c.generation == 3).values(sealed_detail=words))

    with small.region.storage.read() as conn, pytest.raises(IntegrityError):
        small.region.holding.events(conn, record.identifier.body)


def test_no_table_holds_a_number_or_name_in_clear(small: SmallRegion) -> None:
    number = person(951)
    record = small.change(issue_for(small, number), Operation.SUSPEND)
    secrets = [number.reveal().encode(), "虚构人0".encode(), record.sd_jwt[:40].encode()]

    with small.region.storage.read() as conn:
        for table in schema.metadata.tables.values():
            for row in conn.execute(select(table)):
                for value in row:
                    data = value.encode() if isinstance(value, str) else value
                    if isinstance(data, bytes | memoryview):
                        assert not any(secret in bytes(data) for secret in secrets), table.name


def test_a_record_shows_no_payload_when_printed(small: SmallRegion) -> None:
    record = small.issue_one(holders=holders(person(952)))

    assert citizen(952) not in repr(record)
    assert record.sd_jwt not in repr(record)
    assert json.loads(record.file(None))["sd_jwt"] == record.sd_jwt
    assert dataclasses.replace(record, generation=9).etag == '"1-9"'
