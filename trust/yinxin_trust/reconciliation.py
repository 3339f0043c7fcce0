"""Approvals as an authority reads them again, to compare with its own copies.

After an intrusion the authority's copies say what it approved, and the log
says what was done: what is in one and not in the other is what must be found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, select

from yinxin_proto.error import NotFoundError
from yinxin_proto.jose import parse_compact
from yinxin_proto.strict import Json, b64url_decode
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, indexes
from yinxin_trust.page import Cursor, Page, PageTokens, newer, page_size_of
from yinxin_trust.rows import milliseconds

_QUERY_WIDTH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedRequest:
    """One request under an approval, and what became of it."""

    digest: bytes
    """SHA-256 of its exact bytes."""
    body: str
    """``type.issuer.serial`` of the licence."""
    version: int
    log_index: int | None
    """Of the entry that commits to it; None until sequenced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRecord:
    """What an authority signed, as the region keeps it."""

    digest: bytes
    issuer_code: str
    token: str
    count: int
    created_ms: int

    @property
    def key_thumbprint(self) -> bytes:
        """SHA-256 of the SPKI of the approval key, as the token names it."""
        return b64url_decode(str(parse_compact(self.token).header.get("kid", "")), max_bytes=32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalFilter:
    """Which approvals to list; what is absent does not restrict."""

    issuer_code: str
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is no longer listed."""

    def to_json(self) -> Json:
        """Return what a page token is bound to."""
        return [
            "approvals",
            self.issuer_code,
            None if self.since is None else milliseconds(self.since),
            None if self.until is None else milliseconds(self.until),
        ]


def get_approval(conn: Connection, issuer_code: str, digest: bytes) -> ApprovalRecord:
    """Return one approval of an authority.

    Raises:
        NotFoundError: It gave no such approval (``APPROVAL``).
    """
    a = schema.approval.c
    query = select(schema.approval).where(a.digest == digest, a.issuer_code == issuer_code)
    row = conn.execute(query).one_or_none()
    if row is None:
        raise NotFoundError("this authority gave no such approval", reason="APPROVAL")
    return _record(row)


def list_approvals(
    conn: Connection,
    wanted: ApprovalFilter,
    *,
    pages: PageTokens,
    page_size: int = 0,
    page_token: str = "",
) -> Page[ApprovalRecord]:
    """Return one page of an authority's approvals, oldest first.

    Raises:
        InvalidArgumentError: A page size or token that is not acceptable.
    """
    size = page_size_of(page_size)
    cursor = pages.read(page_token, wanted.to_json())
    a = schema.approval.c
    query = select(schema.approval).where(a.issuer_code == wanted.issuer_code)
    if wanted.since is not None:
        query = query.where(a.created_ms >= milliseconds(wanted.since))
    if wanted.until is not None:
        query = query.where(a.created_ms < milliseconds(wanted.until))
    if cursor is not None:
        query = query.where(newer(a.created_ms, a.digest, cursor))
    rows = conn.execute(query.order_by(a.created_ms, a.digest).limit(size + 1))
    return pages.page(
        [_record(row) for row in rows],
        size,
        wanted.to_json(),
        lambda record: Cursor(record.created_ms, record.digest),
    )


def approved_requests(conn: Connection, approval: ApprovalRecord) -> list[ApprovedRequest]:
    """Return the requests under an approval, in the order of its Merkle tree."""
    query = select(schema.approval.c.requests).where(schema.approval.c.digest == approval.digest)
    made = json.loads(conn.execute(query).scalar_one())
    entries = _entries(conn, approval.digest, [body for _, body, _ in made])
    places = indexes(conn, LICENCES, list(entries.values()))
    return [
        ApprovedRequest(
            digest=bytes.fromhex(digest),
            body=body,
            version=version,
            log_index=places.get(entries.get((body, version), b"")),
        )
        for digest, body, version in made
    ]


def _entries(
    conn: Connection, approval: bytes, bodies: Sequence[str]
) -> dict[tuple[str, int], bytes]:
    """Return the log's entries of what was done under an approval, by licence and version."""
    i = schema.licence_identifier.c
    found: dict[tuple[str, int], bytes] = {}
    for table in (schema.licence, schema.licence_event):
        t = table.c
        query = select(i.body, t.revision, t.entry).join_from(
            schema.licence_identifier,
            table,
            and_(t.subject_ref == i.subject_ref, t.licence_ref == i.licence_ref),
        )
        query = query.where(t.approval_hash == approval)
        for start in range(0, len(bodies), _QUERY_WIDTH):
            some = query.where(i.body.in_(bodies[start : start + _QUERY_WIDTH]))
            for body, revision, entry in conn.execute(some):
                found[body, revision] = bytes(entry)
    return found


def _record(row: Row[*tuple[Any, ...]]) -> ApprovalRecord:
    return ApprovalRecord(
        digest=bytes(row.digest),
        issuer_code=row.issuer_code,
        token=row.token,
        # Not ``row.count``: a row is a tuple, and that is a tuple's method.
        count=row._mapping["count"],
        created_ms=row.created_ms,
    )
