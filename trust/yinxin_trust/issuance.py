"""Issue 新发: approved requests become licences, all of a call or none.

Everything is prepared outside the transaction and only inserted inside it, so
concurrent calls can share one (`commit`). What another call made in between
shows as a taken claim: the same request's own claim means that it was issued
already, a licence number is the caller's mistake, and anything else (a holder
who was registered meanwhile) is prepared again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from yinxin_edge.database_error import UniqueError
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import (
    AlreadyExistsError,
    PermissionDeniedError,
    UnavailableError,
    Violation,
)
from yinxin_proto.number import SubjectNumber
from yinxin_proto.strict import Json
from yinxin_trust import request as request_claim
from yinxin_trust import schema
from yinxin_trust.access import Principal, Role
from yinxin_trust.allocation import StatusAllocator
from yinxin_trust.audit import AuditTrail
from yinxin_trust.commit import GroupCommitter, KeyFencedError
from yinxin_trust.context import CallContext
from yinxin_trust.directory import Directory, DirectorySnapshot
from yinxin_trust.holding import Holding
from yinxin_trust.intake import CheckedBatch, body_hash, check_batch
from yinxin_trust.minting import Mint, MintedLicence, add_rows
from yinxin_trust.namespace import Namespace
from yinxin_trust.record import LicenceRecord
from yinxin_trust.request import RequestKey
from yinxin_trust.rows import RowBatch, milliseconds
from yinxin_trust.storage import Storage
from yinxin_trust.subject import Subject, SubjectDirectory
from yinxin_trust.vault import Vault

_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class IssueCommand:
    """One call: who wants what issued, and under which approval."""

    caller: Principal
    context: CallContext
    request_id: str
    requests: Sequence[bytes]
    approval: str
    snapshot: DirectorySnapshot | None = None
    """The records in which the caller was looked up; read anew when None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuanceStores:
    """Where issuance reads and writes."""

    storage: Storage
    committer: GroupCommitter
    directory: Directory
    subjects: SubjectDirectory
    allocator: StatusAllocator
    holding: Holding
    vault: Vault
    audit: AuditTrail


class Issuance:
    """Issues licences.

    Args:
        stores: Where it reads and writes.
        namespace: The region's names.
        clock: The moment of issue.
        entropy: Serial numbers and salts.
    """

    def __init__(
        self, *, stores: IssuanceStores, namespace: Namespace, clock: Clock, entropy: Entropy
    ) -> None:
        self._stores = stores
        self._namespace = namespace
        self._clock = clock
        self._entropy = entropy
        # Threads that compute at once only take turns, and at a price: each would give
        # up the interpreter at every look-up and hash, and wait for all the others.
        self._turn = threading.Lock()

    def issue(self, command: IssueCommand) -> list[LicenceRecord]:
        """Issue every request of a call, or return what it issued before.

        Returns:
            The licences in the order of the requests, committed but perhaps
            not yet sequenced: they may not leave without a receipt unless the
            caller asked for names alone.

        Raises:
            InvalidArgumentError: Every unacceptable field of every request.
            PermissionDeniedError: Role, authority or approval do not allow it.
            ConflictError: The request_id was used with another body.
            AlreadyExistsError: A licence number is taken.
        """
        command.caller.require(Role.ISSUER)
        command.context.check()
        request_claim.check_request_id(command.request_id)
        # Keyed, since a request without its nonce could be guessed and confirmed.
        hashes = self._stores.vault.request_hashes(body_hash(command.requests))
        key = RequestKey(
            command.caller.principal_id, command.request_id, hashes[0], tuple(hashes[1:])
        )
        for _ in range(_ATTEMPTS):
            issued = self._attempt(command, key)
            if issued is not None:
                return issued
            # What the records say may be what has changed.
            command = replace(command, snapshot=None)
        raise UnavailableError(
            "other calls kept registering the same holders; try again", reason="CONTENTION"
        )

    def _attempt(self, command: IssueCommand, key: RequestKey) -> list[LicenceRecord] | None:
        """Issue, or return what was issued before; None: what was read has changed since."""
        with self._stores.committer.expected() as seat:
            with self._turn, self._stores.storage.read() as conn:
                earlier = request_claim.find_outcome(conn, key)
                replayed = [] if earlier is None else self._replay(conn, earlier)
                prepared = self._prepare(conn, command, key) if earlier is None else None
            if prepared is not None:
                minted, batch = prepared
                try:
                    self._stores.committer.commit(batch, seat)
                except UniqueError as error:
                    self._explain(error, command)
                    return None
                except KeyFencedError:
                    return None
                return [licence.record for licence in minted]
        return self._record_replay(command, replayed)

    def _prepare(
        self, conn: Connection, command: IssueCommand, key: RequestKey
    ) -> tuple[list[MintedLicence], RowBatch]:
        snapshot = command.snapshot or self._stores.directory.snapshot(conn)
        now = self._clock.now()
        checked = check_batch(
            command.requests,
            command.approval,
            snapshot=snapshot,
            namespace=self._namespace,
            now=now,
        )
        command.caller.require_authority(checked.authority.code)
        batch = RowBatch()
        holders = self._holders(conn, checked, batch)
        issuer, licence_key = self._stores.directory.issuer(checked.authority)
        mint = Mint(
            namespace=self._namespace,
            authority=checked.authority,
            issuer=issuer,
            key=licence_key,
            entropy=self._entropy,
            now=now,
        )
        minted = []
        allocations = self._stores.allocator.take(len(checked.requests))
        for entry, allocation in zip(checked.requests, allocations, strict=True):
            licence = mint.mint(
                entry,
                approval_digest=checked.approval.digest,
                allocation=allocation,
                holders=[holders[holder.number] for holder in entry.request.holders],
            )
            add_rows(
                batch,
                licence,
                checked=entry,
                allocation=allocation,
                key=licence_key,
                vault=self._stores.vault,
            )
            minted.append(licence)
        self._add_call(batch, command, key, checked, minted)
        return minted, batch

    def _holders(
        self, conn: Connection, checked: CheckedBatch, batch: RowBatch
    ) -> Mapping[SubjectNumber, Subject]:
        names = {
            holder.number: holder.name
            for entry in checked.requests
            for holder in entry.request.holders
        }
        found = self._stores.subjects.find(conn, names)
        for number, name in names.items():
            if number not in found:
                found[number] = self._stores.subjects.add(batch, number, name=name)
        return found

    def _add_call(
        self,
        batch: RowBatch,
        command: IssueCommand,
        key: RequestKey,
        checked: CheckedBatch,
        minted: Sequence[MintedLicence],
    ) -> None:
        now_ms = milliseconds(self._clock.now())
        bodies = [licence.record.identifier.body for licence in minted]
        request_claim.claim(batch, key, outcome=json.dumps(bodies).encode("ascii"), now_ms=now_ms)
        batch.add(
            schema.approval,
            {
                "digest": checked.approval.digest,
                "issuer_code": checked.authority.code,
                "count": checked.approval.count,
                "token": checked.token,
                "requests": json.dumps(
                    [
                        [entry.digest.hex(), licence.record.identifier.body, 1]
                        for entry, licence in zip(checked.requests, minted, strict=True)
                    ],
                    separators=(",", ":"),
                ),
                "created_ms": now_ms,
            },
        )
        self._audit(batch, command, [licence.record for licence in minted])

    def _audit(
        self, batch: RowBatch, command: IssueCommand, records: Sequence[LicenceRecord]
    ) -> None:
        single = len(records) == 1
        namespace = self._namespace
        self._stores.audit.add(
            batch,
            caller=command.caller,
            method=f"IssuanceService/{'IssueLicence' if single else 'BatchIssueLicences'}",
            resource=namespace.licence_name(records[0].identifier)
            if single
            else namespace.resource,
            context=command.context,
            item_count=len(records),
        )

    def _record_replay(
        self, command: IssueCommand, records: list[LicenceRecord]
    ) -> list[LicenceRecord]:
        """Put a repeated call on record too: it is answered once more."""
        batch = RowBatch()
        self._audit(batch, command, records)
        self._stores.committer.commit(batch)
        return records

    def _replay(self, conn: Connection, outcome: bytes) -> list[LicenceRecord]:
        bodies: list[Json] = json.loads(outcome)
        return self._stores.holding.first_revisions(conn, [str(body) for body in bodies])

    def _explain(self, error: UniqueError, command: IssueCommand) -> None:
        """Raise what the caller did wrong; return if preparing again will do."""
        if error.table == schema.approval.name:
            raise PermissionDeniedError(
                "this approval was used by another request; approve anew",
                reason="APPROVAL_USED",
            ) from error
        if error.table == schema.licence_number.name:
            single = len(command.requests) == 1
            field = "request.number" if single else "requests"
            raise AlreadyExistsError(
                "a licence number is taken: this authority has issued that number of this type; "
                "change or reissue the licence instead",
                reason="LICENCE_NUMBER_TAKEN",
                violations=[Violation(field, "the licence number is taken", "LICENCE_NUMBER")],
            ) from error
