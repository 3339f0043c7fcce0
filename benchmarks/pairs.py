"""Times two operations in turn, and reports their ratio.

Machines are noisy and share cores, so an absolute time says little; the ratio
of two operations timed one right after the other says much. pytest-benchmark
runs one thing many times and then the next, so the pairs are made here and
handed to it, one pair a round.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final

MIN_PAIRS: Final = 15

Timed = Callable[[], float]
"""Does the work once and returns what it cost, in seconds."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """The medians over all pairs of one run."""

    name: str
    ratio: float
    low: float
    """First quartile of the pairs' ratios."""
    high: float
    """Third quartile."""
    reference_s: float
    subject_s: float
    pairs: int
    bar: float | None
    """What the ratio is held against; None for a figure that only informs."""
    higher_is_better: bool

    @property
    def verdict(self) -> str:
        """Which side of its bar the ratio is on, in words."""
        if self.bar is None:
            return ""
        if self.higher_is_better:
            return f"≥ {self.bar:.2f} {'met' if self.ratio >= self.bar else 'MISSED'}"
        return f"≤ {self.bar:.2f} {'met' if self.ratio <= self.bar else 'MISSED'}"

    def line(self) -> str:
        """Return one row of the report; `HEADING` names its columns."""
        return (
            f"{self.name:<62} {self.ratio:6.3f}  {self.low:6.3f}–{self.high:<6.3f}"
            f" {self.verdict:<14} {self.reference_s * 1e6:12.1f} {self.subject_s * 1e6:12.1f}"
            f" {self.pairs:6}"
        )


HEADING: Final = (
    f"{'':<62} {'ratio':>6}  {'quartiles':<13} {'bar':<14} {'raw, µs':>12} {'ours, µs':>12}"
    f" {'pairs':>6}"
)


@dataclass(slots=True)
class Pairs:
    """Collects pairs of a reference and a subject operation.

    The ratio is reference / subject where a higher one is better (a share of
    the raw rate), subject / reference where a lower one is (a multiple of the
    raw cost). Every other pair runs the subject first, so that neither always
    finds the caches warm.
    """

    name: str
    reference: Timed
    subject: Timed
    bar: float | None
    higher_is_better: bool = True
    _reference: list[float] = field(default_factory=list)
    _subject: list[float] = field(default_factory=list)

    def run_pair(self) -> None:
        """Time one pair."""
        if len(self._reference) % 2 == 0:
            first, second = self.reference(), self.subject()
        else:
            second = self.subject()
            first = self.reference()
        self._reference.append(first)
        self._subject.append(second)

    def result(self) -> Ratio:
        """Return the medians."""
        couples = zip(self._reference, self._subject, strict=True)
        ratios = sorted(r / s if self.higher_is_better else s / r for r, s in couples)
        return Ratio(
            name=self.name,
            ratio=median(ratios),
            low=ratios[len(ratios) // 4],
            high=ratios[(3 * len(ratios)) // 4],
            reference_s=median(self._reference),
            subject_s=median(self._subject),
            pairs=len(ratios),
            bar=self.bar,
            higher_is_better=self.higher_is_better,
        )


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Yield what tells, after the block, how long it took; garbage is collected before it."""
    gc.collect()
    taken = [0.0]
    start = time.perf_counter()
    yield lambda: taken[0]
    taken[0] = time.perf_counter() - start


def computed(work: Callable[[], object], *, items: int = 1) -> Timed:
    """Return a `Timed` of the CPU time of ``work``, per item of the ``items`` it does.

    For what only computes: whether the machine gave the core to somebody else
    in between says nothing about either operation.
    """

    def run() -> float:
        gc.collect()
        start = time.thread_time()
        work()
        return (time.thread_time() - start) / items

    return run


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one core, so that both operations run on the same one."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
