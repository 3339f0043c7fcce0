"""Time and randomness as arguments: what a caller must hand in.

The real ones live in ``yinxin_edge.clock``; tests and vectors hand in fixed
ones. Nothing outside the edge may ask the machine for either.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """A source of the present moment."""

    def now(self) -> datetime:
        """Return the present moment, timezone-aware, in UTC."""
        ...


class Entropy(Protocol):
    """A source of unpredictable bytes."""

    def token(self, size: int) -> bytes:
        """Return ``size`` bytes from a cryptographically secure source."""
        ...

    def below(self, bound: int) -> int:
        """Return a uniform integer in ``range(bound)``; ``bound`` ≥ 1."""
        ...
