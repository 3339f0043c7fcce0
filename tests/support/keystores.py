"""Every kind of key store, empty, for the tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from support.clock import FixedClock, SeededEntropy
from support.sdf_machine import KEYS, Machine
from support.softhsm import SoftToken
from yinxin_ca.keyfile import create_key_store, open_key_store
from yinxin_ca.keystore import KeyStore, Purpose
from yinxin_ca.pkcs11 import Pkcs11KeyStore
from yinxin_ca.pkcs11_connection import TokenAddress, connect
from yinxin_ca.remote import RemoteKeyStore
from yinxin_ca.sdf import IndexRange, SdfKeyStore
from yinxin_ca.signer_journal import SignerJournal
from yinxin_ca.signer_service import Caller, SignerServicer, signer_service
from yinxin_ca.software import MemoryShelf, SoftwareKeyStore
from yinxin_edge.channel import open_channel
from yinxin_edge.clock import SystemEntropy
from yinxin_edge.journal import Journal
from yinxin_edge.principal import Principal
from yinxin_edge.server import Server, ServerSettings
from yinxin_proto.signature import Suite
from yinxin_proto.suite import ES256, SM2

STORES = ("memory", "file", "token", "machine", "remote")
SECRET_STORES = ("memory", "file", "token")
"""Those that hold secrets as well as key pairs."""
PASSPHRASE = "invented"


@dataclass(frozen=True, slots=True)
class StoreUnderTest:
    """A store, and what is to be expected of its kind."""

    store: KeyStore
    reopen: Callable[[], KeyStore]
    """Makes another store over the same keys, as a new process would."""
    suite: Suite = ES256
    exports: bool = True
    holds_secrets: bool = True


@pytest.fixture
def memory_store() -> StoreUnderTest:
    shelf = MemoryShelf()

    def make() -> KeyStore:
        return SoftwareKeyStore(shelf=shelf, clock=FixedClock(), entropy=SeededEntropy())

    return StoreUnderTest(make(), make)


@pytest.fixture
def file_store(tmp_path: Path) -> StoreUnderTest:
    def make() -> KeyStore:
        return open_key_store(
            tmp_path, passphrase=PASSPHRASE, clock=FixedClock(), entropy=SeededEntropy(1)
        )

    first = create_key_store(
        tmp_path, passphrase=PASSPHRASE, clock=FixedClock(), entropy=SeededEntropy()
    )
    return StoreUnderTest(first, make)


def open_token(token: SoftToken, *, pin: str | None = None) -> Pkcs11KeyStore:
    """Open a store in a SoftHSM token."""
    connection = connect(TokenAddress(token.module, token.label), pin=pin or token.pin)
    return Pkcs11KeyStore(connection=connection, clock=FixedClock(), entropy=SystemEntropy())


@pytest.fixture
def token_store(soft_token: SoftToken) -> StoreUnderTest:
    return StoreUnderTest(open_token(soft_token), lambda: open_token(soft_token), exports=False)


def open_machine(machine: Machine, directory: Path, *, code: str | None = None) -> SdfKeyStore:
    """Open a store in a mock of a cryptographic machine."""
    return SdfKeyStore(
        device=machine.open(code=code),
        directory=directory,
        indexes=IndexRange(1, KEYS),
        clock=FixedClock(),
        entropy=SystemEntropy(),
    )


@pytest.fixture
def machine_store(machine: Machine, tmp_path: Path) -> StoreUnderTest:
    return StoreUnderTest(
        open_machine(machine, tmp_path),
        lambda: open_machine(machine, tmp_path),
        suite=SM2,
        exports=False,
        holds_secrets=False,
    )


CALLER = Principal(
    domain="signer.example", identifier="region-350399", certificate_hash=bytes(range(32))
)


@contextmanager
def signer_server(
    store: KeyStore, journal: SignerJournal, *, caller: Caller | None = None
) -> Iterator[grpc.Channel]:
    """Serve a store in clear on loopback, to one caller; yield a channel to it."""
    everything = Caller(
        certificate_hash=CALLER.certificate_hash, purposes=frozenset(Purpose), may_manage=True
    )
    servicer = SignerServicer(
        store=store, journal=journal, callers={CALLER.identifier: caller or everything}
    )
    server = Server(
        settings=ServerSettings(listen="127.0.0.1:0", share_port=False, grace=timedelta(seconds=1)),
        services=[signer_service(servicer)],
        credentials=None,
        identify=lambda _: CALLER,
        journal=Journal(clock=FixedClock()),
        entropy=SystemEntropy(),
    )
    server.start()
    try:
        with open_channel(f"127.0.0.1:{server.port}", None, own_connection=True) as channel:
            yield channel
    finally:
        server.stop()


@pytest.fixture
def remote_store(memory_store: StoreUnderTest, tmp_path: Path) -> Iterator[StoreUnderTest]:
    journal = SignerJournal(tmp_path / "journal.jsonl", clock=FixedClock())
    with signer_server(memory_store.store, journal) as channel:

        def make() -> KeyStore:
            return RemoteKeyStore(channel=channel, timeout=timedelta(seconds=10))

        yield StoreUnderTest(make(), make, exports=False, holds_secrets=False)
    journal.close()
