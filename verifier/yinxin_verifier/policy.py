"""What a verifier asks for before it says yes: named policies.

A policy decides how much evidence is enough. It never decides who is trusted:
that is the trust list's to say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from yinxin_proto.error import InvalidArgumentError, Violation

MAX_PURPOSE_CHARACTERS: Final = 200
"""用证事由, as the provincial interfaces bound it."""


class ReceiptRule(StrEnum):
    """What shows that a licence was logged."""

    REQUIRED = "REQUIRED"
    """A receipt, or the licence is INDETERMINATE."""
    OR_LOG_ASKED = "OR_LOG_ASKED"
    """A receipt, or the answer of the region's own log."""
    NOT_REQUIRED = "NOT_REQUIRED"
    """A receipt is checked when it is there."""


class BindingRule(StrEnum):
    """When the holder must prove possession of the key in ``cnf``."""

    ON_REQUEST = "ON_REQUEST"
    """Where the request names audience and nonce, and the licence a key."""
    REQUIRED = "REQUIRED"
    """Always; a licence without a holder key does not pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How much evidence is enough; a department's own is `dataclasses.replace` of one.

    Raises:
        InvalidArgumentError: A bound is negative.
    """

    name: str
    """Stated in every report."""
    receipt: ReceiptRule = ReceiptRule.REQUIRED
    """What shows that a licence was logged."""
    max_status_age: timedelta | None = None
    """Oldest status token accepted; None: any age."""
    hard_status_expiry: bool = False
    """Whether a status token's own ``exp`` ends its use, as it does online."""
    max_trust_age: timedelta | None = None
    """Oldest TUF timestamp accepted; None: any age within the hard expiries."""
    require_revocation: bool = False
    """Whether a missing certificate revocation list is INDETERMINATE."""
    binding: BindingRule = BindingRule.ON_REQUEST
    """When the holder must prove possession."""
    max_binding_age: timedelta = timedelta(minutes=5)
    """Oldest key-binding JWT accepted."""
    purposes: frozenset[str] | None = None
    """The only purposes served; None: any."""
    dishonest_witnesses: int = 0
    """How many witness operators may lie about time (*f*); see `existence`."""

    status_seconds: float = field(init=False, repr=False, compare=False)
    """``max_status_age`` in seconds, infinite for None; for the engine."""
    trust_seconds: float = field(init=False, repr=False, compare=False)
    """``max_trust_age`` in seconds, infinite for None; for the engine."""

    def __post_init__(self) -> None:
        violations = [
            Violation(field, "a negative age accepts nothing; give zero or more")
            for field in ("max_status_age", "max_trust_age", "max_binding_age")
            if (age := getattr(self, field)) is not None and age < timedelta(0)
        ]
        if self.dishonest_witnesses < 0:
            violations.append(Violation("dishonest_witnesses", "give zero or more"))
        if violations:
            raise InvalidArgumentError(
                "policy: unacceptable bounds", reason="POLICY", violations=violations
            )
        object.__setattr__(self, "status_seconds", _seconds(self.max_status_age))
        object.__setattr__(self, "trust_seconds", _seconds(self.max_trust_age))


def _seconds(age: timedelta | None) -> float:
    return math.inf if age is None else age.total_seconds()


ONLINE: Final = Policy(
    name="ONLINE",
    receipt=ReceiptRule.OR_LOG_ASKED,
    hard_status_expiry=True,
    max_status_age=timedelta(days=1),
    max_trust_age=timedelta(days=1),
)
"""With a connection: receipt, or the region's own log asked; expiries are hard."""

OFFLINE: Final = Policy(
    name="OFFLINE",
    receipt=ReceiptRule.REQUIRED,
    max_status_age=timedelta(days=7),
    max_trust_age=timedelta(days=30),
)
"""From a pack: receipt required; expiry of what moves daily becomes age."""
