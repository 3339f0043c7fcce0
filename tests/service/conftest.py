"""Running regions, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.running_region import RunningRegion, running_on


@pytest.fixture(scope="module")
def running() -> Iterator[RunningRegion]:
    """A running region on SQLite."""
    with running_on("sqlite") as region:
        yield region


@pytest.fixture(
    scope="module",
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)],
)
def stored(request: pytest.FixtureRequest) -> Iterator[RunningRegion]:
    """A running region on each database."""
    with running_on(request.param) as region:
        yield region
