"""A log's key that was stolen: its epoch stands at its last good head and no further.

The tree is the region's own and goes on under another key and origin (the log
is rotated first, without the usual waits). Whatever the thief signs with the
old key, of whatever tree, is then nobody's word: an entry of the old epoch must
be proven to be in the very tree that the trust list names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection

from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_proto.error import FailedPreconditionError, NotFoundError
from yinxin_proto.logkey import FrozenHead
from yinxin_proto.operation import Action, Operation, SignedOperation, new_operation
from yinxin_proto.trustchange import parameters_of
from yinxin_trust.directory import touch
from yinxin_trust.keyinventory import KeyVersion, get, known, move
from yinxin_trust.keystage import Stage, Step
from yinxin_trust.logcosigner import declare_log_key_broken
from yinxin_trust.region import Region
from yinxin_trust.rows import milliseconds
from yinxin_trust.settings import RotationTable

_HASTE = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTheft:
    """Freezes epochs of a region's logs."""

    region: Region
    """With its offline keys open."""

    def succeed(self, origin: str) -> KeyRef:
        """Let the log go on under another key now, without waiting for verifiers' caches.

        Who has not the new trust list yet says that a new receipt is of no log
        that it knows; with the old key in other hands that is the lesser evil.

        Raises:
            UnavailableError: Another process holds the log's lease: stop the server
                for the moment, or let it take the key into use itself.
        """
        stolen = self._epoch(origin)
        if stolen.stage is Stage.ACTIVE:
            rotation = self.region.rotation(settings=self._hasty())
            found = rotation.next_step(stolen.ref.owner, Purpose.LOG)
            if found is None:
                rotation.prepare(stolen.ref.owner, Purpose.LOG)
            while self._epoch(origin).stage is Stage.ACTIVE:
                step, ref = rotation.next_step(stolen.ref.owner, Purpose.LOG) or (None, None)
                if ref is None or step not in (Step.PUBLISH, Step.ACTIVATE):
                    raise FailedPreconditionError("the log's rotation stands", reason="KEY_STAGE")
                (rotation.publish if step is Step.PUBLISH else rotation.activate)(ref)
        return stolen.ref

    def operation(self, origin: str) -> tuple[Operation, FrozenHead]:
        """Return what officers are to sign, once the log has gone on.

        Raises:
            FailedPreconditionError: The epoch is still in use (``LOG_CURRENT``).
        """
        end = self._end(self._epoch(origin))
        operation = self._new(Action.FREEZE_LOG, origin, parameters_of(end.to_json()))
        return operation, end

    def freeze(self, origin: str, operations: Sequence[SignedOperation]) -> FrozenHead:
        """Publish that an epoch stands at its last good head.

        Raises:
            FailedPreconditionError: The epoch is still in use (``LOG_CURRENT``).
            PermissionDeniedError: Two officers did not sign this.
        """
        key = self._epoch(origin)
        end = self._end(key)
        with self.region.storage.write() as conn:
            touch(conn)
            if key.stage is not Stage.COMPROMISED:
                move(conn, get(conn, key.ref), Step.COMPROMISE, self._now_ms())
            self.region.registrar.publish_trust(conn, operations=operations)
        return end

    def break_operation(self, origin: str) -> Operation:
        """Return what officers are to sign for a log key that is no secret any more to anyone.

        Raises:
            NotFoundError: No such log (``LOG``).
            FailedPreconditionError: It has no cosigner: nothing would count then
                (``LOG_COSIGNER``).
        """
        if not self._epoch(origin).chain:
            raise FailedPreconditionError(
                "the log has no post-quantum key: without its Ed25519 key nothing would count",
                reason="LOG_COSIGNER",
            )
        return self._new(Action.BREAK_LOG_KEY, origin, parameters_of({}))

    def declare_broken(self, origin: str, operations: Sequence[SignedOperation]) -> None:
        """Publish that a log's Ed25519 key is broken: its post-quantum cosignatures count.

        Raises:
            NotFoundError: It has none (``LOG_COSIGNER``).
            PermissionDeniedError: Two officers did not sign this.
        """
        with self.region.storage.write() as conn:
            touch(conn)
            declare_log_key_broken(conn, origin)
            self.region.registrar.publish_trust(conn, operations=operations)

    def _epoch(self, origin: str) -> KeyVersion:
        with self.region.storage.read() as conn:
            return _of_origin(conn, origin)

    def _end(self, key: KeyVersion) -> FrozenHead:
        if key.ending is None:
            raise FailedPreconditionError(
                "the log still signs with this key: let it go on under another first",
                reason="LOG_CURRENT",
            )
        return FrozenHead.from_json(key.ending, "ending")

    def _new(self, action: Action, target: str, parameters: bytes) -> Operation:
        region = self.region
        return new_operation(
            action,
            target,
            parameters,
            region=region.namespace.code,
            clock=region.clock,
            entropy=region.entropy,
        )

    def _hasty(self) -> RotationTable:
        return replace(self.region.settings.rotation, publish_wait=_HASTE, settle=_HASTE)

    def _now_ms(self) -> int:
        return milliseconds(self.region.clock.now())


def _of_origin(conn: Connection, origin: str) -> KeyVersion:
    for key in known(conn, Purpose.LOG):
        if (key.public or b"").split(b"+")[0] == origin.encode():
            return key
    raise NotFoundError("the region keeps no log of this origin", reason="LOG")
