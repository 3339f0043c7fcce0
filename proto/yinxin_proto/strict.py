"""Strict, bounded readers for base64url, JSON and ZLIB.

Every parser of this project reads through these, so a leniency that an
attacker could use (RFC 4648 padding or stray bits, duplicate members, NaN,
deep nesting, a decompression bomb) is refused in one place.
"""

from __future__ import annotations

import binascii
import json
import re
import zlib
from typing import Any, Final, TypeAlias

import rfc8785

from yinxin_proto.error import MalformedError

Json: TypeAlias = Any
"""A value that RFC 8259 can express: dict, list, str, int, float, bool, None."""

MAX_JSON_BYTES: Final = 1 << 20
MAX_JSON_DEPTH: Final = 16
MAX_SAFE_INTEGER: Final = (1 << 53) - 1
"""RFC 8785 §3.2.2.3: integers beyond this do not survive every JSON reader."""

_PADDING: Final = {0: b"", 2: b"==", 3: b"="}
_URL_ALPHABET: Final = re.compile(rb"[A-Za-z0-9_-]*\Z")
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
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
    if isinstance(text, str):
        if not text.isascii():
            raise MalformedError("base64url: a character outside ASCII", reason="BASE64URL")
        raw = text.encode("ascii")
    else:
        raw = text
    if len(raw) * 3 // 4 > max_bytes:
        raise MalformedError(f"base64url: more than {max_bytes} bytes", reason="TOO_LARGE")
    padding = _PADDING.get(len(raw) % 4)
    if padding is None or _URL_ALPHABET.match(raw) is None:
        raise MalformedError(
            "base64url: a character outside the URL-safe alphabet, padding, or a wrong length",
            reason="BASE64URL",
        )
    data = binascii.a2b_base64(raw.translate(_TO_STANDARD) + padding)
    if padding:
        # The unused low bits of the last character must be zero, or one value
        # would have several spellings (and signatures several encodings).
        last = binascii.b2a_base64(data[-(len(data) % 3) :], newline=False).rstrip(b"=")
        if last[-1:] != raw[-1:].translate(_TO_STANDARD):
            raise MalformedError("base64url: stray bits after the last byte", reason="BASE64URL")
    return data


def _unique_members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedError("JSON: a member occurs twice", reason="JSON_DUPLICATE_MEMBER")
    return members


def _refuse_constant(_: str) -> Json:
    raise MalformedError("JSON: NaN and Infinity are not JSON", reason="JSON")


def _bounded_integer(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > MAX_SAFE_INTEGER:
        raise MalformedError("JSON: an integer beyond ±(2^53-1)", reason="JSON_NUMBER")
    return int(digits)


def _bounded_float(digits: str) -> float:
    value = float(digits)
    if len(digits) > 40 or value in (float("inf"), float("-inf")):
        raise MalformedError("JSON: a number out of range", reason="JSON_NUMBER")
    return value


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_members,
    parse_constant=_refuse_constant,
    parse_int=_bounded_integer,
    parse_float=_bounded_float,
)


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
    # Cheap bound first: a text cannot nest deeper than it has openings.
    if data.count(b"{") + data.count(b"[") > max_depth:
        _check_depth(data, max_depth)
    try:
        text = data.decode("utf-8")
        value, end = _DECODER.raw_decode(text, _leading_space(text))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise MalformedError("JSON: not one well-formed UTF-8 JSON text", reason="JSON") from error
    if text[end:].strip(" \t\r\n"):
        raise MalformedError("JSON: text after the value", reason="JSON")
    if b"\\u" in data:
        _check_surrogates(value)
    return value


def parse_json_object(
    data: bytes, *, max_bytes: int = MAX_JSON_BYTES, max_depth: int = MAX_JSON_DEPTH
) -> dict[str, Json]:
    """Parse one JSON text whose value must be an object; see `parse_json`."""
    value = parse_json(data, max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(value, dict):
        raise MalformedError("JSON: an object was expected", reason="JSON")
    return value


def _leading_space(text: str) -> int:
    return len(text) - len(text.lstrip(" \t\r\n"))


def _check_depth(data: bytes, max_depth: int) -> None:
    depth = 0
    in_string = escaped = False
    for byte in data:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x7B, 0x5B):
            depth += 1
            if depth > max_depth:
                raise MalformedError(
                    f"JSON: nested deeper than {max_depth} levels", reason="TOO_DEEP"
                )
        elif byte in (0x7D, 0x5D):
            depth -= 1


def _check_surrogates(value: Json) -> None:
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise MalformedError("JSON: a lone surrogate", reason="JSON") from error
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_surrogates(name)
            _check_surrogates(member)
    elif isinstance(value, list):
        for member in value:
            _check_surrogates(member)


def canonical_json(value: Json) -> bytes:
    """Serialise by the JSON Canonicalization Scheme (RFC 8785).

    Raises:
        MalformedError: A value that JSON cannot express.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise MalformedError(
            "JSON: a value that RFC 8785 cannot express", reason="JSON"
        ) from error


def parse_canonical_json(data: bytes, *, max_bytes: int, max_depth: int = MAX_JSON_DEPTH) -> Json:
    """Parse a text that must already be in RFC 8785 form, byte for byte."""
    value = parse_json(data, max_bytes=max_bytes, max_depth=max_depth)
    if canonical_json(value) != data:
        raise MalformedError("JSON: not in RFC 8785 form", reason="JSON_NOT_CANONICAL")
    return value


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
