"""What issuing is measured against: a signature, and a row in a table, with nothing around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, Table, Text

from yinxin_edge.bulk import bulk_insert
from yinxin_edge.clock import SystemEntropy
from yinxin_edge.database import Database

_metadata: Final = MetaData()
TABLE: Final = Table(
    "raw_licence",
    _metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("owner", LargeBinary(16), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("issuer", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index("ix_raw_owner", "owner"),
    Index("ix_raw_digest", "digest"),
    Index("ix_raw_issuer", "issuer", "created_ms"),
    Index("ix_raw_until", "until_ms"),
)
"""A primary key and four indexes, two of them on random values as ours are."""
ROW_BYTES: Final = 1600
_PAYLOAD_BYTES: Final = ROW_BYTES - 16 - 16 - 32 - 18 - 8 - 8


def make_rows(count: int, *, first: int) -> list[dict[str, Any]]:
    """Return rows of 1.6 kB that no earlier call returned."""
    entropy = SystemEntropy()
    return [
        {
            "id": entropy.token(16),
            "owner": entropy.token(16),
            "digest": entropy.token(32),
            "issuer": "113503000035501000",
            "created_ms": first + position,
            "until_ms": first + position,
            "payload": entropy.token(_PAYLOAD_BYTES),
        }
        for position in range(count)
    ]


def create_table(database: Database) -> None:
    """Make the table in an empty database."""
    with database.write() as connection:
        _metadata.create_all(connection)


def insert(database: Database, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows durably, by the path that issuing takes too."""
    with database.write() as connection:
        bulk_insert(connection, TABLE, rows)
