"""The worker's side of supervision.

A worker is a spawned process (a fork of a process that has a gRPC server is
unsafe). It says when it is ready, stops gently when asked, and dies when its
supervisor does: the kernel closes the pipe between them however the supervisor
ended, and a worker that went on answering would be nobody's.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from yinxin_edge.clock import SystemClock
from yinxin_edge.journal import Journal
from yinxin_edge.libcrypto import choose_libcrypto
from yinxin_edge.signal_pipe import signal_pipe
from yinxin_edge.status import to_status
from yinxin_proto.error import YinxinError

READY: Final = "ready"
"""Worker to supervisor: it serves."""
STOP: Final = "stop"
"""Supervisor to worker: end gently."""

EXIT_FAILED: Final = 70
EXIT_ORPHANED: Final = 75

ORPHAN_GRACE: Final = timedelta(seconds=0.5)
"""How long a worker outlives its supervisor."""


class WorkerLink:
    """What a worker's target is given beside its settings."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._stopping = threading.Event()

    def ready(self) -> None:
        """Tell the supervisor that this worker serves."""
        self._pipe.send(READY)

    @property
    def stopping(self) -> bool:
        """Whether this worker was asked to stop."""
        return self._stopping.is_set()

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Wait until asked to stop; tell whether that was so (or time ran out)."""
        return self._stopping.wait(None if timeout is None else timeout.total_seconds())

    def stop(self) -> None:
        """Ask this worker to stop."""
        self._stopping.set()


WorkerTarget = Callable[[Any, WorkerLink], None]
"""A module's top-level function ``(settings, link)``: a spawned process imports
it by name. It says ``link.ready()``, works until ``link.wait()`` returns, and
returns. Raising a `YinxinError` before it is ready says why it cannot serve."""


def run_worker(name: str, target: WorkerTarget, settings: object, pipe: Connection) -> None:
    """Run a target in the process that was spawned for it; does not return.

    Args:
        name: For the journal.
        target: What to run.
        settings: Its configuration; a picklable dataclass.
        pipe: To the supervisor.
    """
    link = WorkerLink(pipe)
    # Ctrl-C reaches the whole group; the supervisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with signal_pipe(signal.SIGTERM) as signalled:
        watcher = threading.Thread(
            target=_watch, args=(link, pipe, signalled), name="supervisor", daemon=True
        )
        watcher.start()
        status = _serve(name, target, settings, link, pipe)
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: a handler that never returns must not keep the process.
        os._exit(status)


def _serve(
    name: str, target: WorkerTarget, settings: object, link: WorkerLink, pipe: Connection
) -> int:
    journal = Journal(clock=SystemClock(), context={"worker": name})
    try:
        choose_libcrypto()
        target(settings, link)
    except YinxinError as error:
        journal.error("worker_failed", error)
        _tell(pipe, to_status(error).SerializeToString())
    except Exception as error:  # noqa: BLE001 - the end of the process; the journal has it
        journal.error("worker_failed", error)
    else:
        return 0
    return EXIT_FAILED


def _watch(link: WorkerLink, pipe: Connection, signalled: Connection) -> None:
    try:
        while True:
            for source in wait([pipe, signalled]):
                if source is signalled:
                    signalled.recv_bytes()
                    link.stop()
                elif pipe.recv() == STOP:
                    link.stop()
    except (EOFError, OSError):
        link.stop()
        time.sleep(ORPHAN_GRACE.total_seconds())
        os._exit(EXIT_ORPHANED)


def _tell(pipe: Connection, message: bytes) -> None:
    try:
        pipe.send(message)
    except OSError:
        # The supervisor is gone; the journal already has the reason.
        return
