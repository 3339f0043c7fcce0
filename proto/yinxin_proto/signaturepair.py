"""The two spellings of an (r, s) signature over a 256-bit curve.

JOSE has r ‖ s of 64 bytes (RFC 7518 §3.4); X.509 has SEQUENCE {INTEGER r,
INTEGER s} in DER (RFC 5480 §2.2.3, GM/T 0009). ES256 and SM2 share them.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from yinxin_proto.error import MalformedError

HALF_BYTES: Final = 32
PAIR_BYTES: Final = 2 * HALF_BYTES


def to_der(pair: bytes) -> bytes:
    """Write SEQUENCE {INTEGER r, INTEGER s} by hand; the caller has checked the length.

    On the verifier's hot path: half the cost of going through two big integers.
    """
    r = pair[:HALF_BYTES].lstrip(b"\0") or b"\0"
    s = pair[HALF_BYTES:].lstrip(b"\0") or b"\0"
    if r[0] > 0x7F:
        r = b"\0" + r
    if s[0] > 0x7F:
        s = b"\0" + s
    return b"\x30%c\x02%c%b\x02%c%b" % (len(r) + len(s) + 4, len(r), r, len(s), s)


def from_der(der: bytes, *, suite: str) -> bytes:
    """Read r ‖ s from DER.

    Args:
        der: Content of an X.509 BIT STRING.
        suite: Name of the suite, for the message.

    Raises:
        MalformedError: Not DER of two integers of 0 … 2²⁵⁶-1 (``SIGNATURE``).
    """
    try:
        r, s = decode_dss_signature(der)
        return r.to_bytes(HALF_BYTES, "big") + s.to_bytes(HALF_BYTES, "big")
    except (ValueError, OverflowError) as error:
        raise MalformedError(f"{suite}: not a DER signature", reason="SIGNATURE") from error
