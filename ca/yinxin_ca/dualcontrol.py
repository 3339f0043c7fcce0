"""The signer's own judgement: what may be signed with the offline keys, and on whose word.

Whoever asks (the trust service, which may be in other hands) proposes; the
signer compares with what *it* signed last, and demands for each change that
breaks trust an operation that enough distinct officers signed. What it is
about to sign is on record before it is signed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from yinxin_ca.officer import Officer, OfficerRegister, SigningRecord
from yinxin_ca.weakkey import load_strong
from yinxin_proto.clock import Clock
from yinxin_proto.error import (
    FailedPreconditionError,
    PermissionDeniedError,
    VerificationError,
)
from yinxin_proto.numericdate import to_seconds
from yinxin_proto.operation import (
    CLOCK_TOLERANCE,
    OPERATIONS,
    Action,
    Operation,
    SignedOperation,
)
from yinxin_proto.signature import PublicKey, Signer
from yinxin_proto.strict import Json
from yinxin_proto.succession import check_succession
from yinxin_proto.trustchange import TrustChange, parameters_of, trust_breaks, withdrawals
from yinxin_proto.trustlist import TrustList

TRUST_TARGET: Final = "trust.json"
FIRST_OFFICERS: Final = 2
"""Until there are so many, whoever holds the offline store appoints them alone."""


class DualControl:
    """Checks operations against the officers' register.

    Args:
        register: Kept with the offline keys.
        clock: The signer's own.
        region: Code of the region that the keys belong to.
    """

    def __init__(self, *, register: OfficerRegister, clock: Clock, region: str) -> None:
        self._register = register
        self._clock = clock
        self._region = region

    @property
    def register(self) -> OfficerRegister:
        """Who the officers are, and what was carried out."""
        return self._register

    def now(self) -> int:
        """Return the present second.

        Raises:
            FailedPreconditionError: The clock is behind what was recorded (``CLOCK_BACK``).
        """
        now = to_seconds(self._clock.now())
        behind = self._register.last_moment() - now
        if behind > CLOCK_TOLERANCE.total_seconds():
            raise FailedPreconditionError(
                f"this machine's clock is {behind} seconds behind the last signature on record; "
                "set it right, nothing was signed",
                reason="CLOCK_BACK",
            )
        return now

    def check(self, signed: SignedOperation) -> Operation:
        """Check one operation: in time, unused, and signed by enough distinct persons.

        Raises:
            VerificationError: Another region (``OPERATION_REGION``), expired or in the
                future, a signature that does not hold or is under another operation.
            PermissionDeniedError: ``OFFICER_UNKNOWN``, ``OFFICER_TWICE``,
                ``OFFICER_KEY``, ``OPERATION_PERSONS``, ``NONCE_USED``.
            FailedPreconditionError: The clock is behind (``CLOCK_BACK``).
        """
        operation = signed.operation
        self.now()
        if operation.region != self._region:
            raise VerificationError(
                "operation: it is for another region", reason="OPERATION_REGION"
            )
        operation.check_time(self._clock.now())
        if self._register.is_used(operation.nonce):
            raise PermissionDeniedError(
                "this operation was carried out already; prepare another if it is to happen again",
                reason="NONCE_USED",
            )
        self._check_persons(signed)
        return operation

    def _check_persons(self, signed: SignedOperation) -> None:
        officers = self._register.officers()
        seen: dict[str, Officer] = {}
        for signature in signed.signatures:
            officer = officers.get(signature.officer)
            if officer is None:
                raise PermissionDeniedError(
                    "a signature names nobody who is in office; officers are registered with: "
                    "yinxin officer add",
                    reason="OFFICER_UNKNOWN",
                )
            if officer.id in seen:
                raise PermissionDeniedError(
                    f"{officer.id} signed twice: each signature needs a person of its own",
                    reason="OFFICER_TWICE",
                )
            signature.verify(officer.public_key, signed.operation)
            seen[officer.id] = officer
        needed = signed.operation.persons
        if len(seen) < needed:
            raise PermissionDeniedError(
                f"{signed.operation.action} needs the signatures of {needed} officers, "
                f"{len(seen)} signed",
                reason="OPERATION_PERSONS",
            )

    def decided(self) -> TrustList | None:
        """Return the list that was signed last; what officers decided in it stands."""
        last = self._register.last_list()
        return None if last is None else TrustList.parse(last)

    def require_current(self, published: bytes) -> None:
        """Refuse to judge anything on a published trust list that is not the newest.

        Either it or the register is older than the other: what was decided
        since, and who the officers are, cannot be told from them.

        Args:
            published: What verifiers have, as the caller says.

        Raises:
            VerificationError: ``TRUST_LIST_OLD``.
        """
        if not self._register.is_current(sha256(published).digest()):
            raise VerificationError(
                "the trust list that is said to be published is not the one signed last: the "
                "database or the offline store was restored from an older state, or is in other "
                "hands",
                reason="TRUST_LIST_OLD",
            )

    def cover(
        self,
        changes: Sequence[TrustChange],
        operations: Iterable[SignedOperation],
        *,
        welcome: Sequence[TrustChange] = (),
    ) -> list[Operation]:
        """Check that the operations cover the changes, every one, and nothing else.

        Args:
            changes: What is to be covered.
            operations: What officers signed.
            welcome: What was decided already, and may be signed once more: the
                file of the first time may be lost.

        Raises:
            PermissionDeniedError: A change that no operation covers
                (``OPERATION_MISSING``), an operation that no change asks for
                (``OPERATION_TARGET``), or as `check`.
        """
        left = list(changes)
        used: list[Operation] = []
        for signed in operations:
            operation = signed.operation
            match = TrustChange(operation.action, operation.target, operation.parameters)
            if match not in left:
                if self._register.is_used(operation.nonce):
                    # Carried out before a crash: what it did is in the list signed last.
                    continue
                if match in welcome:
                    used.append(self.check(signed))
                    continue
                raise PermissionDeniedError(
                    f"the officers signed {operation.action} of {operation.target[:64]}, and that "
                    "is not what is to be done",
                    reason="OPERATION_TARGET",
                )
            left.remove(match)
            used.append(self.check(signed))
        if left:
            what = "; ".join(map(str, left))
            raise PermissionDeniedError(
                f"this breaks trust and needs officers' signatures: {what}",
                reason="OPERATION_MISSING",
            )
        return used

    # --- officers -------------------------------------------------------------

    def add_officer(self, officer: Officer, operation: SignedOperation | None = None) -> None:
        """Register a person; from the third on, two officers must have signed it.

        Raises:
            PermissionDeniedError: As `check`, or ``OPERATION_MISSING``, ``OPERATION_TARGET``.
            AlreadyExistsError: ``OFFICER_EXISTS``.
            InvalidArgumentError: A key whose private half everybody knows (``KEY_WEAK``).
        """
        at = self.now()
        load_strong(officer.public_key.spki, officer.public_key.suite)
        if len(self._register.officers()) >= FIRST_OFFICERS:
            parameters = parameters_of(officer_outcome(officer.public_key))
            self._carry_out(TrustChange(Action.ADD_OFFICER, officer.id, parameters), operation)
        self._register.add(officer, at)

    def remove_officer(self, officer: str, operation: SignedOperation | None = None) -> None:
        """Take a person out of office; two officers must have signed it.

        Raises:
            PermissionDeniedError: As `add_officer`.
            FailedPreconditionError: Fewer than two would be left (``OFFICERS_FEW``).
            NotFoundError: ``OFFICER_UNKNOWN``.
        """
        at = self.now()
        if len(self._register.officers()) <= FIRST_OFFICERS:
            raise FailedPreconditionError(
                "two officers must remain: register another first", reason="OFFICERS_FEW"
            )
        self._carry_out(TrustChange(Action.REMOVE_OFFICER, officer, parameters_of({})), operation)
        self._register.remove(officer, at)

    def _carry_out(self, change: TrustChange, signed: SignedOperation | None) -> None:
        self.spend([change], () if signed is None else (signed,))

    def spend(self, changes: Sequence[TrustChange], operations: Iterable[SignedOperation]) -> None:
        """Check operations for what no trust list shows, and record that they are used.

        Raises:
            PermissionDeniedError: As `cover`.
        """
        used = self.cover(changes, operations)
        self._register.record(
            SigningRecord(
                at=self.now(),
                nonces=tuple(one.nonce for one in used),
                operations=tuple(one.digest for one in used),
            )
        )


def officer_outcome(key: PublicKey) -> Json:
    """Return what adding an officer commits to: the key."""
    return {"suite": key.suite.name, "thumbprint": key.thumbprint.hex()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSigner:
    """Signs trust lists with the offline key of the trust role, on its own judgement."""

    signer: Signer = field(repr=False)
    control: DualControl

    def release(
        self,
        proposed: bytes,
        *,
        published: bytes,
        operations: Sequence[SignedOperation] = (),
    ) -> Signer:
        """Judge a proposed trust list, record it, and return what signs it and no other.

        What officers decided counts from the moment this signer recorded it,
        even where a crash kept it from being published.

        Args:
            proposed: What is to be signed.
            published: What verifiers have, as the caller says.
            operations: What officers signed.

        Raises:
            VerificationError: A list that may not follow (`check_succession`), or
                one published that this signer did not sign last (``TRUST_LIST_OLD``).
            PermissionDeniedError: A change that breaks trust and is not covered;
                see `DualControl.cover`.
            FailedPreconditionError: The clock is behind (``CLOCK_BACK``).
        """
        at = self.control.now()
        self.control.require_current(published)
        decided = self.control.decided()
        old, new = TrustList.parse(published), TrustList.parse(proposed)
        check_succession(old, new)
        withdrawn = self.control.register.withdrawn()
        used = self.control.cover(
            trust_breaks(old, new, decided=decided, withdrawn=withdrawn),
            operations,
            welcome=trust_breaks(old, new),
        )
        return self._bound(
            proposed,
            SigningRecord(
                at=at,
                nonces=tuple(one.nonce for one in used),
                operations=tuple(one.digest for one in used),
                trust_list=sha256(proposed).digest(),
                base=sha256(published).digest(),
                withdrawn=tuple(sorted(withdrawals(old, new))),
            ),
        )

    def first(self, proposed: bytes) -> Signer:
        """Record the list that a region is founded with, and return what signs it.

        Raises:
            FailedPreconditionError: One was signed before (``FOUNDED``).
        """
        at = self.control.now()
        if self.control.decided() is not None:
            raise FailedPreconditionError(
                "these offline keys have signed a trust list already: a region is founded once",
                reason="FOUNDED",
            )
        digest = sha256(proposed).digest()
        record = SigningRecord(at=at, nonces=(), operations=(), trust_list=digest)
        return self._bound(proposed, record)

    def _bound(self, proposed: bytes, record: SigningRecord) -> Signer:
        self.control.register.record(record, proposed)
        return _BoundSigner(self.signer, sha256(proposed).hexdigest())


class _BoundSigner:
    """Signs metadata of the trust role that names one trust list, and nothing else."""

    def __init__(self, signer: Signer, digest: str) -> None:
        self._signer = signer
        self._digest = digest

    @property
    def public_key(self) -> PublicKey:
        """The key of the trust role."""
        return self._signer.public_key

    def sign(self, message: bytes) -> bytes:
        """Sign ``targets`` metadata over the list that was judged.

        Raises:
            PermissionDeniedError: It names another list (``TRUST_LIST``).
        """
        try:
            named = _digest_of(message)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PermissionDeniedError(
                "the key of the trust role signs metadata of that role alone", reason="TRUST_LIST"
            ) from error
        if named != self._digest:
            raise PermissionDeniedError(
                "the metadata names another trust list than the one that was judged",
                reason="TRUST_LIST",
            )
        return self._signer.sign(message)


def _digest_of(message: bytes) -> str:
    """Return the digest of the only target that the metadata names."""
    # TUF's canonical JSON leaves line breaks in strings as they are.
    document = json.loads(message, strict=False, object_pairs_hook=_no_member_twice)
    (target,) = document["targets"].items()
    if document["_type"] != "targets" or target[0] != TRUST_TARGET:
        raise ValueError("not the trust role's metadata")
    return str(target[1]["hashes"]["sha256"])


def _no_member_twice(members: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a member twice")
    return found


__all__ = ["OPERATIONS", "DualControl", "TrustSigner", "officer_outcome"]
