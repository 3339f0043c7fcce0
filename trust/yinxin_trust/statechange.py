"""What every change of a licence's state writes, all of it in one transaction.

State, status value, event and log entry change together or not at all: a list
that shows a change whose leaf is missing, or a leaf of a change that never
was, would contradict each other for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, Row, and_, bindparam, select, update
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from yinxin_proto.clock import Entropy
from yinxin_proto.error import IntegrityError
from yinxin_proto.identifier import LicenceIdentifier, of_body
from yinxin_proto.leaf import SALT_SIZE, StatusChangeLeaf
from yinxin_proto.statuslist import StatusValue
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, indexes, queue
from yinxin_trust.rows import RowBatch
from yinxin_trust.status import set_values
from yinxin_trust.transition import STATUS_VALUES, State, Transition

_QUERY_WIDTH: Final = 500

LicenceRow: TypeAlias = Row[*tuple[Any, ...]]
"""A full row of ``licence``."""
Columns: TypeAlias = ReadOnlyColumnCollection[str, Column[Any]]
LicenceKey: TypeAlias = tuple[bytes, bytes]
"""``subject_ref`` and ``licence_ref``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """One licence's step to another state."""

    row: LicenceRow
    """The licence as it is, locked by the caller's transaction."""
    transition: Transition
    reason_code: str
    effective_ms: int
    caller: str
    """The principal's id; empty for the clock's own operations."""
    sealed_detail: bytes
    """Sealed for `event.event_row` of `generation`, or empty."""
    operator_certificate_hash: bytes | None = None
    approval_hash: bytes | None = None

    @property
    def key(self) -> LicenceKey:
        """Where the licence is filed."""
        return bytes(self.row.subject_ref), bytes(self.row.licence_ref)

    @property
    def generation(self) -> int:
        """The generation that the change makes."""
        return int(self.row.generation) + 1

    @property
    def identifier(self) -> LicenceIdentifier:
        """The version that is changed."""
        return identifier_of(self.row)


def identifier_of(row: LicenceRow) -> LicenceIdentifier:
    """Return the identifier of a ``licence`` row."""
    return of_body(f"{row.type_code}.{row.issuer_code}.{row.serial}", row.revision)


def lock_newest(conn: Connection, bodies: Sequence[str]) -> dict[str, LicenceRow]:
    """Lock licences against every other change; return the newest version of each.

    Locks are taken in one order for everybody, or two batches over the same
    licences could wait for each other.

    Args:
        conn: An open write transaction.
        bodies: ``type.issuer.serial`` of each; unknown ones are left out.
    """
    i, lic = schema.licence_identifier.c, schema.licence.c
    newest: dict[str, LicenceRow] = {}
    ordered = sorted(bodies)
    for start in range(0, len(ordered), _QUERY_WIDTH):
        query = (
            select(schema.licence)
            .join_from(schema.licence_identifier, schema.licence, _same_licence(i, lic))
            .where(i.body.in_(ordered[start : start + _QUERY_WIDTH]))
            .order_by(i.body, lic.revision)
            .with_for_update(of=schema.licence)
        )
        for row in conn.execute(query):
            newest[identifier_of(row).body] = row
    return newest


def _same_licence(left: Columns, right: Columns) -> ColumnElement[bool]:
    return and_(left.subject_ref == right.subject_ref, left.licence_ref == right.licence_ref)


def write_changes(
    conn: Connection,
    batch: RowBatch,
    changes: Sequence[StateChange],
    *,
    entropy: Entropy,
    now_ms: int,
) -> None:
    """Write the new states, and queue events and log entries into ``batch``.

    Args:
        conn: An open write transaction in which the licences are locked.
        batch: What the caller inserts in the same transaction.
        changes: At most one for each licence.
        entropy: Salts of the leaves.
        now_ms: When it is recorded.
    """
    prior = _prior_indexes(conn, changes)
    for change in changes:
        salt = entropy.token(SALT_SIZE)
        prior_index = prior.get(change.key)
        entry = _leaf(change, prior_index).entry(salt)
        batch.add(schema.licence_event, _event(change, salt, prior_index, entry, now_ms))
        queue(batch, LICENCES, entry, now_ms=now_ms)
    _update_licences(conn, changes, now_ms)
    set_values(conn, _status_values(changes))


def _prior_indexes(conn: Connection, changes: Sequence[StateChange]) -> dict[LicenceKey, int]:
    """Return the index of each licence's last leaf, where it has one yet."""
    last = {change.key: bytes(change.row.entry) for change in changes}
    # The event that made the present generation of the present version, if one did.
    present = {change.key: (change.row.generation, change.row.revision) for change in changes}
    i, e = schema.licence_identifier.c, schema.licence_event.c
    bodies = [change.identifier.body for change in changes]
    for start in range(0, len(bodies), _QUERY_WIDTH):
        query = (
            select(e.subject_ref, e.licence_ref, e.generation, e.revision, e.entry)
            .join_from(schema.licence_identifier, schema.licence_event, _same_licence(i, e))
            .where(i.body.in_(bodies[start : start + _QUERY_WIDTH]))
        )
        for row in conn.execute(query):
            key = bytes(row.subject_ref), bytes(row.licence_ref)
            if present[key] == (row.generation, row.revision):
                last[key] = bytes(row.entry)
    placed = indexes(conn, LICENCES, list(last.values()))
    return {key: placed[entry] for key, entry in last.items() if entry in placed}


def _leaf(change: StateChange, prior_index: int | None) -> StatusChangeLeaf:
    return StatusChangeLeaf(
        identifier=str(change.identifier),
        from_state=change.row.state,
        to_state=change.transition.target.value,
        operation=change.transition.operation.value,
        reason_code=change.reason_code or None,
        effective_time=change.effective_ms // 1000,
        operator_certificate_hash=change.operator_certificate_hash,
        approval_hash=change.approval_hash,
        prior_index=prior_index,
    )


def _event(
    change: StateChange, salt: bytes, prior_index: int | None, entry: bytes, now_ms: int
) -> dict[str, object]:
    subject_ref, licence_ref = change.key
    return {
        "subject_ref": subject_ref,
        "licence_ref": licence_ref,
        "generation": change.generation,
        "revision": change.row.revision,
        "operation": change.transition.operation.value,
        "from_state": change.row.state,
        "to_state": change.transition.target.value,
        "reason_code": change.reason_code,
        "effective_ms": change.effective_ms,
        "recorded_ms": now_ms,
        "caller": change.caller,
        "operator_certificate_hash": change.operator_certificate_hash,
        "approval_hash": change.approval_hash,
        "salt": salt,
        "prior_index": prior_index,
        "entry": entry,
        "sealed_detail": change.sealed_detail,
    }


def _update_licences(conn: Connection, changes: Sequence[StateChange], now_ms: int) -> None:
    table = schema.licence
    statement = (
        update(table)
        .where(
            table.c.subject_ref == bindparam("b_subject_ref"),
            table.c.licence_ref == bindparam("b_licence_ref"),
            table.c.revision == bindparam("b_revision"),
            table.c.generation == bindparam("b_generation"),
        )
        .values(state=bindparam("b_state"), generation=bindparam("b_next"), updated_ms=now_ms)
    )
    changed = conn.execute(
        statement,
        [
            {
                "b_subject_ref": change.key[0],
                "b_licence_ref": change.key[1],
                "b_revision": change.row.revision,
                "b_generation": change.row.generation,
                "b_state": change.transition.target.value,
                "b_next": change.generation,
            }
            for change in changes
        ],
    ).rowcount
    if changed != len(changes):
        raise IntegrityError("a licence changed under its lock", reason="LOCK")


def _status_values(changes: Sequence[StateChange]) -> dict[tuple[int, int], StatusValue]:
    # Expiry is in the licence itself: what the list said of it stays.
    return {
        (change.row.status_list, change.row.status_idx): STATUS_VALUES[change.transition.target]
        for change in changes
        if change.transition.target is not State.EXPIRED
    }
