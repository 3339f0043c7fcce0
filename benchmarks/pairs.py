"""Times two operations in turn, and reports their ratio.

Machines are noisy and share cores, so an absolute time says little; the ratio
of two operations timed one right after the other says much. pytest-benchmark
runs one thing many times and then the next, so the pairs are made here and
handed to it, one pair a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable
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
    bar: float
    higher_is_better: bool

    @property
    def is_met(self) -> bool:
        """Whether the ratio is on the right side of its bar."""
        return self.ratio >= self.bar if self.higher_is_better else self.ratio <= self.bar

    def line(self) -> str:
        """Return one row of the report."""
        sign = "≥" if self.higher_is_better else "≤"
        verdict = "met" if self.is_met else "MISSED"
        return (
            f"{self.name:<58} {self.ratio:6.2f}  [{self.low:.2f}–{self.high:.2f}]  "
            f"bar {sign} {self.bar:<4}  {verdict:<6}  "
            f"{self.reference_s * 1e6:10.1f} µs  {self.subject_s * 1e6:10.1f} µs  n={self.pairs}"
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
    bar: float
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


def timed(work: Callable[[], object], *, repeat: int = 1) -> Timed:
    """Return a `Timed` of the mean wall time of ``work`` over ``repeat`` calls."""

    def run() -> float:
        start = time.perf_counter()
        for _ in range(repeat):
            work()
        return (time.perf_counter() - start) / repeat

    return run
