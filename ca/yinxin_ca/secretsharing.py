"""Shamir's secret sharing over GF(256), byte by byte.

Each byte of the secret is the constant term of a random polynomial of degree
``threshold - 1``; a point is that polynomial at the point's own index, for
every byte. Any ``threshold`` points give the secret back, one fewer says
nothing about it: every secret is equally consistent with them.

The field is that of AES (x⁸ + x⁴ + x³ + x + 1). Multiplication uses neither
tables nor branches on what it multiplies, as far as Python allows; it runs on a
machine that is offline, for a moment, a few times a year.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from yinxin_proto.clock import Entropy
from yinxin_proto.error import InvalidArgumentError

MAX_POINTS: Final = 32
"""More custodians than any ceremony has; the field would allow 255."""
MIN_THRESHOLD: Final = 2
"""One of n is no threshold: each could act alone."""
MAX_SECRET_BYTES: Final = 1024

_REDUCTION: Final = 0x1B


def split(secret: bytes, *, threshold: int, count: int, entropy: Entropy) -> tuple[bytes, ...]:
    """Return ``count`` points, the one at position i having the index i + 1.

    Args:
        secret: 1 to 1,024 bytes.
        threshold: How many points give the secret back, 2 to ``count``.
        count: How many points there are, at most 32.
        entropy: Draws the polynomials.

    Raises:
        InvalidArgumentError: Numbers out of bounds (``THRESHOLD``), or a secret
            of another size (``SECRET_SIZE``).
    """
    check_threshold(threshold, count)
    if not 1 <= len(secret) <= MAX_SECRET_BYTES:
        raise InvalidArgumentError(
            f"a secret to be shared is 1 to {MAX_SECRET_BYTES} bytes", reason="SECRET_SIZE"
        )
    # The highest coefficient may be zero: drawing it otherwise would tell
    # those who lack one point which secrets are impossible.
    higher = [entropy.token(len(secret)) for _ in range(threshold - 1)]
    return tuple(_evaluate(secret, higher, index) for index in range(1, count + 1))


def combine(points: Mapping[int, bytes]) -> bytes:
    """Return the secret that points agree on; the caller has counted them.

    Fewer points than the threshold, or a false one, give a wrong secret and no
    error: whoever calls must be able to tell (`yinxin_ca.share` does).

    Args:
        points: Two or more, by index.

    Raises:
        InvalidArgumentError: Indexes or sizes that no splitting gives (``POINTS``).
    """
    sizes = {len(point) for point in points.values()}
    indexes_fit = all(1 <= index <= MAX_POINTS for index in points)
    if len(points) < MIN_THRESHOLD or len(sizes) != 1 or not indexes_fit:
        raise InvalidArgumentError("these are not points of one secret", reason="POINTS")
    secret = bytes(sizes.pop())
    for index, point in points.items():
        weight = _weight_at_zero(index, points)
        secret = bytes(s ^ _multiply(weight, p) for s, p in zip(secret, point, strict=True))
    return secret


def check_threshold(threshold: int, count: int) -> None:
    """Refuse a threshold that protects nothing, or that nobody could reach.

    Raises:
        InvalidArgumentError: Not 2 ≤ threshold ≤ count ≤ 32 (``THRESHOLD``).
    """
    if not MIN_THRESHOLD <= threshold <= count <= MAX_POINTS:
        raise InvalidArgumentError(
            f"a threshold is {MIN_THRESHOLD} at least and at most the number of custodians, "
            f"of whom there are at most {MAX_POINTS}",
            reason="THRESHOLD",
        )


def _evaluate(secret: bytes, higher: list[bytes], index: int) -> bytes:
    """Evaluate the polynomials at ``index``, by Horner's rule."""
    value = bytes(len(secret))
    for coefficients in [*reversed(higher), secret]:
        value = bytes(_multiply(v, index) ^ c for v, c in zip(value, coefficients, strict=True))
    return value


def _weight_at_zero(index: int, points: Mapping[int, bytes]) -> int:
    """Return Lagrange's coefficient of a point for the constant term."""
    numerator = denominator = 1
    for other in points:
        if other != index:
            numerator = _multiply(numerator, other)
            denominator = _multiply(denominator, index ^ other)
    return _multiply(numerator, _inverse(denominator))


def _multiply(a: int, b: int) -> int:
    product = 0
    for _ in range(8):
        product ^= a & -(b & 1)
        a = (a << 1 & 0xFF) ^ (_REDUCTION & -(a >> 7))
        b >>= 1
    return product


def _inverse(a: int) -> int:
    """Return a²⁵⁴, which is 1/a for every a but 0."""
    result, power = 1, a
    for _ in range(7):
        power = _multiply(power, power)
        result = _multiply(result, power)
    return result
