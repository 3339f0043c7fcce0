from __future__ import annotations

from datetime import UTC

import pytest

from yinxin_edge.clock import SystemClock, SystemEntropy


def test_the_clock_moves_forward_in_utc() -> None:
    clock = SystemClock()
    first = clock.now()
    assert first.tzinfo is UTC
    assert clock.now() >= first


def test_tokens_have_their_size_and_do_not_repeat() -> None:
    entropy = SystemEntropy()
    tokens = {entropy.token(16) for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {16}


@pytest.mark.parametrize("bound", [1, 2, 1 << 17])
def test_numbers_stay_below_their_bound(bound: int) -> None:
    assert all(0 <= SystemEntropy().below(bound) < bound for _ in range(200))
