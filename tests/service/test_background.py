"""What the background process does, and what it does when it cannot."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from support.small_region import SmallRegion
from yinxin_edge.journal import Journal
from yinxin_proto.certificate import parse
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import IntegrityError, UnavailableError
from yinxin_proto.suite import ES256
from yinxin_trust import schema
from yinxin_trust.background import LEASE_TERM, Background, LogKeeper, lease_holder
from yinxin_trust.certification import CRL_LIFETIME, open_authority, put_crls
from yinxin_trust.ledger import LICENCES, signed_head
from yinxin_trust.peerrevocation import LOOK_AGAIN, PeerRevocation
from yinxin_trust.soundness import Soundness
from yinxin_trust.transition import Operation
from yinxin_trust.trustlisting import get_anchors

PATIENCE = 20.0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallRegion]:
    with SmallRegion.for_threads(f"sqlite:///{tmp_path}/region.db") as found:
        yield found


class Running:
    """One background process, as a thread."""

    def __init__(self, small: SmallRegion, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.said = io.StringIO()
        self.error: BaseException | None = None
        self._told = threading.Event()
        journal = Journal(clock=small.clock, stream=self.said)
        self.background = Background(region=small.region, directory=directory, journal=journal)
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.background.run(lambda patience: self._told.wait(patience.total_seconds() / 10))
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.error = error

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._told.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def events(self) -> list[str]:
        """Names of what it said, in order."""
        return [str(json.loads(line)["event"]) for line in self.said.getvalue().splitlines()]


@contextmanager
def _running(small: SmallRegion, directory: Path) -> Iterator[Running]:
    running = Running(small, directory)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def _eventually(holds: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _size(small: SmallRegion) -> int:
    with small.region.storage.read() as conn:
        return signed_head(conn, LICENCES).size


# --- sequencing -----------------------------------------------------------------------


def test_what_waits_is_placed(small: SmallRegion, tmp_path: Path) -> None:
    with _running(small, tmp_path / "a"):
        small.issue_one()
        _eventually(lambda: _size(small) == 1)


def test_what_waits_when_it_is_stopped_is_placed_first(small: SmallRegion, tmp_path: Path) -> None:
    running = Running(small, tmp_path / "a")
    running.start()
    _eventually(lambda: "lease_acquired" in running.events())
    small.issue_one()
    running.stop()
    assert running.error is None
    assert _size(small) == 1


def test_one_of_two_works_and_the_other_takes_over(small: SmallRegion, tmp_path: Path) -> None:
    with _running(small, tmp_path / "a") as first:
        _eventually(lambda: first.events().count("lease_acquired") == 2)
        with _running(small, tmp_path / "b") as second:
            small.issue_one()
            _eventually(lambda: _size(small) == 1)
            assert "lease_acquired" not in second.events()
            first.stop()
            small.issue_one()
            _eventually(lambda: _size(small) == 2)
            _eventually(lambda: second.events().count("lease_acquired") == 2)


def test_a_restart_in_the_same_directory_need_not_wait_for_the_lease(
    small: SmallRegion, tmp_path: Path
) -> None:
    killed = Running(small, tmp_path / "a")
    # It held the leases, and was never heard of again.
    assert killed.background._step()
    with _running(small, tmp_path / "a"):
        small.issue_one()
        _eventually(lambda: _size(small) == 1)
    assert killed.background._step() is not None


def test_the_holder_is_the_directory(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "a").mkdir()
    assert lease_holder(tmp_path / "a") == lease_holder(tmp_path / "link")
    assert lease_holder(tmp_path / "a") != lease_holder(tmp_path / "b")


def test_an_idle_lease_is_renewed(
    small: SmallRegion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yinxin_trust.background._RENEW", timedelta(0))
    running = Running(small, tmp_path / "a")
    assert running.background._step()
    small.clock.advance(LEASE_TERM * 0.9)
    assert running.background._step()
    small.clock.advance(LEASE_TERM * 0.9)
    other = Running(small, tmp_path / "b")
    assert not other.background._step()


def test_a_lease_that_was_lost_is_asked_for_again(small: SmallRegion, tmp_path: Path) -> None:
    first, second = Running(small, tmp_path / "a"), Running(small, tmp_path / "b")
    assert first.background._step()
    small.clock.advance(LEASE_TERM * 2)
    assert second.background._step()
    small.issue_one()
    assert not first.background._step()
    assert "lease_lost" in first.events()
    assert _size(small) == 0
    small.clock.advance(LEASE_TERM * 2)
    assert first.background._step()
    assert _size(small) == 1


# --- when it cannot ----------------------------------------------------------------------


def test_a_database_that_is_away_for_a_moment_is_waited_for(
    small: SmallRegion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(small, tmp_path / "a")
    step, failures = LogKeeper.step, [UnavailableError("locked", reason="DATABASE_LOCKED")]

    def failing(keeper: LogKeeper) -> None:
        if failures:
            raise failures.pop()
        step(keeper)

    monkeypatch.setattr(LogKeeper, "step", failing)
    assert not running.background._step()
    assert running.events() == ["sequencing_waits"]
    assert running.background._step()


def test_a_log_that_contradicts_itself_ends_the_process(small: SmallRegion, tmp_path: Path) -> None:
    with small.region.storage.write() as conn:
        conn.execute(update(schema.log_head).values(size=0, signed_size=7))
    running = Running(small, tmp_path / "a")
    small.issue_one()
    running.start()
    _eventually(lambda: running.has_ended)
    assert isinstance(running.error, IntegrityError)


def test_a_refresh_that_fails_is_on_record_and_tried_again(
    small: SmallRegion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(small, tmp_path / "a")

    def failing() -> bool:
        raise IntegrityError("no", reason="LOG_ROLLED_BACK")

    monkeypatch.setattr(running.background._refresher, "run_once", failing)
    running.background._refresh()
    assert running.events() == ["task_failed"]
    # The other tasks were done all the same.
    assert (tmp_path / "a" / "checkpoints" / "1.note").exists()


def test_a_fault_of_ours_ends_the_process(
    small: SmallRegion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(small, tmp_path / "a")

    def broken() -> bool:
        raise KeyError("bug")

    monkeypatch.setattr(running.background._refresher, "run_once", broken)
    running.start()
    _eventually(lambda: running.has_ended)
    assert isinstance(running.error, KeyError)


# --- keeping fresh --------------------------------------------------------------------------


def test_a_change_of_status_is_published(small: SmallRegion, tmp_path: Path) -> None:
    record = small.issue_one()
    running = Running(small, tmp_path / "a")
    assert running.background._step()
    running.background._refresh()
    before = _published(small)
    small.change(record, Operation.REVOKE)
    small.clock.advance(seconds=2)
    assert running.background._step()
    running.background._refresh()
    assert _published(small) > before


def _published(small: SmallRegion) -> int:
    with small.region.storage.read() as conn:
        count = select(func.max(schema.status_token.c.log_size))
        return int(conn.execute(count).scalar_one())


def test_a_licence_that_is_due_expires(small: SmallRegion, tmp_path: Path) -> None:
    small.issue_one(valid_until="2026-01-31")
    running = Running(small, tmp_path / "a")
    small.clock.advance(timedelta(days=40))
    assert running.background._step()
    running.background._refresh()
    with small.region.storage.read() as conn:
        assert conn.execute(select(schema.licence.c.state)).scalars().all() == ["expired"]


# --- remembering checkpoints ------------------------------------------------------------------


def test_what_was_seen_is_remembered_and_a_damaged_memory_tells_nothing(
    small: SmallRegion, tmp_path: Path
) -> None:
    soundness = Soundness(keyring=small.region.keyring, directory=tmp_path)
    assert soundness.examine(small.region.storage).sound
    small.issue_one()
    small.region.sequence()
    soundness.remember(small.region.storage)
    note = tmp_path / "checkpoints" / "1.note"
    seen = note.read_bytes()
    assert soundness.examine(small.region.storage).sound
    note.write_text("nonsense")
    assert soundness.examine(small.region.storage).sound
    soundness.remember(small.region.storage)
    assert note.read_bytes() == seen


def test_a_log_beside_what_was_seen_is_unsound(small: SmallRegion, tmp_path: Path) -> None:
    soundness = Soundness(keyring=small.region.keyring, directory=tmp_path)
    signer = small.region.keyring.log_signer(LICENCES)
    (tmp_path / "checkpoints").mkdir()
    forked = Checkpoint(origin=signer.vkey.name, size=1, root=b"x" * 32).sign([signer])
    (tmp_path / "checkpoints" / "1.note").write_bytes(forked)
    codes = {finding.code for finding in soundness.examine(small.region.storage).findings}
    assert codes == {"LOG_BEHIND"}
    small.issue_one()
    small.region.sequence()
    codes = {finding.code for finding in soundness.examine(small.region.storage).findings}
    assert codes == {"LOG_FORKED"}


# --- revoked clients ------------------------------------------------------------------------


def test_a_revoked_client_is_refused_within_a_second(small: SmallRegion) -> None:
    region = small.region
    chain = region.registrar.certify_principal("service-centre", ES256.generate().public_key)
    certificate = parse(chain[0])
    is_revoked = PeerRevocation(storage=region.storage, suite=ES256, clock=small.clock)
    assert not is_revoked(certificate)
    with region.storage.read() as conn:
        anchors = get_anchors(conn)
    authority = open_authority(
        "tls",
        anchors=anchors,
        keyring=region.keyring,
        registers=region.foundation.registers,
        clock=small.clock,
        entropy=region.entropy,
    )
    small.clock.advance(seconds=10)
    authority.revoke(certificate.serial_number, RevocationReason.KEY_COMPROMISE)
    with region.storage.write() as conn:
        put_crls(conn, {"tls": authority.sign_crl(lifetime=CRL_LIFETIME)}, small.clock)
    small.clock.advance(LOOK_AGAIN)
    assert is_revoked(certificate)


def test_without_a_list_nobody_is_believed(small: SmallRegion) -> None:
    chain = small.region.registrar.certify_principal("x", ES256.generate().public_key)
    with small.region.storage.write() as conn:
        conn.execute(schema.setting.delete().where(schema.setting.c.name == "crl/tls"))
    is_revoked = PeerRevocation(storage=small.region.storage, suite=ES256, clock=small.clock)
    with pytest.raises(IntegrityError) as caught:
        is_revoked(parse(chain[0]))
    assert caught.value.reason == "TLS_CRL"
