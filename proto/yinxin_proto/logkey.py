"""Whose signatures make a checkpoint: a region's logs and their witnesses.

Checkpoints travel outside the trust repository; the keys that judge them are
in its trust list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from yinxin_proto.certificate import MAX_CERTIFICATE_BYTES
from yinxin_proto.error import MalformedError
from yinxin_proto.keyrecord import ORIGIN, ROOT_BYTES
from yinxin_proto.member import Members, as_octets, as_text
from yinxin_proto.strict import Json, b64url_encode
from yinxin_proto.vkey import SignatureType, VerifierKey

MAX_WITNESSES: Final = 64

_KIND: Final = re.compile("licences|uses")
_VKEY: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_SEQUENCE: Final = 0x30
_COSIGNATURES: Final = {
    SignatureType.ED25519_COSIGNATURE,
    SignatureType.ML_DSA_44_COSIGNATURE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenHead:
    """The last head of a log that counts; entries below it stand.

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


def as_certificate(value: Json, where: str) -> bytes:
    """Return DER bytes that look like a certificate; whoever relies on it parses it.

    Raises:
        MalformedError: Not base64url, too large, or no SEQUENCE (``CERTIFICATE``).
    """
    der = as_octets(value, where, max_bytes=MAX_CERTIFICATE_BYTES)
    if der[0] != _SEQUENCE:
        raise MalformedError(f"{where}: not a DER certificate", reason="CERTIFICATE")
    return der


def log_uri(origin: str) -> str:
    """Return the URI by which a certificate names a log."""
    return f"https://{origin}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCosigner:
    """The key with which a log signs its checkpoints against quantum computers, too.

    It rests on a root of its own: whoever can forge every classical signature
    still cannot put another key here that leads to the parallel ML-DSA root.
    """

    vkey: str
    """C2SP verifier key of type 06 (ML-DSA-44), named as the log is."""
    certificate: bytes
    """DER: the parallel root certifies that key for this log's checkpoints."""

    def to_json(self) -> dict[str, Json]:
        """Return the members."""
        return {"vkey": self.vkey, "certificate": b64url_encode(self.certificate)}

    @classmethod
    def from_json(cls, value: Json, where: str) -> LogCosigner:
        """Read a cosigner at ``where``; see `Members` for the errors."""
        members = Members(value, where, ("vkey", "certificate"))
        return cls(
            vkey=members.text("vkey", _VKEY),
            certificate=members.one("certificate", as_certificate),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKey:
    """A log of the region and the keys that sign its checkpoints.

    The logs of one kind are epochs of one tree: a later one begins with the
    leaves of those before it, so an index means the same entry in each.

    Raises:
        MalformedError: ``LOG_VKEY`` when it is not an Ed25519 key named as the
            log is (C2SP tlog-checkpoint: a log signs with its origin as name);
            ``LOG_COSIGNER`` when the cosigner is not an ML-DSA-44 key named
            as the log is, or the Ed25519 key is broken and there is none;
            ``LOG_END`` when it is closed and frozen; what `VerifierKey.parse`
            raises.
    """

    origin: str
    """``<domain>/log/<region>/<kind>/<epoch>``."""
    kind: LogKind
    vkey: str
    """C2SP verifier key, ``name+hash+key``."""
    closed_at: FrozenHead | None = None
    """Set once its key was retired in the ordinary way: a checkpoint of at most
    this size stands on the log's signature."""
    frozen_at: FrozenHead | None = None
    """Set once its key was stolen or it has equivocated: inclusion in this very
    tree must be proven. It takes the place of ``closed_at``."""
    cosigner: LogCosigner | None = None
    ed25519_broken: bool = False
    """Whether ``vkey`` proves nothing any more: a signature by the cosigner
    alone makes a checkpoint."""

    def __post_init__(self) -> None:
        key = VerifierKey.parse(self.vkey)
        if key.name != self.origin or key.type is not SignatureType.ED25519:
            raise MalformedError(
                "log: an Ed25519 key named as the origin is required", reason="LOG_VKEY"
            )
        if self.closed_at is not None and self.frozen_at is not None:
            raise MalformedError("log: it is closed or frozen, never both", reason="LOG_END")
        if self.cosigner is None:
            if self.ed25519_broken:
                raise MalformedError(
                    "log: without a cosigner a broken key leaves nothing", reason="LOG_COSIGNER"
                )
            return
        cosigner = VerifierKey.parse(self.cosigner.vkey)
        named = cosigner.name == self.origin
        if not named or cosigner.type is not SignatureType.ML_DSA_44_COSIGNATURE:
            raise MalformedError(
                "log: its cosigner is an ML-DSA-44 key named as the origin", reason="LOG_COSIGNER"
            )

    @property
    def is_open(self) -> bool:
        """Whether it may still grow."""
        return self.closed_at is None and self.frozen_at is None

    def to_json(self) -> dict[str, Json]:
        """Return the members."""
        return {
            "origin": self.origin,
            "kind": self.kind.value,
            "vkey": self.vkey,
            "closed_at": None if self.closed_at is None else self.closed_at.to_json(),
            "frozen_at": None if self.frozen_at is None else self.frozen_at.to_json(),
            "cosigner": None if self.cosigner is None else self.cosigner.to_json(),
            "ed25519_broken": self.ed25519_broken,
        }

    @classmethod
    def from_json(cls, value: Json, where: str) -> LogKey:
        """Read a log at ``where``; see `Members` for the errors."""
        members = Members(
            value,
            where,
            ("origin", "kind", "vkey", "closed_at", "frozen_at", "cosigner", "ed25519_broken"),
        )
        return cls(
            origin=members.text("origin", ORIGIN),
            kind=LogKind(members.text("kind", _KIND)),
            vkey=members.text("vkey", _VKEY),
            closed_at=members.one_or_none("closed_at", FrozenHead.from_json),
            frozen_at=members.one_or_none("frozen_at", FrozenHead.from_json),
            cosigner=members.one_or_none("cosigner", LogCosigner.from_json),
            ed25519_broken=members.boolean("ed25519_broken"),
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
