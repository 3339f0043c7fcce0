"""Any sequence of operations: the store follows the table, and the log the store."""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from support.small_region import SmallRegion
from yinxin_proto.error import FailedPreconditionError
from yinxin_proto.statuslist import StatusValue
from yinxin_trust.changecommand import ChangeCommand
from yinxin_trust.event import LicenceEvent
from yinxin_trust.expiry import ExpirySweep
from yinxin_trust.ledger import LICENCES, indexes
from yinxin_trust.record import LicenceRecord
from yinxin_trust.status import current_value
from yinxin_trust.transition import STATUS_VALUES, TRANSITIONS, Operation, State, row_of

_OPERATIONS = [row.operation for row in TRANSITIONS if row.approval_required]
_ENDED = frozenset({State.CANCELLED, State.REVOKED, State.ANNULLED, State.WITHDRAWN})


class Model:
    """What a licence ought to be."""

    def __init__(self, record: LicenceRecord) -> None:
        self.record = record
        self.state = State.VALID
        self.status = StatusValue.VALID
        self.history: list[str] = ["issue"]


class LifecycleMachine(RuleBasedStateMachine):
    """Licences under every operation, approved or not, sequenced or not."""

    licences: Bundle[Model] = Bundle("licences")
    small: SmallRegion

    def __init__(self) -> None:
        super().__init__()
        self.small = SmallRegion.found()
        region = self.small.region
        self.expiry = ExpirySweep(
            storage=region.storage, audit=region.audit, clock=region.clock, entropy=region.entropy
        )
        self.models: list[Model] = []
        self.over = False
        self.last: tuple[ChangeCommand, LicenceRecord] | None = None

    @initialize(target=licences)
    def begin(self) -> MultipleResults[Model]:
        return multiple(self._issue(None), self._issue("2026-01-31"))

    def _issue(self, until: str | None) -> Model:
        model = Model(self.small.issue_one(valid_until=until))
        self.models.append(model)
        return model

    @rule(model=licences, operation=st.sampled_from(_OPERATIONS))
    def change(self, model: Model, operation: Operation) -> None:
        """An approved change happens exactly where the table has it."""
        row = row_of(operation)
        command = self.small.change_command(model.record, operation)
        if model.state not in row.sources:
            try:
                self.small.lifecycle.change(command)
            except FailedPreconditionError as error:
                assert error.reason == "TRANSITION"  # noqa: PT017
                return
            raise AssertionError(f"{operation} happened from {model.state}")
        changed = self.small.lifecycle.change(command)
        model.state, model.status = row.target, STATUS_VALUES[row.target]
        model.history.append(operation.value)
        assert changed.state is row.target
        self.last = command, changed

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat(self) -> None:
        """A repeated call has its old answer and changes nothing."""
        assert self.last is not None
        command, answer = self.last
        assert self.small.lifecycle.change(command) == answer

    @rule()
    def sequence(self) -> None:
        """The log catches up."""
        self.small.region.sequence()

    @precondition(lambda self: not self.over)
    @rule()
    def time_passes(self) -> None:
        """The validity of one of them ends, and the sweep comes by."""
        self.over = True
        self.small.later(days=40)
        due = [
            model
            for model in self.models
            if model.record.valid_until_ms is not None
            and model.state in row_of(Operation.EXPIRE).sources
        ]
        assert self.expiry.expire_due() == len(due)
        for model in due:
            model.state = State.EXPIRED
            model.history.append(Operation.EXPIRE.value)

    @invariant()
    def the_store_follows_the_table(self) -> None:
        for model in self.models:
            now = self.small.get(model.record)
            assert now.state is model.state
            assert now.generation == len(model.history)
            with self.small.region.storage.read() as conn:
                value = current_value(conn, model.record.status.uri, model.record.status.index)
            assert value is model.status

    @invariant()
    def the_log_follows_the_store(self) -> None:
        for model in self.models:
            with self.small.region.storage.read() as conn:
                story = self.small.region.holding.events(conn, model.record.identifier.body)
                placed = indexes(conn, LICENCES, [event.entry for event in story])
            assert [event.operation for event in story] == model.history
            _check_story(story, placed)

    def teardown(self) -> None:
        """Close the region."""
        self.small.region.close()


def _check_story(story: list[LicenceEvent], placed: dict[bytes, int]) -> None:
    assert story[0].from_state is None
    for earlier, event in itertools.pairwise(story):
        assert event.from_state is earlier.to_state
        assert earlier.to_state not in _ENDED
        assert event.salt is not None
        assert event.leaf().entry(event.salt) == event.entry
        if event.prior_index is not None:
            assert event.prior_index == placed[earlier.entry]


TestLifecycle = LifecycleMachine.TestCase
TestLifecycle.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
