"""The curve of SM2 (GB/T 32918.5), and verification on it in pure Python.

Public data alone passes through here: the arithmetic takes a time that depends
on its operands, so nothing in this module may ever see a private key. It
checks points before a library sees them, and verifies where the machine's
libcrypto has no SM2, at about a quarter of libcrypto's rate.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from yinxin_proto.sm3 import sm3

COORDINATE_BYTES: Final = 32
USER_ID: Final = b"1234567812345678"
"""The identity of GM/T 0009 §10, which GB/T 32918.2 hashes into every signature.

Always set: OpenSSL before 4.0 defaults to an empty one, and then refuses
signatures that everybody else accepts."""

P: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A: Final = P - 3
B: Final = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
"""Order of the group."""
G: Final = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)

_Point: TypeAlias = tuple[int, int]
_Jacobian: TypeAlias = tuple[int, int, int]
_INFINITY: Final[_Jacobian] = (1, 1, 0)
_DOMAIN: Final = b"".join(value.to_bytes(COORDINATE_BYTES, "big") for value in (A, B, *G))


def is_on_curve(x: int, y: int) -> bool:
    """Tell whether (x, y) is a point of the curve other than the one at infinity.

    The cofactor is 1, so such a point is in the group.
    """
    return 0 <= x < P and 0 <= y < P and (y * y - (x * x + A) * x - B) % P == 0


def identity_hash(point: bytes) -> bytes:
    """Return Z of GB/T 32918.2 §5.5 for a key, with the fixed identity.

    Args:
        point: x ‖ y, 64 bytes.
    """
    bits = 8 * len(USER_ID)
    return sm3(bits.to_bytes(2, "big") + USER_ID + _DOMAIN + point)


def verify(point: bytes, signature: bytes, message: bytes) -> bool:
    """Check a signature (GB/T 32918.2 §7.1).

    Args:
        point: x ‖ y of a key that is on the curve.
        signature: r ‖ s, 64 bytes.
        message: What was signed.
    """
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    if not (0 < r < N and 0 < s < N):
        return False
    t = (r + s) % N
    if t == 0:
        return False
    digest = int.from_bytes(sm3(identity_hash(point) + message), "big")
    key = int.from_bytes(point[:32], "big"), int.from_bytes(point[32:], "big")
    x = _combine(s, t, key)
    return x is not None and (digest + x) % N == r


def is_scalar(half: bytes) -> bool:
    """Tell whether 32 bytes are an integer of 1 … n-1."""
    return 0 < int.from_bytes(half, "big") < N


def _combine(s: int, t: int, key: _Point) -> int | None:
    """Return the x coordinate of [s]G + [t]key; None at infinity (Shamir's trick)."""
    both = _affine(_add((*key, 1), G))
    sum_: _Jacobian = _INFINITY
    for bit in range(255, -1, -1):
        sum_ = _double(sum_)
        which = (s >> bit & 1) | (t >> bit & 1) << 1
        term = (None, G, key, both)[which]
        if term is not None:
            sum_ = _add(sum_, term)
    found = _affine(sum_)
    return None if found is None else found[0]


def _affine(point: _Jacobian) -> _Point | None:
    x, y, z = point
    if z == 0:
        return None
    inverse = pow(z, -1, P)
    square = inverse * inverse % P
    return x * square % P, y * square * inverse % P


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    if z == 0:
        return _INFINITY
    # a = -3: 3·x² + a·z⁴ = 3·(x - z²)·(x + z²). The order is odd: y is never 0.
    delta, gamma = z * z % P, y * y % P
    beta = x * gamma % P
    alpha = 3 * (x - delta) * (x + delta) % P
    x3 = (alpha * alpha - 8 * beta) % P
    return x3, (alpha * (4 * beta - x3) - 8 * gamma * gamma) % P, 2 * y * z % P


def _add(point: _Jacobian, other: _Point) -> _Jacobian:
    x1, y1, z1 = point
    x2, y2 = other
    if z1 == 0:
        return x2, y2, 1
    square = z1 * z1 % P
    h = (x2 * square - x1) % P
    rise = (y2 * square * z1 - y1) % P
    if h == 0:
        return _double(point) if rise == 0 else _INFINITY
    h2 = h * h % P
    h3 = h * h2 % P
    v = x1 * h2 % P
    x3 = (rise * rise - h3 - 2 * v) % P
    return x3, (rise * (v - x3) - y1 * h3) % P, z1 * h % P
