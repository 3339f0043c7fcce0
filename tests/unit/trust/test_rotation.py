"""Rotation of every key: what each step leaves, what it waits for, what a crash costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from support.postgres import temporary_schema
from support.requests import AUTHORITY
from support.small_region import SmallRegion
from yinxin_ca.keystore import Purpose
from yinxin_trust.keyinventory import inventory, versions
from yinxin_trust.keystage import Stage
from yinxin_trust.preflight import preflight
from yinxin_trust.refresh import refresh
from yinxin_trust.region import EXAMPLE
from yinxin_trust.rotation.engine import Rotation
from yinxin_trust.soundness import log_verifiers

REGION = "350300"
OWNERS = {
    Purpose.LICENCE: AUTHORITY,
    Purpose.LOG: f"{REGION}-licences",
}
ROTATED = tuple(
    purpose
    for purpose in (
        Purpose.LICENCE,
        Purpose.STATUS,
        Purpose.LOG,
        Purpose.LICENCE_CA,
        Purpose.STATUS_CA,
        Purpose.TLS_CA,
        Purpose.TLS_SERVER,
        Purpose.KEK,
        Purpose.INDEX_HMAC,
        Purpose.TUF_ROOT,
        Purpose.TUF_TARGETS,
        Purpose.TUF_SNAPSHOT,
        Purpose.TUF_TIMESTAMP,
        Purpose.TUF_STATUS,
        Purpose.TUF_CRL,
        Purpose.TUF_CATALOGUE,
    )
)


def owner_of(purpose: Purpose) -> str:
    return OWNERS.get(purpose, REGION)


@pytest.fixture
def small() -> Iterator[SmallRegion]:
    with SmallRegion.found() as region:
        yield region


def rotate_whole(small: SmallRegion, rotation: Rotation, purpose: Purpose) -> None:
    """Rotate one key to its predecessor's retirement, letting time pass as it is waited for."""
    owner = owner_of(purpose)
    progress = rotation.rotate(owner, purpose)
    for _ in range(20):
        if progress.waiting is None:
            return
        if progress.waiting.reason == "time":
            small.later(days=1)
        small.region.sequence()
        refresh(small.region)
        rotation.run_due()
        progress = rotation.resume(owner, purpose)
    raise AssertionError(progress)


# --- crashes -----------------------------------------------------------------------


class Crash(BaseException):
    """The power is cut."""


class CrashesEverywhere:
    """Cuts the power the first time that a point is reached, at one point after the other."""

    def __init__(self) -> None:
        self.points: list[str] = []

    def __call__(self, name: str) -> None:
        if name not in self.points:
            self.points.append(name)
            raise Crash


POINTS = {
    *(f"prepare: {point}" for point in ("begun", "made", "certified", "written", "committed")),
    *(f"publish: {point}" for point in ("begun", "written", "committed")),
    *(f"activate: {point}" for point in ("begun", "superseded", "written", "committed")),
    *(f"seal: {point}" for point in ("begun", "written", "committed")),
    *(f"retire: {point}" for point in ("begun", "written", "committed")),
}


def check_invariant(small: SmallRegion) -> None:
    """One version of each key is active, and none that is was not published."""
    with small.region.storage.read() as conn:
        keys = inventory(conn)
        bench = small.region.rotation()
        in_use = Counter((key.ref.owner, key.ref.purpose) for key in keys if key.stage is ACTIVE)
        assert set(in_use.values()) == {1}
        assert in_use.keys() == {(key.ref.owner, key.ref.purpose) for key in keys}
        for key in keys:
            if key.stage is ACTIVE and key.ref.purpose in ROTATED:
                assert key.published_ms is not None
                assert bench.plan(key.ref.purpose).is_public(conn, key), key.ref


ACTIVE = Stage.ACTIVE


@pytest.mark.parametrize("purpose", ROTATED)
def test_a_rotation_that_is_cut_at_every_point_goes_on(
    small: SmallRegion, purpose: Purpose
) -> None:
    before = small.issue_one()
    small.region.sequence()
    crash = CrashesEverywhere()
    for _ in range(60):
        try:
            # Each of these is what a new process has: nothing of the one before.
            rotate_whole(small, small.region.rotation(crash), purpose)
        except Crash:
            check_invariant(small)
        else:
            break
    assert {*crash.points} >= POINTS
    check_invariant(small)
    with small.region.storage.read() as conn:
        known = versions(conn, owner_of(purpose), purpose)
    # What an interrupted attempt had made was used: no version was wasted.
    finished = [Stage.RETIRED, ACTIVE]
    assert [key.stage for key in known] in (finished, [Stage.RETIRED, *finished])
    after = small.issue_one()
    assert small.get(before).sd_jwt == before.sd_jwt
    assert small.get(after).sd_jwt == after.sd_jwt
    small.region.sequence()
    refresh(small.region)
    with small.region.storage.read() as conn:
        verifiers = log_verifiers(small.region.keyring.at(conn))
    assert preflight(small.region.storage, logs=verifiers, full=True).findings == ()


# What a suite or a database makes different; the rest is the same code over the same rows.
ELSEWHERE = {
    "SM2": (Purpose.LICENCE, Purpose.STATUS, Purpose.LICENCE_CA, Purpose.STATUS_CA, Purpose.KEK),
    "postgresql": (Purpose.LICENCE, Purpose.LOG, Purpose.KEK, Purpose.INDEX_HMAC),
}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_keys_of_one_region_rotate_one_after_the_other(where: str) -> None:
    with ExitStack() as undo:
        if where == "postgresql":
            found = SmallRegion.found(undo.enter_context(temporary_schema()))
        else:
            found = SmallRegion.found(table=replace(EXAMPLE, suite=where))
        small = undo.enter_context(found)
        before = small.issue_one()
        small.region.sequence()
        for purpose in ELSEWHERE[where]:
            rotate_whole(small, small.region.rotation(), purpose)
        check_invariant(small)
        after = small.issue_one()
        small.region.sequence()
        assert small.get(before).sd_jwt == before.sd_jwt
        assert small.get(after).sd_jwt == after.sd_jwt
        with small.region.storage.read() as conn:
            keys = inventory(conn)
            verifiers = log_verifiers(small.region.keyring.at(conn))
        rotated = [key for key in keys if key.stage is Stage.RETIRED]
        assert {key.ref.purpose for key in rotated} == {*ELSEWHERE[where]}
        # A successor is of its predecessor's suite.
        suites = {(key.ref.owner, key.ref.purpose): key.suite for key in rotated}
        for key in keys:
            known = suites.get((key.ref.owner, key.ref.purpose), key.suite)
            assert key.suite == known
        assert preflight(small.region.storage, logs=verifiers, full=True).findings == ()
