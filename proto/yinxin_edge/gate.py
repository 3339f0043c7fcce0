"""One writer at a time to a SQLite database, across threads and processes.

SQLite admits one writer, but lets the others find out late: a transaction that
upgrades from reading fails at once with "database is locked" whatever the busy
timeout, and waiters poll unfairly (worst waits of seconds were measured). So
writers queue here, before ``BEGIN IMMEDIATE``. Checkpoints pass through the same
gate, since SQLite before 3.51.3 can lose the write-ahead log's content when one
connection checkpoints while another restarts the log (the WAL-reset bug).

Between processes the lock is ``flock`` on a file beside the database: the kernel
releases it when its holder dies. Threads and processes each pass two locks, the
queue and the gate: only the head of the queue may wait for the gate, so whoever
held it last cannot barge in again.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final

from yinxin_proto.error import ConfigurationError, InternalError, UnavailableError

_HEAD_POLL_SECONDS: Final = 0.0003
_QUEUE_POLL_SECONDS: Final = 0.002


class WriteGate:
    """The gate of one database; enter it as a context manager.

    Args:
        database: Path of the database file; the lock files stand beside it.
        patience: How long to wait for other writers before giving up.

    Raises:
        ConfigurationError: ``DATABASE_UNOPENABLE``, the lock files cannot be made.
    """

    def __init__(self, *, database: Path, patience: timedelta) -> None:
        self._patience = patience.total_seconds()
        self._thread_queue = threading.Lock()
        self._thread_gate = threading.Lock()
        self._owner: int | None = None
        self._file_queue = _open_lock(database.with_name(database.name + "-queue"))
        self._file_gate = _open_lock(database.with_name(database.name + "-gate"))

    def __enter__(self) -> None:
        """Wait for the gate.

        Raises:
            InternalError: ``NESTED_WRITE``, this thread already holds it.
            UnavailableError: ``DATABASE_LOCKED``, it was not free in time.
        """
        me = threading.get_ident()
        if self._owner == me:
            raise InternalError(
                "a write transaction was opened inside another", reason="NESTED_WRITE"
            )
        deadline = time.monotonic() + self._patience
        _lock_thread(self._thread_queue, deadline)
        try:
            self._pass(deadline)
        finally:
            self._thread_queue.release()
        self._owner = me

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the gate to the next writer."""
        self._owner = None
        fcntl.flock(self._file_gate, fcntl.LOCK_UN)
        self._thread_gate.release()

    def close(self) -> None:
        """Close the lock files; the gate cannot be entered again."""
        os.close(self._file_queue)
        os.close(self._file_gate)

    def _pass(self, deadline: float) -> None:
        _lock_thread(self._thread_gate, deadline)
        try:
            _lock_file(self._file_queue, deadline, _QUEUE_POLL_SECONDS)
            try:
                _lock_file(self._file_gate, deadline, _HEAD_POLL_SECONDS)
            finally:
                fcntl.flock(self._file_queue, fcntl.LOCK_UN)
        except BaseException:
            self._thread_gate.release()
            raise


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"cannot open the database's lock file {path}: {error.strerror}",
            reason="DATABASE_UNOPENABLE",
        ) from error


def _lock_thread(lock: threading.Lock, deadline: float) -> None:
    if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise _locked()


def _lock_file(descriptor: int, deadline: float, interval: float) -> None:
    # A blocking flock cannot time out: a paused holder would pin this thread forever.
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise _locked() from None
            time.sleep(interval)
        else:
            return


def _locked() -> UnavailableError:
    return UnavailableError(
        "another writer holds the database; try again", reason="DATABASE_LOCKED"
    )
