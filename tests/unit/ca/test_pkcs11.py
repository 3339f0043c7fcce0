"""Keys in a token: what can go wrong with tokens alone. SoftHSM stands for them."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.constants import MechanismFlag, TokenFlag
from pkcs11.types import SignMixin
from pkcs11.util.ec import encode_named_curve_parameters

from support.keystores import open_token
from support.softhsm import SoftToken, new_token
from support.token_process import sign_in_child, take_name
from yinxin_ca import devicegate
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.pkcs11_connection import MAX_SESSIONS, Connection, TokenAddress, connect
from yinxin_ca.pkcs11_module import open_module
from yinxin_proto.error import (
    ConfigurationError,
    KeyStoreError,
    UnavailableError,
    WrongPassphraseError,
)
from yinxin_proto.suite import ES256

LICENCE = KeyRef("11350399MB0000017D", Purpose.LICENCE)
WRONG = "0000-invented"


@pytest.fixture(autouse=True)
def quick_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devicegate, "RESTART_PAUSE", devicegate.RESTART_PAUSE * 0.05)


def raw_session(token: SoftToken) -> pkcs11.Session:
    """Another client's view; the login is the process's."""
    return open_module(token.module).library.get_token(token_label=token.label).open(rw=True)


def test_a_private_key_is_made_in_the_token_and_never_leaves_it(soft_token: SoftToken) -> None:
    open_token(soft_token).generate(LICENCE, ES256)
    session = raw_session(soft_token)
    key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=str(LICENCE))
    for always in (
        Attribute.SENSITIVE,
        Attribute.ALWAYS_SENSITIVE,
        Attribute.NEVER_EXTRACTABLE,
        Attribute.LOCAL,
        Attribute.PRIVATE,
        Attribute.TOKEN,
    ):
        assert key[always] is True, always
    assert key[Attribute.EXTRACTABLE] is False
    with pytest.raises(pkcs11.exceptions.AttributeSensitive):
        key[Attribute.VALUE]


def test_a_wrong_pin_is_tried_once_however_often_the_store_is_opened(
    soft_token: SoftToken,
) -> None:
    for _ in range(5):
        with pytest.raises(WrongPassphraseError, match="not tried again") as caught:
            open_token(soft_token, pin=WRONG)
        assert caught.value.reason == "PIN_WRONG"
        assert WRONG not in str(caught.value)
    # SoftHSM never locks; it does say that somebody tried.
    flags = open_module(soft_token.module).library.get_token(token_label=soft_token.label).flags
    assert flags & TokenFlag.USER_PIN_COUNT_LOW
    # Corrected, it opens.
    assert open_token(soft_token).list() == ()


class _Strict:
    """A token as hardware reports itself; SoftHSM never locks."""

    def __init__(self, flags: TokenFlag) -> None:
        self.flags = flags

    def open(self, **_: object) -> NoReturn:
        pytest.fail("the PIN was offered")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (TokenFlag.USER_PIN_FINAL_TRY, "PIN_FINAL_TRY"),
        (TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.USER_PIN_COUNT_LOW, "PIN_FINAL_TRY"),
        (TokenFlag.USER_PIN_LOCKED | TokenFlag.USER_PIN_FINAL_TRY, "PIN_LOCKED"),
    ],
)
def test_the_last_try_of_a_pin_is_not_used_up(
    soft_token: SoftToken, flags: TokenFlag, reason: str
) -> None:
    class _Connection(Connection):
        def _token(self) -> Any:  # noqa: ANN401 - stands for python-pkcs11's token
            return _Strict(flags)

    connection = _Connection(TokenAddress(soft_token.module, soft_token.label), "any")
    for _ in range(2):
        with pytest.raises(KeyStoreError) as caught:
            connection.run(lambda _: None)
        assert caught.value.reason == reason


def test_a_token_that_is_open_is_not_opened_by_another_pin(soft_token: SoftToken) -> None:
    open_token(soft_token)
    with pytest.raises(WrongPassphraseError) as caught:
        open_token(soft_token, pin=WRONG)
    assert caught.value.reason == "PIN_WRONG"


def test_a_token_that_is_not_there_is_named(soft_token: SoftToken) -> None:
    with pytest.raises(UnavailableError, match="no-such-token") as caught:
        connect(TokenAddress(soft_token.module, "no-such-token"), pin="x")
    assert caught.value.reason == "TOKEN_UNKNOWN"


def test_a_library_that_is_no_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "not-a-module.so"
    path.write_bytes(b"not a library")
    with pytest.raises(ConfigurationError, match="shared library") as caught:
        connect(TokenAddress(path, "x"), pin="x")
    assert caught.value.reason == "PKCS11_MODULE"


class _Sm2:
    """A suite by name that no PKCS#11 token here can hold."""

    name = "SM2"


def test_a_suite_that_the_token_lacks_is_refused_with_advice(soft_token: SoftToken) -> None:
    store = open_token(soft_token)
    with pytest.raises(KeyStoreError, match=r"SM2.*another store.*\[keys\]") as caught:
        store.generate(LICENCE, _Sm2())  # type: ignore[arg-type]
    assert caught.value.reason == "SUITE_NOT_IN_STORE"
    assert store.list() == ()


def test_a_token_that_goes_says_so_and_works_again_when_it_is_back(
    soft_token: SoftToken,
) -> None:
    store = open_token(soft_token)
    signer = store.generate(LICENCE, ES256)
    time.sleep(0.1)  # past the moment in which nobody looks for a token again
    soft_token.take_away()
    for ask in (
        lambda: signer.sign(b"message"),
        lambda: open_token(soft_token).signer(LICENCE),
        lambda: store.generate(KeyRef("350399", Purpose.STATUS), ES256),
    ):
        with pytest.raises(UnavailableError, match="nothing was signed") as caught:
            ask()
        assert caught.value.reason == "TOKEN_GONE"
    soft_token.put_back()
    time.sleep(0.1)
    signer.public_key.verify(signer.sign(b"message"), b"message")
    # Nothing half done: the key that could not be made is not there.
    assert [info.ref for info in store.list()] == [LICENCE]


def test_a_token_gone_in_mid_signature_loses_no_thread(soft_token: SoftToken) -> None:
    signer = open_token(soft_token).generate(LICENCE, ES256)
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
            time.sleep(0.01)

    with ThreadPoolExecutor(6) as threads:
        signing = [threads.submit(sign) for _ in range(6)]
        try:
            for _ in range(3):
                wait_for(answers)
                soft_token.take_away()
                wait_for(refusals)
                soft_token.put_back()
            wait_for(answers)
        finally:
            stop.set()
        for future in signing:
            future.result()
    assert reasons == {"TOKEN_GONE"}


def test_more_threads_than_sessions_wait_their_turn(soft_token: SoftToken) -> None:
    signer = open_token(soft_token).generate(LICENCE, ES256)
    with ThreadPoolExecutor(MAX_SESSIONS * 2) as threads:
        for signature in threads.map(signer.sign, [b"message"] * 200):
            signer.public_key.verify(signature, b"message")


def test_a_spawned_process_logs_in_for_itself(soft_token: SoftToken) -> None:
    open_token(soft_token).generate(LICENCE, ES256)
    child = multiprocessing.get_context("spawn").Process(
        target=sign_in_child, args=(soft_token, str(LICENCE))
    )
    child.start()
    child.join(30)
    assert child.exitcode == 0


_FORKING = """
import os, sys
from support.keystores import open_token
from support.softhsm import SoftToken
from yinxin_ca.keystore import KeyRef
from pathlib import Path

token = SoftToken(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path("."), Path("."))
signer = open_token(token).signer(KeyRef.parse(sys.argv[4]))
signer.sign(b"before")
child = os.fork()
if child == 0:
    signer.public_key.verify(signer.sign(b"child"), b"child")
    os._exit(7)
_, status = os.waitpid(child, 0)
signer.public_key.verify(signer.sign(b"parent"), b"parent")
sys.exit(0 if os.waitstatus_to_exitcode(status) == 7 else 1)
"""


def test_a_forked_child_begins_anew_and_leaves_the_parent_s_session(
    soft_token: SoftToken,
) -> None:
    open_token(soft_token).generate(LICENCE, ES256)
    arguments = [str(soft_token.module), soft_token.label, soft_token.pin, str(LICENCE)]
    done = subprocess.run(
        [sys.executable, "-c", _FORKING, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_keys_of_others_in_the_token_are_left_alone(soft_token: SoftToken) -> None:
    store = open_token(soft_token)
    store.generate(LICENCE, ES256)
    parameters = raw_session(soft_token).create_domain_parameters(
        KeyType.EC,
        {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
        local=True,
    )
    parameters.generate_keypair(store=True, label="somebody else's", id=b"1")
    assert [info.ref for info in store.list()] == [LICENCE]


def _make_by_another_tool(token: SoftToken, *, curve: str = "secp256r1", **template: bool) -> None:
    parameters = raw_session(token).create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}, local=True
    )
    parameters.generate_keypair(
        store=True,
        label=str(LICENCE),
        id=b"1",
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        private_template={Attribute[name]: value for name, value in template.items()},
    )


def test_a_key_that_can_be_read_out_is_not_used(soft_token: SoftToken) -> None:
    store = open_token(soft_token)
    _make_by_another_tool(soft_token, EXTRACTABLE=True, SENSITIVE=False)
    with pytest.raises(KeyStoreError, match="next version") as caught:
        store.signer(LICENCE)
    assert caught.value.reason == "KEY_EXTRACTABLE"


def test_a_key_of_another_curve_is_none_of_ours(soft_token: SoftToken) -> None:
    store = open_token(soft_token)
    _make_by_another_tool(soft_token, curve="secp384r1")
    with pytest.raises(KeyStoreError) as caught:
        store.signer(LICENCE)
    assert caught.value.reason == "KEY_KIND"


def test_two_keys_of_one_name_are_used_by_nobody(soft_token: SoftToken) -> None:
    store = open_token(soft_token)
    store.generate(LICENCE, ES256)
    _make_by_another_tool(soft_token)
    with pytest.raises(KeyStoreError) as caught:
        open_token(soft_token).signer(LICENCE)
    assert caught.value.reason == "KEY_AMBIGUOUS"


def test_another_key_put_under_the_name_is_found_out_before_its_signature_leaves(
    soft_token: SoftToken,
) -> None:
    signer = open_token(soft_token).generate(LICENCE, ES256)
    session = raw_session(soft_token)
    for item in session.get_objects({Attribute.LABEL: str(LICENCE)}):
        item.destroy()
    _make_by_another_tool(soft_token)
    # Handles of destroyed objects do not answer; the new key is then looked up by name.
    with pytest.raises(KeyStoreError, match="another key has its name") as caught:
        signer.sign(b"message")
    assert caught.value.reason == "TOKEN_FAULT"


def test_half_a_key_left_by_a_power_cut_does_not_hold_its_name(soft_token: SoftToken) -> None:
    store = open_token(soft_token)
    store.generate(LICENCE, ES256)
    session = raw_session(soft_token)
    session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=str(LICENCE)).destroy()
    fresh = open_token(soft_token)
    assert fresh.list() == ()
    signer = fresh.generate(LICENCE, ES256)
    signer.public_key.verify(signer.sign(b"message"), b"message")


def test_a_public_half_that_is_missing_is_said(soft_token: SoftToken) -> None:
    open_token(soft_token).generate(LICENCE, ES256)
    session = raw_session(soft_token)
    for half in session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY}):
        half.destroy()
    with pytest.raises(KeyStoreError) as caught:
        open_token(soft_token).signer(LICENCE)
    assert caught.value.reason == "KEY_INCOMPLETE"


def test_the_signature_is_plain_ecdsa_over_the_digest(soft_token: SoftToken) -> None:
    store = open_token(soft_token)
    public = store.generate(LICENCE, ES256).public_key
    session = raw_session(soft_token)
    key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=str(LICENCE))
    assert isinstance(key, SignMixin)
    signature = key.sign(sha256(b"message").digest(), mechanism=Mechanism.ECDSA)
    public.verify(signature, b"message")


def test_processes_that_take_a_name_at_once_never_make_two_keys(soft_token: SoftToken) -> None:
    spawn = multiprocessing.get_context("spawn")
    at = time.monotonic() + 1.5
    children = [
        spawn.Process(target=take_name, args=(soft_token, str(LICENCE), at)) for _ in range(3)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    assert len(open_token(soft_token).list()) <= 1


def test_tokens_of_one_module_are_apart(soft_token: SoftToken) -> None:
    other_token = new_token()
    first = open_token(soft_token).generate(LICENCE, ES256)
    assert open_token(other_token).list() == ()
    second = open_token(other_token).generate(LICENCE, ES256)
    assert first.public_key.spki != second.public_key.spki
    first.public_key.verify(first.sign(b"message"), b"message")
