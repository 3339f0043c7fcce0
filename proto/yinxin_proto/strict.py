"""Strict, bounded readers for base64url, JSON and ZLIB.

Every parser of this project reads through these, so a leniency that an
attacker could use (RFC 4648 padding or stray bits, duplicate members, NaN,
deep nesting, a decompression bomb) is refused in one place.
"""

from __future__ import annotations

import binascii
import json
import zlib
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import rfc8785

from yinxin_proto.error import MalformedError

Json: TypeAlias = Any
"""A value that RFC 8259 can express: dict, list, str, int, float, bool, None."""

MAX_JSON_BYTES: Final = 1 << 20
MAX_JSON_DEPTH: Final = 16
MAX_SAFE_INTEGER: Final = (1 << 53) - 1
"""RFC 8785 §3.2.2.3: integers beyond this do not survive every JSON reader."""

_PADDING: Final = (b"", b"", b"==", b"=")
_LAST_CHARACTERS: Final = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")
"""By length mod 4: the characters whose unused low bits are zero. Any other in
the last place would give one value several spellings."""
# The standard alphabet's own + / = become a blank, which stands for no value.
_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/   ")
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")


def b64url_encode(data: bytes) -> str:
    """Encode as base64url without padding (RFC 7515 §2)."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


def b64url_decode(text: str | bytes, *, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    """Decode base64url, refusing every encoding but the canonical one.

    Args:
        text: Characters of the URL-safe alphabet, no padding, no white space.
        max_bytes: Bound on the decoded size.

    Raises:
        MalformedError: Padding, a foreign character, stray trailing bits, or
            more than ``max_bytes``.
    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
        tail = len(raw) & 3
        if tail and (tail == 1 or raw[-1] not in _LAST_CHARACTERS[tail]):
            raise MalformedError(
                "base64url: a wrong length, or stray bits after the last byte", reason="BASE64URL"
            )
        if len(raw) * 3 >> 2 > max_bytes:
            raise MalformedError(f"base64url: more than {max_bytes} bytes", reason="TOO_LARGE")
        # Outside strict mode, which is slower, foreign characters are skipped:
        # the result is then too short.
        data = binascii.a2b_base64(raw.translate(_TO_STANDARD) + _PADDING[tail])
    except (UnicodeEncodeError, binascii.Error) as error:
        raise _not_base64url() from error
    if len(data) != len(raw) * 3 >> 2:
        raise _not_base64url()
    return data


def _not_base64url() -> MalformedError:
    return MalformedError(
        "base64url: a character outside the URL-safe alphabet", reason="BASE64URL"
    )


def _unique_members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedError("JSON: a member occurs twice", reason="JSON_DUPLICATE_MEMBER")
    return members


def _refuse_constant(_: str) -> Json:
    raise MalformedError("JSON: NaN and Infinity are not JSON", reason="JSON")


def _bounded_integer(digits: str) -> float:
    if len(digits) < 16:
        # RFC 8785 writes -0 as 0; a float tells that the two are spelt differently.
        return int(digits) or (-0.0 if digits == "-0" else 0)
    # Length before value: int() of a million digits takes seconds.
    if len(digits) > 17 or not -MAX_SAFE_INTEGER <= int(digits) <= MAX_SAFE_INTEGER:
        raise MalformedError("JSON: an integer beyond ±(2^53-1)", reason="JSON_NUMBER")
    return int(digits)


def _bounded_float(digits: str) -> float:
    value = float(digits) if len(digits) <= 40 else float("inf")
    if value in (float("inf"), float("-inf")):
        raise MalformedError("JSON: a number out of range", reason="JSON_NUMBER")
    return value


_DECODER: Final[Any] = json.JSONDecoder(
    object_pairs_hook=_unique_members,
    parse_constant=_refuse_constant,
    parse_int=_bounded_integer,
    parse_float=_bounded_float,
)
SCAN_JSON: Final[Callable[[str, int], tuple[Json, int]]] = _DECODER.scan_once
"""The bare scanner under `parse_json`, for a hot path that itself bounds size
and depth and refuses trailing text and escaped surrogates. Raises ValueError,
StopIteration or RecursionError besides `MalformedError`."""
_ENCODE: Final = json.JSONEncoder(
    ensure_ascii=False,
    check_circular=False,
    allow_nan=False,
    sort_keys=True,
    separators=(",", ":"),
).encode
_BLANKS: Final = " \t\r\n"
_TEXT: Final = frozenset({str})
_SIMPLE: Final = frozenset({str, bool, type(None)})
_WHOLE: Final = _SIMPLE | {int}


def parse_json(
    data: bytes, *, max_bytes: int = MAX_JSON_BYTES, max_depth: int = MAX_JSON_DEPTH
) -> Json:
    """Parse one JSON text (RFC 8259) strictly.

    Args:
        data: UTF-8 without a byte-order mark.
        max_bytes: Bound on the text's size.
        max_depth: Bound on nested objects and arrays.

    Raises:
        MalformedError: Not JSON; a member twice; too large or too deep; a
            number that does not survive every reader; a lone surrogate.
    """
    if len(data) > max_bytes:
        raise MalformedError(f"JSON: more than {max_bytes} bytes", reason="TOO_LARGE")
    try:
        text = str(data, "utf-8")
        start = 0 if text[0] not in _BLANKS else len(text) - len(text.lstrip(_BLANKS))
        value, end = SCAN_JSON(text, start)
        if end != len(text) and text[end:].strip(_BLANKS):
            raise MalformedError("JSON: text after the value", reason="JSON")
        # A text cannot nest deeper than it has openings, nor can a value hold
        # half a surrogate pair that the text does not spell as an escape.
        if data.count(b"{") + data.count(b"[") > max_depth and _is_deeper(value, max_depth):
            raise _too_deep(max_depth)
        if b"\\" in data and (b"\\ud" in data or b"\\uD" in data):
            _ENCODE(value).encode("utf-8")
    except RecursionError as error:
        raise _too_deep(max_depth) from error
    except (ValueError, IndexError, StopIteration) as error:
        raise MalformedError("JSON: not one well-formed UTF-8 JSON text", reason="JSON") from error
    return value


def parse_json_object(
    data: bytes, *, max_bytes: int = MAX_JSON_BYTES, max_depth: int = MAX_JSON_DEPTH
) -> dict[str, Json]:
    """Parse one JSON text whose value must be an object; see `parse_json`."""
    value = parse_json(data, max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(value, dict):
        raise MalformedError("JSON: an object was expected", reason="JSON")
    return value


def _too_deep(max_depth: int) -> MalformedError:
    return MalformedError(f"JSON: nested deeper than {max_depth} levels", reason="TOO_DEEP")


def _is_deeper(value: Json, max_depth: int) -> bool:
    """Whether containers nest more than ``max_depth`` deep; one level per turn."""
    level = [value]
    for _ in range(max_depth):
        level = [
            member
            for container in level
            if isinstance(container, dict | list)
            for member in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return False
    return any(isinstance(member, dict | list) for member in level)


def canonical_json(value: Json) -> bytes:
    """Serialise by the JSON Canonicalization Scheme (RFC 8785).

    Raises:
        MalformedError: A value that JSON cannot express, or an integer beyond
            ±(2^53-1).
    """
    try:
        if _is_plain(value):
            return _ENCODE(value).encode("utf-8")
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise MalformedError("JSON: a value that RFC 8785 cannot express", reason="JSON") from error


def _is_plain(value: Json) -> bool:
    """Whether the standard encoder, five times faster, writes the same bytes.

    It differs in fractions, in integers beyond 2^53, and in the order of names
    beyond ASCII (RFC 8785 sorts by UTF-16 units).
    """
    kind: type = type(value)
    if kind is dict:
        if not (_TEXT.issuperset(map(type, value)) and "".join(value).isascii()):
            return False
        members = value.values()
    elif kind is list:
        members = value
    else:
        return kind in _SIMPLE or (
            kind is int and bool(-MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER)
        )
    return all(_is_plain(member) for member in members if type(member) not in _SIMPLE)


def parse_canonical_json(data: bytes, *, max_bytes: int, max_depth: int = MAX_JSON_DEPTH) -> Json:
    """Parse a text that must already be in RFC 8785 form, byte for byte."""
    value = parse_json(data, max_bytes=max_bytes, max_depth=max_depth)
    if not (_is_bare(data) and _is_ordered(value)) and canonical_json(value) != data:
        raise MalformedError("JSON: not in RFC 8785 form", reason="JSON_NOT_CANONICAL")
    return value


def _is_bare(data: bytes) -> bool:
    """Whether a text has no escapes and no blanks, which RFC 8785 might write otherwise.

    A text that has some may be in that form; it must be written anew to tell.
    """
    return not (b"\\" in data or b" " in data or b"\n" in data or b"\r" in data or b"\t" in data)


def _is_ordered(value: Json) -> bool:
    """Whether RFC 8785 leaves every number and the members' order as they are."""
    kind: type = type(value)
    if kind is dict:
        if list(value) != sorted(value) or not "".join(value).isascii():
            return False
        members = value.values()
    elif kind is list:
        members = value
    else:
        return kind in _WHOLE
    return all(_is_ordered(member) for member in members if type(member) not in _WHOLE)


def inflate(data: bytes, *, max_bytes: int) -> bytes:
    """Decompress one ZLIB stream (RFC 1950) of at most ``max_bytes``.

    Raises:
        MalformedError: Not ZLIB, truncated, trailing bytes, or larger.
    """
    decompressor = zlib.decompressobj()
    try:
        inflated = decompressor.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise MalformedError("ZLIB: not a well-formed stream", reason="ZLIB") from error
    if len(inflated) > max_bytes:
        raise MalformedError(f"ZLIB: inflates beyond {max_bytes} bytes", reason="TOO_LARGE")
    if not decompressor.eof or decompressor.unused_data:
        raise MalformedError("ZLIB: truncated, or bytes after the stream", reason="ZLIB")
    return inflated
