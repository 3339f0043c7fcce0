"""What is checked of approved changes before any licence is touched.

All faults of a call are told at once. Whether the licence's own state allows
the operation is decided later, under its lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from yinxin_proto.approval import Approval, ChangeRequest, request_digest
from yinxin_proto.error import (
    InvalidArgumentError,
    MalformedError,
    PermissionDeniedError,
    Violation,
)
from yinxin_trust.directory import DirectorySnapshot, IssuingAuthority
from yinxin_trust.intake import APPROVAL_AHEAD, MAX_BATCH, check_approval
from yinxin_trust.namespace import Namespace
from yinxin_trust.transition import Operation, row_of


@dataclass(frozen=True, slots=True)
class CheckedChange:
    """A change that may be tried: parsed, and about the licence that the call names."""

    body: str
    request: ChangeRequest


@dataclass(frozen=True, slots=True)
class CheckedChanges:
    """Changes of one authority's licences under one approval."""

    authority: IssuingAuthority
    approval: Approval
    changes: tuple[CheckedChange, ...]


def check_changes(
    changes: Sequence[tuple[str, bytes]],
    token: str,
    *,
    operation: Operation,
    snapshot: DirectorySnapshot,
    namespace: Namespace,
    now: datetime,
) -> CheckedChanges:
    """Check changes and their approval.

    Args:
        changes: Each licence's ``type.issuer.serial`` and the bytes approved,
            in the order in which they were approved.
        token: The approval, compact.
        operation: What the call says is to be done.
        snapshot: The region's authorities.
        namespace: The region's names.
        now: The moment of the call.

    Raises:
        InvalidArgumentError: Names every unacceptable field of every change.
        PermissionDeniedError: The approval does not cover them, or is another
            authority's.
        MalformedError: Not an approval at all.
    """
    _check_call(operation, len(changes))
    authority, approval = check_approval(
        token,
        [request_digest(data) for _, data in changes],
        operation=operation.value,
        snapshot=snapshot,
        namespace=namespace,
        now=now,
    )
    reader = _Reader(operation, namespace, now)
    single = len(changes) == 1
    checked = [
        reader.read(body, data, "" if single else f"changes[{position}].")
        for position, (body, data) in enumerate(changes)
    ]
    reader.raise_violations()
    found = tuple(change for change in checked if change is not None)
    if any(change.request.identifier.issuer != authority.code for change in found):
        raise PermissionDeniedError(
            "the approval is not acceptable: it is signed for an authority that did not issue "
            "the licence",
            reason="APPROVAL_AUTHORITY",
        )
    return CheckedChanges(authority, approval, found)


def _check_call(operation: Operation, count: int) -> None:
    violations = []
    if not row_of(operation).approval_required:
        violations.append(
            Violation("operation", "is done by the region's clock alone", "OPERATION")
        )
    if not 1 <= count <= MAX_BATCH:
        violations.append(Violation("changes", f"1 to {MAX_BATCH} are expected", "BATCH_SIZE"))
    if violations:
        raise InvalidArgumentError("the change cannot be made", violations=violations)


class _Reader:
    def __init__(self, operation: Operation, namespace: Namespace, now: datetime) -> None:
        self._operation = operation
        self._namespace = namespace
        self._now = now
        self._violations: list[Violation] = []
        self._seen: set[str] = set()

    def read(self, body: str, data: bytes, prefix: str) -> CheckedChange | None:
        try:
            request = ChangeRequest.parse(data)
        except MalformedError as error:
            found = [Violation("", error.message, error.reason)]
        except InvalidArgumentError as error:
            found = list(error.violations)
        else:
            found = list(self._violations_of(body, request))
            if not found:
                self._seen.add(body)
                return CheckedChange(body, request)
        self._violations += [
            Violation(f"{prefix}change_request.{v.field}".rstrip("."), v.description, v.reason)
            for v in found
        ]
        return None

    def _violations_of(self, body: str, request: ChangeRequest) -> Iterator[Violation]:
        if request.region != self._namespace.code:
            yield Violation("region", f"this region is {self._namespace.code}", "REGION")
        if request.operation != self._operation.value:
            yield Violation("operation", "is not the operation of the call", "OPERATION")
        if request.identifier.body != body:
            yield Violation("identifier", "is not of the licence that the call names", "IDENTIFIER")
        elif body in self._seen:
            yield Violation("identifier", "occurs twice in the batch", "IDENTIFIER_TWICE")
        if request.effective_at > self._now + APPROVAL_AHEAD:
            yield Violation(
                "effective_at", "is in the future; ask for the change on that day", "EFFECTIVE_AT"
            )

    def raise_violations(self) -> None:
        if self._violations:
            raise InvalidArgumentError(
                "the change request is not acceptable; nothing was changed",
                reason="REQUEST",
                violations=self._violations,
            )
