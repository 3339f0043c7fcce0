"""PostgreSQL as `yinxin_edge.database` uses it, through psycopg."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, Literal

from sqlalchemy import URL, Connection, QueuePool, create_engine

_IDLE_TRANSACTION: Final = timedelta(seconds=60)
_CONNECT_TIMEOUT_SECONDS: Final = 5


class PostgresqlBackend:
    """One PostgreSQL database.

    Args:
        url: With psycopg as its driver; its own ``options`` are kept.
        connections: Kept open; as many again may be opened under load.
        patience: How long to wait for a lock or a free connection.
    """

    def __init__(self, *, url: URL, connections: int, patience: timedelta) -> None:
        self._engine = create_engine(
            _with_timeouts(url, patience),
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=connections,
            pool_timeout=patience.total_seconds(),
            isolation_level="READ COMMITTED",
            hide_parameters=True,
        )
        self._readers = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        try:
            with self._engine.connect():
                self._version = tuple(
                    int(part) for part in self._engine.dialect.server_version_info or ()
                )
        except BaseException:
            self._engine.dispose()
            raise

    @property
    def dialect(self) -> Literal["postgresql"]:
        """SQLAlchemy's name of the dialect."""
        return "postgresql"

    @property
    def version(self) -> tuple[int, ...]:
        """Version of the server."""
        return self._version

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a ``REPEATABLE READ READ ONLY`` transaction: one snapshot."""
        with self._readers.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a ``READ COMMITTED`` transaction."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def checkpoint(self) -> None:
        """Do nothing: the server checkpoints by itself."""

    def close(self) -> None:
        """Close every idle connection; those in use close when they come back."""
        self._engine.dispose()


def _with_timeouts(url: URL, patience: timedelta) -> URL:
    # In the URL, not by SET: it costs no round trip and survives RESET.
    settings = {
        "lock_timeout": patience,
        # A stopped process must not hold its row locks for ever.
        "idle_in_transaction_session_timeout": _IDLE_TRANSACTION,
    }
    options = " ".join(
        f"-c {name}={int(value.total_seconds() * 1000)}" for name, value in settings.items()
    )
    own = url.query.get("options", "")
    own = own if isinstance(own, str) else " ".join(own)
    query: dict[str, str] = {"options": f"{options} {own}".strip()}
    if "connect_timeout" not in url.query:
        query["connect_timeout"] = str(_CONNECT_TIMEOUT_SECONDS)
    if "application_name" not in url.query:
        query["application_name"] = "yinxin"
    return url.update_query_dict(query)
