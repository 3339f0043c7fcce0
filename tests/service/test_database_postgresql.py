"""What is PostgreSQL's own: a server that goes away, and sessions that idle."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from support.postgres import postgres_url
from yinxin_edge.database import Database
from yinxin_proto.error import UnavailableError

__all__ = ["postgres_url"]

pytestmark = pytest.mark.postgres


def test_a_server_that_does_not_answer_is_unreachable() -> None:
    with pytest.raises(UnavailableError) as caught:
        Database.open("postgresql://nobody:secret@127.0.0.1:1/none")
    assert caught.value.reason == "DATABASE_UNREACHABLE"
    assert "secret" not in str(caught.value)


def test_a_broken_connection_is_reported_and_replaced(postgres_url: str) -> None:
    def lose(database: Database, administrator: Database) -> None:
        with database.write() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with administrator.write() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 2000)"), {"pid": pid})
            connection.execute(text("SELECT 1"))

    with Database.open(postgres_url) as database, Database.open(postgres_url) as administrator:
        with pytest.raises(UnavailableError) as caught:
            lose(database, administrator)
        assert caught.value.reason == "DATABASE_UNREACHABLE"
        with database.read() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_deadlocked_writers_are_told_of_a_conflict(postgres_url: str) -> None:
    # A serialisation failure stands for both: the same class of SQLSTATE.
    raise_it = "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$"
    with (
        Database.open(postgres_url) as database,
        pytest.raises(UnavailableError) as caught,
        database.write() as connection,
    ):
        connection.execute(text(raise_it))
    assert caught.value.reason == "DATABASE_CONFLICT"


def test_sessions_have_their_timeouts_and_keep_the_urls_own_options(postgres_url: str) -> None:
    with Database.open(postgres_url) as database, database.read() as connection:
        assert connection.execute(text("SHOW lock_timeout")).scalar_one() == "5s"
        idle = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
        assert idle == "1min"
        assert connection.execute(text("SHOW search_path")).scalar_one().startswith("test_")
        assert database.version >= (14,)
