"""Taking DER (X.690) apart without re-encoding it.

A signature covers bytes, so the parts of a certificate are compared and
verified as the slices that were received.
"""

from __future__ import annotations

from typing import Final

from yinxin_proto.error import MalformedError

_INTEGER: Final = 0x02
_OID: Final = 0x06
_SEQUENCE: Final = 0x30
_MAX_OID_BYTES: Final = 64
_LONG_FORM: Final = 0x80
_MULTI_BYTE_TAG: Final = 0x1F


def elements(sequence: bytes) -> list[bytes]:
    """Split a SEQUENCE into its elements, each with its own tag and length.

    Raises:
        MalformedError: Not exactly one SEQUENCE whose elements have one-byte
            tags and minimal, definite lengths (reason ``DER``).
    """
    return split(content(sequence, _SEQUENCE))


def content(element: bytes, tag: int) -> bytes:
    """Return the content of exactly one element with a one-byte tag.

    Raises:
        MalformedError: Another tag, or not one element in definite, minimal
            form (reason ``DER``).
    """
    start, end = _content(element, 0)
    if element[0] != tag or end != len(element):
        raise _malformed()
    return element[start:]


def split(content: bytes) -> list[bytes]:
    """Split the content of a constructed element into the elements in it.

    Raises:
        MalformedError: Not a run of such elements (reason ``DER``).
    """
    position, found = 0, []
    while position < len(content):
        _, stop = _content(content, position)
        found.append(content[position:stop])
        position = stop
    return found


def integer(element: bytes) -> int:
    """Return an INTEGER in minimal form.

    Raises:
        MalformedError: Something else (reason ``DER``).
    """
    value = content(element, _INTEGER)
    if not value or (len(value) > 1 and value[0] in (0x00, 0xFF) and (value[0] ^ value[1]) < 0x80):
        raise _malformed()
    return int.from_bytes(value, "big", signed=True)


def dotted(element: bytes) -> str:
    """Return an OBJECT IDENTIFIER as text: arcs with dots between them.

    Raises:
        MalformedError: Something else (reason ``DER``).
    """
    value, arcs, arc = content(element, _OID), [], 0
    if not value or value[-1] & 0x80 or len(value) > _MAX_OID_BYTES:
        raise _malformed()
    for octet in value:
        if arc == 0 and octet == 0x80:
            raise _malformed()
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _content(data: bytes, position: int) -> tuple[int, int]:
    """Return where the content of the element at ``position`` starts and ends."""
    start = position + 2
    if start > len(data) or data[position] & _MULTI_BYTE_TAG == _MULTI_BYTE_TAG:
        raise _malformed()
    length = data[position + 1]
    if length >= _LONG_FORM:
        octets = data[start : start + length - _LONG_FORM]
        start += len(octets)
        length = int.from_bytes(octets, "big")
        # One octet only beyond 127, no leading zero; no octets at all would be
        # the indefinite form.
        if length < _LONG_FORM or octets[0] == 0:
            raise _malformed()
    if start + length > len(data):
        raise _malformed()
    return start, start + length


def _malformed() -> MalformedError:
    return MalformedError(
        "DER: not what is expected, or not in definite, minimal form", reason="DER"
    )
