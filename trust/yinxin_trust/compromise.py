"""Declaring a key compromised: what still stands of it is pinned, and another takes its place.

1. The key is stopped: nothing that it signed is stored from then on.
2. What it had queued gets its place in the log, like anything else: dropping
   entries would tear licences from their rows. A forgery among them does not
   reconcile. The signed head over all of it gives ``n_stop`` and its root.
3. The log is held against the authorities' own copies (`reattestation`).
4. Two officers sign what comes of it; nothing was published so far.
5. A successor is made and certified, the old certificate revoked, and in one
   transaction the new state, the successor, the revocation list and the trust
   list are stored and published. A crash before that publishes nothing; the
   same command goes on from wherever it was.

What the thief had issued through the service keeps its rows and its status:
only its authority may annul a licence, and the pin refuses it already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection

from yinxin_ca.keystore import Purpose
from yinxin_proto import checkpoint
from yinxin_proto.certificate import parse as parse_certificate
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import (
    FailedPreconditionError,
    InvalidArgumentError,
    KeyStoreError,
    UnavailableError,
)
from yinxin_proto.keyrecord import KeyPurpose, KeyRecord, KeyState, Pin
from yinxin_proto.merkle import TreeHead
from yinxin_proto.note import NoteVerifier
from yinxin_proto.numericdate import to_seconds
from yinxin_proto.operation import Action, Operation, SignedOperation, new_operation
from yinxin_proto.trustchange import key_change
from yinxin_proto.trustlist import TrustList
from yinxin_trust.approvedstock import ApprovedStock
from yinxin_trust.certification import (
    IssuingCa,
    crl_targets,
    issuing_cas,
    open_authority,
    put_crls,
    sign_lists,
)
from yinxin_trust.keyinventory import move
from yinxin_trust.keystage import Stage, Step
from yinxin_trust.keystanding import (
    StandingKey,
    get_key,
    key_version,
    waits_for_place,
    write_standing,
)
from yinxin_trust.ledger import LICENCES, signed_head, tile_reader
from yinxin_trust.publication import published_trust_list
from yinxin_trust.reattestation import Reconciler, Reconciliation
from yinxin_trust.registration import Registrar
from yinxin_trust.rows import milliseconds
from yinxin_trust.status import StatusSigner
from yinxin_trust.subject import SubjectDirectory
from yinxin_trust.successor import PreparedKey, Succession
from yinxin_trust.suspension import Suspension
from yinxin_trust.trustlisting import get_anchors

STEPS: Final = ("stopped", "successor", "certified", "revoked", "published")
"""What is reported as done, in order; between any two a crash leaves nothing half done."""
_PATIENCE: Final = timedelta(seconds=30)
_LOOK: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is to be said of a key, for officers to sign."""

    key: StandingKey
    record: KeyRecord
    reconciliation: Reconciliation | None
    """Of a licence-signing key."""

    def operation(self, registrar: Registrar) -> Operation:
        """Return the operation that officers are to sign."""
        change = key_change(self.record, Action.COMPROMISE_KEY)
        return new_operation(
            change.action,
            change.target,
            change.parameters,
            region=registrar.keyring.namespace.code,
            clock=registrar.clock,
            entropy=registrar.entropy,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compromise:
    """Declares keys compromised."""

    registrar: Registrar
    subjects: SubjectDirectory
    sequence: Callable[[], object] | None = None
    """Gives what waits its place in the log; None where a running server does."""

    # --- preparing: nothing that verifiers see changes -----------------------------

    def propose(self, name: str, stock: ApprovedStock | None = None) -> Proposal:
        """Stop a key and work out what of it stands.

        Args:
            name: Of the key.
            stock: What its authority approved, by its own copies; needed for a
                licence-signing key.

        Raises:
            NotFoundError: No such key.
            InvalidArgumentError: No copies for a licence-signing key (``APPROVAL_COPIES``).
            UnavailableError: What it queued is not in the log yet (``NOT_SEQUENCED``).
            IntegrityError: The log's table is not its tree (``LOG_ENTRIES``).
        """
        key = Suspension(registrar=self.registrar).stop(name)
        if key.record.purpose is not KeyPurpose.LICENCE:
            return Proposal(key=key, record=self._record(key, None), reconciliation=None)
        if stock is None:
            raise InvalidArgumentError(
                "a licence-signing key is judged by what its authority approved: give the "
                "authority's own copies with --approvals",
                reason="APPROVAL_COPIES",
            )
        self._drain(key)
        with self.registrar.storage.read() as conn:
            origin, head = self._head(conn, key)
            found = Reconciler(
                subjects=self.subjects,
                namespace=self.registrar.keyring.namespace,
                stock=stock,
            ).run(conn, key.thumbprint, origin=origin, head=head)
        pin = _lower(key.record.pin, found.pin)
        return Proposal(
            key=key,
            record=self._record(key, pin),
            reconciliation=replace(found, pin=pin),
        )

    def stock(self) -> ApprovedStock:
        """Return an empty stock under the approval keys of the published trust list."""
        with self.registrar.storage.read() as conn:
            listed = published_trust_list(conn, self.registrar.clock.now())
        return ApprovedStock(TrustList.parse(listed))

    def _drain(self, key: StandingKey) -> None:
        """Wait until everything that the key had queued has its place under a signed head."""
        end = time.monotonic() + _PATIENCE.total_seconds()
        while True:
            if self.sequence is not None:
                self.sequence()
            with self.registrar.storage.read() as conn:
                if not waits_for_place(conn, LICENCES, key.thumbprint):
                    return
            if time.monotonic() > end:
                raise UnavailableError(
                    "entries of the key still wait for their place in the log; is the region's "
                    "server running? The key is stopped; try again",
                    reason="NOT_SEQUENCED",
                )
            time.sleep(_LOOK)

    def _head(self, conn: Connection, key: StandingKey) -> tuple[str, TreeHead]:
        """Return the head to pin: the newest, or the one that was pinned before."""
        head = signed_head(conn, LICENCES)
        pinned = key.record.pin
        if pinned is not None:
            return pinned.origin, TreeHead(pinned.n_stop, pinned.root)
        verifier = NoteVerifier(self.registrar.keyring.at(conn).log_signer(LICENCES).vkey)
        verified = checkpoint.parse(head.checkpoint).verify(verifier)
        return verified.origin, verified.head

    def _record(self, key: StandingKey, pin: Pin | None) -> KeyRecord:
        if key.record.state is KeyState.COMPROMISED:
            return replace(key.record, pin=pin)
        ends = [to_seconds(self.registrar.clock.now())]
        if key.stopped_ms is not None:
            ends.append(key.stopped_ms // 1000)
        if key.record.not_after is not None:
            ends.append(key.record.not_after)
        end = max(min(ends), key.record.not_before)
        return replace(key.record, state=KeyState.COMPROMISED, not_after=end, pin=pin)

    # --- carrying out ----------------------------------------------------------------

    def carry_out(
        self,
        record: KeyRecord,
        operations: Sequence[SignedOperation],
        *,
        done: Callable[[str], None] = lambda _: None,
    ) -> PreparedKey | None:
        """Publish that a key is compromised, and put another in its place.

        Args:
            record: What officers signed.
            operations: Their signatures.
            done: Told of each of `STEPS`.

        Returns:
            The successor, where one was needed.

        Raises:
            FailedPreconditionError: The key is not stopped (``KEY_NOT_STOPPED``), or the pin is
                not of this log (``PIN_TREE``).
            PermissionDeniedError: Not what two officers signed; nothing was published.
        """
        registrar, succession = self.registrar, Succession(registrar=self.registrar)
        with registrar.storage.read() as conn:
            key = get_key(conn, record.thumbprint)
            self._check(conn, key, record)
            self._authorise(conn, record, operations)
            done("stopped")
            successor = None
            if succession.is_needed(conn, key):
                successor = succession.make(conn, key)
                done("successor")
                successor = succession.certify(conn, successor)
                done("certified")
            self._revoke(conn, key)
            done("revoked")
        with registrar.storage.write() as conn:
            self._publish(conn, key, record, successor, operations)
        done("published")
        return successor

    def _check(self, conn: Connection, key: StandingKey, record: KeyRecord) -> None:
        if key.stopped_ms is None:
            raise FailedPreconditionError(
                "the key still signs: prepare the operation with this region first",
                reason="KEY_NOT_STOPPED",
            )
        pin = record.pin
        if pin is None:
            return
        head = signed_head(conn, LICENCES)
        if pin.n_stop > head.size or tile_reader(conn, LICENCES).root(pin.n_stop) != pin.root:
            raise FailedPreconditionError(
                "the pin is not of this region's log; prepare the operation anew",
                reason="PIN_TREE",
            )

    def _authorise(
        self, conn: Connection, record: KeyRecord, operations: Sequence[SignedOperation]
    ) -> None:
        """Ask the signer before anything is made; it decides again when it signs."""
        control = self.registrar.keyring.control(self.registrar.clock)
        published = TrustList.parse(published_trust_list(conn, self.registrar.clock.now()))
        for listed in (control.decided(), published):
            found = None if listed is None else listed.find_key(record.thumbprint)
            if found is not None and found[1] == record:
                return
        control.cover([key_change(record, Action.COMPROMISE_KEY)], operations)

    def _revoke(self, conn: Connection, key: StandingKey) -> None:
        """Record in the register that the key's certificate is compromised; idempotent."""
        chain, issuer = self._certified(conn, key)
        if issuer is None:
            return
        register = self.registrar.registers(issuer.label)
        serial = parse_certificate(chain[0]).serial_number
        known = register.find(serial)
        if known is not None and known.reason is not RevocationReason.KEY_COMPROMISE:
            moment = self.registrar.clock.now().replace(microsecond=0)
            register.record_revoked(serial, RevocationReason.KEY_COMPROMISE, moment)

    def _certified(
        self, conn: Connection, key: StandingKey
    ) -> tuple[tuple[bytes, ...], IssuingCa | None]:
        """Return a key's certificates, and which authority of ours issued the first."""
        chain = key_version(conn, key).chain
        if len(chain) < 2:
            return chain, None
        issuer = next((ca for ca in issuing_cas(conn) if ca.certificate == chain[1]), None)
        return chain, issuer

    def _publish(
        self,
        conn: Connection,
        key: StandingKey,
        record: KeyRecord,
        successor: PreparedKey | None,
        operations: Sequence[SignedOperation],
    ) -> None:
        write_standing(
            conn,
            key.thumbprint,
            state=KeyState.COMPROMISED,
            stopped_ms=key.stopped_ms or milliseconds(self.registrar.clock.now()),
            not_after=record.not_after,
            pin=record.pin,
        )
        version = key_version(conn, key)
        if version.stage is not Stage.COMPROMISED:
            move(conn, version, Step.COMPROMISE, milliseconds(self.registrar.clock.now()))
        also: dict[str, dict[str, bytes | None]] = {}
        _, issuer = self._certified(conn, key)
        if issuer is not None:
            also["crl"] = crl_targets(self._crl(conn, issuer))
        if successor is not None:
            Succession(registrar=self.registrar).activate(conn, successor)
            if successor.ref.purpose is Purpose.STATUS:
                signer = StatusSigner(keyring=self.registrar.keyring, clock=self.registrar.clock)
                also["status"] = signer.sign_due(conn, every=True)
        self.registrar.publish_trust(conn, operations=operations, also=also)

    def _crl(self, conn: Connection, issuer: IssuingCa) -> dict[str, bytes]:
        try:
            authority = open_authority(
                issuer.name,
                anchors=get_anchors(conn),
                keyring=self.registrar.keyring.at(conn),
                registers=self.registrar.registers,
                clock=self.registrar.clock,
                entropy=self.registrar.entropy,
                certificate=issuer.certificate,
            )
        except KeyStoreError as error:
            if error.reason != "KEY_NOT_FOUND":
                raise
            # Destroyed, or stolen with its token: it signs no list any more. The
            # trust list, which no verdict passes by, says what the key is.
            return {}
        crls = sign_lists(issuer.label, authority)
        put_crls(conn, crls, self.registrar.clock)
        return crls


def _lower(before: Pin | None, found: Pin) -> Pin:
    """Return what stands by both comparisons: n_safe only falls."""
    if before is None:
        return found
    if found.n_safe <= before.n_safe:
        return found
    # Better evidence for earlier entries: they are attested anew, and n_safe stays.
    standing = [(before.n_safe, found.n_safe), *found.reattested]
    return replace(found, n_safe=before.n_safe, reattested=_joined(standing))


def _joined(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and joined[-1][1] >= start:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)
