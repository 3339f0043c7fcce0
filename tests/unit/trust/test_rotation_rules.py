"""What a rotation refuses, and what stays true while it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from support.requests import AUTHORITY, OTHER_AUTHORITY
from support.small_region import CONTEXT, SmallRegion
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_proto.error import (
    AlreadyExistsError,
    FailedPreconditionError,
    IntegrityError,
    InvalidArgumentError,
    KeyStoreError,
    NotFoundError,
    PermissionDeniedError,
)
from yinxin_proto.keyrecord import KeyState
from yinxin_trust import schema
from yinxin_trust.commit import KeyFencedError
from yinxin_trust.issuance import IssueCommand
from yinxin_trust.keyinventory import get, note, versions
from yinxin_trust.keystage import Stage, Step
from yinxin_trust.ledger import LICENCES, indexes
from yinxin_trust.page import Cursor
from yinxin_trust.refresh import refresh
from yinxin_trust.rotation.engine import Rotation
from yinxin_trust.rotation.trustkey import published_trust
from yinxin_trust.rows import RowBatch
from yinxin_trust.status import StatusSigner
from yinxin_trust.verification import OnlineVerifier, Question

REGION = "350300"
LICENCE_KEY = (AUTHORITY, Purpose.LICENCE)
INDEX = (REGION, Purpose.INDEX_HMAC)
KEK = (REGION, Purpose.KEK)


@pytest.fixture
def small() -> Iterator[SmallRegion]:
    with SmallRegion.found() as region:
        yield region


@pytest.fixture
def rotation(small: SmallRegion) -> Rotation:
    return small.region.rotation()


def stages(small: SmallRegion, owner: str, purpose: Purpose) -> list[Stage]:
    with small.region.storage.read() as conn:
        return [key.stage for key in versions(conn, owner, purpose)]


def finish(small: SmallRegion, rotation: Rotation, owner: str, purpose: Purpose) -> None:
    progress = rotation.rotate(owner, purpose)
    for _ in range(10):
        if progress.waiting is None:
            return
        small.later(days=1)
        small.region.sequence()
        refresh(small.region)
        rotation.work(purpose)
        progress = rotation.resume(owner, purpose)
    raise AssertionError(progress)


# --- the order of the steps --------------------------------------------------------


def test_a_key_is_used_only_after_what_verifiers_may_have_cached(
    small: SmallRegion, rotation: Rotation
) -> None:
    ref = rotation.prepare(*LICENCE_KEY).ref
    rotation.publish(ref)
    small.later(hours=23)
    with pytest.raises(FailedPreconditionError) as caught:
        rotation.activate(ref)
    assert caught.value.reason == "KEY_WAITS"
    until = small.clock.now() + timedelta(hours=1)
    assert until.isoformat(timespec="seconds") in caught.value.message
    assert stages(small, *LICENCE_KEY) == [Stage.ACTIVE, Stage.PUBLISHED]
    small.later(hours=1)
    rotation.activate(ref)
    assert stages(small, *LICENCE_KEY) == [Stage.RETIRING, Stage.ACTIVE]


@pytest.mark.parametrize(
    ("owner", "purpose"),
    [
        LICENCE_KEY,
        (REGION, Purpose.STATUS),
        (f"{REGION}-licences", Purpose.LOG),
        (REGION, Purpose.LICENCE_CA),
        (REGION, Purpose.TLS_CA),
        (REGION, Purpose.TUF_ROOT),
        (REGION, Purpose.TUF_TIMESTAMP),
        (REGION, Purpose.TUF_STATUS),
    ],
)
def test_a_key_that_nothing_published_names_is_never_used(
    small: SmallRegion, rotation: Rotation, owner: str, purpose: Purpose
) -> None:
    """Somebody writes into the database that it was published."""
    ref = rotation.prepare(owner, purpose).ref
    with small.region.storage.write() as conn:
        note(conn, ref, stage=Stage.PUBLISHED.value, published_ms=0)
    with pytest.raises(IntegrityError) as caught:
        rotation.activate(ref)
    assert caught.value.reason == "KEY_UNPUBLISHED"
    assert stages(small, owner, purpose) == [Stage.ACTIVE, Stage.PUBLISHED]


def test_steps_out_of_order_are_refused_and_change_nothing(
    small: SmallRegion, rotation: Rotation
) -> None:
    first = KeyRef(*LICENCE_KEY, 1)
    ref = rotation.prepare(*LICENCE_KEY).ref
    before = stages(small, *LICENCE_KEY)
    for step, key in (
        (rotation.activate, ref),
        (rotation.retire, ref),
        (rotation.publish, first),
        (rotation.retire, first),
        (rotation.destroy, first),
    ):
        with pytest.raises(FailedPreconditionError) as caught:
            step(key)
        assert caught.value.reason == "KEY_STAGE"
    assert stages(small, *LICENCE_KEY) == before
    assert rotation.prepare(*LICENCE_KEY).ref == ref


def test_a_key_that_is_not_there_is_refused(rotation: Rotation) -> None:
    with pytest.raises(NotFoundError) as caught:
        rotation.rotate("91350300MA00000000", Purpose.LICENCE)
    assert caught.value.reason == "KEY"
    with pytest.raises(NotFoundError) as caught:
        rotation.rotate(REGION, Purpose.ROOT)
    assert caught.value.reason == "KEY_PURPOSE"


def test_without_the_offline_keys_nothing_is_half_rotated(small: SmallRegion) -> None:
    region = small.region
    ref = region.rotation().prepare(*LICENCE_KEY).ref
    region.keyring = replace(region.keyring, offline=None)
    with pytest.raises(FailedPreconditionError) as caught:
        region.rotation().publish(ref)
    assert caught.value.reason == "OFFLINE_KEYS"
    assert stages(small, *LICENCE_KEY) == [Stage.ACTIVE, Stage.PREPARED]


def test_a_clock_that_was_set_back_is_refused(small: SmallRegion, rotation: Rotation) -> None:
    ref = rotation.prepare(*LICENCE_KEY).ref
    small.later(hours=-2)
    with pytest.raises(FailedPreconditionError) as caught:
        rotation.publish(ref)
    assert caught.value.reason == "CLOCK_BACK"
    assert stages(small, *LICENCE_KEY) == [Stage.ACTIVE, Stage.PREPARED]


# --- licence keys ------------------------------------------------------------------


def test_a_retired_keys_pin_covers_all_that_it_signed_and_nothing_else(
    small: SmallRegion, rotation: Rotation
) -> None:
    old = [small.issue_one() for _ in range(3)]
    finish(small, rotation, *LICENCE_KEY)
    new = small.issue_one()
    small.region.sequence()
    with small.region.storage.read() as conn:
        first = get(conn, KeyRef(*LICENCE_KEY, 1))
        placed = indexes(conn, LICENCES, [record.entry for record in (*old, new)])
        listed = published_trust(conn, rotation._bench)
    found = listed.find_key(first.thumbprint or b"")
    assert found is not None
    record = found[1]
    assert record.state is KeyState.RETIRED
    assert record.not_after is not None
    assert record.pin is not None
    assert record.pin.is_plain
    assert all(record.pin.admits(placed[one.entry]) for one in old)
    assert not record.pin.admits(placed[new.entry])


def test_a_licence_that_a_withdrawn_key_signed_is_not_stored(
    small: SmallRegion, rotation: Rotation
) -> None:
    """A worker that was slow: it signs, the key is sealed, then it commits."""
    record = small.issue_one()
    small.region.sequence()
    with small.region.storage.read() as conn:
        row = conn.execute(
            select(schema.licence).where(schema.licence.c.licence_ref == record.licence_ref)
        ).one()
    first = KeyRef(*LICENCE_KEY, 1)
    late = RowBatch()
    late.add(schema.licence, {**row._mapping, "licence_ref": bytes(16), "entry": bytes(32)})
    with small.region.storage.write() as conn:
        note(conn, first, fenced_ms=1)
    with pytest.raises(KeyFencedError):
        small.region.committer.commit(late)
    with small.region.storage.read() as conn:
        count = conn.execute(select(func.count()).select_from(schema.licence)).scalar_one()
    assert count == 1


def test_a_licence_signed_by_a_key_just_withdrawn_is_signed_anew(
    small: SmallRegion, rotation: Rotation
) -> None:
    with small.region.storage.read() as conn:
        stale = small.region.directory.snapshot(conn)
    finish(small, rotation, *LICENCE_KEY)
    request = small.issue_request()
    (record,) = small.region.issuance.issue(
        IssueCommand(
            small.caller(), CONTEXT, small.request_id(), [request], small.approve([request]), stale
        )
    )
    with small.region.storage.read() as conn:
        second = get(conn, KeyRef(*LICENCE_KEY, 2))
        used = conn.execute(
            select(schema.licence.c.key_thumbprint).where(
                schema.licence.c.licence_ref == record.licence_ref
            )
        ).scalar_one()
    assert bytes(used) == second.thumbprint


def test_a_key_is_destroyed_when_its_time_is_over_and_not_before(
    small: SmallRegion, rotation: Rotation
) -> None:
    finish(small, rotation, *LICENCE_KEY)
    first = KeyRef(*LICENCE_KEY, 1)
    small.later(days=29)
    refresh(small.region)
    assert rotation.run_due() == 0
    small.later(days=1)
    refresh(small.region)
    assert rotation.run_due() == 1
    assert stages(small, *LICENCE_KEY) == [Stage.DESTROYED, Stage.ACTIVE]
    assert first not in {info.ref for info in small.region.keyring.online.list()}


# --- approval keys -----------------------------------------------------------------


def test_both_approval_keys_count_until_the_old_one_is_retired(
    small: SmallRegion, rotation: Rotation
) -> None:
    owner = (AUTHORITY, Purpose.APPROVAL)
    old, new = small.approval_keys[AUTHORITY], small.region.foundation.suite.generate()
    keys = dict(small.approval_keys)
    small.approval_keys = keys
    with pytest.raises(FailedPreconditionError) as caught:
        rotation.rotate(*owner)
    assert caught.value.reason == "APPROVAL_KEY_OURS"
    with pytest.raises(InvalidArgumentError) as reused:
        rotation.accept(*owner, old.public_key)
    assert reused.value.reason == "KEY_REUSE"
    rotation.accept(*owner, new.public_key)
    for key in (new, old):
        keys[AUTHORITY] = key
        small.issue_one()
    finish(small, rotation, *owner)
    keys[AUTHORITY] = new
    small.issue_one()
    keys[AUTHORITY] = old
    with pytest.raises((PermissionDeniedError, InvalidArgumentError)):
        small.issue_one()


# --- secrets -----------------------------------------------------------------------


def test_a_number_stays_unique_at_every_stage_of_a_new_index(
    small: SmallRegion, rotation: Rotation
) -> None:
    taken = "虚构证字00099"
    first = small.issue_one(number=taken)

    def nothing_is_lost(stage: str) -> None:
        with pytest.raises(AlreadyExistsError):
            small.issue_one(number=taken)
        assert small.issue_one().subject_ref == first.subject_ref, stage

    ref = rotation.prepare(*INDEX).ref
    nothing_is_lost("prepared")
    rotation.publish(ref)
    nothing_is_lost("published")
    small.later(days=1)
    refresh(small.region)
    rotation.work(Purpose.INDEX_HMAC)
    nothing_is_lost("complete")
    rotation.activate(ref)
    nothing_is_lost("active")
    small.later(days=1)
    refresh(small.region)
    rotation.work(Purpose.INDEX_HMAC)
    nothing_is_lost("cleared")
    rotation.retire(KeyRef(*INDEX, 1))
    nothing_is_lost("retired")
    small.later(days=31)
    refresh(small.region)
    rotation.run_due()
    assert stages(small, *INDEX) == [Stage.DESTROYED, Stage.ACTIVE]
    nothing_is_lost("destroyed")
    with small.region.storage.read() as conn:
        for table in (schema.identifier_index, schema.licence_number):
            assert set(conn.execute(select(table.c.key_version)).scalars()) == {2}


def test_a_new_index_is_not_used_before_it_is_complete(
    small: SmallRegion, rotation: Rotation
) -> None:
    small.issue_one()
    ref = rotation.prepare(*INDEX).ref
    rotation.publish(ref)
    small.later(days=1)
    with pytest.raises(FailedPreconditionError) as caught:
        rotation.activate(ref)
    assert caught.value.reason == "KEY_WAITS"
    assert "index" in caught.value.message


def test_a_repeated_request_is_recognised_across_a_new_index(
    small: SmallRegion, rotation: Rotation
) -> None:
    request = small.issue_request()
    command = IssueCommand(
        small.caller(), CONTEXT, "request-again", [request], small.approve([request])
    )
    (before,) = small.region.issuance.issue(command)
    token = small.region.pages.issue(Cursor(1, b"ref"), ["query"])
    finish(small, rotation, *INDEX)
    (after,) = small.region.issuance.issue(command)
    assert after.identifier == before.identifier
    assert small.region.pages.read(token, ["query"]) == Cursor(1, b"ref")


def test_data_keys_are_wrapped_anew_and_the_old_key_can_go(
    small: SmallRegion, rotation: Rotation
) -> None:
    before = small.issue_one()
    finish(small, rotation, *KEK)
    with small.region.storage.read() as conn:
        assert set(conn.execute(select(schema.subject.c.kek_version)).scalars()) == {2}
    small.later(days=31)
    refresh(small.region)
    rotation.run_due()
    assert stages(small, *KEK) == [Stage.DESTROYED, Stage.ACTIVE]
    with pytest.raises(KeyStoreError):
        small.region.keyring.online.secret(KeyRef(*KEK, 1))
    assert small.get(before).sd_jwt == before.sd_jwt


def test_a_key_that_still_wraps_something_is_not_destroyed(
    small: SmallRegion, rotation: Rotation
) -> None:
    """A row that came back from somewhere, after the key was retired."""
    small.issue_one()
    finish(small, rotation, *KEK)
    with small.region.storage.write() as conn:
        conn.execute(update(schema.subject).values(kek_version=1))
    small.later(days=31)
    refresh(small.region)
    assert rotation.run_due() == 0
    with pytest.raises(FailedPreconditionError) as caught:
        rotation.destroy(KeyRef(*KEK, 1))
    assert "rewrap" in caught.value.message
    assert KeyRef(*KEK, 1) in {info.ref for info in small.region.keyring.online.list()}


# --- the trail ---------------------------------------------------------------------


def test_every_step_is_on_record_and_in_the_log(small: SmallRegion, rotation: Rotation) -> None:
    finish(small, rotation, *LICENCE_KEY)
    with small.region.storage.read() as conn:
        methods = list(
            conn.execute(
                select(schema.audit.c.method).where(schema.audit.c.method.like("%Key"))
            ).scalars()
        )
        events = set(conn.execute(select(schema.key_event.c.event)).scalars())
    assert sorted(methods) == ["ActivateKey", "PrepareKey", "PublishKey", "RetireKey"]
    assert events == {"published", "active", "retired"}


def test_a_step_that_another_process_takes_meanwhile_is_taken_once(small: SmallRegion) -> None:
    """The background and a command that waits, at the same moment."""
    other = small.region.rotation()
    taken: list[str] = []

    def meanwhile(point: str) -> None:
        if point == "activate: begun" and not taken:
            taken.append(point)
            other.activate(KeyRef(*LICENCE_KEY, 2))

    rotation = small.region.rotation(meanwhile)
    rotation.rotate(*LICENCE_KEY)
    small.later(days=1)
    refresh(small.region)
    progress = rotation.resume(*LICENCE_KEY)
    assert taken
    assert progress.steps == ()
    assert progress.waiting is not None
    assert progress.waiting.step is Step.RETIRE
    assert stages(small, *LICENCE_KEY) == [Stage.RETIRING, Stage.ACTIVE]


# --- CAs ---------------------------------------------------------------------------


def test_a_ca_goes_when_nothing_that_it_certified_is_in_use_and_its_licences_stand(
    small: SmallRegion, rotation: Rotation
) -> None:
    ca = (REGION, Purpose.LICENCE_CA)
    old = small.issue_one()
    small.region.sequence()
    finish(small, rotation, *ca)
    small.later(days=31)
    refresh(small.region)
    assert rotation.run_due() == 0
    with pytest.raises(FailedPreconditionError) as caught:
        rotation.destroy(KeyRef(*ca, 1))
    assert "certificates" in caught.value.message
    for authority in (AUTHORITY, OTHER_AUTHORITY):
        finish(small, rotation, authority, Purpose.LICENCE)
    new = small.issue_one()
    small.region.sequence()
    refresh(small.region)
    rotation.run_due()
    assert stages(small, *ca) == [Stage.DESTROYED, Stage.ACTIVE]
    # Long after the last ordinary list of the old CA would have run out.
    for _ in range(3):
        small.later(days=5)
        refresh(small.region)
    verifier = OnlineVerifier(
        storage=small.region.storage,
        holding=small.region.holding,
        statuses=StatusSigner(keyring=small.region.keyring, clock=small.clock),
        clock=small.clock,
    )
    for record in (old, new):
        verifier.verify(record.sd_jwt.encode(), Question()).require_passed()
