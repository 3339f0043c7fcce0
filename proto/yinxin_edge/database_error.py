"""What a database says, in the project's own errors.

Both databases and both layers (SQLAlchemy, and the driver where COPY speaks to
it alone) end in the same few reasons. A driver's text may quote the values of a
row, a subject's too, so it never reaches a message: tables, constraints and
codes do. For the same reason the driver's error is not chained.

====================== ======================= ======================================
reason                 class                   meaning
====================== ======================= ======================================
UNIQUE                 AlreadyExistsError      a unique or primary key is taken
CONSTRAINT             IntegrityError          another constraint of the schema
DATABASE_CORRUPT       IntegrityError          pages that contradict themselves
DATABASE_LOCKED        UnavailableError        another transaction holds what this needs
DATABASE_CONFLICT      UnavailableError        a deadlock or serialisation failure
DATABASE_BUSY          UnavailableError        no connection was free
DATABASE_UNREACHABLE   UnavailableError        no server, or it is going away
DATABASE_IO            UnavailableError        the disk failed a read or write
STORAGE_FULL           ResourceExhaustedError  no space left
DATABASE_UNOPENABLE    ConfigurationError      no such database, or no right to it
WRITE_IN_READ          InternalError           a fault of ours: a write in ``read()``
DATABASE               InternalError           a fault of ours: any other
====================== ======================= ======================================
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from yinxin_proto.error import (
    AlreadyExistsError,
    ConfigurationError,
    IntegrityError,
    InternalError,
    ResourceExhaustedError,
    UnavailableError,
    YinxinError,
)

_Make = Callable[[str], YinxinError]


class UniqueError(AlreadyExistsError):
    """A unique or primary key is already taken.

    Crosses a boundary as the `AlreadyExistsError` that it is.
    """

    def __init__(self, *, table: str, constraint: str) -> None:
        super().__init__(
            f"already there: a row of {table or 'the table'} with the same {constraint or 'key'}",
            reason="UNIQUE",
        )
        self.table = table
        """Table (on PostgreSQL the partition, where there is one)."""
        self.constraint = constraint
        """Constraint's name on PostgreSQL; column names, comma-separated, on SQLite."""


def _unavailable(reason: str, text: str) -> _Make:
    return lambda code: UnavailableError(f"{text} ({code}); try again", reason=reason)


def _full(code: str) -> YinxinError:
    return ResourceExhaustedError(f"the database has no space left ({code})", reason="STORAGE_FULL")


def _corrupt(code: str) -> YinxinError:
    return IntegrityError(f"the database file is damaged ({code})", reason="DATABASE_CORRUPT")


def _unopenable(code: str) -> YinxinError:
    return ConfigurationError(
        f"the database cannot be opened ({code}): check its address, name and rights",
        reason="DATABASE_UNOPENABLE",
    )


def _write_in_read(code: str) -> YinxinError:
    return InternalError(f"a read transaction tried to write ({code})", reason="WRITE_IN_READ")


_locked = _unavailable("DATABASE_LOCKED", "another transaction holds the database")
_conflict = _unavailable("DATABASE_CONFLICT", "two transactions collided")
_busy = _unavailable("DATABASE_BUSY", "no database connection was free")
_unreachable = _unavailable("DATABASE_UNREACHABLE", "the database server cannot be reached")
_io = _unavailable("DATABASE_IO", "the disk failed the database")

_SQLITE: Final[dict[str, _Make]] = {
    "BUSY": _locked,
    "LOCKED": _locked,
    "FULL": _full,
    "IOERR": _io,
    "CORRUPT": _corrupt,
    "NOTADB": _corrupt,
    "CANTOPEN": _unopenable,
    "PERM": _unopenable,
    "READONLY": _write_in_read,
}
"""By primary result code, SQLITE_ stripped (sqlite.org/rescode.html)."""

_POSTGRESQL: Final[dict[str, _Make]] = {
    "08": _unreachable,
    "25006": _write_in_read,
    "25P03": _locked,
    "28": _unopenable,
    "3D": _unopenable,
    "42501": _unopenable,
    "40": _conflict,
    "53100": _full,
    "53": _busy,
    "55P03": _locked,
    "57014": _locked,
    "57P": _unreachable,
    "58": _io,
    "XX001": _corrupt,
    "XX002": _corrupt,
}
"""By SQLSTATE, or its class (PostgreSQL appendix A); the longest match wins."""

_SQLITE_UNIQUE: Final = re.compile(r"UNIQUE constraint failed: (?:index '(\w+)'|([\w., ]+))\Z")


def translate(error: Exception) -> YinxinError:
    """Return the project's error for one of SQLAlchemy's or a driver's.

    Args:
        error: What was raised under a transaction. A `YinxinError` comes back
            as it is.

    Returns:
        The error to raise in its place, with the same traceback.
    """
    if isinstance(error, YinxinError):
        return error
    cause: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = error.orig
    if isinstance(cause, PoolTimeoutError):
        found = _busy("pool")
    elif isinstance(cause, sqlite3.Error):
        found = _from_sqlite(cause)
    elif _is_psycopg(cause):
        found = _from_postgresql(cause)
    else:
        found = InternalError(
            f"the database layer failed ({type(cause).__name__})", reason="DATABASE"
        )
    return found.with_traceback(error.__traceback__)


@contextmanager
def translated() -> Iterator[None]:
    """Run a block whose database errors leave it as the project's own.

    Raises:
        YinxinError: As the table above lists.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, SQLAlchemyError | sqlite3.Error) or _is_psycopg(error):
            raise translate(error) from None
        raise


def _is_psycopg(error: BaseException) -> bool:
    # By name: a region on SQLite alone need not have the driver.
    return any(
        kind.__module__ == "psycopg" and kind.__name__ == "Error" for kind in type(error).__mro__
    )


def _from_sqlite(error: sqlite3.Error) -> YinxinError:
    name: str = getattr(error, "sqlite_errorname", "") or type(error).__name__
    if name in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"):
        return _sqlite_unique(str(error))
    primary = name.removeprefix("SQLITE_").partition("_")[0]
    if primary == "CONSTRAINT":
        return IntegrityError(f"a constraint of the schema failed ({name})", reason="CONSTRAINT")
    make = _SQLITE.get(primary)
    if make is not None:
        return make(name)
    # SQLITE_ERROR names tables, columns and syntax, never values: they are bound.
    return InternalError(f"the database refused a statement ({name}: {error})", reason="DATABASE")


def _sqlite_unique(text: str) -> UniqueError:
    match = _SQLITE_UNIQUE.match(text)
    if match is None:
        return UniqueError(table="", constraint="")
    if match[1] is not None:
        return UniqueError(table="", constraint=match[1])
    columns = [part.strip().partition(".") for part in match[2].split(",")]
    return UniqueError(table=columns[0][0], constraint=",".join(column[2] for column in columns))


def _from_postgresql(error: BaseException) -> YinxinError:
    state: str | None = getattr(error, "sqlstate", None)
    if state is None:
        # No SQLSTATE: the server never answered, or the connection broke.
        if type(error).__name__ in ("OperationalError", "ConnectionTimeout"):
            return _unreachable(type(error).__name__)
        return InternalError(f"the driver failed ({type(error).__name__})", reason="DATABASE")
    diagnostic = getattr(error, "diag", None)
    table = str(getattr(diagnostic, "table_name", None) or "")
    constraint = str(getattr(diagnostic, "constraint_name", None) or "")
    if state == "23505":
        return UniqueError(table=table, constraint=constraint)
    if state.startswith("23"):
        return IntegrityError(
            f"a constraint of the schema failed ({state}: {table} {constraint})",
            reason="CONSTRAINT",
        )
    for length in (5, 3, 2):
        make = _POSTGRESQL.get(state[:length])
        if make is not None:
            return make(state)
    # Class 42 names tables, columns and syntax; others may quote a value.
    detail = f": {getattr(diagnostic, 'message_primary', '')}" if state[:2] == "42" else ""
    return InternalError(f"the database refused a statement ({state}{detail})", reason="DATABASE")
