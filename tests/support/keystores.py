"""Every kind of key store, empty, for the tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.clock import FixedClock, SeededEntropy
from support.softhsm import SoftToken
from yinxin_ca.keyfile import create_key_store, open_key_store
from yinxin_ca.keystore import KeyStore
from yinxin_ca.pkcs11 import Pkcs11KeyStore
from yinxin_ca.pkcs11_connection import TokenAddress, connect
from yinxin_ca.software import MemoryShelf, SoftwareKeyStore
from yinxin_edge.clock import SystemEntropy
from yinxin_proto.signature import Suite
from yinxin_proto.suite import ES256

STORES = ("memory", "file", "token")
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
