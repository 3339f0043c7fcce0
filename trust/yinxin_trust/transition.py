"""The lifecycle of a licence, as one table.

Read by the service, the command line, the property tests and the docs: what
is not a row here cannot happen.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from yinxin_proto.error import FailedPreconditionError, InvalidArgumentError, Violation
from yinxin_proto.statuslist import StatusValue


class State(StrEnum):
    """What a licence version is."""

    VALID = "valid"
    SUSPENDED = "suspended"
    FROZEN = "frozen"
    LOST = "lost"
    CANCELLED = "cancelled"
    REVOKED = "revoked"
    ANNULLED = "annulled"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    TRANSFERRED = "transferred"


STATE_NAMES: Final[dict[State, str]] = {
    State.VALID: "有效",
    State.SUSPENDED: "暂扣",
    State.FROZEN: "冻结",
    State.LOST: "挂失",
    State.CANCELLED: "注销",
    State.REVOKED: "吊销",
    State.ANNULLED: "撤销",
    State.WITHDRAWN: "撤回",
    State.EXPIRED: "失效",
    State.SUPERSEDED: "已换发新版",
    State.TRANSFERRED: "已转出",
}

STATUS_VALUES: Final[dict[State, StatusValue]] = {
    State.VALID: StatusValue.VALID,
    State.SUSPENDED: StatusValue.SUSPENDED,
    State.FROZEN: StatusValue.FROZEN,
    State.LOST: StatusValue.FROZEN,
    State.CANCELLED: StatusValue.INVALID,
    State.REVOKED: StatusValue.INVALID,
    State.ANNULLED: StatusValue.INVALID,
    State.WITHDRAWN: StatusValue.INVALID,
    # Expiry is in the licence itself; its status stays what it was.
    State.EXPIRED: StatusValue.VALID,
    State.SUPERSEDED: StatusValue.INVALID,
    State.TRANSFERRED: StatusValue.INVALID,
}


class Operation(StrEnum):
    """What can be done to a licence after it was issued."""

    SUSPEND = "suspend"
    FREEZE = "freeze"
    LOSE = "lose"
    REINSTATE = "reinstate"
    CANCEL = "cancel"
    REVOKE = "revoke"
    ANNUL = "annul"
    WITHDRAW = "withdraw"
    EXPIRE = "expire"


class LogKind(StrEnum):
    """Which kind of leaf an operation leaves in the log."""

    STATUS_CHANGE = "status-change"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: an operation, where it may start and where it leads."""

    operation: Operation
    chinese: str
    sources: frozenset[State]
    target: State
    reason_required: bool
    approval_required: bool
    log_kind: LogKind = LogKind.STATUS_CHANGE


_LIVE: Final = frozenset({State.VALID})
_HELD: Final = frozenset({State.SUSPENDED, State.FROZEN, State.LOST})
_STANDING: Final = _LIVE | _HELD
_ENDABLE: Final = _STANDING | {State.EXPIRED}

TRANSITIONS: Final[tuple[Transition, ...]] = (
    Transition(Operation.SUSPEND, "暂扣", _LIVE, State.SUSPENDED, True, True),
    Transition(Operation.FREEZE, "冻结", _LIVE | {State.SUSPENDED}, State.FROZEN, True, True),
    Transition(Operation.LOSE, "挂失", _LIVE, State.LOST, True, True),
    Transition(Operation.REINSTATE, "恢复", _HELD, State.VALID, True, True),
    Transition(Operation.CANCEL, "注销", _ENDABLE, State.CANCELLED, True, True),
    Transition(Operation.REVOKE, "吊销", _ENDABLE, State.REVOKED, True, True),
    Transition(Operation.ANNUL, "撤销", _ENDABLE, State.ANNULLED, True, True),
    Transition(Operation.WITHDRAW, "撤回", _STANDING, State.WITHDRAWN, True, True),
    Transition(Operation.EXPIRE, "过期失效", _STANDING, State.EXPIRED, False, False),
)

_BY_OPERATION: Final = {row.operation: row for row in TRANSITIONS}


def parse_operation(text: str) -> Operation:
    """Read an operation's name.

    Raises:
        InvalidArgumentError: No such operation; the message lists those there are.
    """
    try:
        return Operation(text)
    except ValueError:
        known = ", ".join(row.operation.value for row in TRANSITIONS)
        raise InvalidArgumentError(
            "unknown operation",
            violations=[Violation("operation", f"one of {known}", "OPERATION")],
        ) from None


def row_of(operation: Operation) -> Transition:
    """Return the row of an operation, whatever the state."""
    return _BY_OPERATION[operation]


def transition(operation: Operation, source: State) -> Transition:
    """Return the row that allows ``operation`` from ``source``.

    Raises:
        FailedPreconditionError: No row does; the message names what would be allowed.
    """
    row = _BY_OPERATION[operation]
    if source not in row.sources:
        allowed = ", ".join(sorted(state.value for state in row.sources))
        raise FailedPreconditionError(
            f"{operation.value} {row.chinese} is not possible from state {source.value} "
            f"{STATE_NAMES[source]}; it starts from: {allowed}",
            reason="TRANSITION",
        )
    return row


def transition_table() -> str:
    """Return the table as Markdown, for the docs."""
    lines = ["| operation | 中文 | from | to | reason | approval |", "|---|---|---|---|---|---|"]
    for row in TRANSITIONS:
        sources = ", ".join(sorted(state.value for state in row.sources))
        lines.append(
            f"| {row.operation.value} | {row.chinese} | {sources} | {row.target.value} "
            f"| {'required' if row.reason_required else '–'} "
            f"| {'required' if row.approval_required else '–'} |"
        )
    return "\n".join(lines) + "\n"
