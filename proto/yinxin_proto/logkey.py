"""Whose signatures make a checkpoint: a region's logs and their witnesses.

Checkpoints travel outside the trust repository; the keys that judge them are
in its trust list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from yinxin_proto.error import MalformedError
from yinxin_proto.keyrecord import ORIGIN, ROOT_BYTES
from yinxin_proto.member import Members, as_text
from yinxin_proto.strict import Json, b64url_encode

MAX_WITNESSES: Final = 64

_KIND: Final = re.compile("licences|uses")
_VKEY: Final = re.compile(r"[\x21-\x2a\x2c-\x7e]{1,255}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{4,4096}={0,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenHead:
    """The last head of a log that still counts; entries below it stand.

    Both parts are needed: after an equivocation a size alone would name two
    trees.
    """

    size: int
    root: bytes
    """32 bytes."""

    def to_json(self) -> dict[str, Json]:
        """Return the members."""
        return {"size": self.size, "root": b64url_encode(self.root)}

    @classmethod
    def from_json(cls, value: Json, where: str) -> FrozenHead:
        """Read a head at ``where``; see `Members` for the errors."""
        members = Members(value, where, ("size", "root"))
        return cls(
            size=members.integer("size"),
            root=members.octets("root", max_bytes=ROOT_BYTES, min_bytes=ROOT_BYTES),
        )


class LogKind(StrEnum):
    """What a log records."""

    LICENCES = "licences"
    """Licences, status changes and key events."""
    USES = "uses"
    """Grants and uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKey:
    """A log of the region and the key that signs its checkpoints.

    Raises:
        MalformedError: ``LOG_VKEY`` when the key is named otherwise than the
            log (C2SP signed-note: a checkpoint's first signature has its
            origin as name).
    """

    origin: str
    """``<domain>/log/<region>/<kind>/<epoch>``."""
    kind: LogKind
    vkey: str
    """C2SP verifier key, ``name+hash+key``; `note` parses the rest of it."""
    frozen_at: FrozenHead | None = None
    """Set once the log is sealed or has equivocated."""

    def __post_init__(self) -> None:
        if _VKEY.fullmatch(self.vkey) is None or self.vkey.partition("+")[0] != self.origin:
            raise MalformedError("log: the vkey's name is not the origin", reason="LOG_VKEY")

    def to_json(self) -> dict[str, Json]:
        """Return the members."""
        return {
            "origin": self.origin,
            "kind": self.kind.value,
            "vkey": self.vkey,
            "frozen_at": None if self.frozen_at is None else self.frozen_at.to_json(),
        }

    @classmethod
    def from_json(cls, value: Json, where: str) -> LogKey:
        """Read a log at ``where``; see `Members` for the errors."""
        members = Members(value, where, ("origin", "kind", "vkey", "frozen_at"))
        return cls(
            origin=members.text("origin", ORIGIN),
            kind=LogKind(members.text("kind", _KIND)),
            vkey=members.text("vkey", _VKEY),
            frozen_at=members.one_or_none("frozen_at", FrozenHead.from_json),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnesses:
    """Who cosigns the region's checkpoints, and how many of them must.

    Raises:
        MalformedError: ``QUORUM`` when it exceeds the number of witnesses;
            ``DUPLICATE_WITNESS``.
    """

    quorum: int = 0
    keys: tuple[str, ...] = ()
    """C2SP verifier keys, one per controlling operator."""

    def __post_init__(self) -> None:
        if len(set(self.keys)) != len(self.keys):
            raise MalformedError("witnesses: one occurs twice", reason="DUPLICATE_WITNESS")
        if not 0 <= self.quorum <= len(self.keys):
            raise MalformedError("witnesses: fewer than the quorum", reason="QUORUM")

    def to_json(self) -> dict[str, Json]:
        """Return the members."""
        return {"quorum": self.quorum, "keys": list(self.keys)}

    @classmethod
    def from_json(cls, value: Json, where: str) -> Witnesses:
        """Read the witnesses at ``where``; see `Members` for the errors."""
        members = Members(value, where, ("quorum", "keys"))
        return cls(
            quorum=members.integer("quorum"),
            keys=members.each("keys", as_text(_VKEY), max_items=MAX_WITNESSES),
        )
