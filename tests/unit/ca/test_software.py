from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.clock import FixedClock, SeededEntropy
from yinxin_ca.keyfile import create_key_store
from yinxin_ca.keystore import KeyRef, KeyStore, Purpose
from yinxin_ca.software import in_memory_key_store
from yinxin_proto.error import AlreadyExistsError, InvalidArgumentError, KeyStoreError
from yinxin_proto.suite import ES256

LICENCE = KeyRef("11350399MB0000017D", Purpose.LICENCE)
LOG = KeyRef("350399", Purpose.LOG)


@pytest.fixture(params=["memory", "files"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> KeyStore:
    clock, entropy = FixedClock(), SeededEntropy()
    if request.param == "memory":
        return in_memory_key_store(clock=clock, entropy=entropy)
    return create_key_store(tmp_path, passphrase="invented", clock=clock, entropy=entropy)


def test_a_generated_key_signs_what_its_public_key_verifies(store: KeyStore) -> None:
    signer = store.generate(LICENCE, ES256)
    signer.public_key.verify(store.signer(LICENCE).sign(b"message"), b"message")


def test_a_name_that_is_taken_keeps_its_key(store: KeyStore) -> None:
    first = store.generate(LICENCE, ES256).public_key.spki
    with pytest.raises(AlreadyExistsError) as caught:
        store.generate(LICENCE, ES256)
    assert caught.value.reason == "KEY_EXISTS"
    with pytest.raises(AlreadyExistsError):
        store.generate_secret(LICENCE)
    assert store.signer(LICENCE).public_key.spki == first


def test_a_secret_comes_back_as_it_was_made(store: KeyStore) -> None:
    seed = store.generate_secret(LOG, size=32)
    assert len(seed) == 32
    assert store.secret(LOG) == seed


@pytest.mark.parametrize("size", [0, 15, 4097])
def test_a_secret_of_a_wrong_size_is_refused(store: KeyStore, size: int) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        store.generate_secret(LOG, size=size)
    assert caught.value.reason == "SECRET_SIZE"
    assert store.list() == ()


def test_a_secret_is_no_signer_and_a_key_pair_no_secret(store: KeyStore) -> None:
    store.generate_secret(LOG)
    store.generate(LICENCE, ES256)
    with pytest.raises(KeyStoreError) as caught:
        store.signer(LOG)
    assert caught.value.reason == "KEY_KIND"
    with pytest.raises(KeyStoreError) as caught:
        store.secret(LICENCE)
    assert caught.value.reason == "KEY_KIND"


def test_only_tls_keys_leave_the_store(store: KeyStore) -> None:
    server = KeyRef("350399", Purpose.TLS_SERVER)
    signer = store.generate(server, ES256)
    assert ES256.load_private(store.export(server)).public_key.spki == signer.public_key.spki
    store.generate(LICENCE, ES256)
    with pytest.raises(KeyStoreError) as caught:
        store.export(LICENCE)
    assert caught.value.reason == "KEY_NOT_EXPORTABLE"


def test_a_missing_key_is_named_in_the_error(store: KeyStore) -> None:
    for ask in (store.signer, store.secret, store.destroy):
        with pytest.raises(KeyStoreError, match="licence") as caught:
            ask(LICENCE)
        assert caught.value.reason == "KEY_NOT_FOUND"


def test_a_destroyed_key_is_gone_and_its_name_free(store: KeyStore) -> None:
    old = store.generate(LICENCE, ES256).public_key.spki
    store.destroy(LICENCE)
    with pytest.raises(KeyStoreError):
        store.signer(LICENCE)
    assert store.generate(LICENCE, ES256).public_key.spki != old


def test_the_list_says_what_there_is_without_the_secrets(store: KeyStore) -> None:
    spki = store.generate(LICENCE, ES256).public_key.spki
    secret = store.generate_secret(LOG)
    first, second = store.list()
    assert (first.ref, first.kind, first.spki) == (LICENCE, "ES256", spki)
    assert (second.ref, second.kind, second.spki) == (LOG, "secret", None)
    assert first.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert repr(secret) not in repr(store.list())
