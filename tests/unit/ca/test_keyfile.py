from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.clock import FixedClock, SeededEntropy
from yinxin_ca.keyfile import create_key_store, open_key_store
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.masterkey import MASTER_FILE, MasterKey
from yinxin_ca.software import SoftwareKeyStore
from yinxin_proto.error import (
    AlreadyExistsError,
    InvalidArgumentError,
    KeyStoreError,
    WrongPassphraseError,
)
from yinxin_proto.suite import ES256

PASSPHRASE = "an invented passphrase"
LICENCE = KeyRef("11350399MB0000017D", Purpose.LICENCE)
OTHER = KeyRef("11350399MB0000017D", Purpose.LICENCE, 2)
INDEX = KeyRef("350399", Purpose.INDEX_HMAC)


def _create(directory: Path, *, seed: int = 0) -> SoftwareKeyStore:
    return create_key_store(
        directory, passphrase=PASSPHRASE, clock=FixedClock(), entropy=SeededEntropy(seed)
    )


def _open(directory: Path, passphrase: str = PASSPHRASE) -> SoftwareKeyStore:
    return open_key_store(
        directory, passphrase=passphrase, clock=FixedClock(), entropy=SeededEntropy(99)
    )


def test_what_one_process_stored_the_next_one_opens(tmp_path: Path) -> None:
    store = _create(tmp_path / "keys")
    spki = store.generate(LICENCE, ES256).public_key.spki
    secret = store.generate_secret(INDEX)
    reopened = _open(tmp_path / "keys")
    signer = reopened.signer(LICENCE)
    assert signer.public_key.spki == spki
    signer.public_key.verify(signer.sign(b"x"), b"x")
    assert reopened.secret(INDEX) == secret
    assert reopened.list() == store.list()
    assert reopened.signer(LICENCE) is signer


def test_files_are_the_owners_alone_and_nothing_in_them_is_in_clear(tmp_path: Path) -> None:
    store = _create(tmp_path / "keys")
    server = KeyRef("350399", Purpose.TLS_SERVER)
    store.generate(server, ES256)
    hidden = [store.generate_secret(INDEX), store.export(server)]
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for path in (tmp_path / "keys").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not any(secret in path.read_bytes() for secret in hidden)
    assert sorted(path.suffix for path in (tmp_path / "keys").iterdir()) == [
        ".json",
        ".key",
        ".key",
    ]


@pytest.mark.parametrize("passphrase", ["", "another", PASSPHRASE + " "])
def test_a_wrong_passphrase_does_not_open_the_store(tmp_path: Path, passphrase: str) -> None:
    _create(tmp_path)
    with pytest.raises(WrongPassphraseError):
        _open(tmp_path, passphrase)


def test_a_passphrase_typed_decomposed_opens_the_store(tmp_path: Path) -> None:
    create_key_store(
        tmp_path, passphrase="clé", clock=FixedClock(), entropy=SeededEntropy()
    ).generate_secret(INDEX)
    assert len(_open(tmp_path, "cle\u0301").secret(INDEX)) == 32


def test_an_empty_passphrase_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        create_key_store(tmp_path, passphrase="", clock=FixedClock(), entropy=SeededEntropy())
    assert caught.value.reason == "PASSPHRASE_EMPTY"
    assert list(tmp_path.iterdir()) == []


def test_a_new_passphrase_opens_the_store_and_the_old_one_no_longer(tmp_path: Path) -> None:
    secret = _create(tmp_path).generate_secret(INDEX)
    master = MasterKey.open(tmp_path, passphrase=PASSPHRASE)
    master.change_passphrase(tmp_path, passphrase="the next", entropy=SeededEntropy(5))
    assert _open(tmp_path, "the next").secret(INDEX) == secret
    with pytest.raises(WrongPassphraseError):
        _open(tmp_path)


def test_a_store_is_not_made_over_another(tmp_path: Path) -> None:
    secret = _create(tmp_path).generate_secret(INDEX)
    with pytest.raises(AlreadyExistsError) as caught:
        _create(tmp_path, seed=1)
    assert caught.value.reason == "STORE_EXISTS"
    assert _open(tmp_path).secret(INDEX) == secret


def test_keys_that_lost_their_master_key_are_not_orphaned_by_a_new_one(tmp_path: Path) -> None:
    _create(tmp_path).generate_secret(INDEX)
    (tmp_path / MASTER_FILE).rename(tmp_path / "mislaid")
    with pytest.raises(KeyStoreError) as caught:
        _create(tmp_path, seed=1)
    assert caught.value.reason == "STORE_INCOMPLETE"
    assert not (tmp_path / MASTER_FILE).exists()


@pytest.mark.parametrize("name", ["absent", "a-file"])
def test_where_there_is_no_store_the_error_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "a-file").write_bytes(b"")
    with pytest.raises(KeyStoreError) as caught:
        _open(tmp_path / name)
    assert caught.value.reason == "STORE_NOT_FOUND"


def test_a_planted_scrypt_cost_is_refused_before_it_is_paid(tmp_path: Path) -> None:
    _create(tmp_path)
    master = json.loads((tmp_path / MASTER_FILE).read_bytes())
    for kdf in ({"n": 1 << 30}, {"n": 1 << 14}, {"r": 1 << 20}, {"p": 64}, {"n": "32768"}):
        altered = master | {"kdf": master["kdf"] | kdf}
        (tmp_path / MASTER_FILE).write_text(json.dumps(altered))
        with pytest.raises(KeyStoreError) as caught:
            _open(tmp_path)
        assert caught.value.reason == "STORE_FILE"


def test_a_master_file_cut_short_anywhere_is_reported(tmp_path: Path) -> None:
    _create(tmp_path)
    content = (tmp_path / MASTER_FILE).read_bytes()
    for size in (0, 1, len(content) // 2, len(content) - 2):
        (tmp_path / MASTER_FILE).write_bytes(content[:size])
        with pytest.raises(KeyStoreError) as caught:
            _open(tmp_path)
        assert caught.value.reason == "STORE_FILE"


def test_a_key_file_cut_short_anywhere_is_reported(tmp_path: Path) -> None:
    _create(tmp_path).generate(LICENCE, ES256)
    path = tmp_path / f"{LICENCE}.key"
    content = path.read_bytes()
    store = _open(tmp_path)
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(KeyStoreError) as caught:
            store.signer(LICENCE)
        assert caught.value.reason == "KEY_FILE"


def test_a_key_file_under_another_name_is_refused(tmp_path: Path) -> None:
    store = _create(tmp_path)
    store.generate(LICENCE, ES256)
    shutil.copy(tmp_path / f"{LICENCE}.key", tmp_path / f"{OTHER}.key")
    with pytest.raises(KeyStoreError) as caught:
        store.signer(OTHER)
    assert caught.value.reason == "KEY_MISPLACED"


def test_a_key_file_whose_header_was_rewritten_to_fit_is_refused(tmp_path: Path) -> None:
    store = _create(tmp_path)
    store.generate(LICENCE, ES256)
    content = (tmp_path / f"{LICENCE}.key").read_bytes()
    forged = content.replace(str(LICENCE).encode(), str(OTHER).encode())
    (tmp_path / f"{OTHER}.key").write_bytes(forged)
    with pytest.raises(KeyStoreError) as caught:
        store.signer(OTHER)
    assert caught.value.reason == "KEY_SEAL"


def test_a_secret_cannot_be_passed_off_as_a_key_pair(tmp_path: Path) -> None:
    store = _create(tmp_path)
    store.generate_secret(INDEX)
    path = tmp_path / f"{INDEX}.key"
    path.write_bytes(path.read_bytes().replace(b'"kind":"secret"', b'"kind":"ES256"'))
    with pytest.raises(KeyStoreError) as caught:
        _open(tmp_path).signer(INDEX)
    assert caught.value.reason == "KEY_SEAL"


def test_a_key_file_of_another_store_is_refused(tmp_path: Path) -> None:
    _create(tmp_path / "mine")
    _create(tmp_path / "theirs", seed=1).generate(LICENCE, ES256)
    shutil.copy(tmp_path / "theirs" / f"{LICENCE}.key", tmp_path / "mine")
    with pytest.raises(KeyStoreError) as caught:
        _open(tmp_path / "mine").signer(LICENCE)
    assert caught.value.reason == "KEY_MISPLACED"


def test_a_link_to_a_key_elsewhere_is_not_followed(tmp_path: Path) -> None:
    store = _create(tmp_path / "keys")
    store.generate(LICENCE, ES256)
    path = tmp_path / "keys" / f"{LICENCE}.key"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyStoreError) as caught:
        _open(tmp_path / "keys").signer(LICENCE)
    assert caught.value.reason == "STORE_IO"


def test_an_oversized_key_file_is_not_read_whole(tmp_path: Path) -> None:
    store = _create(tmp_path)
    store.generate(LICENCE, ES256)
    with (tmp_path / f"{LICENCE}.key").open("ab") as file:
        file.truncate(1 << 30)
    with pytest.raises(KeyStoreError) as caught:
        _open(tmp_path).signer(LICENCE)
    assert caught.value.reason == "KEY_FILE"


def test_a_stray_key_file_is_reported_when_keys_are_listed(tmp_path: Path) -> None:
    store = _create(tmp_path)
    (tmp_path / "notes.key").write_text("a shopping list")
    with pytest.raises(KeyStoreError) as caught:
        store.list()
    assert caught.value.reason == "KEY_FILE"


def test_one_of_many_threads_gets_the_name_and_all_get_its_key(tmp_path: Path) -> None:
    store = _create(tmp_path)

    def generate(_: int) -> bool:
        try:
            store.generate(LICENCE, ES256)
        except AlreadyExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(generate, range(16))) == 1
    opened = _open(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        assert len({id(signer) for signer in pool.map(opened.signer, [LICENCE] * 16)}) == 1
    assert opened.signer(LICENCE).public_key.spki == store.signer(LICENCE).public_key.spki


_GENERATE = """
import sys, time
from pathlib import Path
from support.clock import FixedClock, SeededEntropy
from yinxin_ca.keyfile import open_key_store
from yinxin_ca.keystore import KeyRef
from yinxin_proto.error import AlreadyExistsError
from yinxin_proto.suite import ES256

directory, name, number = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store = open_key_store(
    directory / "keys",
    passphrase="an invented passphrase",
    clock=FixedClock(),
    entropy=SeededEntropy(number),
)
(directory / f"ready-{number}").touch()
while not (directory / "go").exists():
    time.sleep(0.0005)
try:
    print(store.generate(KeyRef.parse(name), ES256).public_key.spki.hex())
except AlreadyExistsError as error:
    print(error.reason)
"""


def test_of_several_processes_one_gets_the_name(tmp_path: Path) -> None:
    _create(tmp_path / "keys")
    command = [sys.executable, "-c", _GENERATE, str(tmp_path), str(LICENCE)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True, env=environment)
        for n in range(4)
    ]
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)
        while len(list(tmp_path.glob("ready-*"))) < len(processes):
            assert all(process.poll() is None for process in processes)
        (tmp_path / "go").touch()
        said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert said.count("KEY_EXISTS") == len(processes) - 1
    winner = next(line for line in said if line != "KEY_EXISTS")
    assert _open(tmp_path / "keys").signer(LICENCE).public_key.spki.hex() == winner
    assert len(list((tmp_path / "keys").iterdir())) == 2


@contextlib.contextmanager
def _unprivileged_directory() -> Iterator[Path]:
    """A directory of ours, and a user for whom its mode counts: root has none."""
    nobody = 65_534
    with tempfile.TemporaryDirectory(prefix="yinxin-keys-") as name:
        directory = Path(name)
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(directory, nobody, -1)
            os.seteuid(nobody)
        try:
            yield directory
        finally:
            if is_root:
                os.seteuid(0)
            directory.chmod(0o700)


def test_a_read_only_directory_serves_its_keys_and_takes_no_more() -> None:
    with _unprivileged_directory() as directory:
        secret = _create(directory).generate_secret(INDEX)
        directory.chmod(0o500)
        store = _open(directory)
        assert store.secret(INDEX) == secret
        with pytest.raises(KeyStoreError) as caught:
            store.generate(LICENCE, ES256)
        assert caught.value.reason == "STORE_DENIED"
        with pytest.raises(KeyStoreError) as caught:
            store.destroy(INDEX)
        assert caught.value.reason == "STORE_DENIED"
        assert len(store.list()) == 1


def test_a_store_is_not_made_where_nothing_may_be_written() -> None:
    with _unprivileged_directory() as directory:
        directory.chmod(0o500)
        for target in (directory, directory / "new"):
            with pytest.raises(KeyStoreError) as caught:
                _create(target)
            assert caught.value.reason == "STORE_DENIED"


def test_an_unreadable_key_file_is_reported_as_such() -> None:
    with _unprivileged_directory() as directory:
        _create(directory).generate_secret(INDEX)
        (directory / f"{INDEX}.key").chmod(0)
        with pytest.raises(KeyStoreError) as caught:
            _open(directory).secret(INDEX)
        assert caught.value.reason == "STORE_DENIED"
