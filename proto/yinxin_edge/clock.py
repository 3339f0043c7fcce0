"""The machine's own time and randomness: the one place that asks for either.

Everything else takes a ``Clock`` and an ``Entropy`` (``yinxin_proto.clock``) as
arguments; a composition root hands these in.
"""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime


class SystemClock:
    """A ``Clock`` that reads the machine's time."""

    def now(self) -> datetime:
        """Return the present moment, timezone-aware, in UTC."""
        return datetime.now(UTC)


class SystemEntropy:
    """An ``Entropy`` that draws from the operating system's secure source."""

    def token(self, size: int) -> bytes:
        """Return ``size`` unpredictable bytes."""
        return os.urandom(size)

    def below(self, bound: int) -> int:
        """Return a uniform, unpredictable integer in ``range(bound)``; ``bound`` ≥ 1."""
        return secrets.randbelow(bound)
