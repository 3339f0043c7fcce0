"""Lists signed for the moment: when they are signed again, and never to say less."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from support.small_region import SmallRegion
from yinxin_ca.keystore import Purpose
from yinxin_proto import statuslist
from yinxin_proto.statuslist import StatusToken, StatusValue
from yinxin_trust.record import LicenceRecord
from yinxin_trust.status import StatusSigner
from yinxin_trust.statuscache import FreshStatus
from yinxin_trust.transition import Operation


@pytest.fixture
def small() -> Iterator[SmallRegion]:
    """A region of each test's own: some of them move its clock."""
    with SmallRegion.found() as region:
        yield region


@pytest.fixture
def fresh(small: SmallRegion) -> FreshStatus:
    region = small.region
    return FreshStatus(
        signer=StatusSigner(keyring=region.keyring, clock=region.clock), clock=region.clock
    )


def tokens(small: SmallRegion, fresh: FreshStatus) -> Mapping[str, str | None]:
    with small.region.storage.read() as conn:
        return fresh.current(conn)


def read(small: SmallRegion, token: str | None) -> StatusToken:
    assert token is not None
    key = small.region.keyring.signer(Purpose.STATUS).public_key
    return statuslist.parse(token).verify(key)


def value(small: SmallRegion, fresh: FreshStatus, record: LicenceRecord) -> int:
    token = tokens(small, fresh)[record.status.uri]
    return read(small, token).list.get(record.status.index)


def test_every_list_has_a_token(small: SmallRegion, fresh: FreshStatus) -> None:
    found = tokens(small, fresh)

    assert len(found) == 4
    assert all(read(small, token).uri == uri for uri, token in found.items())


def test_the_same_tokens_serve_until_something_changes(
    small: SmallRegion, fresh: FreshStatus
) -> None:
    record = small.issue_one()
    first = tokens(small, fresh)
    small.issue_one()
    small.region.sequence()
    assert tokens(small, fresh) is first

    small.change(record, Operation.SUSPEND)
    second = tokens(small, fresh)

    changed = {uri for uri in first if first[uri] != second[uri]}
    assert changed == {record.status.uri}
    assert value(small, fresh, record) == StatusValue.SUSPENDED


def test_they_are_signed_again_before_they_are_old(small: SmallRegion, fresh: FreshStatus) -> None:
    first = tokens(small, fresh)
    small.later(minutes=6)
    second = tokens(small, fresh)

    assert not set(first.values()) & set(second.values())


def test_renewed_lists_reflect_the_log_as_it_is(small: SmallRegion, fresh: FreshStatus) -> None:
    before = tokens(small, fresh)
    small.issue_one()
    small.region.sequence()
    with small.region.storage.read() as conn:
        fresh.renew(conn)
    after = tokens(small, fresh)

    assert {read(small, token).log_size for token in before.values()} == {0}
    assert {read(small, token).log_size for token in after.values()} == {1}


def test_a_slower_call_does_not_bring_an_older_list_back(
    small: SmallRegion, fresh: FreshStatus
) -> None:
    record = small.issue_one()
    with small.region.storage.read() as earlier:
        earlier.exec_driver_sql("SELECT 1 FROM setting").fetchall()  # its snapshot begins here
        small.change(record, Operation.REVOKE)
        newest = tokens(small, fresh)

        assert fresh.current(earlier) is newest

    assert value(small, fresh, record) == StatusValue.INVALID


def test_a_list_that_cannot_be_signed_is_none_until_it_can(
    small: SmallRegion, fresh: FreshStatus
) -> None:
    keyring = small.region.keyring
    held = keyring.online.signer(keyring.ref(Purpose.STATUS))
    keyring.online.destroy(keyring.ref(Purpose.STATUS))
    assert set(tokens(small, fresh).values()) == {None}

    keyring.online._signers[keyring.ref(Purpose.STATUS)] = held  # type: ignore[attr-defined]

    assert None not in tokens(small, fresh).values()
