"""The table of transitions: complete, and without a way back from an end."""

from __future__ import annotations

import itertools

import pytest

from yinxin_proto.error import FailedPreconditionError, InvalidArgumentError
from yinxin_proto.statuslist import StatusValue
from yinxin_trust.transition import (
    STATE_NAMES,
    STATUS_VALUES,
    TRANSITIONS,
    Operation,
    State,
    parse_operation,
    row_of,
    transition,
    transition_table,
)

ENDED = frozenset(
    {
        State.CANCELLED,
        State.REVOKED,
        State.ANNULLED,
        State.WITHDRAWN,
        State.SUPERSEDED,
        State.TRANSFERRED,
    }
)


def test_every_operation_has_one_row() -> None:
    assert sorted(row.operation for row in TRANSITIONS) == sorted(Operation)


def test_every_state_has_a_name_and_a_status_value() -> None:
    assert set(STATE_NAMES) == set(State) == set(STATUS_VALUES)


@pytest.mark.parametrize("state", sorted(ENDED))
def test_nothing_leads_out_of_an_ended_state(state: State) -> None:
    assert all(state not in row.sources for row in TRANSITIONS)
    assert STATUS_VALUES[state] is StatusValue.INVALID


def test_no_operation_leads_where_it_started() -> None:
    assert all(row.target not in row.sources for row in TRANSITIONS)


def test_an_expired_licence_can_be_ended_and_nothing_else() -> None:
    possible = {row.target for row in TRANSITIONS if State.EXPIRED in row.sources}

    assert possible <= ENDED
    assert State.REVOKED in possible


def test_only_the_clock_needs_no_approval_and_no_reason() -> None:
    for row in TRANSITIONS:
        by_the_clock = row.operation is Operation.EXPIRE
        assert row.approval_required is not by_the_clock
        assert row.reason_required is not by_the_clock


def test_what_is_held_never_counts_as_valid() -> None:
    for state in (State.SUSPENDED, State.FROZEN, State.LOST):
        assert STATUS_VALUES[state] in (StatusValue.SUSPENDED, StatusValue.FROZEN)


@pytest.mark.parametrize(
    ("operation", "source"), list(itertools.product(sorted(Operation), sorted(State)))
)
def test_the_table_alone_decides(operation: Operation, source: State) -> None:
    row = row_of(operation)

    if source in row.sources:
        assert transition(operation, source) is row
        return
    with pytest.raises(FailedPreconditionError) as caught:
        transition(operation, source)
    assert caught.value.reason == "TRANSITION"
    assert source.value in caught.value.message


def test_operations_are_read_by_name() -> None:
    assert [parse_operation(operation.value) for operation in Operation] == list(Operation)


@pytest.mark.parametrize("text", ["", "issue", "SUSPEND", "suspend ", "暂扣"])
def test_other_names_are_refused_with_the_names_there_are(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_operation(text)

    assert "suspend" in caught.value.violations[0].description


def test_the_printed_table_has_a_line_for_each_row() -> None:
    lines = transition_table().splitlines()

    assert len(lines) == 2 + len(TRANSITIONS)
    assert all(row.chinese in line for row, line in zip(TRANSITIONS, lines[2:], strict=True))
