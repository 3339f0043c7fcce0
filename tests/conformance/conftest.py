"""Where data that others made is found: ``YINXIN_VECTORS``, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The directory that ``YINXIN_VECTORS`` names.

    Absent, the tests that ask for it are skipped for one reason, which pytest
    prints once; ``YINXIN_REQUIRE_VECTORS=1`` makes that a failure.
    """
    named = os.environ.get("YINXIN_VECTORS")
    if named is not None:
        found = Path(named)
        if not found.is_dir():
            pytest.fail("YINXIN_VECTORS does not name a directory")
        return found
    if os.environ.get("YINXIN_REQUIRE_VECTORS") == "1":
        pytest.fail("YINXIN_REQUIRE_VECTORS=1, but YINXIN_VECTORS is not set")
    pytest.skip("CONFORMANCE NOT CHECKED: set YINXIN_VECTORS to the directory of vectors")
