"""What is checked before anything is signed.

All faults of a call are told at once: every field of every request, then
whether the authority, the type and the approval allow it. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from yinxin_proto.approval import (
    ISSUE,
    Approval,
    IssueRequest,
    parse_approval,
    request_digest,
)
from yinxin_proto.error import (
    InvalidArgumentError,
    MalformedError,
    NotFoundError,
    PermissionDeniedError,
    VerificationError,
    Violation,
)
from yinxin_trust.catalogue import LicenceType
from yinxin_trust.directory import DirectorySnapshot, IssuingAuthority
from yinxin_trust.namespace import Namespace

MAX_BATCH: Final = 2000
APPROVAL_AHEAD: Final = timedelta(minutes=5)
"""How far an authority's clock may be ahead of ours."""
APPROVAL_AGE: Final = timedelta(days=30)
"""How long an approval may wait to be used."""
_NONCE: Final = b'"nonce":"'


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that may be issued: parsed, allowed, approved."""

    request: IssueRequest
    digest: bytes
    type: LicenceType


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """Requests of one authority under one approval."""

    authority: IssuingAuthority
    approval: Approval
    token: str
    requests: tuple[CheckedRequest, ...]


def check_approval(
    token: str,
    digests: Sequence[bytes],
    *,
    operation: str,
    snapshot: DirectorySnapshot,
    namespace: Namespace,
    now: datetime,
) -> tuple[IssuingAuthority, Approval]:
    """Check that an authority of this region approved exactly these requests, for this.

    Raises:
        PermissionDeniedError: Unsigned, foreign, for another region or
            operation, stale, or not over these requests; `reason` says which.
        MalformedError: Not an approval at all.
    """
    unverified = parse_approval(token)
    claimed = unverified.claimed
    authority = snapshot.authorities.get(claimed.authority)
    if authority is None:
        raise _refused("APPROVAL_AUTHORITY", "it is signed for an authority unknown here")
    approval = _verify_signature(unverified.verify_signature, authority)
    if approval.region != namespace.code:
        raise _refused("APPROVAL_REGION", "it was given to another region")
    if approval.operation != operation:
        raise _refused("APPROVAL_OPERATION", f"it approves {approval.operation}, not {operation}")
    if approval.issued_at > now + APPROVAL_AHEAD:
        raise _refused("APPROVAL_TIME", "it is dated in the future; check the clocks")
    if approval.issued_at < now - APPROVAL_AGE:
        raise _refused("APPROVAL_TIME", f"it is older than {APPROVAL_AGE.days} days; approve anew")
    try:
        approval.check_requests(digests)
    except VerificationError as error:
        raise _refused(error.reason, "other requests were approved") from error
    return authority, approval


def _verify_signature(verify: Callable[..., Approval], authority: IssuingAuthority) -> Approval:
    for key in authority.approval_keys.values():
        try:
            return verify(key)
        except VerificationError:
            continue  # an authority may have several approval keys; one must fit
    raise _refused("APPROVAL_SIGNATURE", "no active approval key of the authority signed it")


def _refused(reason: str, why: str) -> PermissionDeniedError:
    return PermissionDeniedError(f"the approval is not acceptable: {why}", reason=reason)


def check_batch(
    requests: Sequence[bytes],
    token: str,
    *,
    snapshot: DirectorySnapshot,
    namespace: Namespace,
    now: datetime,
) -> CheckedBatch:
    """Check issue requests and their approval.

    Raises:
        InvalidArgumentError: Names every unacceptable field of every request.
        PermissionDeniedError: The approval does not cover them, or its
            authority may not issue a type.
    """
    if not 1 <= len(requests) <= MAX_BATCH:
        raise InvalidArgumentError(
            "a batch has an unacceptable size",
            violations=[Violation("requests", f"1 to {MAX_BATCH} are expected", "BATCH_SIZE")],
        )
    digests = [request_digest(data) for data in requests]
    authority, approval = check_approval(
        token, digests, operation=ISSUE, snapshot=snapshot, namespace=namespace, now=now
    )
    checker = _Checker(authority, snapshot, namespace, int(now.timestamp()))
    single = len(requests) == 1
    checked = []
    for position, (data, digest) in enumerate(zip(requests, digests, strict=True)):
        prefix = "request" if single else f"requests[{position}]"
        request = checker.parse(data, prefix)
        if request is not None:
            checked.append(checker.check(request, digest, prefix))
    checker.raise_violations()
    return CheckedBatch(
        authority, approval, token, tuple(entry for entry in checked if entry is not None)
    )


class _Checker:
    def __init__(
        self,
        authority: IssuingAuthority,
        snapshot: DirectorySnapshot,
        namespace: Namespace,
        now: int,
    ) -> None:
        self._authority = authority
        self._snapshot = snapshot
        self._namespace = namespace
        self._now = now
        self._violations: list[Violation] = []
        self._numbers: set[tuple[str, str]] = set()

    def parse(self, data: bytes, prefix: str) -> IssueRequest | None:
        try:
            return IssueRequest.parse(data)
        except MalformedError as error:
            self._violations.append(Violation(prefix, error.message, error.reason))
        except InvalidArgumentError as error:
            self._violations += [
                Violation(f"{prefix}.{v.field}", v.description, v.reason)
                for v in error.violations or [Violation("", error.message, error.reason)]
            ]
        return None

    def check(self, request: IssueRequest, digest: bytes, prefix: str) -> CheckedRequest | None:
        found = [*self._own_violations(request)]
        entry = self._find_type(request, found)
        if entry is not None:
            found += entry.violations(request)
        key = (request.type, request.number)
        if key in self._numbers:
            found.append(Violation("number", "occurs twice in the batch", "LICENCE_NUMBER_TWICE"))
        self._numbers.add(key)
        self._violations += [
            Violation(f"{prefix}.{v.field}", v.description, v.reason) for v in found
        ]
        return None if entry is None or found else CheckedRequest(request, digest, entry)

    def _own_violations(self, request: IssueRequest) -> list[Violation]:
        found = []
        if request.region != self._namespace.code:
            found.append(Violation("region", f"this region is {self._namespace.code}", "REGION"))
        if request.issuer != self._authority.code:
            found.append(
                Violation("issuer", "is not the authority that approved the request", "ISSUER")
            )
        elif not self._authority.may_issue(request.type, self._now):
            found.append(
                Violation("type", "this authority may not issue this type now", "TYPE_NOT_IN_SCOPE")
            )
        return found

    def _find_type(self, request: IssueRequest, found: list[Violation]) -> LicenceType | None:
        try:
            entry = self._snapshot.catalogue.get(request.type)
        except NotFoundError:
            found.append(Violation("type", "is not in this region's catalogue", "LICENCE_TYPE"))
            return None
        if request.type_version != entry.schema_version:
            found.append(
                Violation(
                    "type_version", f"the newest is {entry.schema_version}; use it", "TYPE_VERSION"
                )
            )
            return None
        return entry

    def raise_violations(self) -> None:
        if self._violations:
            raise InvalidArgumentError(
                "the issue request is not acceptable; nothing was issued",
                reason="REQUEST",
                violations=self._violations,
            )


def body_hash(requests: Sequence[bytes]) -> bytes:
    """Return the hash by which a repeated request is recognised.

    The random nonce is left out, and so is the approval: a client that builds
    the same request anew after a lost answer means the same licence. Bytes
    that are no request are hashed all the same; they are refused later.
    """
    digest = sha256(len(requests).to_bytes(4, "big"))
    for data in requests:
        # By its spelling, which canonical JSON fixes: parsed, it would cost ten times as much.
        before, _, after = data.partition(_NONCE)
        digest.update(sha256(before + after[after.find(b'"') :]).digest())
    return digest.digest()
