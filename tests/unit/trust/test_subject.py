"""Subjects: several numbers, one holder, nothing readable in the tables."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import delete, select, update

from support.small_region import SmallRegion, person
from yinxin_edge.database_error import UniqueError
from yinxin_proto.checkdigit import credit_code_check
from yinxin_proto.error import (
    AlreadyExistsError,
    ConflictError,
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
)
from yinxin_proto.number import IdentifierType, SubjectNumber, parse
from yinxin_trust import schema
from yinxin_trust.commit import insert_rows
from yinxin_trust.rows import RowBatch
from yinxin_trust.subject import Kind, Subject

_people = iter(range(100, 990))


def somebody() -> SubjectNumber:
    return person(next(_people))


def company(sequence: int) -> SubjectNumber:
    body = f"91350300MA{sequence:07}"
    return parse(IdentifierType.USCC, body + credit_code_check(body))


def register(small: SmallRegion, *numbers: SubjectNumber, name: str = "虚构甲") -> Subject:
    batch = RowBatch()
    with small.region.storage.write() as conn:
        subject = small.region.subjects.register(conn, batch, numbers, name=name)
        insert_rows(small.region.storage, conn, batch)
    return subject


def find(small: SmallRegion, *numbers: SubjectNumber) -> dict[SubjectNumber, Subject]:
    with small.region.storage.read() as conn:
        return small.region.subjects.find(conn, numbers)


def refs(found: dict[SubjectNumber, Subject]) -> dict[SubjectNumber, bytes]:
    return {number: subject.ref for number, subject in found.items()}


def test_a_registered_subject_is_found_by_each_of_its_numbers(small: SmallRegion) -> None:
    mine, second, stranger = somebody(), somebody(), somebody()

    subject = register(small, mine, second)

    assert refs(find(small, mine, second, stranger)) == {mine: subject.ref, second: subject.ref}


def test_a_found_key_opens_what_the_registered_one_sealed(small: SmallRegion) -> None:
    number = somebody()
    sealed = register(small, number).key.seal(b"text", row=b"row")

    assert find(small, number)[number].key.open(sealed, row=b"row") == b"text"


def test_many_are_found_at_once(small: SmallRegion) -> None:
    numbers = [somebody() for _ in range(5)] + [company(n) for n in range(5)]
    expected = {number: register(small, number).ref for number in numbers}

    assert refs(find(small, *numbers, somebody())) == expected


def test_more_than_one_query_takes_are_found(small: SmallRegion) -> None:
    batch = RowBatch()
    numbers = [company(1000 + n) for n in range(1200)]
    added = {n: small.region.subjects.add(batch, n, name="虚构公司").ref for n in numbers}
    small.region.committer.commit(batch)

    assert refs(find(small, *numbers)) == added


def test_nobody_is_found_by_no_number(small: SmallRegion) -> None:
    assert find(small) == {}


def test_an_unknown_number_is_not_found_and_not_repeated(small: SmallRegion) -> None:
    number = somebody()

    with small.region.storage.read() as conn, pytest.raises(NotFoundError) as caught:
        small.region.subjects.get(conn, number)

    assert caught.value.reason == "SUBJECT"
    assert number.reveal() not in str(caught.value)


def test_registering_again_changes_nothing(small: SmallRegion) -> None:
    number = somebody()

    assert register(small, number, name="甲").ref == register(small, number, name="乙").ref
    subject = find(small, number)[number]
    with small.region.storage.read() as conn:
        assert small.region.subjects.profile(conn, subject.ref).name == "甲"


def test_registering_with_a_further_number_links_it(small: SmallRegion) -> None:
    first, second = somebody(), somebody()
    subject = register(small, first)
    small.later(seconds=1)

    assert register(small, first, second).ref == subject.ref

    assert refs(find(small, second)) == {second: subject.ref}
    with small.region.storage.read() as conn:
        profile = small.region.subjects.profile(conn, subject.ref)
    assert [linked.number for linked in profile.numbers] == [first, second]
    assert profile.numbers[1].linked_ms == profile.numbers[0].linked_ms + 1000


def test_numbers_of_two_subjects_are_never_joined(small: SmallRegion) -> None:
    first, second = somebody(), somebody()
    register(small, first)
    register(small, second)

    with pytest.raises(AlreadyExistsError) as caught:
        register(small, first, second)

    assert caught.value.reason == "SUBJECT_SPLIT"
    assert not any(number.reveal() in str(caught.value) for number in (first, second))


def test_a_number_given_twice_counts_once(small: SmallRegion) -> None:
    number = somebody()

    subject = register(small, number, number)

    assert refs(find(small, number)) == {number: subject.ref}


def test_a_subject_without_a_number_is_refused(small: SmallRegion) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        register(small)

    assert caught.value.reason == "NUMBERS"


def test_two_calls_cannot_both_add_a_number(small: SmallRegion) -> None:
    number = somebody()
    batches = [RowBatch(), RowBatch()]
    for batch in batches:
        small.region.subjects.add(batch, number, name="虚构甲")
    small.region.committer.commit(batches[0])

    with pytest.raises(UniqueError) as caught:
        small.region.committer.commit(batches[1])

    assert caught.value.table == "identifier_index"


def test_a_profile_tells_name_kind_and_date(small: SmallRegion) -> None:
    person_ref = register(small, somebody(), name="虚构乙").ref
    company_ref = register(small, company(77), name="虚构公司").ref
    with small.region.storage.read() as conn:
        profile = small.region.subjects.profile(conn, person_ref)
        assert (profile.name, profile.kind) == ("虚构乙", Kind.PERSON)
        assert profile.created_ms == int(small.clock.now().timestamp() * 1000)
        assert small.region.subjects.profile(conn, company_ref).kind is Kind.LEGAL_PERSON
        with pytest.raises(NotFoundError):
            small.region.subjects.profile(conn, bytes(16))


def link(small: SmallRegion, subject: Subject, numbers: Sequence[SubjectNumber], etag: str) -> None:
    batch = RowBatch()
    with small.region.storage.write() as conn:
        small.region.subjects.link(conn, batch, subject, numbers, etag=etag)
        insert_rows(small.region.storage, conn, batch)


def test_linking_on_a_stale_etag_is_a_conflict(small: SmallRegion) -> None:
    subject = register(small, somebody())
    with small.region.storage.read() as conn:
        etag = small.region.subjects.profile(conn, subject.ref).etag
    link(small, subject, [somebody()], etag)
    late = somebody()

    with pytest.raises(ConflictError) as caught:
        link(small, subject, [late], etag)

    assert caught.value.reason == "ETAG"
    assert find(small, late) == {}


def test_linking_a_number_that_is_taken_changes_nothing(small: SmallRegion) -> None:
    taken = somebody()
    register(small, taken)
    subject = register(small, somebody())
    with small.region.storage.read() as conn:
        before = small.region.subjects.profile(conn, subject.ref)

    with pytest.raises(UniqueError):
        link(small, subject, [taken], "")

    with small.region.storage.read() as conn:
        assert small.region.subjects.profile(conn, subject.ref).etag == before.etag


def test_a_profile_moved_to_another_subject_does_not_open(small: SmallRegion) -> None:
    one, other = register(small, somebody()), register(small, somebody())
    s = schema.subject
    with small.region.storage.write() as conn:
        row = conn.execute(select(s).where(s.c.subject_ref == other.ref)).one()
        # Key and all: only the row's own name in the seal tells the difference.
        conn.execute(
            update(s)
            .where(s.c.subject_ref == one.ref)
            .values(wrapped_key=row.wrapped_key, sealed_profile=row.sealed_profile)
        )

    with small.region.storage.read() as conn, pytest.raises(IntegrityError):
        small.region.subjects.profile(conn, one.ref)


def test_without_its_key_a_subject_is_gone(small: SmallRegion) -> None:
    number = somebody()
    subject = register(small, number)
    with small.region.storage.write() as conn:
        conn.execute(delete(schema.subject).where(schema.subject.c.subject_ref == subject.ref))

    assert find(small, number) == {}


def test_references_say_nothing_and_print_no_key(small: SmallRegion) -> None:
    subject = register(small, somebody())

    assert len(subject.ref) == 16
    assert "key" not in repr(subject)
