"""The life of a key, as one table.

Read by the service, the command line, the property tests and the docs: what is
not a row here cannot happen to a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from yinxin_proto.error import FailedPreconditionError


class Stage(StrEnum):
    """Where one version of a key stands."""

    PREPARED = "prepared"
    """Made, and certified where it needs to be; nobody knows it yet 已备."""
    PUBLISHED = "published"
    """Whoever will have to judge it can know it; it signs nothing yet 已公布."""
    ACTIVE = "active"
    """The one version that signs, wraps or indexes now 启用."""
    RETIRING = "retiring"
    """A successor is active; what it began is being finished 退役中."""
    RETIRED = "retired"
    """Signs no more; what it signed stands 退役."""
    SUSPENDED = "suspended"
    """Not to be relied on for now 停用."""
    COMPROMISED = "compromised"
    """Stolen or misused 泄露."""
    DESTROYED = "destroyed"
    """The private half is gone for good 已销毁."""


STAGE_NAMES: Final[dict[Stage, str]] = {
    Stage.PREPARED: "已备",
    Stage.PUBLISHED: "已公布",
    Stage.ACTIVE: "启用",
    Stage.RETIRING: "退役中",
    Stage.RETIRED: "退役",
    Stage.SUSPENDED: "停用",
    Stage.COMPROMISED: "泄露",
    Stage.DESTROYED: "已销毁",
}


class Step(StrEnum):
    """What can be done to a key."""

    PREPARE = "prepare"
    PUBLISH = "publish"
    ACTIVATE = "activate"
    SUPERSEDE = "supersede"
    """Happens to the version before, in the transaction that activates the next."""
    RETIRE = "retire"
    DESTROY = "destroy"
    SUSPEND = "suspend"
    REINSTATE = "reinstate"
    RESUME = "resume"
    COMPROMISE = "compromise"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: a step, from which stages, to which one."""

    step: Step
    name: str
    """中文."""
    sources: frozenset[Stage | None]
    """None is a version that does not exist yet."""
    target: Stage


_LIVE: Final = (Stage.PUBLISHED, Stage.ACTIVE, Stage.RETIRING)

TRANSITIONS: Final = (
    Transition(Step.PREPARE, "准备", frozenset({None}), Stage.PREPARED),
    Transition(Step.PUBLISH, "公布", frozenset({Stage.PREPARED}), Stage.PUBLISHED),
    Transition(Step.ACTIVATE, "启用", frozenset({Stage.PUBLISHED}), Stage.ACTIVE),
    Transition(Step.SUPERSEDE, "接替", frozenset({Stage.ACTIVE}), Stage.RETIRING),
    Transition(Step.RETIRE, "退役", frozenset({Stage.RETIRING}), Stage.RETIRED),
    Transition(
        Step.DESTROY,
        "销毁",
        frozenset({Stage.PREPARED, Stage.RETIRED, Stage.COMPROMISED}),
        Stage.DESTROYED,
    ),
    Transition(Step.SUSPEND, "停用", frozenset(_LIVE), Stage.SUSPENDED),
    Transition(Step.REINSTATE, "恢复", frozenset({Stage.SUSPENDED}), Stage.RETIRING),
    Transition(Step.RESUME, "恢复启用", frozenset({Stage.SUSPENDED}), Stage.ACTIVE),
    Transition(
        Step.COMPROMISE,
        "宣告泄露",
        frozenset({*_LIVE, Stage.RETIRED, Stage.SUSPENDED, Stage.DESTROYED}),
        Stage.COMPROMISED,
    ),
)
"""Every transition. One that was suspended comes back only to be retired where a
successor is active by then. A key may turn out to be stolen after it was
destroyed; one that nobody was told of needs no such word."""

READABLE: Final = (Stage.PUBLISHED, Stage.ACTIVE, Stage.RETIRING)
"""Stages in which a secret is used to read."""
KNOWN: Final = (
    Stage.PUBLISHED,
    Stage.ACTIVE,
    Stage.RETIRING,
    Stage.RETIRED,
    Stage.SUSPENDED,
    Stage.COMPROMISED,
    Stage.DESTROYED,
)
"""Stages of a version that was ever published."""


def transition(step: Step) -> Transition:
    """Return the row of a step."""
    return next(row for row in TRANSITIONS if row.step is step)


def transition_table() -> str:
    """Return the table as Markdown, for the docs."""
    lines = ["| step | 中文 | from | to |", "|---|---|---|---|"]
    for row in TRANSITIONS:
        sources = ", ".join(sorted("–" if stage is None else stage.value for stage in row.sources))
        lines.append(f"| {row.step.value} | {row.name} | {sources} | {row.target.value} |")
    return "\n".join(lines) + "\n"


def target_of(step: Step, stage: Stage | None) -> Stage:
    """Return where a step leads.

    Raises:
        FailedPreconditionError: It does not lead on from that stage (``KEY_STAGE``).
    """
    row = transition(step)
    if stage not in row.sources:
        where = "does not exist" if stage is None else f"is {stage}"
        expected = " or ".join(sorted(source or "absent" for source in row.sources))
        raise FailedPreconditionError(
            f"the key {where}; {step} is possible for one that is {expected}", reason="KEY_STAGE"
        )
    return row.target
