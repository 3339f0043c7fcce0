"""A region, put together: the one composition root.

``Region.in_memory`` gives tests, the demo and the docs the real service in one
line; ``Region.create`` founds one in a directory, ``Region.open`` opens it.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from yinxin_ca.journal import FileRegister
from yinxin_ca.keyfile import create_key_store, open_key_store
from yinxin_ca.officer import FileOfficerRegister
from yinxin_ca.register import InMemoryRegister, Register
from yinxin_ca.software import in_memory_key_store
from yinxin_edge.clock import SystemClock, SystemEntropy
from yinxin_edge.database import Database
from yinxin_edge.lease import Lease, LeaseOffice
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import AlreadyExistsError, ConfigurationError, UnavailableError
from yinxin_proto.note import LineSigner, NoteSigner
from yinxin_proto.signature import Suite
from yinxin_trust import migration, schema
from yinxin_trust.allocation import StatusAllocator
from yinxin_trust.audit import AuditTrail
from yinxin_trust.auditchain import AuditChain, AuditSeal
from yinxin_trust.certification import RegisterFactory
from yinxin_trust.cipher import cipher_for
from yinxin_trust.commit import GroupCommitter
from yinxin_trust.directory import Directory
from yinxin_trust.founding import Founder
from yinxin_trust.holding import Holding
from yinxin_trust.issuance import Issuance, IssuanceStores
from yinxin_trust.keyring import Keyring, OfficerRegisterFactory
from yinxin_trust.keysettings import KeysTable
from yinxin_trust.keystores import KEYS, StoreMaker, discard_new, keys_in_devices
from yinxin_trust.ledger import LICENCES
from yinxin_trust.lifecycle import Lifecycle, LifecycleStores
from yinxin_trust.logcosigner import cosigners
from yinxin_trust.namespace import Namespace
from yinxin_trust.page import PageTokens
from yinxin_trust.permissionseal import PermissionSeal
from yinxin_trust.publication import Publication
from yinxin_trust.receipt_waiter import ReceiptWaiter
from yinxin_trust.registration import Registrar
from yinxin_trust.relocation import require_home
from yinxin_trust.rotation.engine import Interruption, Rotation, uninterrupted
from yinxin_trust.rotation.plan import Bench
from yinxin_trust.sequencer import Sequencer
from yinxin_trust.settings import (
    HttpTable,
    RegionTable,
    RotationTable,
    ServerTable,
    Settings,
    load_settings,
    write_settings,
)
from yinxin_trust.storage import Storage
from yinxin_trust.subject import SubjectDirectory
from yinxin_trust.suites import RegionSuites
from yinxin_trust.vault import Vault

OFFLINE: Final = "offline"
OFFICERS: Final = "officers"
REGISTERS: Final = "registers"
_LEASE_TERM: Final = timedelta(seconds=10)
EXAMPLE: Final = RegionTable(
    code="350300", domain="putian.example", name="莆田市（示例）", suite="ES256"
)


class Registers:
    """Opens each authority's register once.

    Args:
        make: Opens the register of a label.
        listed: Returns the labels of those that were ever made.
    """

    def __init__(
        self,
        make: Callable[[str], Register],
        listed: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._make = make
        self._listed = listed
        self._open: dict[str, Register] = {}

    def __call__(self, name: str) -> Register:
        """See `RegisterFactory`."""
        if name not in self._open:
            self._open[name] = self._make(name)
        return self._open[name]

    def names(self) -> tuple[str, ...]:
        """See `RegisterFactory.names`."""
        return tuple(sorted({*self._listed(), *self._open}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What a region stands on: its settings, keys, registers and database."""

    settings: Settings
    storage: Storage
    keyring: Keyring
    registers: RegisterFactory
    clock: Clock
    entropy: Entropy

    @property
    def suite(self) -> Suite:
        """The suite of licences, status lists and approvals."""
        return self.suites.own

    @property
    def suites(self) -> RegionSuites:
        """Which suite each key belongs to."""
        return self.settings.suites


class Region:
    """A region's service, without its network side.

    Use `create`, `open` or `in_memory`; close it, or use it as a context
    manager.
    """

    def __init__(self, foundation: Foundation) -> None:
        self.foundation = foundation
        self.settings = foundation.settings
        self.namespace: Namespace = foundation.settings.namespace
        self.storage = foundation.storage
        self.keyring = foundation.keyring
        self.clock = foundation.clock
        self.entropy = foundation.entropy
        with self.storage.read() as conn:
            self.vault: Vault = self.keyring.at(conn).vault(
                entropy=self.entropy, cipher=cipher_for(foundation.suites)
            )
        self.committer = GroupCommitter(storage=self.storage)
        seal = PermissionSeal(self.keyring.integrity_key())
        self.storage.seal = seal
        self.directory = Directory(
            keystore=self.keyring.online, seal=seal, on_change=self.vault.refresh
        )
        self.audit_seal = AuditSeal(self.keyring.integrity_key())
        self.audit = AuditTrail(clock=self.clock, entropy=self.entropy, seal=self.audit_seal)
        self.subjects = SubjectDirectory(vault=self.vault, clock=self.clock, entropy=self.entropy)
        self.pages = PageTokens(keys=lambda: self.vault.derive("page-tokens"))
        self.holding = Holding(subjects=self.subjects, namespace=self.namespace, pages=self.pages)
        self.allocator = StatusAllocator(
            storage=self.storage, uri_prefix=self.namespace.status_prefix, entropy=self.entropy
        )
        self.issuance = self._issuance()
        self.publication = Publication(storage=self.storage, keyring=self.keyring, clock=self.clock)
        self.registrar = Registrar(
            storage=self.storage,
            keyring=self.keyring,
            registers=foundation.registers,
            suite=foundation.suite,
            clock=self.clock,
            entropy=self.entropy,
        )
        self.lifecycle = self._lifecycle()
        self.receipts = ReceiptWaiter(
            storage=self.storage,
            log_number=LICENCES,
            quiet=self.settings.server.sequencing_period * 0.8,
        )
        self._sequencers: dict[int, Sequencer] = {}
        self._leases: dict[int, Lease] = {}

    def _issuance(self) -> Issuance:
        stores = IssuanceStores(
            storage=self.storage,
            committer=self.committer,
            directory=self.directory,
            subjects=self.subjects,
            allocator=self.allocator,
            holding=self.holding,
            vault=self.vault,
            audit=self.audit,
        )
        return Issuance(
            stores=stores, namespace=self.namespace, clock=self.clock, entropy=self.entropy
        )

    def _lifecycle(self) -> Lifecycle:
        stores = LifecycleStores(
            storage=self.storage,
            directory=self.directory,
            subjects=self.subjects,
            holding=self.holding,
            vault=self.vault,
            audit=self.audit,
        )
        return Lifecycle(
            stores=stores, namespace=self.namespace, clock=self.clock, entropy=self.entropy
        )

    def sequencer(self, log_number: int = LICENCES) -> Sequencer:
        """Acquire the lease of a log and return its sequencer.

        Raises:
            UnavailableError: Another process holds the lease (``LEASE_HELD``).
        """
        return self._sequencer(log_number, self._lease(log_number))

    def _lease(self, log_number: int) -> Lease:
        office = LeaseOffice(
            database=self.storage.database,
            table=schema.lease,
            clock=self.clock,
            holder=f"{socket.gethostname()}/{os.getpid()}/{id(self)}",
            term=_LEASE_TERM,
        )
        lease = office.acquire(f"sequencer/{log_number}")
        if lease is None:
            raise UnavailableError("another process sequences this log", reason="LEASE_HELD")
        return lease

    def _sequencer(self, log_number: int, lease: Lease) -> Sequencer:
        signer, beside = self.log_signers(log_number)
        return Sequencer(
            storage=self.storage,
            log_number=log_number,
            signer=signer,
            cosigners=beside,
            lease=lease,
        )

    def log_signers(self, log_number: int) -> tuple[NoteSigner, tuple[LineSigner, ...]]:
        """Return who signs a log's checkpoints now: its own key, and those beside it."""
        with self.storage.read() as conn:
            ring = self.keyring.at(conn)
            own, ref = ring.log_signer(log_number), ring.log_ref(log_number)
            return own, cosigners(conn, ring, ref, own.vkey.name, self.clock)

    @property
    def audit_chain(self) -> AuditChain:
        """Chains what the audit trail recorded; the background process alone extends it."""
        return AuditChain(storage=self.storage, seal=self.audit_seal, clock=self.clock)

    def sequence(self, log_number: int = LICENCES) -> int:
        """Sequence what waits, here and now; return how many entries were placed.

        For regions without a sequencing process: in memory, at the command line.
        """
        if log_number not in self._sequencers:
            lease = self._leases.get(log_number) or self._lease(log_number)
            self._leases[log_number] = lease
            self._sequencers[log_number] = self._sequencer(log_number, lease)
        return self._sequencers[log_number].run_once()

    @contextmanager
    def borrow_lease(self, log_number: int) -> Iterator[Lease]:
        """Hold a log's lease for what is done in the block: its key may change there.

        Raises:
            UnavailableError: Another process holds it (``LEASE_HELD``).
        """
        own = self._leases.get(log_number)
        lease = own or self._lease(log_number)
        try:
            yield lease
        finally:
            # Whoever sequences next asks anew whose key signs.
            self._sequencers.pop(log_number, None)
            if own is None:
                lease.release()

    def rotation(
        self,
        interruption: Interruption = uninterrupted,
        *,
        settings: RotationTable | None = None,
    ) -> Rotation:
        """Return what rotates the region's keys; with other waits, where a key was stolen."""
        bench = Bench(
            storage=self.storage,
            keyring=self.keyring,
            registers=self.foundation.registers,
            vault=self.vault,
            clock=self.clock,
            entropy=self.entropy,
        )
        return Rotation(
            bench=bench,
            settings=settings or self.settings.rotation,
            audit=self.audit,
            registrar=self.registrar,
            borrow_lease=self.borrow_lease,
            interruption=interruption,
        )

    def close(self) -> None:
        """Turn away who waits for a receipt, and close the database."""
        self.receipts.close()
        self.storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @classmethod
    def in_memory(
        cls,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        *,
        region: RegionTable = EXAMPLE,
        server: ServerTable | None = None,
        http: HttpTable | None = None,
        keys: KeysTable | None = None,
        rotation: RotationTable | None = None,
        database_url: str = "sqlite://",
    ) -> Self:
        """Found a region that is gone when closed; everything in it is real."""
        clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
        settings = Settings(
            region=region,
            server=server or ServerTable(),
            http=http or HttpTable(),
            keys=keys or KeysTable(),
            rotation=rotation or RotationTable(),
        )
        foundation = Foundation(
            settings=settings,
            storage=Storage(Database.open(database_url)),
            keyring=Keyring(
                settings.namespace,
                in_memory_key_store(clock=clock, entropy=entropy),
                in_memory_key_store(clock=clock, entropy=entropy),
            ),
            registers=Registers(lambda _: InMemoryRegister()),
            clock=clock,
            entropy=entropy,
        )
        _found(foundation)
        return cls(foundation)

    @classmethod
    def create(
        cls,
        directory: Path,
        settings: Settings,
        *,
        passphrase: str,
        offline_passphrase: str | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        """Found a region in a directory that does not exist yet, or is empty.

        Raises:
            AlreadyExistsError: The directory holds something (``DIRECTORY_IN_USE``),
                or the database a region.
            ConfigurationError: The directory cannot be written.
        """
        clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
        directory = _unused(directory)
        draft = directory.with_name(f".{directory.name}.founding")
        with ExitStack() as undo:
            # A founding that fails leaves nothing that looks like a region.
            undo.callback(shutil.rmtree, draft, ignore_errors=True)
            try:
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir(parents=True, mode=0o700)
                (draft / REGISTERS).mkdir(mode=0o700)
            except OSError as error:
                raise _unusable(directory, error) from error
            write_settings(draft, settings)
            second = passphrase if offline_passphrase is None else offline_passphrase
            make = {"clock": clock, "entropy": entropy, "cipher": settings.key_file_cipher}
            files = create_key_store(draft / KEYS, passphrase=passphrase, **make)  # type: ignore[arg-type]
            maker = StoreMaker(directory=draft, clock=clock, entropy=entropy)
            online = maker.online(settings.keys, files)
            before = keys_in_devices(online)
            offline = create_key_store(draft / OFFLINE, passphrase=second, **make)  # type: ignore[arg-type]
            storage = Storage(Database.open(settings.database_url(draft)))
            undo.callback(storage.close)
            # Taken back unless everything is in its place.
            keys = undo.enter_context(ExitStack())
            keys.callback(discard_new, online, before)
            _found(
                Foundation(
                    settings=settings,
                    storage=storage,
                    keyring=Keyring(
                        settings.namespace, online, offline, file_officers(draft, entropy, new=True)
                    ),
                    registers=file_registers(draft),
                    clock=clock,
                    entropy=entropy,
                )
            )
            storage.close()
            try:
                # Over an empty directory, if there is one, in one step.
                draft.rename(directory)
            except OSError as error:
                raise _unusable(directory, error) from error
            keys.pop_all()

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        passphrase: str,
        offline_passphrase: str | None = None,
        database_url: str | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
    ) -> Self:
        """Open a founded region.

        Args:
            directory: The region's directory.
            passphrase: Opens the online key store.
            offline_passphrase: Opens the offline key store; None leaves it shut.
            database_url: In place of the one in the settings.
            clock: The system's, unless given.
            entropy: The system's, unless given.

        Raises:
            ConfigurationError: Not a region's directory, unusable settings, or a
                database that is not the region's own (`require_home`).
            WrongPassphraseError: A passphrase does not open its store, or a
                token refuses its PIN (``PIN_WRONG``).
            UnavailableError: A token or signer that holds keys does not answer.
        """
        clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
        settings = load_settings(directory)
        files = open_key_store(
            directory / KEYS, passphrase=passphrase, clock=clock, entropy=entropy
        )
        maker = StoreMaker(directory=directory, clock=clock, entropy=entropy)
        online = maker.online(settings.keys, files)
        offline = None
        if offline_passphrase is not None:
            offline = open_key_store(
                directory / OFFLINE, passphrase=offline_passphrase, clock=clock, entropy=entropy
            )
        storage = Storage(Database.open(database_url or settings.database_url(directory)))
        try:
            require_home(storage, settings.region.code)
            with storage.read() as conn:
                migration.require_current(conn)
        except BaseException:
            storage.close()
            raise
        return cls(
            Foundation(
                settings=settings,
                storage=storage,
                keyring=Keyring(
                    settings.namespace, online, offline, file_officers(directory, entropy)
                ),
                registers=file_registers(directory),
                clock=clock,
                entropy=entropy,
            )
        )


def file_registers(directory: Path) -> Registers:
    """Return the registers of a region's directory."""
    folder = directory / REGISTERS
    return Registers(
        lambda name: FileRegister(folder / f"{name}.jsonl"),
        lambda: (path.stem for path in folder.glob("*.jsonl")),
    )


def file_officers(
    directory: Path, entropy: Entropy, *, new: bool = False
) -> OfficerRegisterFactory:
    """Return what opens the officers' register of a region's directory, with the offline keys."""
    folder = directory / OFFLINE / OFFICERS
    return lambda key: FileOfficerRegister(folder, key=key, entropy=entropy, new=new)


def _unused(directory: Path) -> Path:
    """Return where a region is to be, without links and dots; nothing is there yet."""
    try:
        place = directory.resolve()
        used = place.exists() and any(place.iterdir())
    except OSError as error:
        raise _unusable(directory, error) from error
    if used or place == Path.cwd():
        # The directory that one stands in would be replaced under one's feet.
        raise AlreadyExistsError(
            f"{directory} is not empty, or is the present directory; name a new one",
            reason="DIRECTORY_IN_USE",
        )
    return place


def _unusable(directory: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"cannot make {directory}: {error.strerror}", reason="DIRECTORY")


def _found(foundation: Foundation) -> None:
    Founder(
        storage=foundation.storage,
        keyring=foundation.keyring,
        registers=foundation.registers,
        suites=foundation.suites,
        clock=foundation.clock,
        entropy=foundation.entropy,
    ).found()
