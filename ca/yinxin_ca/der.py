"""The little DER (X.690) that putting another signature on X.509 needs.

cryptography's builders encode certificates and CRLs, but sign only with keys
of their own. Here their output is taken apart, so that the bytes to be signed
can name any suite and be signed by any `Signer`, in hardware or not.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509

from yinxin_proto.error import MalformedError

_SEQUENCE: Final = 0x30
_BIT_STRING: Final = 0x03
_OID: Final = 0x06


def elements(sequence: bytes) -> list[bytes]:
    """Split a SEQUENCE into its elements, each with its own tag and length.

    Raises:
        MalformedError: Not exactly one SEQUENCE in definite, minimal form.
    """
    if sequence[:1] != bytes([_SEQUENCE]):
        raise _malformed()
    start, end = _content(sequence, 0)
    if end != len(sequence):
        raise _malformed()
    found = []
    while start < end:
        _, stop = _content(sequence, start)
        found.append(sequence[start:stop])
        start = stop
    if start != end:
        raise _malformed()
    return found


def bits(bit_string: bytes) -> bytes:
    """Return what a BIT STRING of whole bytes holds.

    Raises:
        MalformedError: Something else.
    """
    start, end = _content(bit_string, 0)
    if bit_string[0] != _BIT_STRING or end != len(bit_string) or bit_string[start:][:1] != b"\0":
        raise MalformedError("DER: not a BIT STRING of whole bytes", reason="DER")
    return bit_string[start + 1 :]


def sequence(*parts: bytes) -> bytes:
    """Encode a SEQUENCE of elements that are already encoded."""
    return _encode(_SEQUENCE, b"".join(parts))


def algorithm(oid: x509.ObjectIdentifier) -> bytes:
    """Encode an AlgorithmIdentifier without parameters (RFC 5758 §3.2 and its like)."""
    arcs = [int(arc) for arc in oid.dotted_string.split(".")]
    content = b"".join(_base128(arc) for arc in [40 * arcs[0] + arcs[1], *arcs[2:]])
    return sequence(_encode(_OID, content))


def signed(tbs: bytes, oid: x509.ObjectIdentifier, signature: bytes) -> bytes:
    """Encode ``SIGNED{tbs}`` (RFC 5280 §4.1): a Certificate or CertificateList."""
    return sequence(tbs, algorithm(oid), _encode(_BIT_STRING, b"\x00" + signature))


def _base128(arc: int) -> bytes:
    digits = [arc & 0x7F]
    while arc := arc >> 7:
        digits.append(0x80 | arc & 0x7F)
    return bytes(reversed(digits))


def _encode(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _content(data: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the element at ``at`` starts and ends."""
    if at + 2 > len(data) or data[at] & 0x1F == 0x1F:
        raise _malformed()
    size, start = data[at + 1], at + 2
    if size >= 0x80:
        octets = size & 0x7F
        encoded = data[start : start + octets]
        if not 1 <= octets <= 4 or len(encoded) != octets or encoded[0] == 0:
            raise _malformed()
        size, start = int.from_bytes(encoded, "big"), start + octets
        if size < 0x80:
            raise _malformed()
    if start + size > len(data):
        raise _malformed()
    return start, start + size


def _malformed() -> MalformedError:
    return MalformedError("DER: not one well-formed SEQUENCE", reason="DER")
