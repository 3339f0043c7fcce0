"""What a region does when nobody asks: sequence its logs, keep its statements fresh.

One process does both. It acquires the sequencers' leases and, as long as it
holds them, places what waits in the logs every sequencing period; a second
thread signs status lists, revocation lists and the repository's online roles
before they age, expires licences that are due, and folds the database's
write-ahead log. Who does not hold the leases does neither.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from yinxin_edge.journal import Journal
from yinxin_edge.lease import Lease, LeaseOffice
from yinxin_proto.error import (
    FailedPreconditionError,
    ResourceExhaustedError,
    UnavailableError,
    YinxinError,
)
from yinxin_trust import schema
from yinxin_trust.expiry import ExpirySweep
from yinxin_trust.ledger import LICENCES, USES
from yinxin_trust.refresh import Refresher
from yinxin_trust.region import Region
from yinxin_trust.rotation.schedule import Schedule
from yinxin_trust.sequencer import Sequencer, lease_name
from yinxin_trust.servercertificate import ServerCertificate
from yinxin_trust.soundness import Soundness

Wait = Callable[[timedelta], bool]
"""Waits so long, or until told to stop; tells whether it was told."""

LEASE_TERM: Final = timedelta(seconds=10)
"""How long a log stands still when its sequencer's machine is gone."""
_RENEW: Final = LEASE_TERM / 3
_LOOK: Final = timedelta(seconds=0.5)
"""How often a keeper looks for a key that its log is to go on with."""
_RETRY: Final = timedelta(seconds=1)
_PASSING: Final = (UnavailableError, ResourceExhaustedError)
"""The database is locked, gone or full: what was not done is done when it is back."""


def lease_holder(directory: Path) -> str:
    """Return the name under which a region's directory holds leases.

    The same after a restart: one directory has one supervisor, so its new
    process need not wait until the lease of its killed predecessor runs out,
    and the epoch still fences out a predecessor that is not dead after all.
    """
    return f"{socket.gethostname()}:{directory.resolve()}"


class LogKeeper:
    """Keeps one log sequenced, while it can have the lease.

    Args:
        region: Opened.
        log_number: Which log.
        office: Gives the lease.
        journal: Gains and losses of the lease go there.
    """

    def __init__(
        self, *, region: Region, log_number: int, office: LeaseOffice, journal: Journal
    ) -> None:
        self._region = region
        self._log = log_number
        self._office = office
        self._journal = journal.bind(log=log_number)
        self._rotation = region.rotation()
        self._lease: Lease | None = None
        self._sequencer: Sequencer | None = None
        self._renewed = self._looked = 0.0

    @property
    def holds(self) -> bool:
        """Whether this process held the lease when it last looked."""
        return self._lease is not None

    def step(self) -> None:
        """Sequence what waits; acquire or renew the lease where that is due.

        Raises:
            YinxinError: As `Sequencer.run_once`, but for a lost lease.
        """
        if self._sequencer is None:
            self._acquire()
        if self._sequencer is None or self._lease is None:
            return
        try:
            self._sequencer.run_once()
            self._succeed(self._lease)
            if time.monotonic() - self._renewed > _RENEW.total_seconds():
                self._lease.renew()
                self._renewed = time.monotonic()
        except FailedPreconditionError as error:
            if error.reason != "LEASE_LOST":
                raise
            self._journal.warning("lease_lost", epoch=self._lease.epoch)
            self._lease = self._sequencer = None

    def _acquire(self) -> None:
        lease = self._office.acquire(lease_name(self._log))
        if lease is None:
            return
        self._journal.info("lease_acquired", epoch=lease.epoch)
        self._lease = lease
        self._renewed = time.monotonic()
        self._sequencer = self._new_sequencer(lease)

    def _new_sequencer(self, lease: Lease) -> Sequencer:
        signer, beside = self._region.log_signers(self._log)
        return Sequencer(
            storage=self._region.storage,
            log_number=self._log,
            signer=signer,
            cosigners=beside,
            lease=lease,
        )

    def _succeed(self, lease: Lease) -> None:
        """Let the log go on under its next key, once that is due."""
        if time.monotonic() - self._looked < _LOOK.total_seconds():
            return
        self._looked = time.monotonic()
        ref = self._rotation.due_log_key(self._log)
        if ref is None:
            return
        try:
            self._rotation.activate(ref, lease)
        except FailedPreconditionError as error:
            if error.reason not in {"KEY_WAITS", "LOG_UNSIGNED"}:
                raise
            # Something came in between: looked at again in a moment.
            return
        self._journal.info("log_key_succeeded", key=str(ref))
        self._sequencer = self._new_sequencer(lease)

    def release(self) -> None:
        """Let another process have the lease at once."""
        if self._lease is not None:
            self._lease.release()
            self._lease = self._sequencer = None


class Background:
    """The region's background work; one `run` per process.

    Args:
        region: Opened.
        directory: The region's.
        journal: Where everything that fails is recorded.
    """

    def __init__(self, *, region: Region, directory: Path, journal: Journal) -> None:
        self._region = region
        self._journal = journal
        self._certificate = ServerCertificate(region=region, directory=directory)
        self._refresher = Refresher.of(region)
        self._expiry = ExpirySweep(
            storage=region.storage,
            audit=region.audit,
            clock=region.clock,
            entropy=region.entropy,
        )
        self._rotation = region.rotation()
        self._schedule = Schedule(
            storage=region.storage,
            rotation=self._rotation,
            settings=region.settings.rotation,
            clock=region.clock,
        )
        self._soundness = Soundness(keyring=region.keyring, directory=directory)
        office = LeaseOffice(
            database=region.storage.database,
            table=schema.lease,
            clock=region.clock,
            holder=lease_holder(directory),
            term=LEASE_TERM,
        )
        self._keepers = [
            LogKeeper(region=region, log_number=number, office=office, journal=journal)
            for number in (LICENCES, USES)
        ]
        self._stopping = threading.Event()
        self._holding = threading.Event()
        self._failure: BaseException | None = None

    def run(self, wait: Wait) -> None:
        """Work until told to stop; then finish what waits and let the leases go.

        Raises:
            IntegrityError: A log contradicts itself: nothing may be signed
                until a person has looked.
            Exception: A fault of ours; the supervisor starts the process anew.
        """
        freshening = threading.Thread(target=self._keep_fresh, name="refresh", daemon=True)
        freshening.start()
        period = self._region.settings.server.sequencing_period
        try:
            while not wait(period if self._step() else _RETRY):
                if self._failure is not None:
                    raise self._failure
            self._step()
        finally:
            self._stopping.set()
            freshening.join()
        self._attempt(self._remember, *(keeper.release for keeper in self._keepers))

    def _step(self) -> bool:
        """Sequence every log; tell whether the database let us."""
        try:
            for keeper in self._keepers:
                keeper.step()
        except _PASSING as error:
            self._journal.warning("sequencing_waits", reason=error.reason, text=error.message)
            return False
        if all(keeper.holds for keeper in self._keepers):
            self._holding.set()
            return True
        self._holding.clear()
        return False

    def _keep_fresh(self) -> None:
        period = self._region.settings.server.publication_period.total_seconds()
        try:
            while not self._stopping.is_set():
                if self._holding.wait(timeout=_RETRY.total_seconds()):
                    self._refresh()
                    self._stopping.wait(period)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            self._failure = error

    def _refresh(self) -> None:
        self._attempt(
            self._refresher.run_once,
            self._expiry.expire_due,
            self._region.audit_chain.extend,
            self._remember,
            self._schedule.begin_due,
            self._rotation.run_due,
            self._certificate.ensure,
            self._region.storage.database.checkpoint,
        )

    def _attempt(self, *tasks: Callable[[], object]) -> None:
        """Do each task; one that fails stops no other, and shows as an age until it is done."""
        for task in tasks:
            try:
                task()
            except YinxinError as error:
                self._journal.error("task_failed", error, task=task.__qualname__)

    def _remember(self) -> None:
        self._soundness.remember(self._region.storage)
