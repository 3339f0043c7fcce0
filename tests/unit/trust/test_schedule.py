"""Rotations that are due begin by themselves, as far as they need no offline key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from support.requests import AUTHORITY
from support.small_region import SmallRegion
from yinxin_ca.keystore import Purpose
from yinxin_trust.keyinventory import versions
from yinxin_trust.keystage import Stage
from yinxin_trust.rotation.schedule import Schedule
from yinxin_trust.settings import RotationTable

REGION = "350300"
SETTINGS = RotationTable(
    publish_wait=timedelta(0),
    settle=timedelta(0),
    server=timedelta(days=10),
    secret=timedelta(days=10),
    licence=timedelta(days=10),
    automatic=True,
)


@pytest.fixture
def small() -> Iterator[SmallRegion]:
    with SmallRegion.found() as region:
        yield region


def schedule(small: SmallRegion, settings: RotationTable = SETTINGS) -> Schedule:
    region = small.region
    return Schedule(
        storage=region.storage,
        rotation=region.rotation(settings=settings),
        settings=settings,
        clock=region.clock,
    )


def stages(small: SmallRegion, owner: str, purpose: Purpose) -> list[Stage]:
    with small.region.storage.read() as conn:
        return [key.stage for key in versions(conn, owner, purpose)]


def test_nothing_begins_before_it_is_due(small: SmallRegion) -> None:
    small.later(days=9)
    assert schedule(small).begin_due() == 0


def test_nothing_begins_unless_the_settings_say_so(small: SmallRegion) -> None:
    small.later(days=11)
    assert schedule(small, replace(SETTINGS, automatic=False)).begin_due() == 0


def test_a_key_that_needs_no_offline_key_is_replaced_by_itself(small: SmallRegion) -> None:
    small.later(days=11)
    due = schedule(small)
    assert due.begin_due() > 0
    assert stages(small, REGION, Purpose.KEK) == [Stage.ACTIVE, Stage.PUBLISHED]

    small.later(minutes=1)
    due.rotation.run_due()

    assert stages(small, REGION, Purpose.KEK)[-1] is Stage.ACTIVE
    assert stages(small, REGION, Purpose.TLS_SERVER)[-1] is Stage.ACTIVE


def test_a_licence_key_is_prepared_and_waits_for_the_offline_keys(small: SmallRegion) -> None:
    small.later(days=11)
    schedule(small).begin_due()
    assert stages(small, AUTHORITY, Purpose.LICENCE) == [Stage.ACTIVE, Stage.PREPARED]


def test_what_has_begun_is_not_begun_again(small: SmallRegion) -> None:
    small.later(days=11)
    due = schedule(small)
    due.begin_due()
    small.later(minutes=1)
    assert due.begin_due() == 0
