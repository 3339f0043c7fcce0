"""Whatever is tried in whatever order, a key's life is the table's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from support.requests import AUTHORITY
from support.small_region import SmallRegion
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_proto.error import FailedPreconditionError, NotFoundError
from yinxin_trust.keyinventory import KeyVersion, versions
from yinxin_trust.keystage import STAGE_NAMES, TRANSITIONS, Stage, Step, target_of
from yinxin_trust.refresh import refresh

KEYS = (
    (AUTHORITY, Purpose.LICENCE),
    ("350300", Purpose.KEK),
    ("350300", Purpose.TUF_TIMESTAMP),
    ("350300-licences", Purpose.LOG),
)
STEPS = (Step.PUBLISH, Step.ACTIVATE, Step.RETIRE, Step.DESTROY)
_WAIT = timedelta(days=1)


class KeyLife(RuleBasedStateMachine):
    """Steps at random over a few keys of one region."""

    @initialize()
    def found(self) -> None:
        self.small = SmallRegion.found()
        self.small.issue_one()
        self.small.region.sequence()
        self.rotation = self.small.region.rotation()

    def teardown(self) -> None:
        if hasattr(self, "small"):
            self.small.region.close()

    def versions(self, key: tuple[str, Purpose]) -> list[KeyVersion]:
        with self.small.region.storage.read() as conn:
            return versions(conn, *key)

    @rule(key=st.sampled_from(KEYS))
    def prepare(self, key: tuple[str, Purpose]) -> None:
        before = self.versions(key)
        try:
            self.rotation.prepare(*key)
        except FailedPreconditionError:
            assert before[-1].stage is Stage.PUBLISHED
        assert self.versions(key)[: len(before)] == before

    @rule(
        key=st.sampled_from(KEYS),
        number=st.integers(min_value=1, max_value=4),
        step=st.sampled_from(STEPS),
    )
    def step(self, key: tuple[str, Purpose], number: int, step: Step) -> None:
        before = {version.ref.version: version.stage for version in self.versions(key)}
        act: Callable[[KeyRef], KeyVersion] = getattr(self.rotation, step.value)
        try:
            act(KeyRef(*key, number))
        except NotFoundError:
            assert number not in before
            return
        except FailedPreconditionError as error:
            refused = error.reason
        else:
            expected = {**before, number: target_of(step, before[number])}
            if step is Step.ACTIVATE:
                expected |= {
                    other: Stage.RETIRING
                    for other, stage in before.items()
                    if stage is Stage.ACTIVE
                }
            assert {v.ref.version: v.stage for v in self.versions(key)} == expected
            return
        assert {v.ref.version: v.stage for v in self.versions(key)} == before
        assert refused in {"KEY_STAGE", "KEY_WAITS"}

    @rule(days=st.sampled_from((0.5, 1, 31)))
    def pass_time(self, days: float) -> None:
        self.small.later(days=days)
        self.small.region.sequence()
        refresh(self.small.region)

    @rule()
    def issue(self) -> None:
        self.small.issue_one()
        self.small.region.sequence()

    @rule()
    def background(self) -> None:
        self.rotation.run_due()

    @invariant()
    def one_version_is_active_and_was_published_in_time(self) -> None:
        if not hasattr(self, "small"):
            return
        for key in KEYS:
            known = self.versions(key)
            (active,) = [version for version in known if version.stage is Stage.ACTIVE]
            assert active.published_ms is not None
            assert active.activated_ms is not None
            if active.ref.version > 1 and key[1] in (Purpose.LICENCE, Purpose.LOG):
                waited = active.activated_ms - active.published_ms
                assert waited >= _WAIT.total_seconds() * 1000


TestKeyLife = KeyLife.TestCase
TestKeyLife.settings = settings(max_examples=4, stateful_step_count=25, deadline=None)


def test_every_stage_can_be_reached_and_has_its_names() -> None:
    reached = {row.target for row in TRANSITIONS}
    assert reached == set(Stage) == set(STAGE_NAMES)
    assert {row.step for row in TRANSITIONS} == set(Step)
    # The end is the end, but for the truth about a theft.
    assert [row.step for row in TRANSITIONS if Stage.DESTROYED in row.sources] == [Step.COMPROMISE]
