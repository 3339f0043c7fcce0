"""What is SQLite's own: the gate, the file, its faults."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from support.writer_process import count_up, count_up_often, hold_a_write
from yinxin_edge.database import Database
from yinxin_proto.error import (
    ConfigurationError,
    IntegrityError,
    InternalError,
    ResourceExhaustedError,
    UnavailableError,
    YinxinError,
)

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "region.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database.open(f"sqlite:///{path}", patience=timedelta(seconds=0.2)) as opened:
        with opened.write() as connection:
            connection.execute(text("CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER)"))
            connection.execute(text("INSERT INTO counter VALUES (1, 0)"))
        yield opened


def _count(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(text("SELECT n FROM counter")).scalar_one())


def test_a_write_inside_a_write_is_a_fault_not_a_deadlock(database: Database) -> None:
    with database.write(), pytest.raises(InternalError) as caught, database.write():
        pass
    assert caught.value.reason == "NESTED_WRITE"
    count_up(database)


def test_writers_of_several_processes_lose_no_update(path: Path, database: Database) -> None:
    pipes = []
    for _ in range(2):
        ours, theirs = SPAWN.Pipe()
        SPAWN.Process(target=count_up_often, args=(f"sqlite:///{path}", 100, theirs)).start()
        pipes.append(ours)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * 2
    for _ in range(100):
        count_up(database)
    assert [pipe.recv() for pipe in pipes] == ["done"] * 2
    assert _count(database) == 300


def test_a_killed_writer_leaves_the_gate_open_and_nothing_stored(
    path: Path, database: Database
) -> None:
    ours, theirs = SPAWN.Pipe()
    holder = SPAWN.Process(target=hold_a_write, args=(f"sqlite:///{path}", theirs))
    holder.start()
    assert ours.recv() == "holding"
    with pytest.raises(UnavailableError) as caught:
        count_up(database)
    assert caught.value.reason == "DATABASE_LOCKED"
    holder.kill()
    holder.join()
    count_up(database)
    assert _count(database) == 1


def test_a_lock_taken_around_the_gate_is_reported(path: Path, database: Database) -> None:
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError) as caught:
        count_up(database)
    assert caught.value.reason == "DATABASE_LOCKED"
    foreign.execute("ROLLBACK")
    foreign.close()
    count_up(database)
    assert _count(database) == 1


def test_a_full_database_stores_nothing_by_half_and_goes_on(database: Database) -> None:
    with database.write() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count={pages + 2}"))

    def fill() -> None:
        with database.write() as connection:
            connection.execute(text("UPDATE counter SET n = 77"))
            connection.execute(text("CREATE TABLE big AS SELECT randomblob(100000) AS b"))

    with pytest.raises(ResourceExhaustedError) as caught:
        fill()
    assert caught.value.reason == "STORAGE_FULL"
    assert _count(database) == 0
    count_up(database)
    assert _count(database) == 1


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"certainly not a database " * 200)
    with pytest.raises(IntegrityError) as caught:
        Database.open(f"sqlite:///{path}")
    assert caught.value.reason == "DATABASE_CORRUPT"


def test_a_database_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Database.open(f"sqlite:///{tmp_path}/absent/region.db")
    assert caught.value.reason == "DATABASE_UNOPENABLE"


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/d", "not a url with secret", "sqlite+aiosqlite://"]
)
def test_another_kind_of_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Database.open(url)
    assert caught.value.reason == "DATABASE_URL"
    assert "secret" not in str(caught.value)


def test_the_file_and_its_companions_are_private(path: Path, database: Database) -> None:
    count_up(database)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert "region.db-wal" in modes
    assert set(modes.values()) == {0o600}


def test_commits_are_flushed_and_logged_ahead(database: Database) -> None:
    with database.write() as connection:
        full = 2
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == full
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"


def test_checkpoint_empties_the_write_ahead_log(path: Path, database: Database) -> None:
    count_up(database)
    log = path.with_name("region.db-wal")
    assert log.stat().st_size > 0
    database.checkpoint()
    assert log.stat().st_size == 0
    assert _count(database) == 1


def test_closing_folds_the_log_and_twice_is_once(path: Path, database: Database) -> None:
    count_up(database)
    database.close()
    database.close()
    assert not path.with_name("region.db-wal").exists()


def test_a_nameless_database_is_private_and_gone_when_closed() -> None:
    with Database.open("sqlite://") as first, Database.open("sqlite://") as second:
        with first.write() as connection:
            connection.execute(text("CREATE TABLE only_here (id INTEGER)"))
            file = connection.execute(text("PRAGMA database_list")).one()[2]
        with pytest.raises(YinxinError), second.read() as connection:
            connection.execute(text("SELECT * FROM only_here"))
        assert Path(file).exists()
    assert not Path(file).exists()


def test_folding_the_log_waits_for_no_reader(path: Path) -> None:
    patience = timedelta(seconds=20)
    with Database.open(f"sqlite:///{path}", patience=patience) as database:
        with database.write() as connection:
            connection.execute(text("CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER)"))
            connection.execute(text("INSERT INTO counter VALUES (1, 0)"))
        with database.read() as reader:
            assert reader.execute(text("SELECT n FROM counter")).scalar_one() == 0
            count_up(database)
            started = time.monotonic()
            database.checkpoint()
            assert time.monotonic() - started < patience.total_seconds() / 2
            count_up(database)
        database.checkpoint()
        assert path.with_name("region.db-wal").stat().st_size == 0
        assert _count(database) == 2
