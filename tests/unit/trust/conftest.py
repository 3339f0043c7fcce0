"""The small region, on either database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.postgres import temporary_schema
from support.small_region import SmallRegion


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], scope="module"
)
def database_kind(request: pytest.FixtureRequest) -> str:
    """Which database: each test runs on both."""
    return str(request.param)


@pytest.fixture(scope="module")
def small(database_kind: str) -> Iterator[SmallRegion]:
    """A region that the tests of one module share: each uses licences of its own."""
    if database_kind == "sqlite":
        with SmallRegion.found() as region:
            yield region
    else:
        with temporary_schema() as url, SmallRegion.found(url) as region:
            yield region
