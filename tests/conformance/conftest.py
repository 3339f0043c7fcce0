"""Where data that others made is found: ``YINXIN_VECTORS``, and nowhere else.

Absent, one loud skip stands for all the tests that need it;
``YINXIN_REQUIRE_VECTORS=1`` makes absence a failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
VARIABLE = "YINXIN_VECTORS"


def is_absent() -> bool:
    return VARIABLE not in os.environ and os.environ.get("YINXIN_REQUIRE_VECTORS") != "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    waiting = [
        item
        for item in items
        if isinstance(item, pytest.Function)
        and "vectors" in item.fixturenames
        and item.path.is_relative_to(HERE)
    ]
    if not waiting or not is_absent():
        return
    spokesman, *silent = waiting
    reason = f"CONFORMANCE NOT CHECKED: {len(waiting)} tests need {VARIABLE}, a directory"
    spokesman.add_marker(pytest.mark.skip(reason=reason))
    config.hook.pytest_deselected(items=silent)
    items[:] = [item for item in items if item not in silent]


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The directory that ``YINXIN_VECTORS`` names."""
    named = os.environ.get(VARIABLE)
    if named is None or not Path(named).is_dir():
        pytest.fail(f"{VARIABLE} must name the directory of vectors")
    return Path(named)
