"""One small real region for a test, behind a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import yinxin
from support.fake_region import FakeRegion
from yinxin import Client, Context


@pytest.fixture
def region() -> FakeRegion:
    return FakeRegion()


@pytest.fixture
def address(region: FakeRegion) -> Iterator[str]:
    with region.serve() as served:
        yield served


@pytest.fixture
def client(region: FakeRegion, address: str) -> Iterator[Client]:
    with yinxin.connect(address, credentials=region.credentials()) as made:
        yield made


@pytest.fixture
def context() -> Context:
    return Context("不动产转移登记", case_number="SL20260101000001", operator="窗口01")
