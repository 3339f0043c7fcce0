"""One table of ratios at the end of a run."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from pairs import HEADING, MIN_PAIRS, Pairs, Ratio

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

BUSY = 1.5
"""Load average above which somebody else is at work; a run by itself stays near 1."""
_RESULTS: list[Ratio] = []


@pytest.fixture
def compare(benchmark: BenchmarkFixture) -> Callable[[Pairs], Ratio]:
    """Run a comparison as rounds of pytest-benchmark; the bar is reported, not asserted."""

    def run(pairs: Pairs, rounds: int = MIN_PAIRS) -> Ratio:
        run_rounds: Callable[..., None] = benchmark.pedantic
        run_rounds(pairs.run_pair, rounds=rounds, iterations=1, warmup_rounds=0)
        result = pairs.result()
        benchmark.extra_info.update(
            ratio=result.ratio, low=result.low, high=result.high, bar=result.bar, pairs=result.pairs
        )
        _RESULTS.append(result)
        return result

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the ratios: medians of interleaved pairs, quartiles, bar, medians of both costs."""
    if not _RESULTS:
        return
    terminalreporter.section("ratios: medians of interleaved pairs")
    terminalreporter.write_line(HEADING)
    for result in _RESULTS:
        terminalreporter.write_line(result.line())
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    terminalreporter.write_line(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; load averages now: {load}"
    )
    if os.getloadavg()[0] > BUSY:
        terminalreporter.write_line(
            "Others used this machine: what runs in the interpreter suffers more from it than "
            "what runs in libraries, so the ratios are worse than they would be alone."
        )
