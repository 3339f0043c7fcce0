"""The migrations make exactly the tables that the code describes."""

from __future__ import annotations

from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from support.postgres import temporary_schema
from yinxin_edge.database import Database
from yinxin_proto.error import ConfigurationError
from yinxin_trust import migration, schema
from yinxin_trust.storage import Storage


def differences(storage: Storage) -> list[object]:
    with storage.read() as conn:
        context = MigrationContext.configure(
            conn,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: (
                    kind != "table" or name in schema.metadata.tables
                ),
            },
        )
        return list(compare_metadata(context, schema.metadata))


def test_the_migrations_lead_to_the_schema_of_the_code() -> None:
    storage = Storage(Database.open("sqlite://"))
    storage.create()
    assert differences(storage) == []
    storage.close()


def test_the_migrations_lead_to_the_schema_of_the_code_on_postgresql() -> None:
    with temporary_schema() as url:
        with closing(Storage(Database.open(url))) as storage:
            storage.create()
            assert differences(storage) == []
            with storage.read() as conn:
                partitions = conn.execute(
                    text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'licence'::regclass")
                ).scalar_one()
        assert partitions == 16


def test_upgrading_twice_changes_nothing() -> None:
    storage = Storage(Database.open("sqlite://"))
    storage.create()
    storage.create()
    with storage.read() as conn:
        migration.require_current(conn)
    storage.close()


def test_a_database_of_another_revision_is_refused_with_advice() -> None:
    storage = Storage(Database.open("sqlite://"))
    storage.create()
    with storage.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with storage.read() as conn, pytest.raises(ConfigurationError) as caught:
        migration.require_current(conn)
    assert caught.value.reason == "SCHEMA_VERSION"
    storage.close()
