"""Rotation, one step at a time.

Danger: half a rotation must never be worse than none. So each step first does
what leaves traces outside the database, in an order in which a crash costs
nothing (a key nobody knows of, a certificate nobody uses), and then moves the
stage with everything that goes with it in one transaction. A step that was
interrupted is taken again, and finds what is done already.

No key is used before what the region has *published* names it: `activate` asks
the verified repository, and then lets the time pass in which verifiers may
still hold an older one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection, func, select

from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_edge.lease import Lease
from yinxin_proto.error import (
    FailedPreconditionError,
    IntegrityError,
    InvalidArgumentError,
    KeyStoreError,
    NotFoundError,
    YinxinError,
)
from yinxin_proto.signature import PublicKey
from yinxin_proto.strict import canonical_json
from yinxin_trust import schema
from yinxin_trust.audit import AuditTrail
from yinxin_trust.directory import touch
from yinxin_trust.keyadmission import check_new
from yinxin_trust.keyinventory import (
    KeyVersion,
    add,
    get,
    in_stages,
    inventory,
    move,
    staged,
    versions,
)
from yinxin_trust.keyring import OFFLINE
from yinxin_trust.keystage import Stage, Step, target_of
from yinxin_trust.publication import Publication
from yinxin_trust.registration import Registrar
from yinxin_trust.rotation.event import KeyEvents
from yinxin_trust.rotation.logkey import log_number_of
from yinxin_trust.rotation.plan import Bench, Change, Plan
from yinxin_trust.rotation.plans import plans
from yinxin_trust.rows import milliseconds, moment
from yinxin_trust.settings import RotationTable

Interruption = Callable[[str], None]
"""Called at every point where a crash would leave something behind."""
BorrowLease = Callable[[int], AbstractContextManager[Lease]]
"""Gives a log's lease for as long as a block runs; see `Region.borrow_lease`."""

_CLOCK_SLACK_MS: Final = 5000
"""As far as clocks of machines that are set right may be apart."""
_STEP_OF: Final = {Stage.PREPARED: Step.PUBLISH, Stage.PUBLISHED: Step.ACTIVATE}


def uninterrupted(_: str) -> None:
    """Let every step run through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a rotation waits for."""

    step: Step
    """The step that comes next."""
    reason: str
    """``time``, or what is to be finished: ``log``, ``index``, ``rewrap``, ``lease``, …"""
    until: datetime | None = None
    """When it may be taken, where that is known."""

    def to_error(self, ref: KeyRef) -> FailedPreconditionError:
        """Return what refuses the step now."""
        when = "" if self.until is None else f", from {self.until.isoformat(timespec='seconds')} on"
        return FailedPreconditionError(
            f"{self.step} of {ref} waits for {self.reason}{when}", reason="KEY_WAITS"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a rotation came."""

    steps: tuple[tuple[Step, KeyRef], ...]
    """Taken just now."""
    waiting: Waiting | None
    """What it waits for; None when it is complete."""


class Rotation:
    """Rotates the region's keys.

    Args:
        bench: Database, keys, registers, clock.
        settings: How long each step waits.
        audit: Puts each step on record.
        registrar: Publishes the trust list.
        borrow_lease: A log's key changes under the log's lease.
        interruption: Injects crashes in tests.
    """

    def __init__(
        self,
        *,
        bench: Bench,
        settings: RotationTable,
        audit: AuditTrail,
        registrar: Registrar,
        borrow_lease: BorrowLease,
        interruption: Interruption = uninterrupted,
    ) -> None:
        self._bench = bench
        self._settings = settings
        self._registrar = registrar
        self._borrow_lease = borrow_lease
        self._reached = interruption
        self._events = KeyEvents(audit=audit, clock=bench.clock, entropy=bench.entropy)
        self._publication = Publication(
            storage=bench.storage, keyring=bench.keyring, clock=bench.clock
        )
        self._plans = plans(bench, settings)

    def plan(self, purpose: Purpose) -> Plan:
        """Return how keys of a purpose rotate.

        Raises:
            NotFoundError: They do not, here (``KEY_PURPOSE``).
        """
        found = self._plans.get(purpose)
        if found is None:
            raise NotFoundError(
                f"keys for {purpose} are not rotated here; these are: {', '.join(self._plans)}",
                reason="KEY_PURPOSE",
            )
        return found

    def covers(self, purpose: Purpose) -> bool:
        """Tell whether keys of a purpose rotate here."""
        return purpose in self._plans

    # --- the five steps -------------------------------------------------------------

    def prepare(self, owner: str, purpose: Purpose) -> KeyVersion:
        """Make and certify the next version; one that is prepared already is returned.

        Raises:
            NotFoundError: No such key (``KEY``, ``KEY_PURPOSE``).
            FailedPreconditionError: A version is published and not yet in use
                (``KEY_STAGE``), or the offline keys are shut (``OFFLINE_KEYS``).
        """
        plan = self.plan(purpose)
        with self._bench.storage.read() as conn:
            known = self._versions(conn, owner, purpose)
        newest = known[-1]
        if newest.stage is Stage.PREPARED:
            return newest
        if newest.stage is Stage.PUBLISHED:
            raise FailedPreconditionError(
                f"{newest.ref} is published and waits for its use; finish that rotation first",
                reason="KEY_STAGE",
            )
        ref = KeyRef(owner, purpose, newest.ref.version + 1)
        store = plan.store(ref)
        self._reached("prepare: begun")
        # A key that an interrupted attempt left was never told to anybody: it is used now.
        if ref not in {info.ref for info in store.list()}:
            plan.make(ref, known[-1])
        self._reached("prepare: made")
        with self._bench.storage.read() as conn:
            key = plan.record(conn, ref)
        self._reached("prepare: certified")
        return self.enter(key)

    def accept(self, owner: str, purpose: Purpose, public_key: PublicKey) -> KeyVersion:
        """Record and publish the public half of a key that its owner keeps.

        Raises:
            NotFoundError: No such owner (``KEY``).
            InvalidArgumentError: The key is on record already, for anything or
                anybody (``KEY_REUSE``), or everybody knows it (``KEY_WEAK``).
            FailedPreconditionError: A rotation of it is in progress (``KEY_STAGE``),
                or the key is known as stolen (``KEY_COMPROMISED``).
        """
        thumbprint = sha256(public_key.spki).digest()
        with self._bench.storage.read() as conn:
            newest = self._versions(conn, owner, purpose)[-1]
            taken = [key for key in inventory(conn) if key.thumbprint == thumbprint]
        if newest.stage is Stage.PREPARED and newest.thumbprint == thumbprint:
            return self.publish(newest.ref)
        if taken:
            raise InvalidArgumentError(
                "this key is on record already; a new one is to be made for each purpose and turn",
                reason="KEY_REUSE",
            )
        if newest.stage is not Stage.ACTIVE:
            raise FailedPreconditionError(
                f"{newest.ref} is {newest.stage}; finish that rotation first", reason="KEY_STAGE"
            )
        with self._bench.storage.read() as conn:
            check_new(
                conn, public_key, registers=self._bench.registers, keyring=self._bench.keyring
            )
        key = KeyVersion(
            ref=KeyRef(owner, purpose, newest.ref.version + 1),
            suite=public_key.suite.name,
            stage=Stage.PREPARED,
            thumbprint=thumbprint,
            public=public_key.spki,
        )
        return self.publish(self.enter(key).ref)

    def enter(self, key: KeyVersion) -> KeyVersion:
        """Record a version that was just prepared."""
        key = replace(key, prepared_ms=self._now_ms())
        with self._changing("prepare") as conn:
            add(conn, key)
            self._events.record(conn, key, Step.PREPARE)
        return key

    def publish(self, ref: KeyRef) -> KeyVersion:
        """Let whoever judges the key know it.

        Raises:
            FailedPreconditionError: It is not prepared (``KEY_STAGE``), or the
                offline keys are shut (``OFFLINE_KEYS``).
        """
        plan = self._ready(ref, Step.PUBLISH)
        with self._changing("publish") as conn:
            key = move(conn, self._locked(conn, ref), Step.PUBLISH, self._now_ms())
            self._apply(conn, plan.publish(conn, key))
            self._events.record(conn, key, Step.PUBLISH)
        return key

    def activate(self, ref: KeyRef, lease: Lease | None = None) -> KeyVersion:
        """Take a published key into use; its predecessor begins to retire.

        Args:
            ref: Which one.
            lease: Of the log whose key it is, if that is at hand.

        Raises:
            FailedPreconditionError: It is not published (``KEY_STAGE``), or it
                waits, and the message says until when (``KEY_WAITS``).
            IntegrityError: Nothing that is published names it (``KEY_UNPUBLISHED``).
            UnavailableError: The log is another process's now (``LEASE_HELD``).
        """
        plan = self._ready(ref, Step.ACTIVATE)
        is_log = ref.purpose is Purpose.LOG
        held: AbstractContextManager[Lease | None] = (
            self._borrow_lease(log_number_of(ref))
            if is_log and lease is None
            else nullcontext(lease)
        )
        with held as own, self._changing("activate") as conn:
            if own is not None:
                own.check_in(conn)
            key = self._locked(conn, ref)
            self._require(conn, key, Step.ACTIVATE)
            if not plan.is_public(conn, key):
                raise IntegrityError(
                    f"nothing that the region has published names {ref}; publish it again",
                    reason="KEY_UNPUBLISHED",
                )
            before = in_stages(conn, ref.owner, ref.purpose, (Stage.ACTIVE,))
            # First, since the database admits one active version at a time.
            old = move(conn, before[0], Step.SUPERSEDE, self._now_ms()) if before else None
            self._reached("activate: superseded")
            key = move(conn, key, Step.ACTIVATE, self._now_ms())
            self._apply(conn, plan.activate(conn, key, old))
            self._events.record(conn, key, Step.ACTIVATE)
        return key

    def retire(self, ref: KeyRef) -> KeyVersion:
        """Put on record that a superseded key signs no more, and how far it went.

        Raises:
            FailedPreconditionError: It is not superseded (``KEY_STAGE``), it
                waits (``KEY_WAITS``), or the offline keys are shut (``OFFLINE_KEYS``).
        """
        plan = self._ready(ref, Step.RETIRE)
        with self._changing("seal") as conn:
            key = self._locked(conn, ref)
            self._require_time(key, Step.RETIRE)
            plan.seal(conn, key)
        with self._changing("retire") as conn:
            key = self._locked(conn, ref)
            self._require(conn, key, Step.RETIRE)
            ending = plan.ending(conn, key)
            key = move(
                conn,
                key,
                Step.RETIRE,
                self._now_ms(),
                ending=None if ending is None else canonical_json(ending).decode(),
            )
            self._apply(conn, plan.retire(conn, key))
            self._events.record(conn, key, Step.RETIRE)
        return key

    def destroy(self, ref: KeyRef) -> KeyVersion:
        """Forget the private half of a retired or compromised key for good.

        Raises:
            FailedPreconditionError: It is in use (``KEY_STAGE``), or waits (``KEY_WAITS``).
        """
        plan = self._ready(ref, Step.DESTROY)
        with self._changing("destroy") as conn:
            key = self._locked(conn, ref)
            self._require(conn, key, Step.DESTROY)
            self._apply(conn, plan.destroy(conn, key))
            key = move(conn, key, Step.DESTROY, self._now_ms())
            self._events.record(conn, key, Step.DESTROY)
        # After the record: a key that is recorded as there must be there.
        self._forget(plan, ref)
        return key

    def _forget(self, plan: Plan, ref: KeyRef) -> None:
        if ref.purpose is Purpose.APPROVAL:
            return
        try:
            plan.store(ref).destroy(ref)
        except KeyStoreError as error:
            if error.reason != "KEY_NOT_FOUND":
                raise

    # --- as far as it goes ----------------------------------------------------------

    def rotate(self, owner: str, purpose: Purpose) -> Progress:
        """Take every step that may be taken now, up to the predecessor's retirement.

        A rotation that is in progress goes on; else another one begins.

        Raises:
            YinxinError: As the steps do.
        """
        steps: list[tuple[Step, KeyRef]] = []
        if self.next_step(owner, purpose) is None:
            key = self.prepare(owner, purpose)
            steps.append((Step.PREPARE, key.ref))
        return self.resume(owner, purpose, steps)

    def resume(
        self, owner: str, purpose: Purpose, steps: list[tuple[Step, KeyRef]] | None = None
    ) -> Progress:
        """Take every step of a rotation in progress that may be taken now."""
        taken = [] if steps is None else steps
        while (found := self.next_step(owner, purpose)) is not None:
            step, ref = found
            waiting = self.waiting(ref, step)
            if waiting is not None:
                return Progress(steps=tuple(taken), waiting=waiting)
            try:
                {
                    Step.PUBLISH: self.publish,
                    Step.ACTIVATE: self.activate,
                    Step.RETIRE: self.retire,
                }[step](ref)
            except YinxinError as error:
                if error.reason in _RACED and self.next_step(owner, purpose) != found:
                    # Another process took it meanwhile: what comes after it is looked at.
                    continue
                reason = _PASSING.get(error.reason)
                if reason is None:
                    raise
                return Progress(steps=tuple(taken), waiting=Waiting(step=step, reason=reason))
            taken.append((step, ref))
        return Progress(steps=tuple(taken), waiting=None)

    def next_step(self, owner: str, purpose: Purpose) -> tuple[Step, KeyRef] | None:
        """Return the next step of the rotation in progress; None where there is none."""
        with self._bench.storage.read() as conn:
            known = self._versions(conn, owner, purpose)
        for key in known:
            if key.stage is Stage.RETIRING:
                return Step.RETIRE, key.ref
        newest = known[-1]
        if newest.stage in _STEP_OF:
            return _STEP_OF[newest.stage], newest.ref
        return None

    def waiting(self, ref: KeyRef, step: Step) -> Waiting | None:
        """Return what a step waits for; None when it may be taken."""
        with self._bench.storage.read() as conn:
            return self._waiting(conn, get(conn, ref), step)

    def run_due(self) -> int:
        """Do what takes no offline keys and is due; return how many steps were taken.

        Takes published keys into use, works off what runs in the background,
        retires and destroys what has waited long enough. The logs' keys are
        taken into use by whoever sequences them.
        """
        with self._bench.storage.read() as conn:
            keys = [key for key in staged(conn, tuple(_DUE)) if key.ref.purpose in self._plans]
        taken = 0
        failed: YinxinError | None = None
        for key in keys:
            step = _DUE.get(key.stage)
            if step is None or (key.ref.purpose is Purpose.LOG and step is Step.ACTIVATE):
                continue
            if step in self.plan(key.ref.purpose).offline or self.waiting(key.ref, step):
                continue
            try:
                {
                    Step.ACTIVATE: self.activate,
                    Step.RETIRE: self.retire,
                    Step.DESTROY: self.destroy,
                }[step](key.ref)
            except YinxinError as error:
                # One key that cannot go on holds up no other.
                if error.reason not in _RACED and error.reason not in _PASSING:
                    failed = failed or error
            else:
                taken += 1
        for purpose in self._plans:
            self.work(purpose)
        if failed is not None:
            raise failed
        return taken

    def work(self, purpose: Purpose) -> None:
        """Do what a rotation leaves to the background, until nothing of it is left."""
        while self.plan(purpose).work():
            self._reached("work: a batch")

    def due_log_key(self, log_number: int) -> KeyRef | None:
        """Return the key that a log is to go on with from now on, if there is one."""
        with self._bench.storage.read() as conn:
            owner = self._bench.keyring.log_ref(log_number, 1).owner
            for key in in_stages(conn, owner, Purpose.LOG, (Stage.PUBLISHED,)):
                if self._waiting(conn, key, Step.ACTIVATE) is None:
                    return key.ref
        return None

    # --- inside ---------------------------------------------------------------------

    def _ready(self, ref: KeyRef, step: Step) -> Plan:
        """Return the key's plan; refuse at once where the offline keys are needed and shut."""
        plan = self.plan(ref.purpose)
        if step in plan.offline:
            for purpose in OFFLINE:
                self._bench.keyring.store_of(purpose)
        return plan

    def _versions(self, conn: Connection, owner: str, purpose: Purpose) -> list[KeyVersion]:
        found = versions(conn, owner, purpose)
        if not found:
            raise NotFoundError(
                f"{owner} has no key for {purpose}; list the keys with: yinxin key list DIR",
                reason="KEY",
            )
        return found

    def _locked(self, conn: Connection, ref: KeyRef) -> KeyVersion:
        """Read a key for a step; the publication's lock comes first, in one order for everybody."""
        self._check_clock(conn)
        self._publication.lock(conn)
        touch(conn)
        return get(conn, ref, lock=True)

    def _check_clock(self, conn: Connection) -> None:
        """Refuse a clock that was set back: what it would date is older than what stands.

        Verifiers refuse a trust list that was issued before the one they have.
        """
        newest = conn.execute(select(func.max(schema.published_file.c.published_ms))).scalar()
        if newest is not None and self._now_ms() < newest - _CLOCK_SLACK_MS:
            raise FailedPreconditionError(
                f"this machine's clock is before the region's newest publication, of "
                f"{moment(newest).isoformat(timespec='seconds')}; set it right first",
                reason="CLOCK_BACK",
            )

    @contextmanager
    def _changing(self, step: str) -> Iterator[Connection]:
        self._reached(f"{step}: begun")
        with self._bench.storage.write() as conn:
            yield conn
            self._reached(f"{step}: written")
        self._reached(f"{step}: committed")

    def _apply(self, conn: Connection, change: Change) -> None:
        if change.trust_list:
            self._registrar.publish_trust(conn, also=change.targets, roles=change.roles)
        elif change.targets or change.roles or change.anew:
            self._publication.publish(conn, change.targets, roles=change.roles)

    def _require(self, conn: Connection, key: KeyVersion, step: Step) -> None:
        target_of(step, key.stage)
        waiting = self._waiting(conn, key, step)
        if waiting is not None:
            raise waiting.to_error(key.ref)

    def _require_time(self, key: KeyVersion, step: Step) -> None:
        target_of(step, key.stage)
        waiting = self._waiting_time(key, step)
        if waiting is not None:
            raise waiting.to_error(key.ref)

    def _waiting(self, conn: Connection, key: KeyVersion, step: Step) -> Waiting | None:
        in_time = self._waiting_time(key, step)
        if in_time is not None:
            return in_time
        plan = self.plan(key.ref.purpose)
        reason = None
        if step is Step.ACTIVATE and key.stage is Stage.PUBLISHED:
            reason = plan.unready(conn, key)
        elif step is Step.RETIRE and key.stage is Stage.RETIRING:
            reason = plan.unfinished(conn, key)
        elif step is Step.DESTROY and key.stage is Stage.RETIRED:
            reason = plan.needed(conn, key)
        return None if reason is None else Waiting(step=step, reason=reason)

    def _waiting_time(self, key: KeyVersion, step: Step) -> Waiting | None:
        settings = self._settings
        waits = self.plan(key.ref.purpose).waits_for_verifiers
        since, wait = {
            Step.ACTIVATE: (key.published_ms, settings.publish_wait if waits else settings.settle),
            Step.RETIRE: (key.retiring_ms, settings.settle),
            Step.DESTROY: (key.retired_ms, settings.destroy_after),
        }.get(step, (None, timedelta(0)))
        if since is None:
            return None
        until = moment(since) + wait
        now = self._bench.clock.now()
        return Waiting(step=step, reason="time", until=until) if now < until else None

    def _now_ms(self) -> int:
        return milliseconds(self._bench.clock.now())


_PASSING: Final = {"LEASE_HELD": "lease", "LOG_UNSIGNED": "log", "KEY_WAITS": "log"}
"""Refusals that a moment later may be none, and what they wait for."""
_RACED: Final = {"KEY_STAGE", "KEY_MOVED"}
"""Refusals that come from another process having taken the step first."""
_DUE: Final = {
    Stage.PUBLISHED: Step.ACTIVATE,
    Stage.RETIRING: Step.RETIRE,
    Stage.RETIRED: Step.DESTROY,
}
