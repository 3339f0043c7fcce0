from __future__ import annotations

import resource
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.hierarchy import Hierarchy
from yinxin_ca.journal import FileRegister
from yinxin_ca.register import InMemoryRegister, Register
from yinxin_proto import certificate
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import (
    AlreadyExistsError,
    ConflictError,
    FailedPreconditionError,
    IntegrityError,
    KeyStoreError,
    NotFoundError,
)

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def leaf() -> certificate.Certificate:
    return certificate.parse(Hierarchy().licence_certificate())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "register.jsonl"


@pytest.fixture(params=["memory", "file"])
def register(request: pytest.FixtureRequest, path: Path) -> Iterator[Register]:
    if request.param == "memory":
        yield InMemoryRegister()
        return
    register = FileRegister(path)
    yield register
    register.close()


@pytest.fixture
def open_file(path: Path) -> Iterator[Callable[[], FileRegister]]:
    opened: list[FileRegister] = []

    def open_again() -> FileRegister:
        opened.append(FileRegister(path))
        return opened[-1]

    yield open_again
    for register in opened:
        register.close()


def test_an_intent_without_a_certificate_stays_visible(register: Register) -> None:
    register.record_intent(7, "licence", b"tbs")
    (record,) = register.unfinished()
    assert (record.serial, record.profile, record.tbs, record.der) == (7, "licence", b"tbs", None)
    assert register.find(7) == record
    assert register.find(8) is None


def test_a_serial_number_is_used_once(register: Register) -> None:
    register.record_intent(7, "licence", b"tbs")
    with pytest.raises(AlreadyExistsError) as caught:
        register.record_intent(7, "status", b"other")
    assert caught.value.reason == "SERIAL_EXISTS"
    found = register.find(7)
    assert found is not None
    assert found.profile == "licence"


def test_an_issued_certificate_is_recorded_with_its_intent(
    register: Register, leaf: certificate.Certificate
) -> None:
    register.record_intent(leaf.serial_number, "licence", leaf.tbs)
    register.record_issued(leaf.serial_number, leaf.der)
    register.record_issued(leaf.serial_number, leaf.der)
    assert register.unfinished() == ()
    found = register.find(leaf.serial_number)
    assert found is not None
    assert found.der == leaf.der


def test_a_certificate_that_was_never_announced_is_refused(
    register: Register, leaf: certificate.Certificate
) -> None:
    with pytest.raises(NotFoundError) as caught:
        register.record_issued(leaf.serial_number, leaf.der)
    assert caught.value.reason == "CERTIFICATE_NOT_FOUND"


@pytest.mark.parametrize("der", [b"", b"not a certificate"])
def test_something_else_than_was_announced_is_refused(
    register: Register, leaf: certificate.Certificate, der: bytes
) -> None:
    register.record_intent(1, "licence", b"another tbs")
    for signed in (der, leaf.der):
        with pytest.raises(IntegrityError) as caught:
            register.record_issued(1, signed)
        assert caught.value.reason == "TBS_MISMATCH"


def test_one_intent_is_not_signed_twice(register: Register, leaf: certificate.Certificate) -> None:
    register.record_intent(leaf.serial_number, "licence", leaf.tbs)
    register.record_issued(leaf.serial_number, leaf.der)
    signature = leaf.signature[:-1] + bytes([leaf.signature[-1] ^ 1])
    with pytest.raises(ConflictError) as caught:
        register.record_issued(leaf.serial_number, leaf.der[: -len(leaf.signature)] + signature)
    assert caught.value.reason == "ISSUED_TWICE"


def test_a_revocation_holds_and_only_a_compromise_may_replace_it(register: Register) -> None:
    register.record_intent(7, "licence", b"tbs")
    register.record_revoked(7, RevocationReason.SUPERSEDED, MOMENT)
    with pytest.raises(FailedPreconditionError) as caught:
        register.record_revoked(7, RevocationReason.UNSPECIFIED, MOMENT)
    assert caught.value.reason == "ALREADY_REVOKED"
    register.record_revoked(7, RevocationReason.KEY_COMPROMISE, MOMENT + timedelta(days=1))
    (record,) = register.revoked()
    assert (record.revoked_at, record.reason) == (MOMENT, RevocationReason.KEY_COMPROMISE)
    with pytest.raises(FailedPreconditionError):
        register.record_revoked(7, RevocationReason.KEY_COMPROMISE, MOMENT)


def test_what_was_never_signed_here_cannot_be_revoked(register: Register) -> None:
    with pytest.raises(NotFoundError) as caught:
        register.record_revoked(7, RevocationReason.SUPERSEDED, MOMENT)
    assert caught.value.reason == "CERTIFICATE_NOT_FOUND"


def test_list_numbers_only_grow(register: Register) -> None:
    assert register.crl_number() == 0
    register.record_crl(3, b"tbs")
    for number in (3, 2, 0):
        with pytest.raises(ConflictError) as caught:
            register.record_crl(number, b"tbs")
        assert caught.value.reason == "CRL_NUMBER"
    assert register.crl_number() == 3


def test_a_reopened_file_says_the_same(
    open_file: Callable[[], FileRegister], leaf: certificate.Certificate
) -> None:
    first = open_file()
    first.record_intent(leaf.serial_number, "licence", leaf.tbs)
    first.record_issued(leaf.serial_number, leaf.der)
    first.record_revoked(leaf.serial_number, RevocationReason.SUPERSEDED, MOMENT)
    first.record_intent(1 << 158, "status", b"tbs")
    first.record_crl(1, b"tbs")
    second = open_file()
    assert second.revoked() == first.revoked()
    assert second.unfinished() == first.unfinished()
    assert second.crl_number() == 1


def test_two_processes_see_each_others_records(open_file: Callable[[], FileRegister]) -> None:
    first, second = open_file(), open_file()
    first.record_intent(1, "licence", b"tbs")
    assert second.find(1) is not None
    second.record_crl(1, b"tbs")
    with pytest.raises(ConflictError):
        first.record_crl(1, b"tbs")
    with pytest.raises(AlreadyExistsError):
        second.record_intent(1, "licence", b"tbs")


def test_of_many_writers_each_record_is_kept_once(
    open_file: Callable[[], FileRegister],
) -> None:
    registers = [open_file() for _ in range(4)]

    def write(start: int) -> None:
        for serial in range(start, 40, 4):
            registers[start - 1].record_intent(serial, "licence", b"tbs")

    threads = [threading.Thread(target=write, args=(start,)) for start in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record.serial for record in open_file().unfinished()] == list(range(1, 40))


def test_a_line_cut_short_by_a_crash_is_dropped(
    path: Path, open_file: Callable[[], FileRegister]
) -> None:
    register = open_file()
    register.record_intent(1, "licence", b"tbs")
    register.record_intent(2, "licence", b"tbs")
    content = path.read_bytes()
    whole = content.index(b"\n") + 1
    for size in range(whole, len(content)):
        path.write_bytes(content[:size])
        reopened = open_file()
        assert [record.serial for record in reopened.unfinished()] == [1]
        reopened.record_intent(3, "licence", b"tbs")
        assert [record.serial for record in open_file().unfinished()] == [1, 3]


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"",
        b"{}",
        b'{"event":"intent","profile":"licence","serial":"1","tbs":"dGJz"}',
        b'{"event":"intent","profile":"licence","serial":"zz","tbs":"dGJz"}',
        b'{"event":"intent","profile":"licence","serial":5,"tbs":"dGJz"}',
        b'{"event":"issued","der":"","serial":"99"}',
        b'{"event":"revoked","at":1e300,"reason":"superseded","serial":"1"}',
        b'{"event":"revoked","at":1,"reason":"boredom","serial":"1"}',
        b'{"event":"crl","number":0,"tbs_sha256":""}',
        b'{"event":"party"}',
    ],
)
def test_a_damaged_line_stops_the_register(
    path: Path, open_file: Callable[[], FileRegister], line: bytes
) -> None:
    open_file().record_intent(1, "licence", b"tbs")
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(IntegrityError) as caught:
        open_file()
    assert caught.value.reason == "REGISTER_LINE"


def test_a_record_that_does_not_fit_leaves_the_file_as_it_was(
    path: Path, open_file: Callable[[], FileRegister]
) -> None:
    register = open_file()
    register.record_intent(1, "licence", b"tbs")
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
    try:
        with pytest.raises(KeyStoreError) as caught:
            register.record_intent(2, "licence", b"tbs")
        assert caught.value.reason == "STORE_IO"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert register.find(2) is None
    register.record_intent(2, "licence", b"tbs")
    assert open_file().find(2) is not None


def test_a_register_in_no_directory_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError) as caught:
        FileRegister(tmp_path / "absent" / "register.jsonl")
    assert caught.value.reason == "STORE_IO"
