"""The file of approvals that the demo issues: where it is, and who approves what."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Final

from yinxin.approval_csv import ISSUER, MEMBER_COLUMNS, TYPE
from yinxin_proto.error import ConfigurationError

NAME: Final = "approvals-putian.csv"
_ISSUER_NAME: Final = "颁发机构"
_REPOSITORY: Final = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class ApprovingAuthority:
    """One of the authorities in the file."""

    code: str
    name: str
    types: tuple[str, ...]


def read_file() -> bytes:
    """Return the example file: the installed one, or the source tree's.

    Raises:
        ConfigurationError: It is in neither (``EXAMPLE``).
    """
    installed = files("yinxin.demo").joinpath(NAME)
    if installed.is_file():
        return installed.read_bytes()
    source = _REPOSITORY / "examples" / NAME
    try:
        return source.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the example {NAME} is not installed; run the demo from the source tree, or install "
            "the wheel",
            reason="EXAMPLE",
        ) from error


def find_authorities(data: bytes) -> list[ApprovingAuthority]:
    """Return the authorities of a file of approvals, in the order of their first row."""
    names: dict[str, str] = {}
    types: dict[str, dict[str, None]] = {}
    for row in _rows(data):
        names.setdefault(row[ISSUER], row[_ISSUER_NAME])
        types.setdefault(row[ISSUER], {})[row[TYPE]] = None
    return [ApprovingAuthority(code, name, tuple(types[code])) for code, name in names.items()]


def newest_day(data: bytes) -> date:
    """Return the last day on which something of the file begins."""
    columns = (MEMBER_COLUMNS["issued_on"], MEMBER_COLUMNS["valid_from"])
    return max(date.fromisoformat(row[column]) for row in _rows(data) for column in columns)


def _rows(data: bytes) -> list[Mapping[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
