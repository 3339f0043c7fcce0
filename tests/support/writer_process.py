"""Process targets that write to a database: a spawned process imports them by name."""

from __future__ import annotations

from multiprocessing.connection import Connection as Pipe

from sqlalchemy import text

from yinxin_edge.database import Database


def count_up(database: Database) -> None:
    """Read, then write: the pattern that deferred transactions cannot survive."""
    with database.write() as connection:
        seen = connection.execute(text("SELECT n FROM counter")).scalar_one()
        connection.execute(text("UPDATE counter SET n = :n"), {"n": seen + 1})


def count_up_often(url: str, times: int, pipe: Pipe) -> None:
    """Say ``ready``, count up, say ``done``."""
    with Database.open(url) as database:
        pipe.send("ready")
        for _ in range(times):
            count_up(database)
    pipe.send("done")


def hold_a_write(url: str, pipe: Pipe) -> None:
    """Write inside a transaction, say ``holding``, and keep it open until told."""
    with Database.open(url) as database, database.write() as connection:
        connection.execute(text("UPDATE counter SET n = 1000"))
        pipe.send("holding")
        pipe.recv()
