"""Token Status List (draft-ietf-oauth-status-list-21), JWT form.

A list packs one value of 1, 2, 4 or 8 bits per credential, *least significant
bit first* (W3C's bitstring lists are the other way round, and GZIP). It
travels in a signed token whose ``sub`` is the URI that credentials refer to.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from yinxin_proto.error import InvalidArgumentError, MalformedError
from yinxin_proto.jose import UnverifiedJws, encode_x5c, parse_compact, sign_compact
from yinxin_proto.numericdate import read_moment, read_optional_moment, to_seconds
from yinxin_proto.signature import PublicKey, Signer
from yinxin_proto.strict import (
    Json,
    b64url_decode,
    b64url_encode,
    canonical_json,
    inflate,
    parse_json_object,
)

TYP: Final = "statuslist+jwt"
LOG_SIZE_CLAIM: Final = "yinxin_log_size"
"""Private claim: size of the licence log whose changes the list reflects."""
LIST_BITS: Final = 2
"""Bits of an entry of our own lists."""
LIST_ENTRIES: Final = 1 << 17
"""Entries of our own lists."""
MAX_ENTRIES: Final = 1 << 20
"""Bound on the entries of anybody's list."""
MAX_TOKEN_BYTES: Final = 1 << 19
"""Bound on a status list token."""
MAX_URI_CHARACTERS: Final = 1024

_WIDTHS: Final = (1, 2, 4, 8)


class StatusValue(IntEnum):
    """What our lists say (draft §7.1; 3 is free for applications)."""

    VALID = 0
    INVALID = 1
    SUSPENDED = 2
    FROZEN = 3


@dataclass(frozen=True, slots=True)
class StatusReference:
    """Where a credential says its status is found."""

    uri: str
    """URI of the list; equals the ``sub`` of its token."""
    index: int
    """Position in the list."""

    @classmethod
    def from_claims(cls, claims: Mapping[str, Json]) -> StatusReference | None:
        """Read ``status.status_list`` (draft §6.2); None where there is no ``status``.

        Raises:
            MalformedError: ``status`` is there without a well-formed reference
                (``STATUS_REFERENCE``): a mechanism unknown here is not ignored.
        """
        if "status" not in claims:
            return None
        status = claims["status"]
        entry = status.get("status_list") if type(status) is dict else None
        if type(entry) is dict:
            uri, index = entry.get("uri"), entry.get("idx")
            if (
                type(uri) is str
                and 0 < len(uri) <= MAX_URI_CHARACTERS
                and type(index) is int
                and index >= 0
            ):
                return cls(uri, index)
        raise MalformedError("status: no well-formed status_list", reason="STATUS_REFERENCE")

    def to_claim(self) -> dict[str, Json]:
        """Return the value of the ``status`` claim."""
        return {"status_list": {"idx": self.index, "uri": self.uri}}


class StatusList:
    """An immutable list of status values.

    Args:
        bits: Bits of an entry: 1, 2, 4 or 8.
        raw: The packed entries.

    Raises:
        MalformedError: Another number of bits (``STATUS_BITS``).
    """

    __slots__ = ("bits", "raw")

    def __init__(self, *, bits: int, raw: bytes) -> None:
        if type(bits) is not int or bits not in _WIDTHS:
            raise MalformedError("status list: bits is not 1, 2, 4 or 8", reason="STATUS_BITS")
        self.bits = bits
        self.raw = raw

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.raw) * 8 // self.bits

    def get(self, index: int) -> int:
        """Return the value at ``index``; see `StatusValue` for ours.

        Raises:
            MalformedError: No such index (``STATUS_INDEX``).
        """
        at = index * self.bits
        if index < 0 or at >= len(self.raw) * 8:
            raise MalformedError("status list: index out of range", reason="STATUS_INDEX")
        return self.raw[at >> 3] >> (at & 7) & ((1 << self.bits) - 1)

    def replace(self, changes: Mapping[int, int]) -> StatusList:
        """Return a list with other values at some indexes.

        Raises:
            MalformedError: No such index (``STATUS_INDEX``).
            InvalidArgumentError: A value that ``bits`` cannot hold
                (``STATUS_VALUE``).
        """
        raw = bytearray(self.raw)
        bits, limit = self.bits, 1 << self.bits
        for index, value in changes.items():
            if not 0 <= value < limit:
                raise InvalidArgumentError(
                    f"status list: a value of {bits} bits was expected", reason="STATUS_VALUE"
                )
            at = index * bits
            if index < 0 or at >= len(raw) * 8:
                raise MalformedError("status list: index out of range", reason="STATUS_INDEX")
            raw[at >> 3] = raw[at >> 3] & ~((limit - 1) << (at & 7)) | value << (at & 7)
        return StatusList(bits=bits, raw=bytes(raw))

    @classmethod
    def filled(cls, *, bits: int = LIST_BITS, size: int = LIST_ENTRIES) -> StatusList:
        """Return a list of ``size`` VALID entries, rounded up to whole bytes."""
        if not 0 < size <= MAX_ENTRIES:
            raise InvalidArgumentError(
                f"status list: 1 to {MAX_ENTRIES} entries", reason="STATUS_SIZE"
            )
        return cls(bits=bits, raw=bytes((size * bits + 7) // 8))

    @classmethod
    def from_values(cls, values: Sequence[int], *, bits: int = LIST_BITS) -> StatusList:
        """Return the list of these values, filled up to whole bytes with VALID.

        Raises:
            InvalidArgumentError: A value that ``bits`` cannot hold, or a size
                out of bounds.
        """
        return cls.filled(bits=bits, size=len(values)).replace(dict(enumerate(values)))

    @classmethod
    def decode(cls, bits: Json, lst: Json, *, max_entries: int = MAX_ENTRIES) -> StatusList:
        """Read the members ``bits`` and ``lst`` (draft §4.2).

        Args:
            bits: As parsed from JSON.
            lst: Base64url of the ZLIB-compressed entries.
            max_entries: Bound on the entries; nothing larger is inflated.

        Raises:
            MalformedError: Not of this form, or too large.
        """
        empty = cls(bits=bits, raw=b"")
        if type(lst) is not str:
            raise MalformedError("status list: lst is not a string", reason="STATUS_LIST")
        limit = max_entries * empty.bits // 8
        # Incompressible entries grow a little in ZLIB's stored blocks.
        data = b64url_decode(lst, max_bytes=limit + limit // 512 + 64)
        return cls(bits=empty.bits, raw=inflate(data, max_bytes=limit))

    def encode(self) -> str:
        """Return ``lst``: ZLIB at the highest level, base64url (draft §4.1)."""
        return b64url_encode(zlib.compress(self.raw, 9))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StatusList) and (self.bits, self.raw) == (other.bits, other.raw)

    def __hash__(self) -> int:
        return hash((self.bits, self.raw))

    def __repr__(self) -> str:
        return f"StatusList(bits={self.bits}, size={self.size})"


@dataclass(frozen=True, slots=True)
class StatusToken:
    """A list as its signer states it."""

    uri: str
    """``sub``: what credentials refer to; the reader compares."""
    issued_at: datetime
    """When it was signed; a list older than a credential cannot speak for it."""
    expires_at: datetime | None
    """From when on it must not be used."""
    ttl: timedelta | None
    """How long it may be kept before asking again."""
    log_size: int | None
    """Size of the log that it reflects; None in tokens that are not ours."""
    list: StatusList
    """The values."""

    def sign(self, signer: Signer, x5c: Sequence[bytes] = ()) -> str:
        """Sign as a compact JWT (draft §5.1).

        Args:
            signer: The status signer's key, used for nothing else.
            x5c: Its certificates as DER, leaf first.
        """
        payload: dict[str, Json] = {
            "sub": self.uri,
            "iat": to_seconds(self.issued_at),
            "status_list": {"bits": self.list.bits, "lst": self.list.encode()},
        }
        if self.expires_at is not None:
            payload["exp"] = to_seconds(self.expires_at)
        if self.ttl is not None:
            payload["ttl"] = int(self.ttl.total_seconds())
        if self.log_size is not None:
            payload[LOG_SIZE_CLAIM] = self.log_size
        header = {"x5c": encode_x5c(tuple(x5c))} if x5c else {}
        return sign_compact(signer, typ=TYP, header=header, payload=canonical_json(payload))


@dataclass(frozen=True, slots=True)
class UnverifiedStatusToken:
    """A well-formed token of which nothing is believed yet."""

    jws: UnverifiedJws

    def verify(self, key: PublicKey, *, max_entries: int = MAX_ENTRIES) -> StatusToken:
        """Check type, algorithm and signature, then read the list (draft §8.3).

        Whether ``sub`` is the URI referred to, and how old the list may be, is
        for the caller to judge.

        Raises:
            MalformedError: A claim that is missing or of another form.
            VerificationError: Another type (``TYP``), another algorithm, or a
                signature that does not hold.
        """
        self.jws.verify(key, typ=TYP)
        claims = parse_json_object(self.jws.payload, max_bytes=MAX_TOKEN_BYTES)
        members = claims.get("status_list")
        if type(members) is not dict:
            raise MalformedError("status token: no status_list", reason="STATUS_LIST")
        return StatusToken(
            uri=_uri(claims.get("sub")),
            issued_at=read_moment(claims, "iat"),
            expires_at=read_optional_moment(claims, "exp"),
            ttl=_ttl(claims),
            log_size=_log_size(claims),
            list=StatusList.decode(
                members.get("bits"), members.get("lst"), max_entries=max_entries
            ),
        )


def parse(token: str | bytes, *, max_bytes: int = MAX_TOKEN_BYTES) -> UnverifiedStatusToken:
    """Parse a status list token; its claims are read once its signature holds.

    Raises:
        MalformedError: What `jose.parse_compact` refuses.
    """
    return UnverifiedStatusToken(parse_compact(token, max_bytes=max_bytes))


def _uri(value: Json) -> str:
    if type(value) is not str or not 0 < len(value) <= MAX_URI_CHARACTERS:
        raise MalformedError("status token: sub is not a URI", reason="STATUS_URI")
    return value


def _ttl(claims: Mapping[str, Json]) -> timedelta | None:
    if "ttl" not in claims:
        return None
    seconds = claims["ttl"]
    if type(seconds) not in (int, float) or not 0 < seconds < 1 << 32:
        raise MalformedError("status token: ttl is not a positive number", reason="STATUS_TTL")
    return timedelta(seconds=seconds)


def _log_size(claims: Mapping[str, Json]) -> int | None:
    if LOG_SIZE_CLAIM not in claims:
        return None
    size = claims[LOG_SIZE_CLAIM]
    if type(size) is not int or size < 0:
        raise MalformedError("status token: a log size is ≥ 0", reason="STATUS_LOG_SIZE")
    return size
