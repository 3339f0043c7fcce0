"""Change requests: what an authority approves about a licence that exists.

Suspend, revoke and the rest of the lifecycle, as canonical JSON (RFC 8785)::

    {effective_at, identifier, legal_basis, nonce, operation, reason,
     reason_code, region, schema}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from yinxin_proto import identifier as identifiers
from yinxin_proto.error import InvalidArgumentError, MalformedError
from yinxin_proto.form import Form
from yinxin_proto.identifier import LicenceIdentifier
from yinxin_proto.issuerequest import NONCE_BYTES, request_digest
from yinxin_proto.name import RegionCode, parse_region_code
from yinxin_proto.numericdate import to_seconds
from yinxin_proto.strict import Json, b64url_encode, canonical_json, parse_canonical_json

SCHEMA: Final = 1
MAX_CHANGE_BYTES: Final = 1 << 14
MAX_REASON_CHARACTERS: Final = 500

_MEMBERS: Final = (
    "effective_at",
    "identifier",
    "legal_basis",
    "nonce",
    "operation",
    "reason",
    "reason_code",
    "region",
    "schema",
)
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_LAST_SECOND: Final = to_seconds(datetime(9999, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ChangeRequest:
    """One operation on one version of a licence. Made by `parse` or `from_document`."""

    region: RegionCode
    """Region that keeps the licence."""
    identifier: LicenceIdentifier
    """Which version."""
    operation: str
    """Name of the operation, as the region's transition table has it."""
    reason_code: str
    """Coded reason."""
    reason: str
    """Reason in words (事由)."""
    legal_basis: str
    """Provision that it rests on (法律依据)."""
    effective_at: datetime
    """From when on, whole seconds, in UTC."""
    nonce: bytes
    """32 random bytes."""

    def to_bytes(self) -> bytes:
        """Return the canonical JSON; the exact inverse of `parse`."""
        return canonical_json(
            {
                "effective_at": to_seconds(self.effective_at),
                "identifier": str(self.identifier),
                "legal_basis": self.legal_basis,
                "nonce": b64url_encode(self.nonce),
                "operation": self.operation,
                "reason": self.reason,
                "reason_code": self.reason_code,
                "region": self.region,
                "schema": SCHEMA,
            }
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of `to_bytes`: the entry of an approval's Merkle tree."""
        return request_digest(self.to_bytes())

    @classmethod
    def parse(cls, data: bytes) -> ChangeRequest:
        """Parse a request.

        Raises:
            MalformedError: Not canonical JSON, or more than 16 KiB.
            InvalidArgumentError: Unacceptable fields; ``violations`` has all.
        """
        return cls.from_document(parse_canonical_json(data, max_bytes=MAX_CHANGE_BYTES))

    @classmethod
    def from_document(cls, document: Json) -> ChangeRequest:
        """Read a request from its members, as parsed or as a client built them.

        Raises:
            MalformedError: Not an object.
            InvalidArgumentError: Unacceptable fields; ``violations`` has all.
        """
        if type(document) is not dict:
            raise MalformedError("change request: an object was expected", reason="JSON")
        form = Form(document, known=_MEMBERS)
        form.constant("schema", SCHEMA)
        members: dict[str, Json] = {
            "region": form.parsed("region", parse_region_code),
            "identifier": form.parsed("identifier", identifiers.parse),
            "operation": form.parsed("operation", _code),
            "reason_code": form.parsed("reason_code", _code),
            "reason": form.text("reason", max_characters=MAX_REASON_CHARACTERS, lines=True),
            "legal_basis": form.text(
                "legal_basis", max_characters=MAX_REASON_CHARACTERS, lines=True
            ),
            "effective_at": _effective_at(form),
            "nonce": form.octets("nonce", size=NONCE_BYTES),
        }
        form.check("change request")
        return cls(**members)

    def __repr__(self) -> str:
        return f"ChangeRequest({self.operation!r}, {str(self.identifier)!r})"


def _code(text: str) -> str:
    if _CODE.fullmatch(text) is None:
        raise InvalidArgumentError(
            "a letter, then up to 31 letters, digits, _ or - are expected", reason="FIELD_VALUE"
        )
    return text


def _effective_at(form: Form) -> datetime | None:
    seconds = form.integer("effective_at", at_least=0)
    if seconds is None:
        return None
    if seconds >= _LAST_SECOND:
        form.refuse("effective_at", "is after the year 9998", "FIELD_RANGE")
        return None
    return datetime.fromtimestamp(seconds, UTC)
