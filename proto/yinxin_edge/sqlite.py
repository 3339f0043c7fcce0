"""SQLite as `yinxin_edge.database` uses it: WAL, FULL, one gated writer.

Automatic checkpoints stay on in the writing connection alone: they run inside
its ``COMMIT``, so under the write gate. Readers are ``query_only`` and cannot
start one; closing, which checkpoints too, takes the gate.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal, cast

from sqlalchemy import Connection, NullPool, create_engine, event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from yinxin_edge.gate import WriteGate
from yinxin_proto.error import ConfigurationError

_MAX_IDLE_LOG_BYTES: Final = 64 << 20
_STATEMENT_CACHE: Final = 256
_WRITER_CACHE_KIB: Final = 64 << 10
"""A batch touches thousands of pages: what does not fit is written, and often read, twice."""
_CHECKPOINT_PAGES: Final = 8000
"""32 MB. Pages that several commits touch are then folded into the file once."""


class SqliteBackend:
    """One SQLite database file.

    Args:
        path: The file, made if absent (mode 0600); ``None``: a temporary one,
            without durability, removed on `close`.
        connections: Readers kept open.
        patience: How long to wait for the gate, a reader or a foreign lock.
    """

    def __init__(self, *, path: Path | None, connections: int, patience: timedelta) -> None:
        self._temporary = path is None
        if path is None:
            folder = tempfile.mkdtemp(prefix="yinxin-")
            self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder, "region.db")
        self._path = path
        self._patience = patience.total_seconds()
        self._busy_ms = int(self._patience * 1000)
        _make_file(path)
        self._gate = WriteGate(database=path, patience=patience)
        self._closed = False
        writers = create_engine(
            "sqlite://", creator=self._connect_writer, poolclass=NullPool, hide_parameters=True
        )
        event.listen(writers, "begin", _beginner("BEGIN IMMEDIATE"))
        self._readers = create_engine(
            "sqlite://",
            creator=self._connect_reader,
            poolclass=NullPool,
            # Every read ends its own transaction; a second rollback would only cost time.
            pool_reset_on_return=None,
            hide_parameters=True,
        )
        self._kept = connections
        self._free = threading.BoundedSemaphore(2 * connections)
        self._idle: list[Connection] = []
        event.listen(self._readers, "begin", _beginner("BEGIN"))
        try:
            with self._gate:
                # Kept for good: checking one out costs as much as a small transaction.
                self._writer = writers.connect()
        except BaseException:
            self._gate.close()
            raise

    @property
    def dialect(self) -> Literal["sqlite"]:
        """SQLAlchemy's name of the dialect."""
        return "sqlite"

    @property
    def version(self) -> tuple[int, ...]:
        """Version of the SQLite library in this process."""
        return sqlite3.sqlite_version_info

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a deferred transaction on a ``query_only`` connection."""
        if not self._free.acquire(timeout=self._patience):
            raise PoolTimeoutError("every reader is in use")
        try:
            connection = self._take_reader()
            try:
                with connection.begin():
                    yield connection
            except BaseException:
                connection.close()
                raise
            self._put_reader(connection)
        finally:
            self._free.release()

    def _take_reader(self) -> Connection:
        try:
            # Kept, as the writer is: checking one out of a pool costs as much as a look-up.
            return self._idle.pop()
        except IndexError:
            return self._readers.connect()

    def _put_reader(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= self._kept:
            connection.close()
        else:
            self._idle.append(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open an immediate transaction behind the gate."""
        with self._gate:
            connection = self._writer
            try:
                with connection.begin():
                    yield connection
            finally:
                self._settle(connection)

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file; truncate it, unless somebody reads it."""
        with self._gate:
            driver = _driver(self._writer)
            # It would wait for readers, and every writer behind it.
            driver.execute("PRAGMA busy_timeout=0")
            try:
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                driver.execute(f"PRAGMA busy_timeout={self._busy_ms}")

    def close(self) -> None:
        """Close every connection; the last one to a database checkpoints it."""
        if self._closed:
            return
        self._closed = True
        with self._gate:
            while self._idle:
                self._idle.pop().close()
            self._writer.close()
        self._gate.close()
        if self._temporary:
            self._remove()

    @staticmethod
    def _settle(connection: Connection) -> None:
        # A failed COMMIT (disk full, I/O) can leave SQLite inside the transaction.
        driver = _driver(connection)
        if driver.in_transaction:
            driver.execute("ROLLBACK")

    def _connect_writer(self) -> sqlite3.Connection:
        driver = self._connect()
        mode = driver.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            driver.close()
            raise ConfigurationError(
                f"{self._path}: the file system does not support SQLite's write-ahead log",
                reason="DATABASE_UNOPENABLE",
            )
        driver.execute(f"PRAGMA synchronous={'OFF' if self._temporary else 'FULL'}")
        driver.execute(f"PRAGMA journal_size_limit={_MAX_IDLE_LOG_BYTES}")
        driver.execute(f"PRAGMA cache_size=-{_WRITER_CACHE_KIB}")
        driver.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        return driver

    def _connect_reader(self) -> sqlite3.Connection:
        driver = self._connect()
        driver.execute("PRAGMA query_only=ON")
        return driver

    def _connect(self) -> sqlite3.Connection:
        driver = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENT_CACHE,
        )
        driver.execute(f"PRAGMA busy_timeout={self._busy_ms}")
        driver.execute("PRAGMA foreign_keys=ON")
        return driver


def _make_file(path: Path) -> None:
    # Made here, not by SQLite, so that it and its companions are born private.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigurationError(
            f"cannot open the database file {path}: {error.strerror}",
            reason="DATABASE_UNOPENABLE",
        ) from error


def _beginner(statement: str) -> Callable[[Connection], None]:
    def begin(connection: Connection) -> None:
        _driver(connection).execute(statement)

    return begin


def _driver(connection: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.dbapi_connection)
