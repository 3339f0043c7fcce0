"""Leaves: the commitments that a log holds, version 1.

``entry = SHA-256("yinxin/leaf/v1" ‖ u16 kind ‖ fields ‖ salt)``, where each
field is a big-endian u32 length and its bytes, in the order of the kind's
class below, an absent one has length zero, and the salt is 32 random bytes.
Numbers are 8 bytes, big-endian. The log holds the 32-byte entry and nothing
else, so an opening that is erased leaves nothing to guess at.

Danger: leaves are permanent. A field is never added to a kind, moved or given
another meaning; a new need is a new kind, or a new version with its own label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import ClassVar, Final, TypeAlias

from yinxin_proto.error import InvalidArgumentError, MalformedError
from yinxin_proto.strict import Json, b64url_decode, b64url_encode, parse_json_object

LABEL: Final = b"yinxin/leaf/v1"
EVIDENCE_LABEL: Final = b"yinxin/evidence/v1"
VERSION: Final = 1
HASH_SIZE: Final = 32
SALT_SIZE: Final = 32
MAX_TEXT_BYTES: Final = 1024
MAX_OPENING_BYTES: Final = 1024

_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_U64: Final = 1 << 64
_LENGTHS: Final = tuple(size.to_bytes(4, "big") for size in range(MAX_TEXT_BYTES + 1))
"""Every length that a field may have, as written before it."""


class LeafKind(IntEnum):
    """What a leaf commits to; the numbers are permanent."""

    LICENCE = 1
    """One version of one licence was issued."""
    STATUS_CHANGE = 2
    """A licence went from one state to another."""
    KEY_EVENT = 3
    """A key was taken into use, retired, or declared stolen."""


def _entry(kind: LeafKind, fields: Iterable[bytes], salt: bytes) -> bytes:
    if len(salt) != SALT_SIZE:
        raise InvalidArgumentError("leaf: a salt is 32 bytes", reason="LEAF_SALT")
    framed = b"".join([_LENGTHS[len(field)] + field for field in fields])
    return sha256(LABEL + kind.to_bytes(2, "big") + framed + salt).digest()


def _hash(value: bytes | None) -> bytes:
    if value is None:
        return b""
    if len(value) != HASH_SIZE:
        raise InvalidArgumentError("leaf: a hash is 32 bytes", reason="LEAF_FIELD")
    return value


def _number(value: int | None) -> bytes:
    if value is None:
        return b""
    if not 0 <= value < _U64:
        raise InvalidArgumentError("leaf: a number is 64 bits, unsigned", reason="LEAF_FIELD")
    return value.to_bytes(8, "big")


def _text(value: str | None) -> bytes:
    if value is None:
        return b""
    try:
        raw = value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidArgumentError("leaf: a lone surrogate", reason="LEAF_FIELD") from error
    # An empty text would be the same bytes as an absent one.
    if not 1 <= len(raw) <= MAX_TEXT_BYTES:
        raise InvalidArgumentError("leaf: a text is 1 … 1024 bytes", reason="LEAF_FIELD")
    return raw


def _code(value: str | None) -> bytes:
    if value is not None and _CODE.fullmatch(value) is None:
        raise InvalidArgumentError("leaf: not a code in ASCII", reason="LEAF_FIELD")
    return _text(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceLeaf:
    """One version of one licence. Hashes are SHA-256, 32 bytes."""

    kind: ClassVar[LeafKind] = LeafKind.LICENCE

    issuer_jwt_hash: bytes
    """Of the exact compact issuer-signed JWT, its signature included."""
    key_spki_hash: bytes
    """Of the signing key's SubjectPublicKeyInfo."""
    identifier: str
    """The full licence identifier, version and check character included."""
    status_uri: str | None
    """Status list; absent together with ``status_idx``."""
    status_idx: int | None
    """Position in that list."""
    approval_hash: bytes | None
    """Of the authority's approval; absent for stock imported from elsewhere."""
    evidence_hash: bytes | None
    """See `evidence_hash`."""
    request_hash: bytes | None
    """Of the exact issue request that was approved."""

    def entry(self, salt: bytes) -> bytes:
        """Return the 32 bytes that the log holds.

        Raises:
            InvalidArgumentError: A field (``LEAF_FIELD``) or the salt
                (``LEAF_SALT``) is out of its bounds.
        """
        if (self.status_uri is None) != (self.status_idx is None):
            raise InvalidArgumentError("leaf: half a status reference", reason="LEAF_FIELD")
        fields = (
            _hash(self.issuer_jwt_hash),
            _hash(self.key_spki_hash),
            _text(self.identifier),
            _text(self.status_uri),
            _number(self.status_idx),
            _hash(self.approval_hash),
            _hash(self.evidence_hash),
            _hash(self.request_hash),
        )
        return _entry(self.kind, fields, salt)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChangeLeaf:
    """A licence's change of state. Codes are stable ASCII words."""

    kind: ClassVar[LeafKind] = LeafKind.STATUS_CHANGE

    identifier: str
    """The full licence identifier."""
    from_state: str
    """Code of the state that was left."""
    to_state: str
    """Code of the state that was entered."""
    operation: str
    """Code of the operation, as in the table of transitions."""
    reason_code: str | None
    """Absent where the operation asks for none."""
    effective_time: int
    """Unix seconds."""
    operator_certificate_hash: bytes | None
    """SHA-256 of the operator's DER certificate; absent for the clock's own operations."""
    approval_hash: bytes | None
    """SHA-256 of the authority's approval, where there is one."""
    prior_index: int | None
    """Index of the licence's previous leaf in the same log; absent if it has none yet."""

    def entry(self, salt: bytes) -> bytes:
        """Return the 32 bytes that the log holds; see `LicenceLeaf.entry`."""
        fields = (
            _text(self.identifier),
            _code(self.from_state),
            _code(self.to_state),
            _code(self.operation),
            _code(self.reason_code),
            _number(self.effective_time),
            _hash(self.operator_certificate_hash),
            _hash(self.approval_hash),
            _number(self.prior_index),
        )
        return _entry(self.kind, fields, salt)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEventLeaf:
    """Something that happened to a key."""

    kind: ClassVar[LeafKind] = LeafKind.KEY_EVENT

    key_spki_hash: bytes
    """SHA-256 of the key's SubjectPublicKeyInfo."""
    purpose: str
    """Code of the key's one purpose."""
    event: str
    """Code of the event."""
    effective_time: int
    """Unix seconds."""
    trust_list_version: int
    """Version of the trust list that first says so."""
    evidence_hash: bytes | None
    """SHA-256 of what supports it."""

    def entry(self, salt: bytes) -> bytes:
        """Return the 32 bytes that the log holds; see `LicenceLeaf.entry`."""
        fields = (
            _hash(self.key_spki_hash),
            _code(self.purpose),
            _code(self.event),
            _number(self.effective_time),
            _number(self.trust_list_version),
            _hash(self.evidence_hash),
        )
        return _entry(self.kind, fields, salt)


Leaf: TypeAlias = LicenceLeaf | StatusChangeLeaf | KeyEventLeaf


def evidence_hash(chain_der: Sequence[bytes], revocation: bytes) -> bytes:
    """Return the hash of what showed, at issue, that the key was good.

    SHA-256("yinxin/evidence/v1" ‖ u32 count ‖ each certificate ‖ revocation),
    the certificates and the revocation snapshot with a u32 length before each.

    Args:
        chain_der: Certificates, the signer's first.
        revocation: The CRLs (or other snapshot) considered, concatenated.
    """
    parts = [EVIDENCE_LABEL, len(chain_der).to_bytes(4, "big")]
    for part in (*chain_der, revocation):
        parts += (len(part).to_bytes(4, "big"), part)
    return sha256(b"".join(parts)).digest()


_MEMBERS: Final = {"approval", "evidence", "kind", "request", "salt", "v"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a licence's leaf commits to besides the licence itself.

    It travels beside the licence as canonical JSON (RFC 8785), every member
    present, an absent hash as an empty text:
    ``{"approval":…,"evidence":…,"kind":1,"request":…,"salt":…,"v":1}``.

    Raises:
        MalformedError: A hash or the salt is not 32 bytes (``OPENING``).
    """

    approval: bytes | None
    evidence: bytes | None
    request: bytes | None
    salt: bytes

    def __post_init__(self) -> None:
        for value in (self.approval, self.evidence, self.request, self.salt):
            if value is not None and len(value) != HASH_SIZE:
                raise MalformedError("opening: 32 bytes are expected", reason="OPENING")

    def licence_entry(
        self,
        issuer_jwt: bytes,
        key_thumbprint: bytes,
        identifier: str,
        status_uri: str | None,
        status_idx: int | None,
    ) -> bytes:
        """Recompute the log's entry from the licence presented.

        Args:
            issuer_jwt: The exact compact issuer-signed JWT, without disclosures.
            key_thumbprint: SHA-256 of the SPKI of the key that verified it.
            identifier: The licence's identifier claim, as written.
            status_uri: From its ``status.status_list`` claim, or None.
            status_idx: From the same claim, or None.

        Raises:
            InvalidArgumentError: See `LicenceLeaf.entry`.
        """
        leaf = LicenceLeaf(
            issuer_jwt_hash=sha256(issuer_jwt).digest(),
            key_spki_hash=key_thumbprint,
            identifier=identifier,
            status_uri=status_uri,
            status_idx=status_idx,
            approval_hash=self.approval,
            evidence_hash=self.evidence,
            request_hash=self.request,
        )
        return leaf.entry(self.salt)

    def to_json(self) -> dict[str, Json]:
        """Return the members."""
        return {
            "approval": b64url_encode(self.approval or b""),
            "evidence": b64url_encode(self.evidence or b""),
            "kind": int(LeafKind.LICENCE),
            "request": b64url_encode(self.request or b""),
            "salt": b64url_encode(self.salt),
            "v": VERSION,
        }

    def to_bytes(self) -> bytes:
        """Return the canonical JSON; the exact inverse of `parse`."""
        # By hand, since this is on the path of every verification: the members
        # are in order, and base64url needs no escapes.
        text = ",".join(
            [
                f'"{name}":{value}' if isinstance(value, int) else f'"{name}":"{value}"'
                for name, value in self.to_json().items()
            ]
        )
        return b"{" + text.encode("ascii") + b"}"

    @classmethod
    def from_json(cls, members: Mapping[str, Json]) -> Opening:
        """Read the members, as they stand in a licence file.

        Raises:
            MalformedError: An unknown, missing or wrong member (``OPENING``,
                ``BASE64URL``), another version (``OPENING_VERSION``) or kind
                (``OPENING_KIND``).
        """
        if members.keys() != _MEMBERS:
            raise MalformedError("opening: a member is unknown or missing", reason="OPENING")
        version, kind = members["v"], members["kind"]
        if type(version) is not int or version != VERSION:
            raise MalformedError("opening: a version unknown here", reason="OPENING_VERSION")
        if type(kind) is not int or kind != LeafKind.LICENCE:
            raise MalformedError("opening: not a licence's", reason="OPENING_KIND")
        return cls(
            approval=_bytes(members["approval"]) or None,
            evidence=_bytes(members["evidence"]) or None,
            request=_bytes(members["request"]) or None,
            salt=_bytes(members["salt"]),
        )

    @classmethod
    def parse(cls, data: bytes) -> Opening:
        """Parse canonical JSON of at most 1 KiB; see `from_json`.

        Raises:
            MalformedError: Besides, not JSON or not in canonical form
                (``JSON_NOT_CANONICAL``).
        """
        opening = cls.from_json(parse_json_object(data, max_bytes=MAX_OPENING_BYTES))
        if opening.to_bytes() != data:
            raise MalformedError("opening: not in RFC 8785 form", reason="JSON_NOT_CANONICAL")
        return opening


def _bytes(value: Json) -> bytes:
    if not isinstance(value, str):
        raise MalformedError("opening: a text was expected", reason="OPENING")
    return b64url_decode(value, max_bytes=HASH_SIZE)
