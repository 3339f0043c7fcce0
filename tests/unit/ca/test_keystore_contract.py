"""What every key store promises, asked of each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from support.keystores import SECRET_STORES, STORES, StoreUnderTest
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_proto.error import AlreadyExistsError, InvalidArgumentError, KeyStoreError

LICENCE = KeyRef("11350399MB0000017D", Purpose.LICENCE)
OTHER = KeyRef("11350399MB0000017D", Purpose.LICENCE, 2)
LOG = KeyRef("350399", Purpose.LOG)
SERVER = KeyRef("350399", Purpose.TLS_SERVER)


@pytest.fixture(params=STORES)
def made(request: pytest.FixtureRequest) -> StoreUnderTest:
    found: StoreUnderTest = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture(params=SECRET_STORES)
def with_secrets(request: pytest.FixtureRequest) -> StoreUnderTest:
    found: StoreUnderTest = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture(params=sorted(set(STORES) - set(SECRET_STORES)))
def without_secrets(request: pytest.FixtureRequest) -> StoreUnderTest:
    found: StoreUnderTest = request.getfixturevalue(f"{request.param}_store")
    return found


def test_a_generated_key_signs_what_its_public_key_verifies(made: StoreUnderTest) -> None:
    signer = made.store.generate(LICENCE, made.suite)
    assert signer.public_key.suite is made.suite
    signer.public_key.verify(made.store.signer(LICENCE).sign(b"message"), b"message")


def test_a_name_that_is_taken_keeps_its_key(made: StoreUnderTest) -> None:
    first = made.store.generate(LICENCE, made.suite).public_key.spki
    with pytest.raises(AlreadyExistsError) as caught:
        made.store.generate(LICENCE, made.suite)
    assert caught.value.reason == "KEY_EXISTS"
    assert made.store.signer(LICENCE).public_key.spki == first


def test_a_name_is_a_key_pair_s_or_a_secret_s(with_secrets: StoreUnderTest) -> None:
    store = with_secrets.store
    store.generate(LICENCE, with_secrets.suite)
    with pytest.raises(AlreadyExistsError):
        store.generate_secret(LICENCE)
    store.generate_secret(LOG)
    with pytest.raises(AlreadyExistsError):
        store.generate(LOG, with_secrets.suite)


def test_versions_of_a_key_stand_beside_each_other(made: StoreUnderTest) -> None:
    keys = [made.store.generate(ref, made.suite).public_key.spki for ref in (LICENCE, OTHER)]
    assert keys[0] != keys[1]
    assert [made.store.signer(ref).public_key.spki for ref in (LICENCE, OTHER)] == keys


def test_a_secret_comes_back_as_it_was_made(with_secrets: StoreUnderTest) -> None:
    seed = with_secrets.store.generate_secret(LOG, size=32)
    assert len(seed) == 32
    assert with_secrets.store.secret(LOG) == seed
    assert with_secrets.reopen().secret(LOG) == seed


def test_a_store_without_secrets_says_where_they_belong(without_secrets: StoreUnderTest) -> None:
    with pytest.raises(KeyStoreError, match=r"\[keys\]") as caught:
        without_secrets.store.generate_secret(LOG)
    assert caught.value.reason == "SECRET_NOT_IN_STORE"
    assert without_secrets.store.list() == ()


@pytest.mark.parametrize("size", [0, 15, 4097])
def test_a_secret_of_a_wrong_size_is_refused(with_secrets: StoreUnderTest, size: int) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        with_secrets.store.generate_secret(LOG, size=size)
    assert caught.value.reason == "SECRET_SIZE"
    assert with_secrets.store.list() == ()


def test_a_secret_is_no_signer_and_a_key_pair_no_secret(with_secrets: StoreUnderTest) -> None:
    store = with_secrets.store
    store.generate_secret(LOG)
    store.generate(LICENCE, with_secrets.suite)
    with pytest.raises(KeyStoreError) as caught:
        store.signer(LOG)
    assert caught.value.reason == "KEY_KIND"
    with pytest.raises(KeyStoreError) as caught:
        store.secret(LICENCE)
    assert caught.value.reason == "KEY_KIND"


def test_a_store_that_exports_lets_tls_keys_alone_out(made: StoreUnderTest) -> None:
    if made.exports:
        signer = made.store.generate(SERVER, made.suite)
        exported = made.suite.load_private(made.store.export(SERVER))
        assert exported.public_key.spki == signer.public_key.spki
    else:
        # Refused when it is made, not when the server is to start.
        with pytest.raises(KeyStoreError) as caught:
            made.store.generate(SERVER, made.suite)
        assert caught.value.reason == "KEY_NOT_EXPORTABLE"
    made.store.generate(LICENCE, made.suite)
    with pytest.raises(KeyStoreError) as caught:
        made.store.export(LICENCE)
    assert caught.value.reason == "KEY_NOT_EXPORTABLE"


def test_a_missing_key_is_named_in_the_error(made: StoreUnderTest) -> None:
    asks: list[Callable[[KeyRef], object]] = [made.store.signer, made.store.destroy]
    if made.holds_secrets:
        asks.append(made.store.secret)
    for ask in asks:
        with pytest.raises(KeyStoreError, match="licence") as caught:
            ask(LICENCE)
        assert caught.value.reason == "KEY_NOT_FOUND"


def test_a_destroyed_key_is_gone_and_its_name_free(made: StoreUnderTest) -> None:
    old = made.store.generate(LICENCE, made.suite).public_key.spki
    made.store.destroy(LICENCE)
    with pytest.raises(KeyStoreError) as caught:
        made.store.signer(LICENCE)
    assert caught.value.reason == "KEY_NOT_FOUND"
    assert made.store.generate(LICENCE, made.suite).public_key.spki != old


def test_the_list_says_what_there_is_without_the_secrets(with_secrets: StoreUnderTest) -> None:
    spki = with_secrets.store.generate(LICENCE, with_secrets.suite).public_key.spki
    secret = with_secrets.store.generate_secret(LOG)
    first, second = with_secrets.store.list()
    assert (first.ref, first.kind, first.spki) == (LICENCE, with_secrets.suite.name, spki)
    assert (second.ref, second.kind, second.spki) == (LOG, "secret", None)
    assert first.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert repr(secret) not in repr(with_secrets.store.list())


def test_the_list_is_ordered_and_dated(made: StoreUnderTest) -> None:
    for ref in (OTHER, LICENCE):
        made.store.generate(ref, made.suite)
    listed = made.store.list()
    assert [info.ref for info in listed] == [LICENCE, OTHER]
    assert {info.created_at for info in listed} == {datetime(2026, 1, 1, tzinfo=UTC)}
    assert [info.spki for info in listed] == [
        made.store.signer(ref).public_key.spki for ref in (LICENCE, OTHER)
    ]


def test_threads_share_one_key(made: StoreUnderTest) -> None:
    public = made.store.generate(LICENCE, made.suite).public_key

    def sign(number: int) -> None:
        message = f"message {number}".encode()
        public.verify(made.store.signer(LICENCE).sign(message), message)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(sign, range(64)))


def test_of_threads_that_take_a_name_at_once_at_most_one_gets_it(made: StoreUnderTest) -> None:
    start = threading.Barrier(4)

    def take() -> bytes | None:
        start.wait()
        try:
            return made.store.generate(LICENCE, made.suite).public_key.spki
        except AlreadyExistsError:
            return None

    with ThreadPoolExecutor(4) as threads:
        took = [future.result() for future in [threads.submit(take) for _ in range(4)]]
    winners = [spki for spki in took if spki is not None]
    assert len(winners) <= 1
    assert [info.spki for info in made.store.list()] == winners


def test_a_crash_between_making_a_key_and_recording_it_leaves_the_key_findable(
    made: StoreUnderTest,
) -> None:
    made.store.generate(LICENCE, made.suite)
    # Whoever asked for it never learnt of it: all it held in memory is lost.
    again = made.reopen()
    with pytest.raises(AlreadyExistsError) as caught:
        again.generate(LICENCE, made.suite)
    assert caught.value.reason == "KEY_EXISTS"
    found = again.signer(LICENCE)
    found.public_key.verify(found.sign(b"message"), b"message")
    assert [info.spki for info in again.list()] == [found.public_key.spki]
