"""Refreshing what is published: when it is due, all at once, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from sqlalchemy import func, select

from support.postgres import temporary_schema
from support.small_region import SmallRegion
from yinxin_proto import statuslist
from yinxin_proto.error import VerificationError
from yinxin_proto.repository import RepositoryView
from yinxin_trust import schema
from yinxin_trust.certification import get_crl
from yinxin_trust.publication import current_view
from yinxin_trust.refresh import Refresher, refresh
from yinxin_trust.transition import Operation

_MINUTE = timedelta(minutes=1)


@pytest.fixture
def small() -> Iterator[SmallRegion]:
    """A region of each test's own: they move its clock by months."""
    with SmallRegion.found() as region:
        yield region


def target(small: SmallRegion, path: str) -> bytes:
    with small.region.storage.read() as conn:
        return current_view(conn, small.clock.now()).target(path)


def view(small: SmallRegion) -> RepositoryView:
    with small.region.storage.read() as conn:
        return current_view(conn, small.clock.now())


def files(small: SmallRegion) -> int:
    with small.region.storage.read() as conn:
        count = select(func.count()).select_from(schema.published_file)
        return int(conn.execute(count).scalar_one())


def crl_moment(small: SmallRegion) -> datetime:
    with small.region.storage.read() as conn:
        crl = get_crl(conn, "licence")
    assert crl is not None
    return x509.load_der_x509_crl(crl).last_update_utc


def test_nothing_is_published_while_nothing_is_due(small: SmallRegion) -> None:
    refresh(small.region)
    before = view(small).versions

    assert refresh(small.region) is False
    assert view(small).versions == before


def test_a_change_of_status_is_published(small: SmallRegion) -> None:
    record = small.issue_one()
    small.region.sequence()
    refresh(small.region)
    name = f"status/{record.status.uri.rpartition('/')[2]}.jwt"
    before, list_before = view(small), target(small, name)
    small.change(record, Operation.REVOKE)
    small.region.sequence()

    assert refresh(small.region) is True

    after = view(small)
    assert after.versions["status"] == before.versions["status"] + 1
    assert after.versions["crl"] == before.versions["crl"]
    assert target(small, name) != list_before
    assert statuslist.parse(target(small, name)).jws.header["typ"] == statuslist.TYP


def test_lists_are_signed_again_when_the_log_grew(small: SmallRegion) -> None:
    refresh(small.region)
    small.issue_one()
    small.region.sequence()

    assert refresh(small.region) is True
    assert refresh(small.region) is False


def test_online_roles_are_signed_before_they_run_out(small: SmallRegion) -> None:
    small.later(hours=13)

    assert refresh(small.region) is True
    ages = view(small).ages
    assert max(ages["timestamp"], ages["snapshot"], ages["status"]).total_seconds() < 1


def test_after_a_long_pause_everything_that_ran_out_is_signed_again(small: SmallRegion) -> None:
    small.later(days=30)
    with pytest.raises(VerificationError):
        view(small)

    assert refresh(small.region) is True
    assert not view(small).expired
    assert crl_moment(small) >= small.clock.now().replace(microsecond=0) - _MINUTE


def test_revocation_lists_are_signed_at_half_their_life(small: SmallRegion) -> None:
    signed = crl_moment(small)
    small.later(days=3)
    refresh(small.region)
    assert crl_moment(small) == signed
    small.later(days=1)
    refresh(small.region)

    assert crl_moment(small) > signed
    with small.region.storage.read() as conn:
        stored = get_crl(conn, "licence")
    assert target(small, "crl/licence.crl") == stored


def test_what_is_replaced_is_not_kept(small: SmallRegion) -> None:
    small.later(days=4)
    refresh(small.region)
    before = files(small)
    for _ in range(3):
        small.later(days=4)
        refresh(small.region)

    assert files(small) == before


def test_an_expired_trust_list_needs_the_offline_keys(small: SmallRegion) -> None:
    small.later(days=366)

    with pytest.raises(VerificationError) as caught:
        refresh(small.region)
    assert caught.value.reason == "TRUST_EXPIRED"


def test_two_processes_that_refresh_at_once_publish_once(database_kind: str) -> None:
    with ExitStack() as undo:
        url = "sqlite://"
        if database_kind == "postgresql":
            url = undo.enter_context(temporary_schema())
        small = undo.enter_context(SmallRegion.for_threads(url))
        small.issue_one()
        small.region.sequence()
        before = view(small).versions["timestamp"]
        refreshers = [Refresher.of(small.region) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            published = list(threads.map(lambda one: one.run_once(), refreshers))

        assert published.count(True) == 1
        assert view(small).versions["timestamp"] == before + 1
