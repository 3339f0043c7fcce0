"""The region's database, as the domain sees it.

One object that opens transactions and inserts rows; which engine is below it
(SQLite or PostgreSQL) is `yinxin_edge.database`'s affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from sqlalchemy import Connection, Table, bindparam, select, update

from yinxin_edge.bulk import bulk_insert
from yinxin_edge.database import Database
from yinxin_edge.lookup import Lookup
from yinxin_proto.error import ConfigurationError
from yinxin_trust import migration, schema
from yinxin_trust.permissionseal import PermissionSeal, attach, detach, forget
from yinxin_trust.rows import Row

# Built once: building a statement costs as much as SQLite takes to run it.
_GET_SETTING: Final = Lookup(
    select(schema.setting.c.value).where(schema.setting.c.name == bindparam("name"))
)


class Storage:
    """Opens transactions on a region's database.

    Args:
        database: An open database; this object closes it.
    """

    seal: PermissionSeal | None = None
    """Keeps the records of who may do what whole; set when the keys are at hand."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def read(self) -> AbstractContextManager[Connection]:
        """Open a read transaction: one snapshot, no locks that writers feel."""
        return self.database.read()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a write transaction; it commits on leaving, or rolls back on an error."""
        with self.database.write() as conn:
            if self.seal is None:
                yield conn
                return
            attach(conn, self.seal)
            try:
                yield conn
                detach(conn)
            finally:
                forget(conn)

    def insert(self, conn: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert many rows by the engine's fastest path.

        Raises:
            AlreadyExistsError: A unique constraint refuses (reason ``UNIQUE``).
        """
        bulk_insert(conn, table, rows)

    def create(self) -> None:
        """Bring an empty or older database to the newest schema."""
        with self.write() as conn:
            migration.upgrade(conn)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()


def get_setting(conn: Connection, name: str) -> str | None:
    """Return a setting's value, or None."""
    row = _GET_SETTING.one(conn, name=name)
    return None if row is None else str(row[0])


def require_setting(conn: Connection, name: str) -> str:
    """Return a setting that `region init` wrote.

    Raises:
        ConfigurationError: It is absent: the database is not a region's.
    """
    value = get_setting(conn, name)
    if value is None:
        raise ConfigurationError(
            f"the database has no setting {name}; was this region initialised?",
            reason="NOT_A_REGION",
        )
    return value


def put_setting(conn: Connection, name: str, value: str) -> None:
    """Write a setting, inside a write transaction."""
    s = schema.setting
    changed = conn.execute(update(s).where(s.c.name == name).values(value=value))
    if changed.rowcount == 0:
        conn.execute(s.insert().values(name=name, value=value))
