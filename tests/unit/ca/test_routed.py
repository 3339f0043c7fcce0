"""Several stores as one: where keys are made, and where they are found again."""

from __future__ import annotations

from typing import Any

import pytest

from support.clock import FixedClock, SeededEntropy
from yinxin_ca.keystore import KeyAdopter, KeyRef, Purpose
from yinxin_ca.routed import Route, RoutedKeyStore
from yinxin_ca.software import SoftwareKeyStore, in_memory_key_store
from yinxin_proto.error import AlreadyExistsError, InvalidArgumentError, KeyStoreError
from yinxin_proto.signature import SigningKey
from yinxin_proto.suite import ES256

LICENCE = KeyRef("350399", Purpose.LICENCE)
STATUS = KeyRef("350399", Purpose.STATUS)
LOG = KeyRef("350399", Purpose.LOG)


def memory() -> SoftwareKeyStore:
    return in_memory_key_store(clock=FixedClock(), entropy=SeededEntropy())


@pytest.fixture
def files() -> SoftwareKeyStore:
    return memory()


@pytest.fixture
def device() -> SoftwareKeyStore:
    return memory()


@pytest.fixture
def both(files: SoftwareKeyStore, device: SoftwareKeyStore) -> RoutedKeyStore:
    rest = Route("file", files, frozenset())
    return RoutedKeyStore(rest, [Route("pkcs11", device, frozenset({Purpose.LICENCE}))])


def test_a_key_is_made_in_the_store_of_its_purpose(
    both: RoutedKeyStore, files: SoftwareKeyStore, device: SoftwareKeyStore
) -> None:
    both.generate(LICENCE, ES256)
    both.generate(STATUS, ES256)
    seed = both.generate_secret(LOG)
    assert [info.ref for info in device.list()] == [LICENCE]
    assert [info.ref for info in files.list()] == [LOG, STATUS]
    assert [info.ref for info in both.list()] == [LICENCE, LOG, STATUS]
    assert both.secret(LOG) == seed
    assert both.signer(LICENCE) is device.signer(LICENCE)


def test_a_key_from_before_the_purpose_was_routed_stays_in_use(
    both: RoutedKeyStore, files: SoftwareKeyStore, device: SoftwareKeyStore
) -> None:
    old = files.generate(LICENCE, ES256)
    assert both.signer(LICENCE) is old
    with pytest.raises(AlreadyExistsError):
        both.generate(LICENCE, ES256)
    following = KeyRef("350399", Purpose.LICENCE, 2)
    both.generate(following, ES256)
    assert [info.ref for info in device.list()] == [following]
    both.destroy(LICENCE)
    assert files.list() == ()


class _Silent(SoftwareKeyStore):
    def signer(self, ref: KeyRef) -> SigningKey:
        raise KeyStoreError("does not answer", reason="SILENT")


def test_a_store_that_fails_is_not_passed_over(files: SoftwareKeyStore) -> None:
    files.generate(LICENCE, ES256)
    silent = _Silent(shelf=None, clock=FixedClock(), entropy=SeededEntropy())  # type: ignore[arg-type]
    both = RoutedKeyStore(
        Route("file", files, frozenset()),
        [Route("pkcs11", silent, frozenset({Purpose.LICENCE}))],
    )
    with pytest.raises(KeyStoreError) as caught:
        both.signer(LICENCE)
    assert caught.value.reason == "SILENT"


def test_a_key_that_is_nowhere_is_said_to_be(both: RoutedKeyStore) -> None:
    for ask in (both.signer, both.secret, both.destroy):
        for ref in (LICENCE, STATUS):
            with pytest.raises(KeyStoreError) as caught:
                ask(ref)
            assert caught.value.reason == "KEY_NOT_FOUND"


def test_a_key_made_elsewhere_goes_where_one_can_be_taken(
    both: RoutedKeyStore, files: SoftwareKeyStore
) -> None:
    assert isinstance(both, KeyAdopter)
    key = ES256.generate()
    both.adopt(STATUS, key)
    assert files.signer(STATUS).public_key.spki == key.public_key.spki


class _Device:
    """A store that makes its own keys."""

    def list(self) -> tuple[()]:
        return ()


def test_a_device_takes_no_key_that_was_made_elsewhere(files: SoftwareKeyStore) -> None:
    device: Any = _Device()
    both = RoutedKeyStore(
        Route("file", files, frozenset()),
        [Route("sdf", device, frozenset({Purpose.STATUS}))],
    )
    with pytest.raises(KeyStoreError, match="own tool") as caught:
        both.adopt(STATUS, ES256.generate())
    assert caught.value.reason == "KEY_NOT_ADOPTED"


def test_a_purpose_in_two_stores_is_refused(
    files: SoftwareKeyStore, device: SoftwareKeyStore
) -> None:
    purposes = frozenset({Purpose.LICENCE})
    with pytest.raises(InvalidArgumentError) as caught:
        RoutedKeyStore(
            Route("file", files, frozenset()),
            [Route("pkcs11", device, purposes), Route("sdf", memory(), purposes)],
        )
    assert caught.value.reason == "PURPOSE_TWICE"


def test_the_routes_say_what_is_where(both: RoutedKeyStore) -> None:
    rest, token = both.routes
    assert (rest.name, token.name) == ("file", "pkcs11")
    assert Purpose.LICENCE not in rest.purposes
    assert rest.purposes | token.purposes == frozenset(Purpose)
