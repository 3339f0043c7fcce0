"""Changes of a licence's state, under the approval of its issuing authority.

What is not a row of `transition.TRANSITIONS` cannot happen. A change is
checked and its signatures are verified outside the transaction; inside it the
licence is locked, and what may have moved meanwhile (version, etag, state, the
same request in another process) is looked at again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection, select

from yinxin_edge.database_error import UniqueError
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import (
    ConflictError,
    FailedPreconditionError,
    IntegrityError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    Violation,
)
from yinxin_proto.identifier import LicenceIdentifier
from yinxin_trust import request as request_claim
from yinxin_trust import schema
from yinxin_trust.access import Role
from yinxin_trust.audit import AuditTrail
from yinxin_trust.changecommand import BatchChangeCommand, ChangeCommand
from yinxin_trust.changeintake import CheckedChange, CheckedChanges, check_changes
from yinxin_trust.commit import insert_rows
from yinxin_trust.directory import Directory
from yinxin_trust.event import EventDetail, event_row
from yinxin_trust.holding import Holding
from yinxin_trust.namespace import Namespace
from yinxin_trust.record import LicenceRecord, etag_of, open_rows
from yinxin_trust.request import RequestKey
from yinxin_trust.rows import RowBatch, milliseconds
from yinxin_trust.statechange import (
    LicenceKey,
    LicenceRow,
    StateChange,
    lock_newest,
    write_changes,
)
from yinxin_trust.storage import Storage
from yinxin_trust.subject import Subject, SubjectDirectory
from yinxin_trust.transition import State, transition
from yinxin_trust.vault import Vault

_ATTEMPTS: Final = 8
_QUERY_WIDTH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleStores:
    """Where changes read and write."""

    storage: Storage
    directory: Directory
    subjects: SubjectDirectory
    holding: Holding
    vault: Vault
    audit: AuditTrail


class Lifecycle:
    """Changes licences' states.

    Args:
        stores: Where it reads and writes.
        namespace: The region's names.
        clock: The moment of a change.
        entropy: Salts of the log's leaves.
    """

    def __init__(
        self, *, stores: LifecycleStores, namespace: Namespace, clock: Clock, entropy: Entropy
    ) -> None:
        self._stores = stores
        self._namespace = namespace
        self._clock = clock
        self._entropy = entropy

    def change(self, command: ChangeCommand) -> LicenceRecord:
        """Change one licence's state; see `change_many`."""
        return self.change_many(command.batch())[0]

    def change_many(self, command: BatchChangeCommand) -> list[LicenceRecord]:
        """Change every licence of a call, or return what it changed before.

        Returns:
            The licences as the call left them, in its order.

        Raises:
            InvalidArgumentError: Every unacceptable field of every change.
            PermissionDeniedError: Role, authority or approval do not allow it.
            NotFoundError: No such licence (``LICENCE``).
            ConflictError: A stale etag (``ETAG``), a version that is no longer
                the newest (``REVISION``), or the request_id with another body.
            FailedPreconditionError: No transition from that state (``TRANSITION``).
        """
        command.caller.require(Role.ISSUER)
        command.context.check()
        request_claim.check_request_id(command.request_id)
        # Keyed, since a request without its nonce could be guessed and confirmed.
        hashes = self._stores.vault.request_hashes(command.body_hash())
        key = RequestKey(
            command.caller.principal_id, command.request_id, hashes[0], tuple(hashes[1:])
        )
        for _ in range(_ATTEMPTS):
            with self._stores.storage.read() as conn:
                earlier = request_claim.find_outcome(conn, key)
                replayed = [] if earlier is None else self._replay(conn, earlier)
                checked = self._check(conn, command) if earlier is None else None
                owners = {} if checked is None else self._owners(conn, checked)
            if checked is None:
                return self._record_replay(command, replayed)
            try:
                records = self._write(command, key, checked, owners)
            except UniqueError as error:
                _explain(error)
                continue
            if records is not None:
                return records
        raise UnavailableError("other calls kept interfering; try again", reason="CONTENTION")

    def _check(self, conn: Connection, command: BatchChangeCommand) -> CheckedChanges:
        checked = check_changes(
            [(change.body, change.change_request) for change in command.changes],
            command.approval,
            operation=command.operation,
            snapshot=self._stores.directory.snapshot(conn),
            namespace=self._namespace,
            now=self._clock.now(),
        )
        command.caller.require_authority(checked.authority.code)
        return checked

    def _owners(self, conn: Connection, checked: CheckedChanges) -> dict[str, _Filed]:
        """Find where each licence is filed, and open its owner's data key."""
        i = schema.licence_identifier.c
        bodies = [change.body for change in checked.changes]
        keys: dict[str, LicenceKey] = {}
        for start in range(0, len(bodies), _QUERY_WIDTH):
            query = select(i.body, i.subject_ref, i.licence_ref).where(
                i.body.in_(bodies[start : start + _QUERY_WIDTH])
            )
            for row in conn.execute(query):
                keys[row.body] = bytes(row.subject_ref), bytes(row.licence_ref)
        if len(keys) != len(bodies):
            raise NotFoundError("no such licence in this region", reason="LICENCE")
        subjects = self._stores.subjects.by_ref(conn, {key[0] for key in keys.values()})
        if any(key[0] not in subjects for key in keys.values()):
            raise IntegrityError("a licence's owner is not on file", reason="OWNER_MISSING")
        return {body: _Filed(key, subjects[key[0]]) for body, key in keys.items()}

    def _write(
        self,
        command: BatchChangeCommand,
        key: RequestKey,
        checked: CheckedChanges,
        owners: Mapping[str, _Filed],
    ) -> list[LicenceRecord] | None:
        """Write the changes; None when the same request was served meanwhile."""
        now_ms = milliseconds(self._clock.now())
        batch = RowBatch()
        with self._stores.storage.write() as conn:
            rows = lock_newest(conn, list(owners))
            # Only now: the same request may have held the locks until a moment ago.
            if request_claim.find_outcome(conn, key) is not None:
                return None
            steps = [
                self._step(command, change, position, owners[change.body], rows, checked)
                for position, change in enumerate(checked.changes)
            ]
            self._add_call(batch, command, key, checked, steps, now_ms)
            write_changes(conn, batch, steps, entropy=self._entropy, now_ms=now_ms)
            insert_rows(self._stores.storage, conn, batch)
        subjects = {filed.owner.ref: filed.owner for filed in owners.values()}
        records = open_rows([step.row for step in steps], subjects, self._namespace)
        return [
            replace(
                record,
                state=step.transition.target,
                generation=step.generation,
                updated_ms=now_ms,
            )
            for record, step in zip(records, steps, strict=True)
        ]

    def _step(
        self,
        command: BatchChangeCommand,
        change: CheckedChange,
        position: int,
        filed: _Filed,
        rows: Mapping[str, LicenceRow],
        checked: CheckedChanges,
    ) -> StateChange:
        row = rows[change.body]
        try:
            _check_current(row, change, command.changes[position].etag)
            step = transition(command.operation, State(row.state))
        except (ConflictError, FailedPreconditionError) as error:
            if len(command.changes) == 1:
                raise
            which = Violation(f"changes[{position}]", error.message, error.reason)
            raise type(error)(
                "one of the changes is not possible; nothing was changed",
                reason=error.reason,
                violations=[which],
            ) from error
        detail = EventDetail(
            reason=change.request.reason,
            legal_basis=change.request.legal_basis,
            operator=command.context.operator,
        )
        sealed_for = event_row(*filed.key, row.generation + 1)
        return StateChange(
            row=row,
            transition=step,
            reason_code=change.request.reason_code,
            effective_ms=milliseconds(change.request.effective_at),
            caller=command.caller.principal_id,
            sealed_detail=detail.seal(filed.owner, row=sealed_for),
            operator_certificate_hash=command.operator_certificate_hash,
            approval_hash=checked.approval.digest,
        )

    def _add_call(
        self,
        batch: RowBatch,
        command: BatchChangeCommand,
        key: RequestKey,
        checked: CheckedChanges,
        steps: Sequence[StateChange],
        now_ms: int,
    ) -> None:
        outcome = [
            [
                step.identifier.body,
                step.row.revision,
                step.transition.target.value,
                step.generation,
                now_ms,
            ]
            for step in steps
        ]
        request_claim.claim(
            batch, key, outcome=json.dumps(outcome, separators=(",", ":")).encode(), now_ms=now_ms
        )
        batch.add(
            schema.approval,
            {
                "digest": checked.approval.digest,
                "issuer_code": checked.authority.code,
                "count": checked.approval.count,
                "token": command.approval,
                "requests": json.dumps(
                    [
                        [change.request.digest.hex(), change.body, step.row.revision]
                        for change, step in zip(checked.changes, steps, strict=True)
                    ],
                    separators=(",", ":"),
                ),
                "created_ms": now_ms,
            },
        )
        self._audit(batch, command, [step.identifier for step in steps])

    def _audit(
        self,
        batch: RowBatch,
        command: BatchChangeCommand,
        identifiers: Sequence[LicenceIdentifier],
    ) -> None:
        single = len(identifiers) == 1
        namespace = self._namespace
        self._stores.audit.add(
            batch,
            caller=command.caller,
            method="LicenceService/ChangeLicenceStatus",
            resource=namespace.licence_name(identifiers[0]) if single else namespace.resource,
            context=command.context,
            item_count=len(identifiers),
        )

    def _record_replay(
        self, command: BatchChangeCommand, records: list[LicenceRecord]
    ) -> list[LicenceRecord]:
        """Put a repeated call on record too: it is answered once more."""
        batch = RowBatch()
        self._audit(batch, command, [record.identifier for record in records])
        with self._stores.storage.write() as conn:
            insert_rows(self._stores.storage, conn, batch)
        return records

    def _replay(self, conn: Connection, outcome: bytes) -> list[LicenceRecord]:
        """Return the licences as that call left them, whatever happened since."""
        made = json.loads(outcome)
        keys = [(body, revision) for body, revision, *_ in made]
        records = self._stores.holding.at_revisions(conn, keys)
        return [
            replace(record, state=State(state), generation=generation, updated_ms=at_ms)
            for record, (_, _, state, generation, at_ms) in zip(records, made, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Filed:
    key: LicenceKey
    owner: Subject


def _check_current(row: LicenceRow, change: CheckedChange, etag: str) -> None:
    if row.revision != change.request.identifier.version:
        raise ConflictError(
            "the change was approved for a version that is not the licence's newest; "
            "approve it anew",
            reason="REVISION",
        )
    if etag and etag != etag_of(row.revision, row.generation):
        raise ConflictError(
            "the licence changed since it was read; read it again and decide anew", reason="ETAG"
        )


def _explain(error: UniqueError) -> None:
    """Raise what the caller did wrong; return if the request was served meanwhile."""
    if error.table == schema.approval.name:
        raise PermissionDeniedError(
            "this approval was used by another request; approve anew", reason="APPROVAL_USED"
        ) from error
    if error.table != schema.request.name:
        raise error
