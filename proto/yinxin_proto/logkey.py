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
from yinxin_proto.vkey import SignatureType, VerifierKey

MAX_WITNESSES: Final = 64

_KIND: Final = re.compile("licences|uses")
_VKEY: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_COSIGNATURES: Final = {
    SignatureType.ED25519_COSIGNATURE,
    SignatureType.ML_DSA_44_COSIGNATURE,
}


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
        MalformedError: ``LOG_VKEY`` when it is not an Ed25519 key named as the
            log is (C2SP tlog-checkpoint: a log signs with its origin as name);
            what `VerifierKey.parse` raises.
    """

    origin: str
    """``<domain>/log/<region>/<kind>/<epoch>``."""
    kind: LogKind
    vkey: str
    """C2SP verifier key, ``name+hash+key``."""
    frozen_at: FrozenHead | None = None
    """Set once the log is sealed or has equivocated."""

    def __post_init__(self) -> None:
        key = VerifierKey.parse(self.vkey)
        if key.name != self.origin or key.type is not SignatureType.ED25519:
            raise MalformedError(
                "log: an Ed25519 key named as the origin is required", reason="LOG_VKEY"
            )

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
            ``DUPLICATE_WITNESS``; ``WITNESS_VKEY`` for a key that does not make
            cosignatures; what `VerifierKey.parse` raises.
    """

    quorum: int = 0
    keys: tuple[str, ...] = ()
    """C2SP verifier keys, one per controlling operator."""

    def __post_init__(self) -> None:
        keys = [VerifierKey.parse(key) for key in self.keys]
        # Under two names one operator would have two votes.
        if len({key.public_key for key in keys}) != len(keys):
            raise MalformedError("witnesses: one occurs twice", reason="DUPLICATE_WITNESS")
        if any(key.type not in _COSIGNATURES for key in keys):
            raise MalformedError("witnesses: not a cosignature key", reason="WITNESS_VKEY")
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
