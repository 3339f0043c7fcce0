"""What a remote signer lets whom do, and what its client makes of its failures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from support.clock import FixedClock, SeededEntropy
from support.keystores import CALLER, signer_server
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.remote import RemoteKeyStore
from yinxin_ca.signer_journal import SignerJournal, read_journal
from yinxin_ca.signer_service import MAX_MESSAGE_BYTES, Caller
from yinxin_ca.software import SoftwareKeyStore, in_memory_key_store
from yinxin_edge.channel import open_channel
from yinxin_proto.error import (
    AlreadyExistsError,
    DeadlineExceededError,
    KeyStoreError,
    PermissionDeniedError,
    UnavailableError,
    YinxinError,
)
from yinxin_proto.signature import Signer, SigningKey, Suite
from yinxin_proto.strict import b64url_encode
from yinxin_proto.suite import ES256, ML_DSA_65

LICENCE = KeyRef("11350399MB0000017D", Purpose.LICENCE)
CA = KeyRef("350399", Purpose.LICENCE_CA)
LOG = KeyRef("350399", Purpose.LOG)
WORKER = Caller(
    certificate_hash=CALLER.certificate_hash, purposes=frozenset({Purpose.LICENCE, Purpose.LOG})
)


@pytest.fixture
def kept() -> SoftwareKeyStore:
    store = in_memory_key_store(clock=FixedClock(), entropy=SeededEntropy())
    store.generate(LICENCE, ES256)
    store.generate(CA, ES256)
    store.generate_secret(LOG)
    return store


@contextmanager
def served(
    kept: SoftwareKeyStore, folder: Path, caller: Caller = WORKER
) -> Iterator[RemoteKeyStore]:
    journal = SignerJournal(folder / "journal.jsonl", clock=FixedClock())
    with signer_server(kept, journal, caller=caller) as channel:
        yield RemoteKeyStore(channel=channel, timeout=timedelta(seconds=10))
    journal.close()


def test_a_worker_signs_with_its_keys_and_never_with_the_authority_s(
    kept: SoftwareKeyStore, tmp_path: Path
) -> None:
    with served(kept, tmp_path) as remote:
        signer = remote.signer(LICENCE)
        signer.public_key.verify(signer.sign(b"message"), b"message")
        for ask in (
            lambda: remote.signer(CA),
            lambda: remote.sign(CA, b"tbs"),
            lambda: remote.destroy(CA),
        ):
            with pytest.raises(PermissionDeniedError, match="licence-ca") as caught:
                ask()
            assert caught.value.reason == "SIGNER_PURPOSE"
        # Not even that there is one.
        assert [info.ref for info in remote.list()] == [LICENCE]
    assert [line["key"] for line in read_journal(tmp_path / "journal.jsonl")] == [str(LICENCE)]


def test_nobody_signs_with_what_the_signer_itself_shows(
    kept: SoftwareKeyStore, tmp_path: Path
) -> None:
    # A region whose TLS CA is here may use keys of that purpose: not the signer's own anchor,
    # under which whoever holds it poses as the signer to everybody else.
    anchor = KeyRef("signer", Purpose.TLS_CA)
    kept.generate(anchor, ES256)
    region = Caller(
        certificate_hash=CALLER.certificate_hash,
        purposes=frozenset({Purpose.TLS_CA}),
        may_manage=True,
    )
    with served(kept, tmp_path, region) as remote:
        for ask in (
            lambda: remote.signer(anchor),
            lambda: remote.sign(anchor, b"a certificate of the signer"),
            lambda: remote.destroy(anchor),
            lambda: remote.generate(KeyRef("signer", Purpose.TLS_CA, 2), ES256),
        ):
            with pytest.raises(PermissionDeniedError) as caught:
                ask()
            assert caught.value.reason == "SIGNER_OWN"
        assert remote.list() == ()
    assert list(read_journal(tmp_path / "journal.jsonl")) == []


def test_who_only_signs_makes_and_destroys_nothing(kept: SoftwareKeyStore, tmp_path: Path) -> None:
    following = KeyRef(LICENCE.owner, Purpose.LICENCE, 2)
    with served(kept, tmp_path) as remote:
        for ask in (lambda: remote.generate(following, ES256), lambda: remote.destroy(LICENCE)):
            with pytest.raises(PermissionDeniedError) as caught:
                ask()
            assert caught.value.reason == "SIGNER_MANAGE"
    assert len(kept.list()) == 3


def test_another_certificate_of_the_same_name_is_refused(
    kept: SoftwareKeyStore, tmp_path: Path
) -> None:
    other = Caller(certificate_hash=bytes(32), purposes=frozenset(Purpose), may_manage=True)
    with (
        served(kept, tmp_path, other) as remote,
        pytest.raises(PermissionDeniedError, match="signer client") as caught,
    ):
        remote.signer(LICENCE)
    assert caught.value.reason == "SIGNER_CALLER"


def test_what_was_signed_is_in_the_journal_by_its_digest(
    kept: SoftwareKeyStore, tmp_path: Path
) -> None:
    with served(kept, tmp_path) as remote:
        remote.sign(LICENCE, b"a message")
    (line,) = read_journal(tmp_path / "journal.jsonl")
    digest = b64url_encode(sha256(b"a message").digest())
    assert (line["act"], line["key"], line["digest"]) == ("sign", str(LICENCE), digest)


def test_a_secret_does_not_cross(kept: SoftwareKeyStore, tmp_path: Path) -> None:
    with served(kept, tmp_path) as remote:
        with pytest.raises(KeyStoreError) as caught:
            remote.secret(LOG)
        assert caught.value.reason == "KEY_NOT_FOUND"
        with pytest.raises(KeyStoreError) as caught:
            remote.signer(LOG)
        assert caught.value.reason == "KEY_KIND"


@pytest.mark.parametrize("message", [b"", bytes(MAX_MESSAGE_BYTES + 1)], ids=["none", "too-long"])
def test_a_message_is_bounded(kept: SoftwareKeyStore, tmp_path: Path, message: bytes) -> None:
    with served(kept, tmp_path) as remote, pytest.raises(YinxinError) as caught:
        remote.sign(LICENCE, message)
    assert caught.value.reason in {"MESSAGE_SIZE", "REQUEST_TOO_LARGE"}
    assert list(read_journal(tmp_path / "journal.jsonl")) == []


def test_an_unknown_suite_is_refused(kept: SoftwareKeyStore, tmp_path: Path) -> None:
    manager = Caller(
        certificate_hash=CALLER.certificate_hash,
        purposes=frozenset({Purpose.LICENCE}),
        may_manage=True,
    )

    class _Unknown:
        name = "RSA-512"

    with served(kept, tmp_path, manager) as remote, pytest.raises(YinxinError) as caught:
        remote.generate(KeyRef("350399", Purpose.LICENCE, 9), _Unknown())  # type: ignore[arg-type]
    assert caught.value.reason == "UNKNOWN_SUITE"


def test_a_signer_that_cannot_be_reached_is_said_to_be_so() -> None:
    with open_channel("127.0.0.1:1", None) as channel:
        remote = RemoteKeyStore(channel=channel, timeout=timedelta(seconds=8))
        with pytest.raises(UnavailableError, match="may be made again") as caught:
            remote.signer(LICENCE)
    assert caught.value.reason == "SIGNER_UNREACHABLE"


class _Slow(SoftwareKeyStore):
    def list(self) -> tuple[()]:
        time.sleep(1.0)
        return ()


def test_a_signer_that_does_not_answer_in_time_is_said_to_be_slow(tmp_path: Path) -> None:
    slow = _Slow(shelf=None, clock=FixedClock(), entropy=SeededEntropy())  # type: ignore[arg-type]
    journal = SignerJournal(tmp_path / "journal.jsonl", clock=FixedClock())
    with signer_server(slow, journal) as channel:
        remote = RemoteKeyStore(channel=channel, timeout=timedelta(seconds=0.2))
        with pytest.raises(DeadlineExceededError) as caught:
            remote.list()
        assert caught.value.reason == "SIGNER_SLOW"
    journal.close()


class _Gone(SoftwareKeyStore):
    """Loses its device whenever it is asked for anything; counts how often."""

    asked = 0

    def _lose(self) -> UnavailableError:
        self.asked += 1
        return UnavailableError("the device is gone", reason="TOKEN_GONE")

    def generate(self, ref: KeyRef, suite: Suite) -> Signer:
        raise self._lose()

    def signer(self, ref: KeyRef) -> SigningKey:
        raise self._lose()


def test_making_a_key_is_not_repeated_and_looking_one_up_is(tmp_path: Path) -> None:
    gone = _Gone(shelf=None, clock=FixedClock(), entropy=SeededEntropy())  # type: ignore[arg-type]
    journal = SignerJournal(tmp_path / "journal.jsonl", clock=FixedClock())
    with signer_server(gone, journal) as channel:
        remote = RemoteKeyStore(channel=channel, timeout=timedelta(seconds=10))
        with pytest.raises(UnavailableError) as caught:
            remote.generate(LICENCE, ES256)
        # The device's own reason crosses.
        assert (caught.value.reason, gone.asked) == ("TOKEN_GONE", 1)
        with pytest.raises(UnavailableError):
            remote.signer(LICENCE)
        assert gone.asked > 2
    journal.close()


def test_a_key_that_is_made_is_in_the_journal_before_and_after(
    kept: SoftwareKeyStore, tmp_path: Path
) -> None:
    manager = Caller(
        certificate_hash=CALLER.certificate_hash,
        purposes=frozenset({Purpose.LICENCE}),
        may_manage=True,
    )
    with served(kept, tmp_path, manager) as remote:
        with pytest.raises(AlreadyExistsError):
            remote.generate(LICENCE, ES256)
        remote.generate(KeyRef(LICENCE.owner, Purpose.LICENCE, 2), ES256)
    acts = [(line["act"], line["key"]) for line in read_journal(tmp_path / "journal.jsonl")]
    second = f"{LICENCE.owner}.licence.2"
    assert acts == [("create", str(LICENCE)), ("create", second), ("created", second)]


def test_a_signer_that_answers_for_another_key_is_found_out(
    kept: SoftwareKeyStore, tmp_path: Path
) -> None:
    with served(kept, tmp_path) as remote:
        signer = remote.signer(LICENCE)
        kept.destroy(LICENCE)
        kept.generate(LICENCE, ES256)
        with pytest.raises(KeyStoreError, match="another key") as caught:
            signer.sign(b"message")
    assert caught.value.reason == "SIGNER_FAULT"


class _Stubborn(SoftwareKeyStore):
    """Makes whatever key it likes."""

    def generate(self, ref: KeyRef, suite: Suite) -> Signer:
        return super().generate(ref, ES256)


def test_a_signer_that_makes_a_key_of_another_suite_is_found_out(tmp_path: Path) -> None:
    stubborn = in_memory_key_store(clock=FixedClock(), entropy=SeededEntropy())
    stubborn.__class__ = _Stubborn
    journal = SignerJournal(tmp_path / "journal.jsonl", clock=FixedClock())
    with signer_server(stubborn, journal) as channel:
        remote = RemoteKeyStore(channel=channel, timeout=timedelta(seconds=10))
        with pytest.raises(KeyStoreError) as caught:
            remote.generate(LICENCE, ML_DSA_65)
        assert caught.value.reason == "SIGNER_FAULT"
    journal.close()
