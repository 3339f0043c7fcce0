"""Taking DER (X.690) apart without re-encoding it.

A signature covers bytes, so the parts of a certificate are compared and
verified as the slices that were received.
"""

from __future__ import annotations

from typing import Final

from yinxin_proto.error import MalformedError

_SEQUENCE: Final = 0x30
_LONG_FORM: Final = 0x80
_MULTI_BYTE_TAG: Final = 0x1F


def elements(sequence: bytes) -> list[bytes]:
    """Split a SEQUENCE into its elements, each with its own tag and length.

    Raises:
        MalformedError: Not exactly one SEQUENCE whose elements have one-byte
            tags and minimal, definite lengths (reason ``DER``).
    """
    position, end = _content(sequence, 0)
    if sequence[0] != _SEQUENCE or end != len(sequence):
        raise _malformed()
    found = []
    while position < end:
        _, stop = _content(sequence, position)
        found.append(sequence[position:stop])
        position = stop
    return found


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
    return MalformedError("DER: not one SEQUENCE in definite, minimal form", reason="DER")
