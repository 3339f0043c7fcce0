"""An authority's own copy of what it approved 审批留底.

The SDK keeps one beside the authority's credentials before anything is sent.
After an intrusion these copies, and not the region's records, say what was
approved. One copy is one line of canonical JSON::

    {approval, digests, requests}

``requests`` holds the exact bytes, base64url, or is null where the authority
keeps them elsewhere: their digests then show what was approved, but not that
what was issued says the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from yinxin_proto.approval import MAX_BATCH, UnverifiedApproval, parse_approval, request_digest
from yinxin_proto.error import MalformedError
from yinxin_proto.member import Members, as_octets
from yinxin_proto.merkle import HASH_SIZE
from yinxin_proto.strict import Json, b64url_decode, b64url_encode, canonical_json
from yinxin_proto.strict import parse_canonical_json as parse_json

MAX_COPY_BYTES: Final = 64 << 20
_MAX_REQUEST_BYTES: Final = 1 << 20
_MEMBERS: Final = ("approval", "digests", "requests")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ApprovalCopy:
    """One approval with the requests that it covers."""

    approval: str
    """The compact JWS."""
    digests: tuple[bytes, ...]
    """Of each request, in order."""
    requests: tuple[bytes, ...] | None = None
    """Exact bytes of each request, in the same order; None where they were left out."""

    @classmethod
    def of(cls, approval: str, requests: tuple[bytes, ...]) -> ApprovalCopy:
        """Return the copy of an approval that was just given."""
        return cls(
            approval=approval, digests=tuple(map(request_digest, requests)), requests=requests
        )

    def parse_approval(self) -> UnverifiedApproval:
        """Return the approval, unverified."""
        return parse_approval(self.approval)

    def to_bytes(self) -> bytes:
        """Return one line, without its end; the exact inverse of `parse`."""
        requests: Json = None
        if self.requests is not None:
            requests = [b64url_encode(one) for one in self.requests]
        return canonical_json(
            {
                "approval": self.approval,
                "digests": [b64url_encode(one) for one in self.digests],
                "requests": requests,
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> ApprovalCopy:
        """Parse a copy; its signature is for the caller to verify.

        Raises:
            MalformedError: Not canonical JSON, a member of another form, or requests
                that are not those of the digests (``COPY_REQUESTS``).
        """
        members = Members(parse_json(data, max_bytes=MAX_COPY_BYTES), "approval copy", _MEMBERS)
        digests = members.each("digests", _digest, max_items=MAX_BATCH)
        requests = members.one_or_none(
            "requests", lambda value, where: _requests(members, value, where)
        )
        if requests is not None and tuple(map(request_digest, requests)) != digests:
            raise MalformedError(
                "approval copy: its requests are not those of its digests", reason="COPY_REQUESTS"
            )
        return cls(approval=members.one("approval", _text), digests=digests, requests=requests)

    def __repr__(self) -> str:
        return f"ApprovalCopy({len(self.digests)} requests)"


def _requests(members: Members, _value: Json, _where: str) -> tuple[bytes, ...]:
    return members.each("requests", _request, max_items=MAX_BATCH)


def _request(value: Json, where: str) -> bytes:
    if not isinstance(value, str):
        raise MalformedError(f"{where}: a base64url string was expected", reason="MEMBER_TYPE")
    return b64url_decode(value, max_bytes=_MAX_REQUEST_BYTES)


def _digest(value: Json, where: str) -> bytes:
    return as_octets(value, where, max_bytes=HASH_SIZE, min_bytes=HASH_SIZE)


def _text(value: Json, where: str) -> str:
    if not isinstance(value, str):
        raise MalformedError(f"{where}: a string was expected", reason="MEMBER_TYPE")
    return value
