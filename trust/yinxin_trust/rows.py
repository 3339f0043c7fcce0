"""Rows that wait to be inserted together.

Whatever only inserts (an issue, an audit row, a new subject) is prepared
outside any transaction as a `RowBatch`; batches of concurrent calls are
merged and written by one multi-row statement per table. A claim table's
unique constraint is what refuses a duplicate, so nothing need be read inside
the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from sqlalchemy import Table

Row: TypeAlias = Mapping[str, Any]


def milliseconds(moment: datetime) -> int:
    """Return Unix milliseconds."""
    return int(moment.timestamp() * 1000)


def moment(unix_ms: int) -> datetime:
    """Return the UTC moment of Unix milliseconds."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


class RowBatch:
    """Rows by table, in the order in which the tables were first named."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[Table, list[Row]] = {}

    def add(self, table: Table, row: Row) -> None:
        """Add one row; every row of a table names the same columns."""
        self._rows.setdefault(table, []).append(row)

    def extend(self, other: RowBatch) -> None:
        """Append all rows of another batch."""
        for table, rows in other._rows.items():
            self._rows.setdefault(table, []).extend(rows)

    def tables(self) -> Iterable[tuple[Table, list[Row]]]:
        """Return the tables with their rows."""
        return self._rows.items()

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._rows.values())
