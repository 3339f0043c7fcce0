"""Disclosures: putting back what a holder shows of an SD-JWT (RFC 9901 §4.2, §7.1).

A payload holds digests; a disclosure is the text that one of them is the hash
of. Disclosures are decoded, matched and put back in one pass that copies only
what changes: a verifier does this for every licence, so it is written for
speed.

Stricter than the RFC in three places, each with its own reason: base64url must
be canonical, the same disclosure twice is refused (§4: "a Holder MUST NOT send
a Disclosure more than once"), and a nested ``_sd_alg`` is refused (§4.1.1
confines it to the top level).
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, Protocol, TypeAlias

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.sm3 import Sm3
from yinxin_proto.strict import MAX_JSON_DEPTH, SCAN_JSON, Json, b64url_decode, parse_json

DIGESTS: Final = "_sd"
"""Member of an object that lists the digests of its concealed members."""
HASH_NAME: Final = "_sd_alg"
"""Member of the payload that names the hash of all digests."""
DOTS: Final = "..."
"""The one member of an object that stands for a concealed array element."""
DEFAULT_HASH: Final = "sha-256"
SM3_HASH: Final = "sm3"
"""SM3 (GB/T 32905), a private name: the registry of hashes has none for it."""
RESERVED: Final = {
    DIGESTS: "RESERVED_CLAIM_SD",
    DOTS: "RESERVED_CLAIM_DOTS",
    HASH_NAME: "RESERVED_CLAIM_SD_ALG",
}
"""Names that no claim may have, and the reason when one does (§4.1)."""

MAX_DISCLOSURES: Final = 512
"""Bound on the disclosures of one presentation."""

Hash: TypeAlias = "Callable[[bytes], _Hashing]"
"""A hash function of the registry, in the form of `hashlib`'s constructors."""
Contents: TypeAlias = dict[str, list[Json]]
"""``[salt, name, value]`` or ``[salt, value]`` by digest, as presented."""


class _Hashing(Protocol):
    def digest(self) -> bytes: ...


_HASHES: Final[dict[str, Hash]] = {DEFAULT_HASH: sha256, SM3_HASH: Sm3}

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_NONE: Final = object()


class Disclosure(NamedTuple):
    """One disclosure, decoded. Its repr shows nothing of the subject."""

    encoded: str
    """Base64url text, exactly as it travels; what the digest is over."""
    digest: str
    """Base64url of the hash of ``encoded``."""
    salt: str
    """What makes the digest unguessable; opaque."""
    name: str | None
    """Name of the concealed member; None for an array element."""
    value: Json
    """Its value, which may itself hold digests."""

    def __repr__(self) -> str:
        return f"Disclosure({self.digest!r})"


def hash_function(name: Json) -> Hash:
    """Return the hash that ``_sd_alg`` names (IANA Named Information names).

    Raises:
        MalformedError: Not a string, or no hash of this build
            (``HASH_ALGORITHM``).
    """
    found = _HASHES.get(name) if isinstance(name, str) else None
    if found is None:
        raise MalformedError(
            f"SD-JWT: _sd_alg is not one of {', '.join(_HASHES)}", reason="HASH_ALGORITHM"
        )
    return found


def encode_each(values: Sequence[bytes]) -> list[str]:
    """Encode values of one size, each as base64url without padding.

    All at once: padded to whole groups of three bytes they stay apart in the
    text, which is several times as fast as one by one.
    """
    if not values:
        return []
    size = len(values[0])
    padding = b"\0" * (-size % 3)
    text = b2a_base64(padding.join(values) + padding, newline=False).translate(_TO_URL)
    joined = text.decode("ascii")
    width = (size + 2) // 3 * 4
    used = (size * 8 + 5) // 6
    return [joined[at : at + used] for at in range(0, len(joined), width)]


def read_disclosures(encoded: Sequence[str], hashing: Hash) -> Contents:
    """Decode disclosures and index them by digest (§7.1 step 3.a).

    Args:
        encoded: Base64url texts, as presented.
        hashing: What ``_sd_alg`` names.

    Raises:
        MalformedError: Not canonical base64url; not an array of a salt, a name
            unless for an array element, and a value (``DISCLOSURE_FORM``); a
            reserved name; the same one twice (``DUPLICATE_DISCLOSURE``).
    """
    if len(encoded) > MAX_DISCLOSURES:
        raise MalformedError(f"SD-JWT: more than {MAX_DISCLOSURES} disclosures", reason="TOO_LARGE")
    try:
        texts = [text.encode("ascii") for text in encoded]
    except UnicodeEncodeError as error:
        raise MalformedError("SD-JWT: a character outside ASCII", reason="BASE64URL") from error
    arrays = map(_read_array, map(b64url_decode, texts))
    digests = encode_each([hashing(text).digest() for text in texts])
    contents = dict(zip(digests, arrays, strict=True))
    if len(contents) != len(encoded):
        raise MalformedError("SD-JWT: a disclosure occurs twice", reason="DUPLICATE_DISCLOSURE")
    return contents


def as_disclosures(encoded: Sequence[str], contents: Contents) -> tuple[Disclosure, ...]:
    """Return what `read_disclosures` made of ``encoded``, one object each."""
    return tuple(
        Disclosure(text, digest, array[0], array[1] if len(array) == 3 else None, array[-1])
        for text, (digest, array) in zip(encoded, contents.items(), strict=True)
    )


def _read_array(data: bytes) -> list[Json]:
    array = read_json(data)
    if type(array) is list and type(array[0] if array else None) is str:
        if len(array) == 2:
            return array
        if len(array) == 3 and type(array[1]) is str:
            if array[1] in RESERVED:
                raise _reserved(array[1])
            return array
    raise MalformedError(
        "SD-JWT: a disclosure is an array of a salt, a name and a value, or a salt and a value",
        reason="DISCLOSURE_FORM",
    )


def read_json(data: bytes) -> Json:
    """Parse JSON as `parse_json` does, faster where its care is not needed.

    An escape could hide half a surrogate pair, white space around is rare:
    those go the careful way. Depth is for the caller to bound, as `disclose` does.

    Raises:
        MalformedError: See `parse_json`.
    """
    if b"\\" not in data:
        try:
            text = data.decode("utf-8")
            value, end = SCAN_JSON(text, 0)
            if end == len(text):
                return value
        except (ValueError, StopIteration, RecursionError):
            return parse_json(data)
    return parse_json(data)


def _reserved(name: str) -> MalformedError:
    return MalformedError(f"SD-JWT: {name} where no claim may have it", reason=RESERVED[name])


def disclose(payload: dict[str, Json], contents: Contents) -> dict[str, Json]:
    """Put disclosures back into the payload (§7.1 steps 3.b to 5).

    Args:
        payload: The issuer-signed payload; left as it is. Containers without
            digests are shared with the result.
        contents: What `read_disclosures` made of the presentation.

    Returns:
        The processed payload, without digests and ``_sd_alg``.

    Raises:
        MalformedError: A digest twice (``DUPLICATE_DIGEST``); a reserved name;
            ``_sd`` other than an array of strings (``DIGESTS_FORM``); a member
            where an element belongs, or the reverse (``DISCLOSURE_FORM``); a
            name that its level already has (``CLAIM_COLLISION``); too deep.
        VerificationError: A disclosure that no digest refers to
            (``UNREFERENCED_DISCLOSURE``).
    """
    seen: list[str] = []
    claims = _disclose_object(payload, contents, seen, 1)
    digests = set(seen)
    if len(digests) != len(seen):
        raise MalformedError("SD-JWT: a digest occurs twice", reason="DUPLICATE_DIGEST")
    if not contents.keys() <= digests:
        raise VerificationError(
            "SD-JWT: a disclosure that no digest refers to", reason="UNREFERENCED_DISCLOSURE"
        )
    return claims


def undisclosed(payload: dict[str, Json], contents: Contents) -> frozenset[str]:
    """Return the digests, at whatever depth, of which nothing was presented.

    Of a presentation with every disclosure these are decoys, or what its issuer hid.

    Raises:
        MalformedError: As `disclose`.
    """
    seen: list[str] = []
    _disclose_object(payload, contents, seen, 1)
    return frozenset(seen) - contents.keys()


def check_undisclosed(payload: dict[str, Json]) -> None:
    """Check the digests of a payload of which nothing is disclosed.

    The rules of `disclose` without contents, and nothing is put together: what
    a verifier of many licences mostly does.

    Raises:
        MalformedError: As `disclose`.
    """
    seen: list[str] = []
    pending: list[Json] = [payload]
    for container in pending:
        digests = None
        if type(container) is dict:
            if DOTS in container:
                raise _reserved(DOTS)
            if HASH_NAME in container and container is not payload:
                raise _reserved(HASH_NAME)
            if DIGESTS in container:
                digests = container[DIGESTS]
                _check_digests(digests)
                seen += digests
            members: Iterable[Json] = container.values()
        else:
            members = _shown_elements(container, seen)
        for member in members:
            kind = type(member)
            if (kind is dict or kind is list) and member is not digests:
                pending.append(member)
    if len(pending) > MAX_JSON_DEPTH:
        # Enough containers to nest too deep: let the one who counts decide.
        disclose(payload, {})
    if len(set(seen)) != len(seen):
        raise MalformedError("SD-JWT: a digest occurs twice", reason="DUPLICATE_DIGEST")


def _shown_elements(elements: list[Json], seen: list[str]) -> list[Json]:
    """Return the elements that are no digests, and add the digests to ``seen``."""
    shown = []
    for element in elements:
        if type(element) is dict and DOTS in element:
            _disclosed_element(element, {}, seen)
        else:
            shown.append(element)
    return shown


def _disclose_object(
    source: dict[str, Json], contents: Contents, seen: list[str], depth: int
) -> dict[str, Json]:
    claims = source.copy()
    if DOTS in claims:
        raise _reserved(DOTS)
    if claims.pop(HASH_NAME, _NONE) is not _NONE and depth > 1:
        raise _reserved(HASH_NAME)
    digests = claims.pop(DIGESTS, _NONE)
    for name, value in claims.items():
        kind = type(value)
        if kind is dict or kind is list:
            claims[name] = _disclose_value(value, contents, seen, depth)
    if digests is not _NONE:
        _check_digests(digests)
        seen += digests
        for digest in filter(contents.__contains__, digests) if contents else ():
            _insert(contents[digest], claims, contents, seen, depth)
    return claims


def _check_digests(digests: Json) -> None:
    if type(digests) is not list or not {str}.issuperset(map(type, digests)):
        raise MalformedError("SD-JWT: _sd is not an array of strings", reason="DIGESTS_FORM")


def _insert(
    array: list[Json], claims: dict[str, Json], contents: Contents, seen: list[str], depth: int
) -> None:
    if len(array) != 3:
        raise MalformedError(
            "SD-JWT: an array element's disclosure where a member's belongs",
            reason="DISCLOSURE_FORM",
        )
    _, name, value = array
    if name in claims:
        raise MalformedError("SD-JWT: a disclosed claim is already there", reason="CLAIM_COLLISION")
    kind = type(value)
    if kind is dict or kind is list:
        value = _disclose_value(value, contents, seen, depth)
    claims[name] = value


def _disclose_value(value: Json, contents: Contents, seen: list[str], depth: int) -> Json:
    """Process a value that stands ``depth`` containers deep."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return value
    if depth == MAX_JSON_DEPTH:
        raise MalformedError(
            f"SD-JWT: nested deeper than {MAX_JSON_DEPTH} levels", reason="TOO_DEEP"
        )
    if kind is dict:
        return _disclose_object(value, contents, seen, depth + 1)
    elements = []
    for element in value:
        if type(element) is dict and DOTS in element:
            array = _disclosed_element(element, contents, seen)
            if array is not None:
                elements.append(_disclose_value(array[1], contents, seen, depth + 1))
        else:
            elements.append(_disclose_value(element, contents, seen, depth + 1))
    return elements


def _disclosed_element(
    element: dict[str, Json], contents: Contents, seen: list[str]
) -> list[Json] | None:
    digest = element[DOTS]
    if len(element) != 1 or type(digest) is not str:
        raise _reserved(DOTS)
    seen.append(digest)
    array = contents.get(digest)
    if array is not None and len(array) != 2:
        raise MalformedError(
            "SD-JWT: a member's disclosure where an array element's belongs",
            reason="DISCLOSURE_FORM",
        )
    return array
