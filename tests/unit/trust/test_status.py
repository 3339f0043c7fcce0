"""Status lists: values, signed tokens, and a history that never goes back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from support.postgres import temporary_schema
from support.small_region import SmallRegion
from yinxin_ca.keystore import Purpose
from yinxin_proto.error import IntegrityError, NotFoundError, VerificationError
from yinxin_proto.es256 import ES256
from yinxin_proto.statuslist import StatusToken, StatusValue, parse
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, signed_head
from yinxin_trust.record import LicenceRecord
from yinxin_trust.status import (
    LIFETIME,
    SignedStatusList,
    StatusSigner,
    current_value,
    set_value,
    set_values,
    token_at,
)
from yinxin_trust.transition import Operation


@pytest.fixture
def small(database_kind: str) -> Iterator[SmallRegion]:
    """A region of each test's own: signing is about all lists."""
    if database_kind == "sqlite":
        with SmallRegion.found() as region:
            yield region
    else:
        with temporary_schema() as url, SmallRegion.found(url) as region:
            yield region


def sign(small: SmallRegion) -> set[str]:
    """Sign what is due; return the names of the targets."""
    signer = StatusSigner(keyring=small.region.keyring, clock=small.clock)
    with small.region.storage.write() as conn:
        return set(signer.sign_due(conn))


def newest(
    small: SmallRegion, record: LicenceRecord, at: datetime | None = None
) -> SignedStatusList:
    with small.region.storage.read() as conn:
        return token_at(conn, record.status.uri, at)


def opened(small: SmallRegion, signed: SignedStatusList) -> StatusToken:
    key = small.region.keyring.signer(Purpose.STATUS).public_key
    return parse(signed.token).verify(key)


def list_number(record: LicenceRecord) -> int:
    return int(record.status.uri.rsplit("/", 1)[1])


def changes(small: SmallRegion, number: int) -> int:
    lists = schema.status_list.c
    with small.region.storage.read() as conn:
        count: int = conn.execute(
            select(lists.changes).where(lists.list_number == number)
        ).scalar_one()
    return count


# --- values --------------------------------------------------------------------------------


def test_a_value_is_what_was_written_last(small: SmallRegion) -> None:
    record = small.issue_one()
    number = list_number(record)
    for value in (StatusValue.SUSPENDED, StatusValue.VALID, StatusValue.INVALID):
        with small.region.storage.write() as conn:
            set_value(conn, number, record.status.index, value)
        with small.region.storage.read() as conn:
            assert current_value(conn, record.status.uri, record.status.index) is value
    assert changes(small, number) == 3


def test_many_values_are_written_at_once(small: SmallRegion) -> None:
    records = small.issue(*[small.issue_request() for _ in range(20)])
    values = {(list_number(r), r.status.index): StatusValue.FROZEN for r in records}
    with small.region.storage.write() as conn:
        set_values(conn, values)

    with small.region.storage.read() as conn:
        assert {current_value(conn, r.status.uri, r.status.index) for r in records} == {
            StatusValue.FROZEN
        }
    assert sum(changes(small, number) for number in {key[0] for key in values}) == 20


def test_no_values_change_nothing(small: SmallRegion) -> None:
    with small.region.storage.write() as conn:
        set_values(conn, {})


def test_an_index_that_nobody_has_cannot_change(small: SmallRegion) -> None:
    record = small.issue_one()
    number = list_number(record)
    free = record.status.index ^ 1

    with small.region.storage.write() as conn, pytest.raises(IntegrityError) as caught:
        set_values(
            conn,
            {
                (number, record.status.index): StatusValue.INVALID,
                (number, free): StatusValue.INVALID,
            },
        )

    assert caught.value.reason == "STATUS_INDEX"


@pytest.mark.parametrize("uri", ["https://elsewhere.example/status/1", "", None])
def test_what_is_not_here_is_not_found(small: SmallRegion, uri: str | None) -> None:
    record = small.issue_one()
    free = record.status.index ^ 1

    with small.region.storage.read() as conn, pytest.raises(NotFoundError):
        current_value(conn, record.status.uri if uri is None else uri, free)
    with small.region.storage.read() as conn, pytest.raises(NotFoundError):
        token_at(conn, uri or "https://elsewhere.example/status/9")


# --- tokens --------------------------------------------------------------------------------


def test_a_signed_list_says_what_the_database_says(small: SmallRegion) -> None:
    records = small.issue(*[small.issue_request() for _ in range(12)])
    for record, operation in zip(
        records, [Operation.SUSPEND, Operation.LOSE, Operation.REVOKE], strict=False
    ):
        small.change(record, operation)
    small.region.sequence()
    sign(small)

    found = [opened(small, newest(small, r)).list.get(r.status.index) for r in records]

    assert found == [2, 3, 1] + [0] * 9


def test_a_token_names_its_list_its_day_and_its_log(small: SmallRegion) -> None:
    record = small.issue_one()
    small.region.sequence()
    sign(small)

    token = opened(small, newest(small, record))

    with small.region.storage.read() as conn:
        assert token.log_size == signed_head(conn, LICENCES).size > 0
    assert token.uri == record.status.uri
    assert token.issued_at == small.clock.now()
    assert token.expires_at == small.clock.now() + LIFETIME


def test_a_token_does_not_verify_under_another_key(small: SmallRegion) -> None:
    record = small.issue_one()
    small.region.sequence()
    sign(small)

    with pytest.raises(VerificationError):
        parse(newest(small, record).token).verify(ES256.generate().public_key)


def test_what_is_up_to_date_is_not_signed_again(small: SmallRegion) -> None:
    small.issue_one()
    small.region.sequence()
    sign(small)
    small.later(minutes=1)

    assert sign(small) == set()


def test_a_change_makes_its_own_list_due(small: SmallRegion) -> None:
    record = small.issue_one()
    small.region.sequence()
    sign(small)
    small.later(seconds=1)
    small.change(record, Operation.SUSPEND)

    # Even before the log has the change: the list may know more than it must.
    assert sign(small) == {f"status/{list_number(record)}.jwt"}
    assert opened(small, newest(small, record)).list.get(record.status.index) == 2


def test_a_longer_log_makes_every_list_due(small: SmallRegion) -> None:
    sign(small)
    small.later(seconds=1)
    small.issue_one()
    small.region.sequence()

    assert len(sign(small)) >= 4


def test_a_list_is_signed_again_at_half_its_life(small: SmallRegion) -> None:
    sign(small)
    small.later(hours=12)
    assert sign(small) == set()

    small.later(minutes=1)
    assert len(sign(small)) >= 4


def test_the_log_size_never_goes_back(small: SmallRegion) -> None:
    record = small.issue_one()
    sizes = []
    for _ in range(4):
        small.later(seconds=1)
        small.issue_one()
        small.region.sequence()
        sign(small)
        sizes.append(newest(small, record).log_size)

    assert sizes == sorted(set(sizes))


def test_a_database_restored_from_before_a_signature_signs_nothing(small: SmallRegion) -> None:
    small.issue_one()
    small.region.sequence()
    sign(small)
    h = schema.log_head
    with small.region.storage.write() as conn:
        conn.execute(update(h).values(signed_size=0))
    small.later(days=1)

    with pytest.raises(IntegrityError) as caught:
        sign(small)
    assert caught.value.reason == "LOG_ROLLED_BACK"


def test_a_clock_set_back_hides_no_revocation(small: SmallRegion) -> None:
    record = small.issue_one()
    small.region.sequence()
    sign(small)
    small.later(hours=-3)
    small.change(record, Operation.REVOKE)
    small.region.sequence()
    sign(small)

    assert opened(small, newest(small, record)).list.get(record.status.index) == 1


# --- history -------------------------------------------------------------------------------


def test_the_list_in_force_at_a_moment_is_kept(small: SmallRegion) -> None:
    record = small.issue_one()
    small.region.sequence()
    sign(small)
    moments = [small.clock.now()]
    for operation in (Operation.SUSPEND, Operation.REINSTATE, Operation.REVOKE):
        small.later(hours=1)
        small.change(record, operation)
        small.region.sequence()
        sign(small)
        moments.append(small.clock.now())

    def value_at(moment: datetime) -> int:
        return opened(small, newest(small, record, moment)).list.get(record.status.index)

    assert [value_at(moment) for moment in moments] == [0, 2, 0, 1]
    assert [value_at(moment + timedelta(minutes=59)) for moment in moments] == [0, 2, 0, 1]
    with pytest.raises(NotFoundError):
        newest(small, record, moments[0] - timedelta(seconds=1))


def test_tokens_that_say_the_same_are_thinned_and_still_cover_every_moment(
    small: SmallRegion,
) -> None:
    record = small.issue_one()
    start = small.clock.now()
    for _ in range(40):
        small.later(minutes=30)
        small.issue_one()
        small.region.sequence()
        sign(small)

    number = list_number(record)
    t = schema.status_token.c
    with small.region.storage.read() as conn:
        kept = conn.execute(select(t.issued_ms).where(t.list_number == number)).scalars().all()
    assert len(kept) < 15
    at = start + timedelta(hours=1)
    while at < small.clock.now():
        token = newest(small, record, at)
        assert token.issued_at <= at < token.expires_at
        at += timedelta(hours=1)


def test_a_token_signed_in_the_same_second_takes_the_olds_place(small: SmallRegion) -> None:
    record = small.issue_one()
    small.region.sequence()
    sign(small)
    small.change(record, Operation.REVOKE)
    small.region.sequence()
    sign(small)

    assert opened(small, newest(small, record)).list.get(record.status.index) == 1
