"""Many rows at once, by the fastest way that shares the caller's transaction.

SQLite: one prepared statement (the driver's ``executemany``). PostgreSQL: binary
``COPY`` on the driver's connection, about twice Core's rate; it rolls back with
everything else in the transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
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
Values = tuple[Any, ...]

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
    keys = tuple(rows[0])
    plan = _plan(connection.dialect, table, keys)
    values = _values(keys, rows)
    driver: Any = connection.connection.driver_connection
    if plan.types:
        _copy(driver, plan, values)
    elif plan.statement:
        # Straight to the driver: Core's own executemany looks at every value of every
        # row, which costs as much as SQLite takes to store it.
        driver.executemany(plan.statement, values)
    else:
        connection.execute(insert(table), rows)
    return len(rows)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How rows of a table reach the database."""

    statement: str
    """For the driver; empty where Core has to convert values."""
    types: tuple[str, ...]
    """The columns' types, for COPY; empty without it."""


@lru_cache(maxsize=256)
def _plan(dialect: Dialect, table: Table, keys: tuple[str, ...]) -> _Plan:
    columns = _columns(table, keys)
    preparer = dialect.identifier_preparer
    names = ", ".join(preparer.format_column(column) for column in columns)
    into = f"{preparer.format_table(table)} ({names})"
    if dialect.name == "postgresql":
        types = tuple(_type_name(column, dialect) for column in columns)
        return _Plan(f"COPY {into} FROM STDIN (FORMAT BINARY)", types)
    if not all(isinstance(column.type, _AS_THEY_ARE) for column in columns):
        return _Plan("", ())
    marks = ", ".join("?" * len(columns))
    return _Plan(f"INSERT INTO {into} VALUES ({marks})", ())  # noqa: S608 - our own schema's names


def _columns(table: Table, keys: Sequence[str]) -> list[Column[Any]]:
    unknown = set(keys) - set(table.columns.keys())
    if unknown:
        raise InternalError(
            f"table {table.name} has no column {', '.join(sorted(unknown))}", reason="BULK_ROWS"
        )
    columns = [table.columns[key] for key in keys]
    if any(isinstance(column.type, TypeDecorator | Enum) for column in columns):
        # COPY would write the Python value where `insert` writes the converted one.
        raise InternalError("a bulk insert converts no decorated types", reason="BULK_ROWS")
    return columns


def _values(keys: tuple[str, ...], rows: Sequence[Row]) -> list[Values]:
    """Return the rows as tuples, refusing what does not have exactly these keys."""
    if {len(keys)}.issuperset(map(len, rows)):
        try:
            if len(keys) > 1:
                return list(map(itemgetter(*keys), rows))
            return [(row[keys[0]],) for row in rows]
        except KeyError:
            pass  # as many keys, but others
    raise InternalError("rows of one bulk insert differ in their columns", reason="BULK_ROWS")


def _copy(driver: Any, plan: _Plan, rows: Sequence[Values]) -> None:  # noqa: ANN401 - psycopg's
    with driver.cursor() as cursor, cursor.copy(plan.statement) as copy:
        # Binary COPY converts nothing on the server: without this, an int of 3
        # goes out as int2 into a bigint column (ProtocolViolation).
        copy.set_types(plan.types)
        write_row = copy.write_row
        for row in rows:
            write_row(row)


def _type_name(column: Column[Any], dialect: Dialect) -> str:
    compiled = column.type.dialect_impl(dialect).compile(dialect).lower()
    # "VARCHAR(21)" and "TIMESTAMP(3) WITH TIME ZONE" carry a modifier that names no type.
    head, bracket, rest = compiled.partition("(")
    name = (head + rest.partition(")")[2]) if bracket else compiled
    return _COPY_NAMES.get(name.strip(), name.strip())
