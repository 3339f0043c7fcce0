"""Two sequencers, one paused past its lease, anywhere: no second history."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import pytest
from sqlalchemy import Connection

from support.clock import EPOCH
from support.log_region import (
    TERM,
    LogRegion,
    RecordingSigner,
    assert_one_history,
    entries,
    open_storage,
)
from support.postgres import temporary_schema
from support.sequencer_process import sequence_until_told
from yinxin_edge.lease import Lease
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.error import FailedPreconditionError, UnavailableError, YinxinError
from yinxin_proto.merkle import TreeHead
from yinxin_proto.note import NoteSignature
from yinxin_proto.vkey import VerifierKey
from yinxin_trust.ledger import LICENCES
from yinxin_trust.sequencer import Sequencer, lease_name
from yinxin_trust.storage import Storage

pytestmark = pytest.mark.faults

WAIT = 20.0


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/region.db"
    else:
        with temporary_schema() as schema:
            yield schema


@pytest.fixture
def region(url: str) -> Iterator[LogRegion]:
    with open_storage(url) as storage:
        yield LogRegion(storage)


class Pause:
    """A place where a thread stops until it is told to go on."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._resume = threading.Event()

    def here(self) -> None:
        self._reached.set()
        assert self._resume.wait(WAIT)

    def wait_until_reached(self) -> None:
        assert self._reached.wait(WAIT)

    def end(self) -> None:
        self._resume.set()


class PausingStorage(Storage):
    """Pauses before its n-th write transaction."""

    def __init__(self, storage: Storage, pause: Pause, *, before_write: int) -> None:
        super().__init__(storage.database)
        self._pause = pause
        self._countdown = before_write

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self._countdown -= 1
        if self._countdown == 0:
            self._pause.here()
        with super().write() as conn:
            yield conn


class PausingSigner:
    """Pauses inside the signing transaction, just before the signature."""

    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self.inner = RecordingSigner()

    @property
    def vkey(self) -> VerifierKey:
        return self.inner.vkey

    def sign(self, text: bytes) -> NoteSignature:
        self._pause.here()
        return self.inner.sign(text)


class Paused:
    """A sequencer in a thread of its own, stopped at a pause."""

    def __init__(self, sequencer: Sequencer, pause: Pause) -> None:
        self._pause = pause
        self._outcome: int | YinxinError | None = None
        self._thread = threading.Thread(target=self._run, args=(sequencer,))
        self._thread.start()
        pause.wait_until_reached()

    def _run(self, sequencer: Sequencer) -> None:
        try:
            self._outcome = sequencer.run_once()
        except YinxinError as error:
            self._outcome = error

    def resume(self) -> int | YinxinError | None:
        """Let it run to its end; return what it returned or raised."""
        self._pause.end()
        self._thread.join(WAIT)
        assert not self._thread.is_alive()
        return self._outcome


def _pause_before_write(region: LogRegion, number: int) -> tuple[Paused, RecordingSigner]:
    pause, signer = Pause(), RecordingSigner()
    storage = PausingStorage(region.storage, pause, before_write=number)
    return Paused(region.sequencer("paused", storage=storage, signer=signer), pause), signer


def _assert_lost(outcome: int | YinxinError | None) -> None:
    assert isinstance(outcome, FailedPreconditionError)
    assert outcome.reason == "LEASE_LOST"


def test_paused_before_it_writes_it_writes_and_signs_nothing(region: LogRegion) -> None:
    region.queue(entries(5))
    paused, its_signer = _pause_before_write(region, 1)
    assert region.sequencer("other").run_once() == 5
    region.queue(entries(3, start=5))
    placed = region.placed()
    _assert_lost(paused.resume())
    assert region.placed() == placed
    assert its_signer.texts == []
    assert region.sequencer("other").run_once() == 3
    assert_one_history(region.signer.heads, region.placed())


def test_taken_over_between_its_tiles_and_its_signature_it_signs_nothing(
    region: LogRegion,
) -> None:
    region.queue(entries(5))
    paused, its_signer = _pause_before_write(region, 2)
    committed = region.placed()
    assert len(committed) == 5
    other = region.sequencer("other")
    # What the paused one committed stands, and is signed by the one that holds the lease.
    assert other.run_once() == 0
    assert region.signed().head.size == 5
    region.queue(entries(3, start=5))
    assert other.run_once() == 3
    _assert_lost(paused.resume())
    assert its_signer.texts == []
    assert region.placed()[:5] == committed
    assert_one_history(region.signer.heads, region.placed())


def test_nobody_takes_over_from_one_that_is_about_to_sign(region: LogRegion) -> None:
    region.queue(entries(5))
    pause = Pause()
    signer = PausingSigner(pause)
    paused = Paused(region.sequencer("paused", signer=signer), pause)
    region.clock.advance(TERM)
    # It holds the lease's row (PostgreSQL) or the gate (SQLite) until it has committed.
    with pytest.raises(UnavailableError) as caught:
        region.office("other").acquire(lease_name(LICENCES))
    assert caught.value.reason == "DATABASE_LOCKED"
    assert paused.resume() == 5
    region.queue(entries(3, start=5))
    assert region.sequencer("other").run_once() == 3
    assert_one_history([*signer.inner.heads, *region.signer.heads], region.placed())


def test_two_that_both_believe_in_a_lease_still_write_one_history(region: LogRegion) -> None:
    """A misnamed lease fences nobody; the head's own lock and comparison remain."""
    signers = [RecordingSigner(), RecordingSigner()]
    sequencers = []
    for name, signer in zip(("sequencer/1", "sequencer/one"), signers, strict=True):
        lease = region.office(name).acquire(name)
        assert lease is not None
        sequencers.append(
            Sequencer(
                storage=region.storage, log_number=LICENCES, signer=signer, lease=lease, max_batch=8
            )
        )
    outcomes: list[BaseException] = []
    done = threading.Event()

    def sequence(sequencer: Sequencer) -> None:
        try:
            while not done.is_set():
                sequencer.run_once()
        except BaseException as error:  # noqa: BLE001 - reported by the main thread
            outcomes.append(error)

    threads = [threading.Thread(target=sequence, args=(one,)) for one in sequencers]
    for thread in threads:
        thread.start()
    for start in range(0, 300, 10):
        region.queue(entries(10, start=start))
    deadline = time.monotonic() + WAIT
    while region.signed().head.size < 300 and time.monotonic() < deadline and not outcomes:
        time.sleep(0.005)
    done.set()
    for thread in threads:
        thread.join(WAIT)
    assert outcomes == []
    assert sorted(region.placed()) == sorted(entries(300))
    assert_one_history([*signers[0].heads, *signers[1].heads], region.placed())


def test_leases_stolen_all_the_time_leave_one_history(region: LogRegion) -> None:
    signers = {holder: RecordingSigner() for holder in ("a", "b", "c")}
    failures: list[BaseException] = []
    done = threading.Event()

    def steal_and_sequence(holder: str) -> None:
        try:
            while not done.is_set():
                lease = _steal(region, holder)
                if lease is not None:
                    _sequence_until_lost(region, lease, signers[holder], done)
        except BaseException as error:  # noqa: BLE001 - reported by the main thread
            failures.append(error)

    threads = [threading.Thread(target=steal_and_sequence, args=(one,)) for one in signers]
    for thread in threads:
        thread.start()
    for start in range(0, 400, 8):
        region.queue(entries(8, start=start))
    deadline = time.monotonic() + WAIT
    while region.signed().head.size < 400 and time.monotonic() < deadline and not failures:
        time.sleep(0.005)
    done.set()
    for thread in threads:
        thread.join(WAIT)
    assert failures == []
    assert sorted(region.placed()) == sorted(entries(400))
    heads = [head for signer in signers.values() for head in signer.heads]
    assert_one_history(heads, region.placed())


def _steal(region: LogRegion, holder: str) -> Lease | None:
    # The clock runs away: every lease has expired as soon as it was given.
    region.clock.advance(TERM)
    try:
        return region.office(holder).acquire(lease_name(LICENCES))
    except UnavailableError:
        return None


def _sequence_until_lost(
    region: LogRegion, lease: Lease, signer: RecordingSigner, done: threading.Event
) -> None:
    sequencer = Sequencer(
        storage=region.storage, log_number=LICENCES, signer=signer, lease=lease, max_batch=5
    )
    for _ in range(3):
        if done.is_set():
            return
        try:
            sequencer.run_once()
        except FailedPreconditionError:
            return
        except UnavailableError:
            continue


class Stoppable:
    """A sequencing process that SIGSTOP pauses wherever it happens to be."""

    def __init__(self, url: str, holder: str, seconds: Synchronized[float], folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.signed = folder / f"signed-{holder}"
        self._pipe, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(
            target=sequence_until_told, args=(url, holder, seconds, str(self.signed), theirs)
        )
        self._process.start()

    @property
    def pipe(self) -> Pipe:
        return self._pipe

    def send(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def finish(self) -> int:
        """End it; return how often it found that it had lost its lease."""
        self._pipe.send("stop")
        assert self._pipe.poll(WAIT)
        lost = self._pipe.recv()
        self._process.join(WAIT)
        assert isinstance(lost, int)
        return lost

    def kill(self) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join(WAIT)

    def heads(self) -> list[TreeHead]:
        """Every head that it ever signed."""
        if not self.signed.exists():
            return []
        texts = self.signed.read_text().split("\n\n")
        return [Checkpoint.parse_text(text + "\n").head for text in texts if text]


def _queue_patiently(region: LogRegion, start: int) -> None:
    """Queue five entries; a process that is stopped inside its write holds up SQLite."""
    deadline = time.monotonic() + WAIT
    while True:
        try:
            region.queue(entries(5, start=start))
        except UnavailableError:
            assert time.monotonic() < deadline
        else:
            return


@pytest.mark.slow
def test_a_process_stopped_past_its_lease_wakes_to_one_history(
    url: str, region: LogRegion, tmp_path: Path
) -> None:
    rounds = 25
    seconds = multiprocessing.get_context("spawn").Value("d", EPOCH.timestamp())
    processes = [Stoppable(url, holder, seconds, tmp_path) for holder in ("a", "b")]
    try:
        for process in processes:
            assert process.pipe.poll(WAIT)
            assert process.pipe.recv() == "ready"
        for number in range(rounds):
            _queue_patiently(region, 5 * number)
            # Spread over the steps of a round, which takes a few milliseconds.
            time.sleep(0.0007 * (number % 9))
            sleeper = processes[number % 2]
            sleeper.send(signal.SIGSTOP)
            seconds.value += TERM.total_seconds()
            time.sleep(0.05)
            sleeper.send(signal.SIGCONT)
        deadline = time.monotonic() + WAIT
        while region.signed().head.size < 5 * rounds and time.monotonic() < deadline:
            time.sleep(0.01)
        lost = sum(process.finish() for process in processes)
    finally:
        for process in processes:
            process.kill()
    assert sorted(region.placed()) == sorted(entries(5 * rounds))
    heads = [head for process in processes for head in process.heads()]
    assert_one_history(heads, region.placed())
    assert lost > 0
