"""Shares of the offline store's secret, and what they say of themselves.

A `Deal` is what all shares of one dealing have in common, and anybody may
know: which ceremony, who holds them, how many are needed, until when, which
master file they open, and a commitment to each. A share is the deal, an index,
and the point sealed under its custodian's own key; deal and index are the
additional data of the seal, so nothing of them can be changed afterwards.

k of n shares give a secret of 32 random bytes, whose base64url is the
passphrase of the offline store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from yinxin_ca import secretsharing, storage
from yinxin_ca.custodian import Custodian
from yinxin_proto.clock import Entropy
from yinxin_proto.error import (
    FailedPreconditionError,
    IntegrityError,
    InvalidArgumentError,
    KeyStoreError,
    MalformedError,
)
from yinxin_proto.member import Members, as_octets, as_text
from yinxin_proto.strict import Json, b64url_encode, canonical_json, parse_json_object

SECRET_BYTES: Final = 32
SUFFIX: Final = ".share.json"

_SCHEMA: Final = 1
_NONCE: Final = 12
_DIGEST: Final = 32
_MAX_BYTES: Final = 1 << 16
_DOMAIN: Final = b"yinxin/share/v1\0"
CEREMONY: Final = re.compile(r"[0-9a-f]{32}")
"""A ceremony's name: 16 random bytes."""
_HOLDER: Final = re.compile(r"[a-z0-9-]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """What the shares of one dealing have in common.

    Raises:
        MalformedError: Numbers that do not fit (``DEAL``).
    """

    ceremony: str
    """The ceremony that dealt them, 32 hexadecimal digits."""
    holders: tuple[str, ...]
    """Ids of the custodians, by index from 1."""
    threshold: int
    """How many shares open the store."""
    dealt_at: int
    """When they were dealt (Unix time): no honest clock is before it."""
    expires_at: int
    """First second (Unix time) at which no share opens anything."""
    opens: bytes
    """SHA-256 of the master file that the secret opens."""
    commitments: tuple[bytes, ...]
    """SHA-256 of each point, so that a false one is known by its holder."""

    def __post_init__(self) -> None:
        count = len(self.holders)
        try:
            secretsharing.check_threshold(self.threshold, count)
        except InvalidArgumentError as error:
            raise MalformedError(f"deal: {error.message}", reason="DEAL") from error
        if len(set(self.holders)) != count or len(self.commitments) != count:
            raise MalformedError("deal: one share for each custodian", reason="DEAL")

    def to_json(self) -> dict[str, Json]:
        """Return the members."""
        return {
            "ceremony": self.ceremony,
            "holders": list(self.holders),
            "threshold": self.threshold,
            "dealt_at": self.dealt_at,
            "expires_at": self.expires_at,
            "opens": b64url_encode(self.opens),
            "commitments": [b64url_encode(digest) for digest in self.commitments],
        }

    @classmethod
    def from_json(cls, value: Json, where: str) -> Self:
        """Read a deal; see `Members` for the errors."""
        members = Members(value, where, _DEAL_MEMBERS)
        most = secretsharing.MAX_POINTS
        return cls(
            ceremony=members.text("ceremony", CEREMONY),
            holders=members.each("holders", as_text(_HOLDER), max_items=most),
            threshold=members.integer("threshold"),
            dealt_at=members.integer("dealt_at"),
            expires_at=members.integer("expires_at"),
            opens=members.octets("opens", min_bytes=_DIGEST, max_bytes=_DIGEST),
            commitments=members.each("commitments", _digest, max_items=most),
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of the deal, as a ceremony's record names it."""
        return sha256(canonical_json(self.to_json())).digest()


_DEAL_MEMBERS: Final = (
    "ceremony",
    "holders",
    "threshold",
    "dealt_at",
    "expires_at",
    "opens",
    "commitments",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One custodian's share, still sealed."""

    deal: Deal
    """What it has in common with the others."""
    index: int
    """From 1."""
    sealed: bytes = field(repr=False)
    """Nonce and AES-256-GCM ciphertext of the point."""

    @property
    def holder(self) -> str:
        """Id of the custodian whose share it is."""
        return self.deal.holders[self.index - 1]

    def to_bytes(self) -> bytes:
        """Serialise; the exact inverse of `parse`."""
        return canonical_json(
            {
                "schema": _SCHEMA,
                "deal": self.deal.to_json(),
                "index": self.index,
                "sealed": b64url_encode(self.sealed),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a share.

        Raises:
            MalformedError: It is none.
        """
        value = parse_json_object(data, max_bytes=_MAX_BYTES, max_depth=4)
        members = Members(value, "share", ("schema", "deal", "index", "sealed"))
        if members.integer("schema") != _SCHEMA:
            raise MalformedError("share: not of schema 1", reason="SCHEMA")
        deal = members.one("deal", Deal.from_json)
        index = members.integer("index", at_least=1)
        if index > len(deal.holders):
            raise MalformedError("share: an index beyond the custodians", reason="DEAL")
        return cls(deal=deal, index=index, sealed=members.octets("sealed", max_bytes=2048))


def deal_shares(
    secret: bytes,
    *,
    custodians: Sequence[Custodian],
    threshold: int,
    ceremony: str,
    dealt_at: datetime,
    expires_at: datetime,
    opens: bytes,
    entropy: Entropy,
) -> tuple[Share, ...]:
    """Split a secret among custodians, each share sealed under its holder's key.

    Raises:
        InvalidArgumentError: A threshold that does not fit (``THRESHOLD``), or
            one custodian twice (``CUSTODIAN_TWICE``).
    """
    holders = tuple(custodian.identity.id for custodian in custodians)
    keys = {custodian.identity.key.spki for custodian in custodians}
    if len(set(holders)) != len(holders) or len(keys) != len(holders):
        raise InvalidArgumentError(
            "one custodian was named twice; each holds one share", reason="CUSTODIAN_TWICE"
        )
    points = secretsharing.split(secret, threshold=threshold, count=len(holders), entropy=entropy)
    deal = Deal(
        ceremony=ceremony,
        holders=holders,
        threshold=threshold,
        dealt_at=int(dealt_at.timestamp()),
        expires_at=int(expires_at.timestamp()),
        opens=opens,
        commitments=tuple(_commitment(i, point) for i, point in enumerate(points, start=1)),
    )
    return tuple(
        _seal(deal, index, point, custodian.sealing_key, entropy)
        for index, (point, custodian) in enumerate(zip(points, custodians, strict=True), start=1)
    )


def open_share(share: Share, custodian: Custodian, *, at: datetime | None) -> bytes:
    """Return the point in a share, opened by its holder.

    Args:
        share: As read.
        custodian: Whose folder is open.
        at: Now; None where a share that expired is to be replaced.

    Raises:
        FailedPreconditionError: It has expired (``SHARE_EXPIRED``), was dealt
            after the present moment (``CLOCK_WENT_BACK``), or is another
            custodian's (``SHARE_HOLDER``).
        IntegrityError: It was altered (``SHARE_CORRUPT``).
    """
    if share.holder != custodian.identity.id:
        raise FailedPreconditionError(
            f"the share is held by {share.holder}, not by {custodian.identity.id}",
            reason="SHARE_HOLDER",
        )
    if at is not None and int(at.timestamp()) < share.deal.dealt_at:
        raise FailedPreconditionError(
            f"the share of {share.holder} was dealt later than this machine's clock says it is; "
            "set the clock",
            reason="CLOCK_WENT_BACK",
        )
    if at is not None and at.timestamp() >= share.deal.expires_at:
        raise FailedPreconditionError(
            f"the share of {share.holder} has expired; deal new shares in a ceremony whose "
            "script says renew",
            reason="SHARE_EXPIRED",
        )
    nonce, content = share.sealed[:_NONCE], share.sealed[_NONCE:]
    try:
        point = AESGCM(custodian.sealing_key).decrypt(nonce, content, _aad(share.deal, share.index))
    except (InvalidTag, ValueError) as error:
        raise _corrupt(share) from error
    if _commitment(share.index, point) != share.deal.commitments[share.index - 1]:
        raise _corrupt(share)
    return point


def combine_shares(shares: Iterable[tuple[Share, bytes]]) -> bytes:
    """Return the secret of opened shares; the same share twice counts once.

    Raises:
        FailedPreconditionError: Shares of two dealings (``SHARE_MIXED``), or
            fewer than the threshold (``SHARE_THRESHOLD``).
        IntegrityError: They do not fit together (``SHARE_CORRUPT``).
    """
    points: dict[int, bytes] = {}
    deal: Deal | None = None
    for share, point in shares:
        deal = deal or share.deal
        if share.deal != deal:
            raise FailedPreconditionError(
                f"the share of {share.holder} is of another ceremony than the others; "
                "bring the shares of one",
                reason="SHARE_MIXED",
            )
        if _commitment(share.index, point) != deal.commitments[share.index - 1]:
            raise _corrupt(share)
        points[share.index] = point
    if deal is None or len(points) < deal.threshold:
        needed = "2 or more" if deal is None else deal.threshold
        raise FailedPreconditionError(
            f"{len(points)} shares were presented, {needed} are needed", reason="SHARE_THRESHOLD"
        )
    return secretsharing.combine(points)


def passphrase_of(secret: bytes) -> str:
    """Return the passphrase of the offline store that a secret stands for."""
    return b64url_encode(secret)


def write_share(share: Share, folder: Path, *, entropy: Entropy) -> None:
    """Put a share into its custodian's folder, in place of one of the same ceremony."""
    path = folder / f"{share.deal.ceremony}{SUFFIX}"
    with storage.typed_errors(path, "writing the share"):
        storage.replace(path, share.to_bytes() + b"\n", entropy=entropy)


def read_share(folder: Path, opens: bytes) -> Share:
    """Return the share in a custodian's folder that is for a master file.

    Args:
        folder: The custodian's.
        opens: SHA-256 of the master file.

    Raises:
        KeyStoreError: None for it (``SHARE_NOT_FOUND``), or a file that is no
            share (``SHARE_FILE``).
    """
    with storage.typed_errors(folder, "looking for shares"):
        paths = sorted(folder.glob(f"*{SUFFIX}"))
    others = 0
    for path in paths:
        with storage.typed_errors(path, "reading the share"):
            content = storage.read_bounded(path, max_bytes=_MAX_BYTES)
        try:
            share = Share.parse(content.removesuffix(b"\n"))
        except MalformedError as error:
            raise KeyStoreError(
                f"{path.name} in {folder.name} is cut short or not a share; restore it from the "
                "custodian's copy",
                reason="SHARE_FILE",
            ) from error
        if share.deal.opens == opens:
            return share
        others += 1
    raise KeyStoreError(
        f"{folder.name} has no share for this offline store"
        + (f"; its {others} are of other ceremonies" if others else ""),
        reason="SHARE_NOT_FOUND",
    )


def _seal(deal: Deal, index: int, point: bytes, key: bytes, entropy: Entropy) -> Share:
    nonce = entropy.token(_NONCE)
    sealed = nonce + AESGCM(key).encrypt(nonce, point, _aad(deal, index))
    return Share(deal=deal, index=index, sealed=sealed)


def _aad(deal: Deal, index: int) -> bytes:
    return canonical_json({"deal": deal.to_json(), "index": index})


def _commitment(index: int, point: bytes) -> bytes:
    # A point has as many random bits as the secret: its hash tells nothing.
    return sha256(_DOMAIN + index.to_bytes(1, "big") + point).digest()


def _corrupt(share: Share) -> IntegrityError:
    return IntegrityError(
        f"the share of {share.holder} was altered, or is not the one that was dealt; "
        "use the custodian's copy, or another custodian's share",
        reason="SHARE_CORRUPT",
    )


def _digest(value: Json, where: str) -> bytes:
    return as_octets(value, where, min_bytes=_DIGEST, max_bytes=_DIGEST)
