"""NumericDate: seconds since 1970 in UTC, as JWT claims write moments (RFC 7519 §2)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from yinxin_proto.error import MalformedError
from yinxin_proto.strict import Json


def read_moment(claims: Mapping[str, Json], name: str) -> datetime:
    """Return a claim that must be there, in UTC.

    Raises:
        MalformedError: Absent, not a number, or out of range
            (``NUMERIC_DATE``).
    """
    value = claims.get(name)
    if type(value) is not int and type(value) is not float:
        raise MalformedError(f"{name}: a number of seconds was expected", reason="NUMERIC_DATE")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise MalformedError(f"{name}: a moment out of range", reason="NUMERIC_DATE") from error


def read_optional_moment(claims: Mapping[str, Json], name: str) -> datetime | None:
    """Return a claim in UTC, or None where it is absent; see `read_moment`."""
    return read_moment(claims, name) if name in claims else None


def to_seconds(moment: datetime) -> int:
    """Return whole seconds, rounded down."""
    return int(moment.timestamp() // 1)
