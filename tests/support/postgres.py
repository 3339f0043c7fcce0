"""A schema of its own on a real PostgreSQL server, for each test that asks.

``YINXIN_TEST_POSTGRES`` is the server's URL; without it a local one is tried.
Where none answers, the tests are skipped, loudly; with
``YINXIN_REQUIRE_POSTGRES=1`` they fail instead.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import URL, NullPool, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from yinxin_edge.clock import SystemEntropy

DEFAULT_URL = "postgresql+psycopg://127.0.0.1/test"


def server_url() -> URL:
    """Where the tests look for a server."""
    url = make_url(os.environ.get("YINXIN_TEST_POSTGRES", DEFAULT_URL))
    return url.set(drivername="postgresql+psycopg").update_query_dict({"connect_timeout": "3"})


@functools.cache
def _unreachable_because() -> str | None:
    engine = create_engine(server_url(), poolclass=NullPool)
    try:
        with engine.connect():
            return None
    except SQLAlchemyError as error:
        return type(error).__name__


def require_server() -> None:
    """Skip or fail the calling test when no server answers."""
    reason = _unreachable_because()
    if reason is None:
        return
    said = f"no PostgreSQL at {server_url().render_as_string()} ({reason})"
    if os.environ.get("YINXIN_REQUIRE_POSTGRES") == "1":
        pytest.fail(f"{said}, and YINXIN_REQUIRE_POSTGRES=1")
    pytest.skip(f"{said}; set YINXIN_TEST_POSTGRES to run this")


@contextmanager
def temporary_schema() -> Iterator[str]:
    """Make a schema, yield a URL whose connections live in it, drop it."""
    require_server()
    schema = f"test_{SystemEntropy().token(8).hex()}"
    engine = create_engine(server_url(), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    url = server_url().update_query_dict({"options": f"-csearch_path={schema}"})
    try:
        yield url.render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """URL of an empty schema of this test's own."""
    with temporary_schema() as url:
        yield url
