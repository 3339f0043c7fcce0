"""Keys in a cryptographic machine: what can go wrong with machines alone."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.keystores import open_machine
from support.sdf_machine import KEYS, Machine
from yinxin_ca import devicegate
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.sdf import INDEX_FILE
from yinxin_ca.sdf_index import parse_bindings
from yinxin_ca.sdf_library import SdfLibrary
from yinxin_proto import pem
from yinxin_proto.error import (
    ConfigurationError,
    KeyStoreError,
    MalformedError,
    UnavailableError,
    WrongPassphraseError,
)
from yinxin_proto.signaturepair import to_der
from yinxin_proto.suite import ES256, SM2

LICENCE = KeyRef("11350399MB0000017D", Purpose.LICENCE)
STATUS = KeyRef("350399", Purpose.STATUS)
_VERIFY = (
    *("-verify", "-pubin", "-inkey", "key.pem", "-in", "message", "-sigfile", "signature"),
    *("-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678"),
)
TWICE = (
    b'{"keys":{"a.licence.1":{"created_at":0,"index":1,"spki":"AA"},'
    b'"a.licence.2":{"created_at":0,"index":1,"spki":"AA"}},"schema":1,"spent":[]}'
)
"""Two names at one index."""


@pytest.fixture(autouse=True)
def quick_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devicegate, "RESTART_PAUSE", devicegate.RESTART_PAUSE * 0.05)


def test_openssl_accepts_what_the_machine_signed(machine: Machine, tmp_path: Path) -> None:
    signer = open_machine(machine, tmp_path).generate(LICENCE, SM2)
    (tmp_path / "key.pem").write_bytes(pem.encode("PUBLIC KEY", signer.public_key.spki))
    (tmp_path / "message").write_bytes(b"message")
    (tmp_path / "signature").write_bytes(to_der(signer.sign(b"message")))
    done = subprocess.run(
        ["openssl", "pkeyutl", *_VERIFY],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Verified Successfully" in done.stdout, done.stderr


def test_keys_are_bound_in_the_order_of_their_indexes_and_found_again(
    machine: Machine, tmp_path: Path
) -> None:
    store = open_machine(machine, tmp_path)
    keys = [store.generate(ref, SM2).public_key.spki for ref in (LICENCE, STATUS)]
    bindings = parse_bindings((tmp_path / INDEX_FILE).read_bytes())
    assert [bindings.keys[ref].index for ref in (LICENCE, STATUS)] == [1, 2]
    again = open_machine(machine, tmp_path)
    assert [again.signer(ref).public_key.spki for ref in (LICENCE, STATUS)] == keys


def test_a_wrong_access_code_is_offered_once(machine: Machine, tmp_path: Path) -> None:
    store = open_machine(machine, tmp_path, code="wrong-invented")
    for _ in range(4):
        with pytest.raises(WrongPassphraseError, match="not tried again") as caught:
            store.generate(LICENCE, SM2)
        assert caught.value.reason == "SDF_CODE_WRONG"
        assert "wrong-invented" not in str(caught.value)
    assert machine.wrong_codes == 1
    assert store.list() == ()


def test_no_key_left_says_who_makes_keys(machine: Machine, tmp_path: Path) -> None:
    store = open_machine(machine, tmp_path)
    for version in range(1, KEYS + 1):
        store.generate(KeyRef("350399", Purpose.STATUS, version), SM2)
    with pytest.raises(KeyStoreError, match="its own tool") as caught:
        store.generate(LICENCE, SM2)
    assert caught.value.reason == "SDF_NO_KEY_LEFT"


def test_one_key_at_two_indexes_is_not_used_for_two_purposes(
    machine: Machine, tmp_path: Path
) -> None:
    for index in range(3, KEYS + 1):
        (machine.folder / f"{index}.der").unlink()
    first = machine.folder / "1.der"
    (machine.folder / "2.der").write_bytes(first.read_bytes())
    store = open_machine(machine, tmp_path)
    store.generate(LICENCE, SM2)
    with pytest.raises(KeyStoreError) as caught:
        store.generate(STATUS, SM2)
    assert caught.value.reason == "SDF_NO_KEY_LEFT"


def test_an_index_is_not_bound_again_after_its_key_was_destroyed(
    machine: Machine, tmp_path: Path
) -> None:
    store = open_machine(machine, tmp_path)
    store.generate(LICENCE, SM2)
    store.destroy(LICENCE)
    store.generate(STATUS, SM2)
    bindings = parse_bindings((tmp_path / INDEX_FILE).read_bytes())
    assert (bindings.spent, bindings.keys[STATUS].index) == ({1}, 2)


def test_another_key_at_the_index_is_noticed(machine: Machine, tmp_path: Path) -> None:
    signer = open_machine(machine, tmp_path).generate(LICENCE, SM2)
    machine.make_key(1)
    with pytest.raises(KeyStoreError) as caught:
        open_machine(machine, tmp_path).signer(LICENCE)
    assert caught.value.reason == "KEY_CHANGED"
    # Also by whoever looked it up before: its next session verifies.
    machine.set("gone")
    with pytest.raises(UnavailableError):
        signer.sign(b"message")
    machine.set("gone", to=False)
    time.sleep(0.1)
    with pytest.raises(KeyStoreError) as caught:
        signer.sign(b"message")
    assert caught.value.reason == "SDF_FAULT"


def test_a_key_that_is_gone_from_the_machine_is_named(machine: Machine, tmp_path: Path) -> None:
    signer = open_machine(machine, tmp_path).generate(LICENCE, SM2)
    (machine.folder / "1.der").unlink()
    with pytest.raises(KeyStoreError, match="index 1") as caught:
        signer.sign(b"message")
    assert caught.value.reason == "SDF_INDEX"


def test_a_key_that_signs_wrongly_is_never_bound(machine: Machine, tmp_path: Path) -> None:
    machine.set("faulty")
    store = open_machine(machine, tmp_path)
    with pytest.raises(KeyStoreError) as caught:
        store.generate(LICENCE, SM2)
    assert caught.value.reason == "SDF_FAULT"
    assert not (tmp_path / INDEX_FILE).exists()


def test_a_machine_without_a_free_session_is_busy(machine: Machine, tmp_path: Path) -> None:
    store = open_machine(machine, tmp_path)
    machine.set("busy")
    with pytest.raises(UnavailableError, match="try again") as caught:
        store.generate(LICENCE, SM2)
    assert caught.value.reason == "SDF_BUSY"
    machine.set("busy", to=False)
    store.generate(LICENCE, SM2)


def test_a_machine_gone_in_mid_signature_loses_no_thread(machine: Machine, tmp_path: Path) -> None:
    signer = open_machine(machine, tmp_path).generate(LICENCE, SM2)
    stop, answers, refusals = threading.Event(), [0], [0]
    reasons: set[str] = set()

    def sign() -> None:
        while not stop.is_set():
            try:
                signature = signer.sign(b"message")
            except UnavailableError as error:
                reasons.add(error.reason)
                refusals[0] += 1
                time.sleep(0.005)
                continue
            signer.public_key.verify(signature, b"message")
            answers[0] += 1

    def wait_for(counter: list[int]) -> None:
        before, until = counter[0], time.monotonic() + 10
        while counter[0] < before + 20:
            assert time.monotonic() < until, "nothing happens any more"
            time.sleep(0.005)

    with ThreadPoolExecutor(4) as threads:
        signing = [threads.submit(sign) for _ in range(4)]
        try:
            for gone in (True, False, True, False):
                wait_for(refusals if machine.folder.joinpath("gone").exists() else answers)
                machine.set("gone", to=gone)
            wait_for(answers)
        finally:
            stop.set()
        for future in signing:
            future.result()
    assert reasons == {"SDF_GONE"}


def test_a_machine_that_is_not_there_at_the_start_is_said(machine: Machine, tmp_path: Path) -> None:
    machine.set("gone")
    with pytest.raises(UnavailableError) as caught:
        open_machine(machine, tmp_path)
    assert caught.value.reason == "SDF_GONE"


def test_a_forked_child_opens_the_machine_for_itself(machine: Machine, tmp_path: Path) -> None:
    signer = open_machine(machine, tmp_path).generate(LICENCE, SM2)
    child = os.fork()
    if child == 0:
        try:
            signer.public_key.verify(signer.sign(b"child"), b"child")
        finally:
            os._exit(7 if signer.sign(b"again") else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    signer.public_key.verify(signer.sign(b"parent"), b"parent")


def test_another_suite_is_refused_with_advice(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match=r"\[keys\]") as caught:
        open_machine(machine, tmp_path).generate(LICENCE, ES256)
    assert caught.value.reason == "SUITE_NOT_IN_STORE"


def test_a_library_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "libother.so"
    path.write_bytes(b"not a library")
    with pytest.raises(ConfigurationError) as caught:
        SdfLibrary(path)
    assert caught.value.reason == "SDF_LIBRARY"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"keys":{},"schema":2,"spent":[]}',
        b'{"keys":{"a.licence.1":{"created_at":0,"index":1}},"schema":1,"spent":[]}',
        b'{"keys":{"a.licence.1":{"created_at":0,"index":1,"spki":"AA"}},"schema":1,"spent":[1]}',
        b'{"keys":{},"schema":1,"spent":[true]}',
        TWICE,
    ],
)
def test_a_damaged_index_file_is_refused_and_left_as_it_is(
    machine: Machine, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / INDEX_FILE).write_bytes(content)
    store = open_machine(machine, tmp_path)
    for ask in (store.list, lambda: store.generate(LICENCE, SM2)):
        with pytest.raises(KeyStoreError, match="backup") as caught:
            ask()
        assert caught.value.reason == "SDF_INDEX_FILE"
    assert (tmp_path / INDEX_FILE).read_bytes() == content


@given(st.binary(max_size=200))
def test_no_bytes_break_the_index_file_s_parser(content: bytes) -> None:
    try:
        found = parse_bindings(content)
    except MalformedError:
        return
    assert parse_bindings(found.to_bytes()) == found
