"""Workers as processes: started together, restarted when they crash, stopped gently.

::

    with lock_directory(region), reserve_port(listen) as address:
        Supervisor(workers=[…], journal=journal, on_ready=announce).run()
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Final

from google.rpc.status_pb2 import Status

from yinxin_edge.journal import Journal
from yinxin_edge.signal_pipe import signal_pipe
from yinxin_edge.status import from_status
from yinxin_edge.worker import READY, STOP, WorkerTarget, run_worker
from yinxin_proto.error import InternalError, UnavailableError, YinxinError

_SPAWN: Final = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """One worker to run."""

    name: str
    """Unique; for the journal."""
    target: WorkerTarget
    """What it runs; see `yinxin_edge.worker.WorkerTarget`."""
    settings: object
    """What the target gets; a picklable dataclass."""
    outlasts: bool = False
    """Asked to stop only when the others have ended: their last calls need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSettings:
    """Patience with workers."""

    start_timeout: timedelta = timedelta(seconds=60)
    """How long a worker may take to be ready."""
    grace: timedelta = timedelta(seconds=15)
    """How long workers may take to stop before they are killed."""
    first_delay: timedelta = timedelta(seconds=0.2)
    """Before the first restart; doubled with each quick crash."""
    longest_delay: timedelta = timedelta(seconds=10)
    """Bound on that."""
    quick: timedelta = timedelta(seconds=10)
    """A worker that lived shorter crashed quickly."""
    quick_crashes: int = 5
    """So many in a row of one worker, and the supervisor gives up."""


class _Worker:
    """One worker's present process, and how its past ones fared."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.quick_crashes = 0
        self.restart_at: float | None = None
        self.start()

    def start(self) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(
            target=run_worker,
            args=(self.spec.name, self.spec.target, self.spec.settings, theirs),
            name=self.spec.name,
            daemon=True,
        )
        self.process.start()
        # Ours alone must keep the pipe open, or its end would not end the worker.
        theirs.close()
        self.started_at = time.monotonic()
        self.ready = False
        self.failure: YinxinError | None = None
        self.restart_at = None

    def messages(self) -> Iterator[object]:
        try:
            while self.pipe.poll():
                yield self.pipe.recv()
        except (EOFError, OSError):
            return

    def ask_to_stop(self) -> None:
        try:
            self.pipe.send(STOP)
        except OSError:
            # It ended by itself.
            return


class Supervisor:
    """Runs workers until told to stop; one to a process, in its main thread.

    Args:
        workers: What to run.
        journal: Where crashes and restarts are recorded.
        on_ready: Called once, when every worker is ready.
        settings: Patience.
    """

    def __init__(
        self,
        *,
        workers: Sequence[WorkerSpec],
        journal: Journal,
        on_ready: Callable[[], None],
        settings: SupervisorSettings | None = None,
    ) -> None:
        self._specs = tuple(workers)
        self._journal = journal
        self._on_ready = on_ready
        self._settings = settings or SupervisorSettings()
        self._workers: list[_Worker] = []
        self._announced = False
        self._stopping = False

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then let calls in progress end.

        A second signal kills the workers at once.

        Raises:
            YinxinError: As a worker raised it before it was ready the first time.
            UnavailableError: ``WORKER_START_TIMEOUT``, one was not ready in time.
            InternalError: ``WORKER_CRASHED``, one ended before it was ready the
                first time, or crashed quickly too often; the journal says why.
        """
        with signal_pipe(signal.SIGTERM, signal.SIGINT) as signalled:
            try:
                self._workers = [_Worker(spec) for spec in self._specs]
                while not self._stopping:
                    self._step(signalled)
            finally:
                self._stop(signalled)

    def _step(self, signalled: Connection) -> None:
        alive = [worker for worker in self._workers if worker.restart_at is None]
        waiting: dict[Connection | int, _Worker] = {
            worker.process.sentinel: worker for worker in alive
        }
        waiting |= {worker.pipe: worker for worker in alive if not worker.ready}
        happened = set(wait([signalled, *waiting], timeout=self._timeout()))
        if signalled in happened:
            self._stopping = True
            return
        for worker in {worker for event, worker in waiting.items() if event in happened}:
            self._look(worker)
        for worker in self._workers:
            self._check_time(worker)
        if not self._announced and all(worker.ready for worker in self._workers):
            self._announced = True
            self._on_ready()

    def _look(self, worker: _Worker) -> None:
        for message in worker.messages():
            if message == READY:
                worker.ready = True
                self._journal.info("worker_ready", worker=worker.spec.name, pid=worker.process.pid)
            elif isinstance(message, bytes):
                worker.failure = from_status(Status.FromString(message))
        if worker.restart_at is None and not worker.process.is_alive():
            self._bury(worker)

    def _bury(self, worker: _Worker) -> None:
        name, code = worker.spec.name, worker.process.exitcode
        worker.process.join()
        worker.pipe.close()
        worker.ready = False
        self._journal.error("worker_ended", worker=name, exit_code=code)
        if not self._announced:
            raise worker.failure or InternalError(
                f"worker {name} ended before it was ready (exit code {code})",
                reason="WORKER_CRASHED",
            )
        lived = time.monotonic() - worker.started_at
        quick = lived < self._settings.quick.total_seconds()
        worker.quick_crashes = worker.quick_crashes + 1 if quick else 1
        if worker.quick_crashes >= self._settings.quick_crashes:
            raise InternalError(
                f"worker {name} crashed {worker.quick_crashes} times in a row; the journal "
                "says why",
                reason="WORKER_CRASHED",
            )
        delay = self._settings.first_delay * 2 ** (worker.quick_crashes - 1)
        worker.restart_at = (
            time.monotonic() + min(delay, self._settings.longest_delay).total_seconds()
        )

    def _check_time(self, worker: _Worker) -> None:
        now = time.monotonic()
        if worker.restart_at is not None:
            if now >= worker.restart_at:
                self._journal.warning("worker_restarted", worker=worker.spec.name)
                worker.start()
        elif not worker.ready and now >= self._start_deadline(worker):
            if not self._announced:
                raise UnavailableError(
                    f"worker {worker.spec.name} was not ready in time",
                    reason="WORKER_START_TIMEOUT",
                )
            # Its end is then seen like any other crash.
            worker.process.kill()

    def _start_deadline(self, worker: _Worker) -> float:
        return worker.started_at + self._settings.start_timeout.total_seconds()

    def _timeout(self) -> float | None:
        due = [
            self._start_deadline(worker) if worker.restart_at is None else worker.restart_at
            for worker in self._workers
            if not worker.ready
        ]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _stop(self, signalled: Connection) -> None:
        deadline = time.monotonic() + self._settings.grace.total_seconds()
        while signalled.poll():
            signalled.recv_bytes()
        for outlasting in (False, True):
            group = [worker for worker in self._workers if worker.spec.outlasts is outlasting]
            for worker in group:
                worker.ask_to_stop()
                if not worker.ready and worker.restart_at is None:
                    # It has no calls in progress, and may hang in what it is starting.
                    worker.process.kill()
            self._await_end(group, deadline, signalled)
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()

    def _await_end(
        self, workers: Sequence[_Worker], deadline: float, signalled: Connection
    ) -> None:
        left = [worker.process for worker in workers if worker.process.is_alive()]
        while left and not signalled.poll() and (rest := deadline - time.monotonic()) > 0:
            wait([signalled, *(process.sentinel for process in left)], timeout=rest)
            left = [process for process in left if process.is_alive()]
        for process in left:
            self._journal.warning("worker_killed", worker=process.name)
            process.kill()
