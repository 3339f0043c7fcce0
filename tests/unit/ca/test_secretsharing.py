from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import SeededEntropy
from yinxin_ca import secretsharing
from yinxin_ca.secretsharing import MAX_POINTS, combine, split
from yinxin_proto.error import InvalidArgumentError


class _Bytes:
    """An entropy that gives out what it is told to."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def token(self, size: int) -> bytes:
        head, self._content = self._content[:size], self._content[size:]
        return head

    def below(self, bound: int) -> int:
        raise NotImplementedError


def _product(a: int, b: int) -> int:
    """Multiply polynomials over GF(2) and reduce by x⁸ + x⁴ + x³ + x + 1, the long way."""
    product = 0
    for bit in range(8):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(15, 7, -1):
        if product >> bit & 1:
            product ^= 0x11B << (bit - 8)
    return product


def test_the_field_is_that_of_aes() -> None:
    assert secretsharing._multiply(0x57, 0x83) == 0xC1  # FIPS 197 §4.2
    for a, b in itertools.product(range(256), repeat=2):
        assert secretsharing._multiply(a, b) == _product(a, b)
    assert all(_product(a, secretsharing._inverse(a)) == 1 for a in range(1, 256))


@given(st.binary(min_size=1, max_size=48), st.data())
def test_any_threshold_of_points_gives_the_secret_back(secret: bytes, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 8))
    threshold = data.draw(st.integers(2, count))
    entropy = SeededEntropy(data.draw(st.integers(0, 1 << 30)))
    points = split(secret, threshold=threshold, count=count, entropy=entropy)
    chosen = data.draw(st.permutations(range(1, count + 1)))
    size = data.draw(st.integers(threshold, count))
    assert combine({i: points[i - 1] for i in chosen[:size]}) == secret


def test_every_subset_of_five_gives_it_back() -> None:
    secret = SeededEntropy(1).token(32)
    points = split(secret, threshold=3, count=5, entropy=SeededEntropy(2))
    for size in (3, 4, 5):
        for chosen in itertools.combinations(range(1, 6), size):
            assert combine({i: points[i - 1] for i in chosen}) == secret
    for chosen in itertools.combinations(range(1, 6), 2):
        assert combine({i: points[i - 1] for i in chosen}) != secret


def test_one_point_fewer_is_equally_consistent_with_every_secret() -> None:
    # Of every secret byte and every polynomial of degree 1: what the holder of
    # one point sees is distributed the same, whatever the secret is.
    seen = [
        Counter(
            split(bytes([secret]), threshold=2, count=3, entropy=_Bytes(bytes([drawn])))[1]
            for drawn in range(256)
        )
        for secret in range(0, 256, 5)
    ]
    assert all(len(counts) == 256 and set(counts.values()) == {1} for counts in seen)


def test_two_of_three_points_fit_every_secret_with_one_more() -> None:
    points = split(b"\x2a", threshold=3, count=4, entropy=SeededEntropy(3))
    known = {1: points[0], 4: points[3]}
    # Each value of the missing point leads to another secret, and all 256 occur.
    assert {combine({**known, 2: bytes([value])}) for value in range(256)} == {
        bytes([secret]) for secret in range(256)
    }


@pytest.mark.parametrize(
    ("threshold", "count"), [(1, 3), (0, 2), (4, 3), (2, 1), (2, MAX_POINTS + 1), (-1, 3)]
)
def test_a_threshold_that_protects_nothing_is_refused(threshold: int, count: int) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        split(b"secret", threshold=threshold, count=count, entropy=SeededEntropy())
    assert caught.value.reason == "THRESHOLD"


@pytest.mark.parametrize("secret", [b"", bytes(1025)])
def test_a_secret_out_of_bounds_is_refused(secret: bytes) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        split(secret, threshold=2, count=3, entropy=SeededEntropy())
    assert caught.value.reason == "SECRET_SIZE"


@pytest.mark.parametrize(
    "points", [{}, {1: b"a"}, {1: b"a", 2: b"ab"}, {0: b"a", 1: b"b"}, {1: b"a", 33: b"b"}]
)
def test_what_no_splitting_gives_is_refused(points: dict[int, bytes]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        combine(points)
    assert caught.value.reason == "POINTS"
