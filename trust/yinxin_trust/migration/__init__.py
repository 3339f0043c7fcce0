"""Migrations of a region's database (Alembic), run by `region init` and `serve`."""

from __future__ import annotations

from importlib import resources
from typing import Final

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from yinxin_proto.error import ConfigurationError

_PACKAGE: Final = "yinxin_trust.migration"


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(resources.files(_PACKAGE)))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def head() -> str:
    """Return the revision that this version of the code needs."""
    revision = _scripts().get_current_head()
    if revision is None:
        raise ConfigurationError("the migrations are missing from the installation")
    return revision


def current(conn: Connection) -> str | None:
    """Return the revision of a database, or None where there is no region yet."""
    return MigrationContext.configure(conn).get_current_revision()


def upgrade(conn: Connection) -> None:
    """Bring a database to the newest revision, inside the caller's write transaction."""
    scripts = _scripts()
    environment = EnvironmentContext(Config(), scripts)
    environment.configure(
        connection=conn,
        # The caller's transaction is the only one: all of it commits, or nothing.
        transactional_ddl=True,
        fn=lambda revision, _: scripts._upgrade_revs(head(), revision),
    )
    environment.run_migrations()


def require_current(conn: Connection) -> None:
    """Refuse a database of another revision.

    Raises:
        ConfigurationError: It is older or newer than this version of the code
            (``SCHEMA_VERSION``).
    """
    found = current(conn)
    if found != head():
        raise ConfigurationError(
            f"the database is at schema revision {found or 'none'}, this version needs {head()}; "
            "use the version of the code that it was made by",
            reason="SCHEMA_VERSION",
        )
