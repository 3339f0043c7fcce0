"""Idempotency: the same ``request_id`` again returns what it returned before.

A claim belongs to a caller and binds the hash of the request's body. It is
written in the transaction of what it made, so either both exist or neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, select

from yinxin_edge.lookup import Lookup
from yinxin_proto.error import ConflictError, InvalidArgumentError, Violation
from yinxin_trust import schema
from yinxin_trust.rows import RowBatch

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")

_r = schema.request.c
_OUTCOME: Final = Lookup(
    select(_r.body_hash, _r.outcome).where(
        _r.caller == bindparam("caller"), _r.request_id == bindparam("request_id")
    )
)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """One caller's request: who, its identifier, and the hash of its body."""

    caller: str
    request_id: str
    body_hash: bytes
    earlier_hashes: tuple[bytes, ...] = ()
    """The same body's under keys that were replaced since it may have come first."""


def check_request_id(request_id: str) -> None:
    """Refuse an identifier that is empty, too long, or unprintable (AIP-155).

    Raises:
        InvalidArgumentError: It is not 1 to 64 of ``A-Za-z0-9._:-``.
    """
    if _REQUEST_ID.match(request_id) is None:
        raise InvalidArgumentError(
            "the request cannot be identified",
            violations=[
                Violation(
                    "request_id", "1 to 64 of A-Z a-z 0-9 . _ : -; a UUID is usual", "REQUEST_ID"
                )
            ],
        )


def find_outcome(conn: Connection, key: RequestKey) -> bytes | None:
    """Return what the request made before, or None.

    Raises:
        ConflictError: The same identifier was used with another body.
    """
    row = _OUTCOME.one(conn, caller=key.caller, request_id=key.request_id)
    if row is None:
        return None
    body_hash, outcome = row
    if bytes(body_hash) not in (key.body_hash, *key.earlier_hashes):
        raise ConflictError(
            "this request_id was used before with another body; take a new one",
            reason="REQUEST_ID_REUSED",
        )
    return bytes(outcome)


def claim(batch: RowBatch, key: RequestKey, *, outcome: bytes, now_ms: int) -> None:
    """Queue the claim beside what the request makes."""
    batch.add(
        schema.request,
        {
            "caller": key.caller,
            "request_id": key.request_id,
            "body_hash": key.body_hash,
            "outcome": outcome,
            "created_ms": now_ms,
        },
    )
