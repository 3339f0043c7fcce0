"""What a trust list says of one key, and of one that was retired or stolen.

A key that signs no more is judged by positions in a pinned log, never by time:
a thief writes whatever time he likes, but cannot put an entry below an index
of a tree whose root the offline roles have signed (design section 5).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Final

from yinxin_proto.error import MalformedError
from yinxin_proto.member import Members, as_integer
from yinxin_proto.signature import PublicKey
from yinxin_proto.strict import Json, b64url_encode
from yinxin_proto.suite import names, suite

MAX_SPKI_BYTES: Final = 8192
"""Room for ML-DSA keys; an RSA-16384 key is 2,086 bytes."""
MAX_RANGES: Final = 100_000
ROOT_BYTES: Final = 32
ORIGIN: Final = re.compile(r"[\x21-\x2a\x2c-\x7e]{1,255}")
"""A log's name: visible ASCII without the ``+`` that separates a vkey's parts."""

_SUITE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")
_STATE: Final = re.compile("active|suspended|retired|compromised")
_PURPOSE: Final = re.compile("licence|approval|status|request")


class KeyState(StrEnum):
    """Where a key stands; history is kept, so none is ever dropped."""

    ACTIVE = "active"
    """In use 启用."""
    SUSPENDED = "suspended"
    """Not to be relied on for now 停用."""
    RETIRED = "retired"
    """Signs no more; what it signed stands, and its pin says within which entries 退役."""
    COMPROMISED = "compromised"
    """Stolen or misused; only what its pin admits stands 泄露."""


class KeyPurpose(StrEnum):
    """The one thing that a key may sign."""

    LICENCE = "licence"
    """Licences of one authority 证照签发."""
    APPROVAL = "approval"
    """An authority's approvals of issue and change requests 审批."""
    STATUS = "status"
    """Status lists of the region 状态."""
    REQUEST = "request"
    """A department's requests to peer regions 用证请求."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Which log entries of a key that signs no more still stand.

    Of a compromised key those that reconcile and those attested anew; of a
    retired one whatever it signed, all of which lies below ``n_stop``.

    Raises:
        MalformedError: ``PIN_RANGE`` when n_safe exceeds n_stop or the root
            is not 32 bytes; ``PIN_REATTESTED`` when the ranges are not sorted,
            apart from one another, and within [n_safe, n_stop).
    """

    origin: str
    """The log that the indexes belong to."""
    n_stop: int
    """Size of the pinned tree; no entry from here on stands."""
    root: bytes
    """Root of the pinned tree, 32 bytes."""
    n_safe: int
    """First entry that did not reconcile with the authorities' approvals; only
    falls. ``n_stop`` where every entry did, or none was in doubt."""
    reattested: tuple[tuple[int, int], ...] = ()
    """Half-open ranges [start, end) of entries attested anew after n_safe."""

    def __post_init__(self) -> None:
        if not 0 <= self.n_safe <= self.n_stop or len(self.root) != ROOT_BYTES:
            raise MalformedError(
                "pin: 0 ≤ n_safe ≤ n_stop and a root of 32 bytes are required", reason="PIN_RANGE"
            )
        # A gap is demanded between ranges, so that one set has one spelling.
        previous_end = self.n_safe - 1
        for start, end in self.reattested:
            if not previous_end < start < end <= self.n_stop:
                raise MalformedError(
                    "pin: re-attested ranges are sorted, apart, and within [n_safe, n_stop)",
                    reason="PIN_REATTESTED",
                )
            previous_end = end

    @property
    def is_plain(self) -> bool:
        """Whether every entry below ``n_stop`` stands: the pin of an ordinary retirement."""
        return self.n_safe == self.n_stop and not self.reattested

    def admits(self, index: int) -> bool:
        """Tell whether the entry at ``index`` stands despite the compromise.

        The caller has proven the entry's inclusion in a tree that is
        consistent with (``n_stop``, ``root``).
        """
        if index < self.n_safe:
            return index >= 0
        place = bisect_right(self.reattested, index, key=lambda bounds: bounds[0]) - 1
        return place >= 0 and index < self.reattested[place][1]

    def to_json(self) -> dict[str, Json]:
        """Return the pin's members."""
        return {
            "origin": self.origin,
            "n_stop": self.n_stop,
            "root": b64url_encode(self.root),
            "n_safe": self.n_safe,
            "reattested": [[start, end] for start, end in self.reattested],
        }

    @classmethod
    def from_json(cls, value: Json, where: str) -> Pin:
        """Read a pin at ``where``; see `Members` for the errors."""
        members = Members(value, where, ("origin", "n_stop", "root", "n_safe", "reattested"))
        return cls(
            origin=members.text("origin", ORIGIN),
            n_stop=members.integer("n_stop"),
            root=members.octets("root", max_bytes=ROOT_BYTES, min_bytes=ROOT_BYTES),
            n_safe=members.integer("n_safe"),
            reattested=members.each("reattested", _range, max_items=MAX_RANGES),
        )


def ranges_of(indexes: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return the half-open ranges of a set of indexes, as `Pin` wants them."""
    ranges: list[tuple[int, int]] = []
    for index in sorted(set(indexes)):
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return tuple(ranges)


def _range(value: Json, where: str) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise MalformedError(f"{where}: [start, end] was expected", reason="MEMBER_TYPE")
    return as_integer(value[0], where), as_integer(value[1], where)


def _may_have(state: KeyState, pin: Pin) -> bool:
    if state is KeyState.ACTIVE:
        return False
    return state is KeyState.COMPROMISED or pin.is_plain


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """One key: what it may sign, since when, and whether it still may.

    Raises:
        MalformedError: ``KEY`` when a suite of this build cannot load the
            key, or would spell it otherwise; ``KEY_VALIDITY`` when the dates
            are reversed, or a retired key has no end; ``PIN_STATE`` when an
            active key has a pin, or one that is not compromised has a pin that
            leaves out entries below its end.
    """

    suite: str
    """Name of the one suite that the key belongs to; this build may lack it."""
    purpose: KeyPurpose
    spki: bytes
    """DER SubjectPublicKeyInfo."""
    state: KeyState
    not_before: int
    """First second (Unix time) at which its signatures count."""
    not_after: int | None = None
    """Last such second; None while there is no end."""
    pin: Pin | None = None
    """Which entries stand. Of a compromised key without one, none does. A key
    retired in the ordinary way has it beside ``not_after``, and keeps it while
    it is suspended."""

    def __post_init__(self) -> None:
        if self.suite in names() and self.public_key.spki != self.spki:
            # Two spellings of one key would be two records of it.
            raise MalformedError("key: not in the suite's DER form", reason="KEY")
        if self.not_after is not None and self.not_after < self.not_before:
            raise MalformedError("key: not_after is before not_before", reason="KEY_VALIDITY")
        if self.state is KeyState.RETIRED and self.not_after is None:
            raise MalformedError("key: a retired key needs not_after", reason="KEY_VALIDITY")
        if self.pin is not None and not _may_have(self.state, self.pin):
            raise MalformedError(
                "key: an active key has no pin, and only a compromised key's leaves entries out",
                reason="PIN_STATE",
            )

    @cached_property
    def thumbprint(self) -> bytes:
        """SHA-256 of ``spki``: how log leaves and indices name the key."""
        return sha256(self.spki).digest()

    @cached_property
    def public_key(self) -> PublicKey:
        """The key, loaded by its suite.

        Raises:
            ConfigurationError: This build lacks the suite.
            MalformedError: Not a key of that suite.
        """
        return suite(self.suite).load_public(self.spki)

    def covers(self, at: int) -> bool:
        """Tell whether ``at`` (Unix seconds) lies within the validity."""
        return self.not_before <= at and (self.not_after is None or at <= self.not_after)

    def to_json(self) -> dict[str, Json]:
        """Return the record's members."""
        return {
            "suite": self.suite,
            "purpose": self.purpose.value,
            "spki": b64url_encode(self.spki),
            "state": self.state.value,
            "not_before": self.not_before,
            "not_after": self.not_after,
            "pin": None if self.pin is None else self.pin.to_json(),
        }

    @classmethod
    def from_json(cls, value: Json, where: str) -> KeyRecord:
        """Read a record at ``where``; see `Members` for the errors."""
        members = Members(
            value,
            where,
            ("suite", "purpose", "spki", "state", "not_before", "not_after", "pin"),
        )
        return cls(
            suite=members.text("suite", _SUITE),
            purpose=KeyPurpose(members.text("purpose", _PURPOSE)),
            spki=members.octets("spki", max_bytes=MAX_SPKI_BYTES),
            state=KeyState(members.text("state", _STATE)),
            not_before=members.integer("not_before"),
            not_after=members.one_or_none("not_after", as_integer),
            pin=members.one_or_none("pin", Pin.from_json),
        )
