"""The little DER (X.690) that putting another signature on X.509 needs.

cryptography's builders encode certificates and CRLs, but sign only with keys
of their own. What they made is taken apart (`yinxin_proto.der`) and put
together again here, to name any suite and be signed by any `Signer`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from yinxin_proto.der import elements
from yinxin_proto.error import MalformedError

_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_BIT_STRING: Final = 0x03
_OCTET_STRING: Final = 0x04
_OID: Final = 0x06
_TIME: Final = 0x18
_CONTEXT: Final = 0xA0
_LONG_FORM: Final = 0x80


def bits(bit_string: bytes) -> bytes:
    """Return what a BIT STRING of whole bytes holds.

    Raises:
        MalformedError: Something else (reason ``DER``).
    """
    if elements(sequence(bit_string)) != [bit_string] or bit_string[0] != _BIT_STRING:
        raise MalformedError("DER: not a BIT STRING", reason="DER")
    header = 2 + max(0, bit_string[1] - _LONG_FORM)
    if bit_string[header : header + 1] != b"\x00":
        raise MalformedError("DER: not a BIT STRING of whole bytes", reason="DER")
    return bit_string[header + 1 :]


def sequence(*parts: bytes) -> bytes:
    """Encode a SEQUENCE of elements that are already encoded."""
    return _encode(_SEQUENCE, b"".join(parts))


def set_of(*members: bytes) -> bytes:
    """Encode a SET OF elements that are already encoded, in DER's order (X.690 §11.6)."""
    return _encode(_SET, b"".join(sorted(members)))


def algorithm(algorithm_oid: x509.ObjectIdentifier) -> bytes:
    """Encode an AlgorithmIdentifier without parameters (RFC 5758 §3.2 and its like)."""
    return sequence(oid(algorithm_oid.dotted_string))


def signed(
    tbs: bytes, algorithm_oid: x509.ObjectIdentifier, signature: bytes, *more: bytes
) -> bytes:
    """Encode ``SIGNED{tbs}`` (RFC 5280 §4.1): a Certificate, CertificateList or OCSP answer."""
    return sequence(tbs, algorithm(algorithm_oid), _encode(_BIT_STRING, b"\x00" + signature), *more)


def octets(content: bytes) -> bytes:
    """Encode an OCTET STRING."""
    return _encode(_OCTET_STRING, content)


def generalized_time(moment: datetime) -> bytes:
    """Encode a GeneralizedTime to the second, in UTC (RFC 5280 §4.1.2.5.2)."""
    return _encode(_TIME, moment.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").encode())


def oid(dotted: str) -> bytes:
    """Encode an OBJECT IDENTIFIER."""
    arcs = [int(arc) for arc in dotted.split(".")]
    return _encode(_OID, b"".join(_base128(arc) for arc in [40 * arcs[0] + arcs[1], *arcs[2:]]))


def tagged(number: int, content: bytes) -> bytes:
    """Encode a constructed element under a context-specific tag of one byte."""
    return _encode(_CONTEXT | number, content)


def _base128(arc: int) -> bytes:
    digits = [arc & 0x7F]
    while arc := arc >> 7:
        digits.append(0x80 | arc & 0x7F)
    return bytes(reversed(digits))


def _encode(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < _LONG_FORM:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, _LONG_FORM | len(length)]) + length + content
