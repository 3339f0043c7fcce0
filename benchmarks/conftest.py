"""One table of ratios at the end of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from pairs import HEADING, MIN_PAIRS, Pairs, Ratio

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

_RESULTS: list[Ratio] = []


@pytest.fixture
def compare(benchmark: BenchmarkFixture) -> Callable[[Pairs], Ratio]:
    """Run a comparison as rounds of pytest-benchmark; the bar is reported, not asserted."""

    def run(pairs: Pairs, rounds: int = MIN_PAIRS) -> Ratio:
        benchmark.pedantic(pairs.run_pair, rounds=rounds, iterations=1, warmup_rounds=0)
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
    terminalreporter.section("ratios: medians of interleaved pairs [quartiles]")
    terminalreporter.write_line(HEADING)
    for result in _RESULTS:
        terminalreporter.write_line(result.line())
