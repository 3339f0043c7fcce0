"""Suspending a key, at once and by one officer; letting it count again, by two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yinxin_proto.error import FailedPreconditionError
from yinxin_proto.keyrecord import KeyState
from yinxin_proto.operation import Action, SignedOperation
from yinxin_proto.trustchange import key_change
from yinxin_trust.keystanding import StandingKey, find_key, go_on, stop, write_standing
from yinxin_trust.registration import Registrar
from yinxin_trust.rows import milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Changes whether a key counts for now."""

    registrar: Registrar

    def stop(self, name: str) -> StandingKey:
        """Let a key sign nothing more here, on every worker, from this moment on.

        What verifiers are told does not change: that takes an officer.

        Raises:
            NotFoundError: No such key (``KEY``).
        """
        with self.registrar.storage.write() as conn:
            key = find_key(conn, name)
            stop(conn, key, milliseconds(self.registrar.clock.now()))
            return find_key(conn, name)

    def suspend(self, name: str, operations: Sequence[SignedOperation]) -> StandingKey:
        """Stop a key, and tell verifiers not to rely on it for now.

        Raises:
            FailedPreconditionError: It is retired or compromised (``KEY_STATE``), or the
                offline store is not open.
            PermissionDeniedError: No officer signed this; the key is stopped all the same.
        """
        key = self.stop(name)
        if key.record.state not in (KeyState.ACTIVE, KeyState.SUSPENDED):
            raise FailedPreconditionError(
                f"the key is {key.record.state}: it signs nothing any more", reason="KEY_STATE"
            )
        return self._write(key, KeyState.SUSPENDED, key.stopped_ms, operations)

    def resume(self, name: str, operations: Sequence[SignedOperation]) -> StandingKey:
        """Let a suspended key count and sign again.

        Raises:
            FailedPreconditionError: It is not suspended (``KEY_STATE``).
            PermissionDeniedError: Two officers did not sign this.
        """
        with self.registrar.storage.read() as conn:
            key = find_key(conn, name)
        if key.record.state not in (KeyState.SUSPENDED, KeyState.ACTIVE) or key.stopped_ms is None:
            raise FailedPreconditionError(
                f"the key is {key.record.state}, not suspended", reason="KEY_STATE"
            )
        if key.record.state is KeyState.ACTIVE:
            return self._go_on(key, operations)
        return self._write(key, KeyState.ACTIVE, None, operations)

    def _go_on(self, key: StandingKey, operations: Sequence[SignedOperation]) -> StandingKey:
        """Let a key sign again that was stopped here, and that verifiers never heard of.

        No trust list shows it, so the signer is asked without one: a thief must not
        find one person who starts again what was stopped for him.
        """
        with self.registrar.storage.write() as conn:
            write_standing(
                conn,
                key.thumbprint,
                state=KeyState.ACTIVE,
                stopped_ms=None,
                not_after=key.record.not_after,
            )
            go_on(conn, key, milliseconds(self.registrar.clock.now()))
            # Last, so that what is refused here changes nothing.
            self.registrar.keyring.control(self.registrar.clock).spend(
                [key_change(key.record, Action.RESUME_KEY)], operations
            )
            return find_key(conn, key.thumbprint.hex())

    def _write(
        self,
        key: StandingKey,
        state: KeyState,
        stopped_ms: int | None,
        operations: Sequence[SignedOperation],
    ) -> StandingKey:
        with self.registrar.storage.write() as conn:
            write_standing(
                conn,
                key.thumbprint,
                state=state,
                stopped_ms=stopped_ms,
                not_after=key.record.not_after,
            )
            if stopped_ms is None:
                go_on(conn, key, milliseconds(self.registrar.clock.now()))
            self.registrar.publish_trust(conn, operations=operations)
            return find_key(conn, key.thumbprint.hex())
