"""Where rows live: SQLite beside the service, or PostgreSQL, under one contract.

Two modes, and nothing else opens a transaction:

* ``read()`` sees one snapshot from its first statement to its end, and cannot
  write. (SQLite: deferred ``BEGIN`` in WAL, ``query_only``; PostgreSQL:
  ``REPEATABLE READ READ ONLY``, which never fails to serialise.)
* ``write()`` commits when its block ends, and rolls back when it raises.
  (SQLite: ``BEGIN IMMEDIATE`` behind the write gate, ``synchronous=FULL``;
  PostgreSQL: ``READ COMMITTED``.) On PostgreSQL other writers' commits become
  visible between two statements of one block: what must hold at commit has to be
  locked, compared and set, or claimed in a table with a unique key.

A block must be short and never wait for a peer. Nothing is retried here: a
commit whose answer was lost must be looked up, not repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Protocol, Self

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from yinxin_edge.database_error import translated
from yinxin_edge.postgresql import PostgresqlBackend
from yinxin_edge.sqlite import SqliteBackend
from yinxin_proto.error import ConfigurationError

_PATIENCE: Final = timedelta(seconds=5)


class Backend(Protocol):
    """What one kind of database does behind `Database`."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """SQLAlchemy's name of the dialect."""
        ...

    @property
    def version(self) -> tuple[int, ...]:
        """Version of the engine or server."""
        ...

    def read(self) -> AbstractContextManager[Connection]:
        """Open a read transaction."""
        ...

    def write(self) -> AbstractContextManager[Connection]:
        """Open a write transaction."""
        ...

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the database file, where that is ours to do."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


class Database:
    """One open database; safe to share between threads, never across a fork.

    Use `open`; close it, or use it as a context manager.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @classmethod
    def open(
        cls, url: str | URL, *, connections: int = 16, patience: timedelta = _PATIENCE
    ) -> Database:
        """Open a database and make sure that it answers.

        Args:
            url: ``sqlite:////absolute/path`` (made if absent), ``sqlite://`` (a
                private one in a temporary directory, gone when closed), or
                ``postgresql://user@host/name`` (psycopg is the driver).
            connections: How many are kept; twice as many may be open.
            patience: How long to wait for a lock, a connection or the gate.

        Raises:
            ConfigurationError: ``DATABASE_URL``, not such a URL;
                ``DATABASE_UNOPENABLE``, no right to the file or its directory.
            IntegrityError: ``DATABASE_CORRUPT``, the file is not a database.
            UnavailableError: ``DATABASE_UNREACHABLE``, no server answers;
                ``DATABASE_LOCKED``, a writer did not let go in time.
        """
        parsed = _parse(url)
        with translated():
            if parsed.get_backend_name() == "sqlite":
                path = Path(parsed.database) if parsed.database else None
                return cls(SqliteBackend(path=path, connections=connections, patience=patience))
            return cls(PostgresqlBackend(url=parsed, connections=connections, patience=patience))

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """SQLAlchemy's name of the dialect."""
        return self._backend.dialect

    @property
    def version(self) -> tuple[int, ...]:
        """Version of SQLite's library or of the PostgreSQL server."""
        return self._backend.version

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one snapshot and cannot write.

        Raises:
            YinxinError: As listed in ``yinxin_edge.database_error``.
        """
        with translated(), self._backend.read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that commits when the block ends, durably.

        Raises:
            InternalError: ``NESTED_WRITE``, this thread already writes (SQLite).
            YinxinError: As listed in ``yinxin_edge.database_error``; nothing of
                the block is stored then. After ``DATABASE_UNREACHABLE`` the
                commit itself may have happened: look before repeating.
        """
        with translated(), self._backend.write() as connection:
            yield connection

    def checkpoint(self) -> None:
        """Fold SQLite's write-ahead log into its file, under the write gate."""
        with translated():
            self._backend.checkpoint()

    def close(self) -> None:
        """Close every connection; safe to call twice."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _parse(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        # The URL may hold a password: it is not repeated.
        raise _bad_url() from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        # Relative to whichever directory a command is run in, it would be another one each time.
        if parsed.database and not Path(parsed.database).is_absolute():
            raise _bad_url()
        return parsed
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise _bad_url()


def _bad_url() -> ConfigurationError:
    return ConfigurationError(
        "the database URL must be sqlite:////absolute/path or postgresql://user@host/name",
        reason="DATABASE_URL",
    )
