"""A clock that moves when told to, and randomness that repeats."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Where a ``FixedClock`` stands unless it is told otherwise."""


class FixedClock:
    """A ``Clock`` that stands still until ``advance`` or ``set`` is called."""

    def __init__(self, now: datetime = EPOCH) -> None:
        if now.tzinfo is None:
            raise ValueError("a clock needs a timezone-aware moment")
        self._now = now.astimezone(UTC)

    def now(self) -> datetime:
        """Return the moment at which the clock stands, in UTC."""
        return self._now

    def advance(self, step: timedelta | None = None, **units: float) -> datetime:
        """Move forward by ``step``, or by units as ``timedelta`` takes them.

        A negative step moves back: a test of a wrong clock needs that.
        Returns the new moment.
        """
        self._now += timedelta(**units) if step is None else step
        return self._now

    def set(self, now: datetime) -> None:
        """Stand at ``now`` (timezone-aware) from here on."""
        if now.tzinfo is None:
            raise ValueError("a clock needs a timezone-aware moment")
        self._now = now.astimezone(UTC)


class SeededEntropy:
    """An ``Entropy`` whose bytes follow from its seed alone.

    Block ``i`` is SHA-256(seed ‖ i): the same on every Python and machine, so
    vectors may be made with it. Never for anything that must be secret.
    """

    def __init__(self, seed: int | bytes | str = 0) -> None:
        raw = seed if isinstance(seed, bytes) else str(seed).encode()
        self._seed = hashlib.sha256(b"yinxin/test-entropy" + raw).digest()
        self._counter = 0
        self._pool = b""

    def token(self, size: int) -> bytes:
        """Return the next ``size`` bytes of the stream."""
        if size < 0:
            raise ValueError("size must not be negative")
        parts = [self._pool]
        have = len(self._pool)
        while have < size:
            block = hashlib.sha256(self._seed + self._counter.to_bytes(8, "big")).digest()
            self._counter += 1
            parts.append(block)
            have += len(block)
        stream = b"".join(parts)
        self._pool = stream[size:]
        return stream[:size]

    def below(self, bound: int) -> int:
        """Return a uniform integer in ``range(bound)``, by rejection."""
        if bound < 1:
            raise ValueError("bound must be at least 1")
        bits = (bound - 1).bit_length()
        size = (bits + 7) // 8
        while True:
            value = int.from_bytes(self.token(size), "big") & ((1 << bits) - 1)
            if value < bound:
                return value
