"""SM2 keys in DER: the one spelling of each that is accepted.

SubjectPublicKeyInfo has a named curve and an uncompressed point (GB/T 20518,
RFC 5480 §2); PKCS#8 has an ECPrivateKey (RFC 5915). Lengths are fixed, so each
form is a template, and anything else is refused rather than interpreted.
"""

from __future__ import annotations

from typing import Final

from yinxin_proto import sm2curve
from yinxin_proto.error import MalformedError

SCALAR_BYTES: Final = 32
POINT_BYTES: Final = 64

_CURVE: Final = bytes.fromhex("06082a811ccf5501822d")
_ALGORITHM: Final = bytes.fromhex("301306072a8648ce3d0201") + _CURVE
_SPKI: Final = b"\x30\x59" + _ALGORITHM + bytes.fromhex("03420004")
_POINT_MEMBER: Final = bytes.fromhex("a14403420004")
_CURVE_MEMBER: Final = b"\xa0\x0a" + _CURVE
_SCALAR_MEMBER: Final = bytes.fromhex("0201010420")


def public_info(point: bytes) -> bytes:
    """Return DER SubjectPublicKeyInfo of x ‖ y."""
    return _SPKI + point


def read_public_info(spki: bytes) -> bytes:
    """Return x ‖ y of DER SubjectPublicKeyInfo.

    Raises:
        MalformedError: Not an SM2 key in this form, or not a point of the
            curve (reason ``KEY``).
    """
    if len(spki) != len(_SPKI) + POINT_BYTES or not spki.startswith(_SPKI):
        raise MalformedError("SM2: not the uncompressed encoding of a key", reason="KEY")
    return check_point(spki[len(_SPKI) :])


def check_point(point: bytes) -> bytes:
    """Return x ‖ y when it is on the curve.

    Raises:
        MalformedError: It is not (reason ``KEY``).
    """
    half = sm2curve.COORDINATE_BYTES
    x, y = int.from_bytes(point[:half], "big"), int.from_bytes(point[half:], "big")
    if len(point) != POINT_BYTES or not sm2curve.is_on_curve(x, y):
        raise MalformedError("SM2: the point is not on the curve", reason="KEY")
    return point


def private_info(scalar: bytes, point: bytes | None = None) -> bytes:
    """Return DER PKCS#8, with the public key where it is given."""
    tail = b"" if point is None else _POINT_MEMBER + point
    return _wrap(_SCALAR_MEMBER + scalar + tail)


def read_private_info(pkcs8: bytes) -> tuple[bytes, bytes | None]:
    """Return the scalar of DER PKCS#8, and x ‖ y where they are there.

    Raises:
        MalformedError: Not an SM2 key in such a form, a scalar outside
            1 … n-2 or a point off the curve (reason ``KEY``).
    """
    for tail in (_POINT_MEMBER, _CURVE_MEMBER + _POINT_MEMBER, _CURVE_MEMBER, b""):
        rest = POINT_BYTES if tail.endswith(_POINT_MEMBER) else 0
        template = _wrap(_SCALAR_MEMBER + bytes(SCALAR_BYTES) + tail + bytes(rest))
        if len(template) != len(pkcs8):
            continue
        end = len(pkcs8) - rest
        start = end - len(tail) - SCALAR_BYTES
        scalar, point = pkcs8[start : start + SCALAR_BYTES], pkcs8[end:]
        if pkcs8 == _wrap(_SCALAR_MEMBER + scalar + tail + point):
            return check_scalar(scalar), check_point(point) if rest else None
    raise MalformedError("SM2: not a DER PKCS#8 private key", reason="KEY")


def check_scalar(scalar: bytes) -> bytes:
    """Return a private scalar when it is one of 1 … n-2 (GB/T 32918.1 §6.1).

    Raises:
        MalformedError: It is not (reason ``KEY``).
    """
    if len(scalar) != SCALAR_BYTES or not 1 <= int.from_bytes(scalar, "big") <= sm2curve.N - 2:
        raise MalformedError("SM2: the private key is out of range", reason="KEY")
    return scalar


def _wrap(members: bytes) -> bytes:
    inner = _element(0x30, members)
    return _element(0x30, b"\x02\x01\x00" + _ALGORITHM + _element(0x04, inner))


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    return (bytes([tag, size]) if size < 0x80 else bytes([tag, 0x81, size])) + content
