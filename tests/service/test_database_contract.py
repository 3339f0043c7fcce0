"""One contract, kept by SQLite and by PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    func,
    insert,
    select,
    update,
)

from support.postgres import temporary_schema
from yinxin_edge.bulk import bulk_insert
from yinxin_edge.database import Database
from yinxin_edge.database_error import UniqueError
from yinxin_edge.lookup import Lookup
from yinxin_proto.error import (
    AlreadyExistsError,
    IntegrityError,
    InternalError,
    UnavailableError,
)

INVENTED_NUMBER = "350302188503150013"

metadata = MetaData()
claim = Table(
    "claim",
    metadata,
    Column("value", Text, primary_key=True),
    Column("holder", String(40), nullable=False),
    Column("count", Integer, nullable=False, default=0),
    Column("slot", BigInteger),
    UniqueConstraint("holder", "slot", name="uq_claim_holder_slot"),
    CheckConstraint("count >= 0", name="ck_claim_count"),
)
every_type = Table(
    "every_type",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("small", SmallInteger),
    Column("whole", Integer),
    Column("ratio", Float),
    Column("flag", Boolean),
    Column("short", String(21)),
    Column("long", Text),
    Column("raw", LargeBinary(32)),
    Column("day", Date),
    Column("moment", DateTime(timezone=True)),
    Column("order", JSON),
)
decorated = Table("decorated", metadata, Column("kind", Enum("a", "b", native_enum=False)))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/region.db"
    else:
        with temporary_schema() as schema:
            yield schema


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with Database.open(url, patience=timedelta(seconds=0.3)) as opened:
        with opened.write() as connection:
            metadata.create_all(connection)
        yield opened


def _row(value: str) -> dict[str, object]:
    return {"value": value, "holder": value}


def _claim(connection: Connection, value: str, **columns: object) -> None:
    connection.execute(insert(claim).values(_row(value) | columns))


def _values(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(claim.c.value).order_by(claim.c.value)).scalars())


def test_a_write_block_commits_when_it_ends(database: Database) -> None:
    with database.write() as connection:
        _claim(connection, "a")
        _claim(connection, "b")
    assert _values(database) == ["a", "b"]


def test_a_write_block_that_raises_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            _claim(connection, "a")
            raise ValueError("the caller's own fault")

    with pytest.raises(ValueError, match="own fault"):
        fail()
    assert _values(database) == []


def test_what_was_committed_is_there_after_reopening(url: str) -> None:
    with Database.open(url) as first, first.write() as connection:
        metadata.create_all(connection)
        _claim(connection, "a")
    with Database.open(url) as second:
        assert _values(second) == ["a"]


def test_a_reader_sees_one_snapshot_while_a_writer_commits(database: Database) -> None:
    count = select(func.count()).select_from(claim)
    with database.read() as reader:
        assert reader.execute(count).scalar_one() == 0
        with database.write() as connection:
            _claim(connection, "a")
        assert reader.execute(count).scalar_one() == 0
    assert _values(database) == ["a"]


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(InternalError) as caught, database.read() as connection:
        _claim(connection, "a")
    assert caught.value.reason == "WRITE_IN_READ"
    with database.write() as connection:
        _claim(connection, "a")


def test_a_taken_key_is_already_exists_without_the_value(database: Database) -> None:
    with database.write() as connection:
        _claim(connection, INVENTED_NUMBER)
    with pytest.raises(AlreadyExistsError) as caught, database.write() as connection:
        connection.execute(insert(claim), [_row("other"), _row(INVENTED_NUMBER)])
    error = caught.value
    assert isinstance(error, UniqueError)
    assert (error.reason, error.table) == ("UNIQUE", "claim")
    assert error.constraint in {"value", "claim_pkey"}
    assert INVENTED_NUMBER not in str(error)
    # What the journal would print of it: nothing that quotes the row.
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert _values(database) == [INVENTED_NUMBER]


def test_a_taken_combination_names_its_constraint(database: Database) -> None:
    with database.write() as connection:
        _claim(connection, "a", holder="h", slot=1)
    with pytest.raises(UniqueError) as caught, database.write() as connection:
        _claim(connection, "b", holder="h", slot=1)
    assert caught.value.constraint in {"holder,slot", "uq_claim_holder_slot"}


def test_a_taken_key_in_bulk_is_the_same_error(database: Database) -> None:
    rows = [{"value": v, "holder": v, "count": 0} for v in ("a", INVENTED_NUMBER, INVENTED_NUMBER)]
    with pytest.raises(UniqueError) as caught, database.write() as connection:
        bulk_insert(connection, claim, rows)
    assert caught.value.table == "claim"
    assert INVENTED_NUMBER not in str(caught.value)
    assert _values(database) == []


@pytest.mark.parametrize("columns", [{"holder": None}, {"count": -1}])
def test_another_broken_constraint_is_an_integrity_error(
    database: Database, columns: dict[str, object]
) -> None:
    with pytest.raises(IntegrityError) as caught, database.write() as connection:
        _claim(connection, "a", **columns)
    assert caught.value.reason == "CONSTRAINT"


def test_a_faulty_statement_is_internal(database: Database) -> None:
    missing = Table("missing", MetaData(), Column("id", Integer))
    with pytest.raises(InternalError) as caught, database.read() as connection:
        connection.execute(select(missing))
    assert caught.value.reason == "DATABASE"
    assert "missing" in str(caught.value)


def test_bulk_insert_stores_every_plain_type(database: Database) -> None:
    row: dict[str, Any] = {
        "id": 1 << 40,
        "small": 3,
        "whole": -70000,
        "ratio": 0.5,
        "flag": True,
        "short": "11100000MB03271699001",
        "long": "医师执业证书",
        "raw": bytes(range(32)),
        "day": date(2026, 11, 21),
        "moment": datetime(2026, 11, 21, 8, tzinfo=UTC),
        "order": {"a": [1, None]},
    }
    nothing: dict[str, Any] = dict.fromkeys(row) | {"id": 2, "order": {}}
    with database.write() as connection:
        assert bulk_insert(connection, every_type, [row, nothing]) == 2
        assert bulk_insert(connection, every_type, []) == 0
    with database.read() as connection:
        stored = connection.execute(select(every_type).order_by(every_type.c.id)).mappings().all()
    assert dict(stored[0]) == nothing
    found = dict(stored[1])
    if database.dialect == "sqlite":
        # SQLite keeps no time zone.
        found["moment"] = found["moment"].replace(tzinfo=UTC)
    assert found == row


def test_a_look_up_sees_what_core_sees_in_the_same_transaction(database: Database) -> None:
    e = every_type.c
    found = Lookup(
        select(e.id, e.whole, e.long, e.raw)
        .where(e.short == bindparam("short"), e.small >= bindparam("least"))
        .order_by(e.id.desc())
    )
    rows = [
        {"id": number, "small": number, "whole": None, "short": "s", "long": "医", "raw": b"\0\xff"}
        for number in (1, 2, 3)
    ]
    with database.write() as connection:
        connection.execute(insert(every_type), rows)
        assert found.all(connection, short="s", least=2) == [
            (3, None, "医", b"\0\xff"),
            (2, None, "医", b"\0\xff"),
        ]
    with database.read() as connection:
        assert found.one(connection, short="s", least=1) == (3, None, "医", b"\0\xff")
        assert found.one(connection, short="'; --", least=1) is None


def test_a_look_up_that_fails_says_so_as_core_does(database: Database) -> None:
    missing = Table("missing", MetaData(), Column("id", Integer))
    with pytest.raises(InternalError) as caught, database.read() as connection:
        Lookup(select(missing)).one(connection)
    assert caught.value.reason == "DATABASE"


def test_bulk_insert_shares_the_callers_transaction(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            _claim(connection, "one")
            bulk_insert(connection, claim, [{"value": "two", "holder": "h", "count": 0}])
            assert connection.execute(select(func.count()).select_from(claim)).scalar() == 2
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert _values(database) == []


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        (claim, [{"value": "a", "holder": "a"}, {"value": "b"}]),
        (claim, [{"value": "a", "owner": "a"}]),
        (decorated, [{"kind": "a"}]),
    ],
)
def test_bulk_insert_refuses_rows_it_would_store_wrongly(
    database: Database, table: Table, rows: list[dict[str, object]]
) -> None:
    with pytest.raises(InternalError) as caught, database.write() as connection:
        bulk_insert(connection, table, rows)
    assert caught.value.reason == "BULK_ROWS"


def test_concurrent_writers_lose_no_update(database: Database) -> None:
    with database.write() as connection:
        _claim(connection, "a")
    failures: list[Exception] = []

    def add() -> None:
        try:
            for _ in range(25):
                with database.write() as connection:
                    connection.execute(update(claim).values(count=claim.c["count"] + 1))
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            failures.append(error)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with database.read() as connection:
        assert connection.execute(select(claim.c["count"])).scalar_one() == 100


def test_a_row_held_too_long_is_locked_not_hung(url: str, database: Database) -> None:
    with database.write() as connection:
        _claim(connection, "a")
    with Database.open(url, patience=timedelta(seconds=0.3)) as other, other.write() as holder:
        holder.execute(update(claim).values(count=1))
        with pytest.raises(UnavailableError) as caught, database.write() as connection:
            connection.execute(update(claim).values(count=2))
    assert caught.value.reason == "DATABASE_LOCKED"
    with database.write() as connection:
        connection.execute(update(claim).values(count=3))


def test_more_readers_than_connections_are_told_to_come_back(url: str) -> None:
    patience = timedelta(seconds=0.1)
    with (
        Database.open(url, connections=1, patience=patience) as database,
        database.read(),
        database.read(),
        pytest.raises(UnavailableError) as caught,
        database.read(),
    ):
        pass
    assert caught.value.reason == "DATABASE_BUSY"
