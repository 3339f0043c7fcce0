"""What happened to a licence: events, as the database holds them.

What the log's leaf commits to stands in the row; the words that may speak of
the holder (reason, legal basis, who acted) are sealed under the holder's key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from yinxin_proto.identifier import LicenceIdentifier, of_body
from yinxin_proto.leaf import StatusChangeLeaf
from yinxin_proto.strict import canonical_json, parse_json_object
from yinxin_trust import schema
from yinxin_trust.subject import Subject
from yinxin_trust.transition import State

ISSUE: Final = "issue"
_GENERATION_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EventDetail:
    """The words of an event."""

    reason: str = ""
    legal_basis: str = ""
    operator: str = ""
    """经办人, from the call's context."""

    def seal(self, owner: Subject, *, row: bytes) -> bytes:
        """Seal for one row of ``licence_event``."""
        document = {
            "reason": self.reason,
            "legal_basis": self.legal_basis,
            "operator": self.operator,
        }
        return owner.key.seal(canonical_json(document), row=row)

    @classmethod
    def open(cls, sealed: bytes, owner: Subject, *, row: bytes) -> EventDetail:
        """Open what `seal` made for the same row; nothing was said where it is empty.

        Raises:
            IntegrityError: It does not open in this row.
        """
        if not sealed:
            return cls()
        document = parse_json_object(owner.key.open(sealed, row=row))
        return cls(**{name: str(document[name]) for name in ("reason", "legal_basis", "operator")})


def event_row(subject_ref: bytes, licence_ref: bytes, generation: int) -> bytes:
    """Return the row binding of ``licence_event.sealed_detail``."""
    return (
        b"licence_event\0"
        + subject_ref
        + licence_ref
        + generation.to_bytes(_GENERATION_BYTES, "big")
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LicenceEvent:
    """One thing that happened to a licence."""

    identifier: LicenceIdentifier
    generation: int
    operation: str
    """`ISSUE`, or an operation of the transition table."""
    from_state: State | None
    """None for the issue."""
    to_state: State
    reason_code: str
    detail: EventDetail
    caller: str
    """The principal's id; empty for the issue, which the audit trail names."""
    effective_ms: int
    recorded_ms: int
    operator_certificate_hash: bytes | None
    approval_hash: bytes | None
    entry: bytes
    """What the log of licences holds."""
    salt: bytes | None
    """Opens the leaf of a change; None for the issue, whose opening is the licence's."""
    prior_index: int | None

    def leaf(self) -> StatusChangeLeaf:
        """Return the leaf that `entry` must be of, for a change of state."""
        return StatusChangeLeaf(
            identifier=str(self.identifier),
            from_state="" if self.from_state is None else self.from_state.value,
            to_state=self.to_state.value,
            operation=self.operation,
            reason_code=self.reason_code or None,
            effective_time=self.effective_ms // 1000,
            operator_certificate_hash=self.operator_certificate_hash,
            approval_hash=self.approval_hash,
            prior_index=self.prior_index,
        )

    def __repr__(self) -> str:
        return f"LicenceEvent({self.identifier}, {self.operation})"


def load_events(
    conn: Connection, issued: Row[*tuple[Any, ...]], owner: Subject
) -> list[LicenceEvent]:
    """Return a licence's events, oldest first.

    Args:
        conn: A transaction.
        issued: The ``licence`` row of the first version.
        owner: The subject that it is filed under.
    """
    e = schema.licence_event.c
    rows = conn.execute(
        select(schema.licence_event)
        .where(e.subject_ref == issued.subject_ref, e.licence_ref == issued.licence_ref)
        .order_by(e.generation)
    )
    body = f"{issued.type_code}.{issued.issuer_code}.{issued.serial}"
    return [_issue(issued, body), *_changes(list(rows), body, owner)]


def _issue(row: Row[*tuple[Any, ...]], body: str) -> LicenceEvent:
    return LicenceEvent(
        identifier=of_body(body, row.revision),
        generation=1,
        operation=ISSUE,
        from_state=None,
        to_state=State.VALID,
        reason_code="",
        detail=EventDetail(),
        caller="",
        effective_ms=row.valid_from_ms,
        recorded_ms=row.created_ms,
        operator_certificate_hash=None,
        approval_hash=bytes(row.approval_hash),
        entry=bytes(row.entry),
        salt=None,
        prior_index=None,
    )


def _changes(
    rows: Sequence[Row[*tuple[Any, ...]]], body: str, owner: Subject
) -> list[LicenceEvent]:
    return [
        LicenceEvent(
            identifier=of_body(body, row.revision),
            generation=row.generation,
            operation=row.operation,
            from_state=State(row.from_state),
            to_state=State(row.to_state),
            reason_code=row.reason_code,
            detail=EventDetail.open(
                bytes(row.sealed_detail),
                owner,
                row=event_row(owner.ref, bytes(row.licence_ref), row.generation),
            ),
            caller=row.caller,
            effective_ms=row.effective_ms,
            recorded_ms=row.recorded_ms,
            operator_certificate_hash=_optional(row.operator_certificate_hash),
            approval_hash=_optional(row.approval_hash),
            entry=bytes(row.entry),
            salt=bytes(row.salt),
            prior_index=row.prior_index,
        )
        for row in rows
    ]


def _optional(value: bytes | None) -> bytes | None:
    return None if value is None else bytes(value)
