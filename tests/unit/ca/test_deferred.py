"""A store that is away when a process starts, and one that is refused."""

from __future__ import annotations

import pytest

from support.clock import FixedClock, SeededEntropy
from yinxin_ca.deferred import DeferredKeyStore
from yinxin_ca.keystore import KeyRef, KeyStore, Purpose
from yinxin_ca.software import in_memory_key_store
from yinxin_proto.error import UnavailableError, WrongPassphraseError
from yinxin_proto.suite import ES256

LICENCE = KeyRef("350399", Purpose.LICENCE)
LOG = KeyRef("350399", Purpose.LOG)


class Device:
    """Answers when it is there."""

    def __init__(self, *, is_there: bool) -> None:
        self.is_there = is_there
        self.opened = 0
        self._store = in_memory_key_store(clock=FixedClock(), entropy=SeededEntropy())

    def open(self) -> KeyStore:
        if not self.is_there:
            raise UnavailableError("away", reason="TOKEN_GONE")
        self.opened += 1
        return self._store


def test_a_store_that_is_there_is_opened_once_and_at_once() -> None:
    device = Device(is_there=True)
    store = DeferredKeyStore(device.open)
    assert device.opened == 1
    signer = store.generate(LICENCE, ES256)
    assert store.signer(LICENCE) is signer
    assert device.opened == 1


def test_a_store_that_is_away_is_opened_when_it_is_back() -> None:
    device = Device(is_there=False)
    store = DeferredKeyStore(device.open)
    for ask in (store.list, lambda: store.signer(LICENCE), lambda: store.destroy(LICENCE)):
        with pytest.raises(UnavailableError) as caught:
            ask()
        assert caught.value.reason == "TOKEN_GONE"
    device.is_there = True
    store.generate(LICENCE, ES256)
    seed = store.generate_secret(LOG)
    assert store.secret(LOG) == seed
    store.destroy(LICENCE)
    assert [info.ref for info in store.list()] == [LOG]
    assert device.opened == 1


def test_a_wrong_pin_is_raised_to_whoever_starts_the_process() -> None:
    def refuse() -> KeyStore:
        raise WrongPassphraseError("refused", reason="PIN_WRONG")

    with pytest.raises(WrongPassphraseError):
        DeferredKeyStore(refuse)
