"""Point look-ups that every call makes, straight to the driver.

Core takes some twenty times as long to prepare and unpack such a statement as
SQLite takes to answer it. It is compiled by Core all the same, once for each
dialect; what runs is the text. Values go in and come out as the driver has
them, so it is for whole numbers, texts and bytes alone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select

Values = tuple[Any, ...]


class Lookup:
    """A compiled ``SELECT``.

    Args:
        statement: Its parameters are `bindparam`s, all of them named.
    """

    __slots__ = ("_statement", "_texts")

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        self._statement = statement
        self._texts: dict[str, tuple[str, tuple[str, ...] | None]] = {}

    def all(self, connection: Connection, **values: object) -> list[Values]:
        """Return every row, inside the caller's transaction.

        Args:
            connection: From ``Database.read()`` or ``Database.write()``.
            values: One for each parameter.
        """
        text, order = self._texts.get(connection.dialect.name) or self._compile(connection)
        driver: Any = connection.connection.driver_connection
        bound = values if order is None else [values[name] for name in order]
        rows: list[Values] = driver.execute(text, bound).fetchall()
        return rows

    def one(self, connection: Connection, **values: object) -> Values | None:
        """Return the first row, or None; otherwise as `all`."""
        rows = self.all(connection, **values)
        return rows[0] if rows else None

    def _compile(self, connection: Connection) -> tuple[str, tuple[str, ...] | None]:
        compiled = self._statement.compile(dialect=connection.dialect)
        positions: list[str] | None = getattr(compiled, "positiontup", None)
        order = None if positions is None else tuple(positions)
        found = self._texts[connection.dialect.name] = (str(compiled), order)
        return found
