"""Many rows at once, by the fastest way that shares the caller's transaction.

SQLite: one prepared statement (the driver's ``executemany``). PostgreSQL: binary
``COPY`` on the driver's connection, about twice Core's rate; it rolls back with
everything else in the transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Dialect,
    Enum,
    Integer,
    LargeBinary,
    String,
    Table,
    TypeDecorator,
    insert,
)

from yinxin_proto.error import InternalError

Row = Mapping[str, Any]

_AS_THEY_ARE: Final = (Integer, LargeBinary, String)
"""Types whose values SQLite's driver stores as Core would; others Core converts."""

_COPY_NAMES: Final = {"float": "double precision", "char": "bpchar"}
"""Where SQLAlchemy's spelling of a type is not one that psycopg's registry knows."""


def bulk_insert(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """Insert rows inside the caller's write transaction.

    Python-side column defaults do not run: every row names the same columns,
    and those are the columns that are written.

    Args:
        connection: From ``Database.write()``.
        table: Where the rows go.
        rows: Keyed by column key, all with the same keys.

    Returns:
        How many rows were inserted; 0 for none.

    Raises:
        InternalError: ``BULK_ROWS``, rows that differ in their keys, name no
            column of ``table``, or one of a decorated type.
        AlreadyExistsError: ``UNIQUE``, when raised through ``Database.write()``.
    """
    if not rows:
        return 0
    columns = _columns(table, rows)
    if connection.dialect.name == "postgresql":
        _copy(connection, table, columns, rows)
    elif all(isinstance(column.type, _AS_THEY_ARE) for column in columns):
        _executemany(connection, table, columns, rows)
    else:
        connection.execute(insert(table), rows)
    return len(rows)


def _columns(table: Table, rows: Sequence[Row]) -> list[Column[Any]]:
    keys = rows[0].keys()
    if any(row.keys() != keys for row in rows):
        raise InternalError("rows of one bulk insert differ in their columns", reason="BULK_ROWS")
    unknown = keys - table.columns.keys()
    if unknown:
        raise InternalError(
            f"table {table.name} has no column {', '.join(sorted(unknown))}", reason="BULK_ROWS"
        )
    columns = [table.columns[key] for key in keys]
    if any(isinstance(column.type, TypeDecorator | Enum) for column in columns):
        # COPY would write the Python value where `insert` writes the converted one.
        raise InternalError("a bulk insert converts no decorated types", reason="BULK_ROWS")
    return columns


def _executemany(
    connection: Connection, table: Table, columns: Sequence[Column[Any]], rows: Sequence[Row]
) -> None:
    # Straight to the driver: Core's own executemany looks at every value of every
    # row, which costs as much as SQLite takes to store it.
    preparer = connection.dialect.identifier_preparer
    names = ", ".join(preparer.format_column(column) for column in columns)
    marks = ", ".join("?" * len(columns))
    into = f"{preparer.format_table(table)} ({names})"
    statement = f"INSERT INTO {into} VALUES ({marks})"  # noqa: S608 - our own schema's names
    keys = [column.key for column in columns]
    connection.exec_driver_sql(statement, [tuple([row[key] for key in keys]) for row in rows])


def _copy(
    connection: Connection, table: Table, columns: Sequence[Column[Any]], rows: Sequence[Row]
) -> None:
    dialect = connection.dialect
    preparer = dialect.identifier_preparer
    names = ", ".join(preparer.format_column(column) for column in columns)
    statement = f"COPY {preparer.format_table(table)} ({names}) FROM STDIN (FORMAT BINARY)"
    keys = [column.key for column in columns]
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        # Binary COPY converts nothing on the server: without this, an int of 3
        # goes out as int2 into a bigint column (ProtocolViolation).
        copy.set_types([_type_name(column, dialect) for column in columns])
        write_row = copy.write_row
        for row in rows:
            write_row([row[key] for key in keys])


def _type_name(column: Column[Any], dialect: Dialect) -> str:
    compiled = column.type.dialect_impl(dialect).compile(dialect).lower()
    # "VARCHAR(21)" and "TIMESTAMP(3) WITH TIME ZONE" carry a modifier that names no type.
    head, bracket, rest = compiled.partition("(")
    name = (head + rest.partition(")")[2]) if bracket else compiled
    return _COPY_NAMES.get(name.strip(), name.strip())
