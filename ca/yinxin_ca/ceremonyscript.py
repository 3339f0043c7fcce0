"""The script 仪式脚本 of a ceremony: who, what, and how many, fixed before it begins.

A TOML file that people read and approve; its SHA-256 is the first thing that
the record says, so what was done can be held against what was planned.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final

from yinxin_ca.custodian import check_identity
from yinxin_ca.secretsharing import MAX_POINTS, check_threshold
from yinxin_edge.config import load
from yinxin_proto.error import ConfigurationError, InvalidArgumentError

MAX_LIFETIME: Final = timedelta(days=3 * 366)
MAX_WINDOW: Final = timedelta(days=3)
MAX_SCRIPT_BYTES: Final = 1 << 16
_MAX_TEXT: Final = 200


class Operation(StrEnum):
    """What a ceremony does with the offline keys."""

    SHARE = "share"
    """Turn the offline store's passphrase into shares."""
    OPEN = "open"
    """Open the offline store with shares, for commands that need it."""
    RENEW = "renew"
    """Replace shares, expired ones too, by shares of other custodians or a later end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CeremonyTable:
    """``[ceremony]``."""

    operation: Operation
    region: str
    """GB/T 2260 code of the region whose keys are meant."""
    purpose: str
    """What it is for, in words."""
    record: Path
    """The record's file; beside the script unless absolute."""
    threshold: int = 0
    """How many shares open the store; where shares are dealt."""
    lifetime: timedelta = timedelta(days=730)
    """How long the shares hold that are dealt."""
    window: timedelta = timedelta(hours=8)
    """How long after its beginning the ceremony may go on."""
    witnesses: tuple[str, ...] = ()
    """Names or offices of those who watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustodianTable:
    """``[[custodian]]``, and ``[[holder]]`` of shares that are to be replaced."""

    id: str
    name: str
    folder: Path
    """The custodian's own folder, e.g. on a stick."""
    passphrase_file: Path | None = None
    """For rehearsals and tests; a person is asked otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What the file says."""

    ceremony: CeremonyTable
    custodian: tuple[CustodianTable, ...]
    holder: tuple[CustodianTable, ...] = ()

    def __post_init__(self) -> None:
        ceremony = self.ceremony
        deals = ceremony.operation is not Operation.OPEN
        if deals:
            try:
                check_threshold(ceremony.threshold, len(self.custodian))
            except InvalidArgumentError as error:
                raise ConfigurationError(error.message, reason=error.reason) from error
        elif not 1 <= len(self.custodian) <= MAX_POINTS:
            raise ConfigurationError("custodians are needed", reason="CUSTODIANS")
        if bool(self.holder) != (ceremony.operation is Operation.RENEW):
            raise ConfigurationError(
                "a script that says renew, and no other, names the holders of present shares",
                reason="HOLDERS",
            )
        for group in (self.custodian, self.holder):
            _check_people(group)
        if not timedelta(0) < ceremony.lifetime <= MAX_LIFETIME:
            raise ConfigurationError("lifetime: at most three years", reason="LIFETIME")
        if not timedelta(0) < ceremony.window <= MAX_WINDOW:
            raise ConfigurationError("window: at most three days", reason="WINDOW")
        texts = (ceremony.purpose, *ceremony.witnesses)
        if not all(
            text.strip() and len(text) <= _MAX_TEXT and text.isprintable() for text in texts
        ):
            raise ConfigurationError(
                f"purpose, witnesses: 1 to {_MAX_TEXT} printable characters", reason="TEXT"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script, read and checked."""

    tables: Tables
    digest: bytes
    """SHA-256 of the file: what is approved."""
    directory: Path
    """Where it lies: relative paths start there."""

    @property
    def operation(self) -> Operation:
        """What the ceremony does."""
        return self.tables.ceremony.operation

    @property
    def record_path(self) -> Path:
        """Where the record is."""
        return self.directory / self.tables.ceremony.record

    @classmethod
    def load(cls, path: Path) -> Script:
        """Read a script.

        Raises:
            ConfigurationError: It cannot be read (``SCRIPT_FILE``), is not
                TOML (``TOML``), or says what cannot be used (``CONFIGURATION``).
        """
        try:
            with path.open("rb") as file:
                content = file.read(MAX_SCRIPT_BYTES + 1)
            text = content.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(path) from error
        if len(content) > MAX_SCRIPT_BYTES:
            raise _unreadable(path)
        return cls(
            tables=load(Tables, text), digest=sha256(content).digest(), directory=path.parent
        )


def _check_people(group: tuple[CustodianTable, ...]) -> None:
    for person in group:
        try:
            check_identity(person.id, person.name)
        except InvalidArgumentError as error:
            raise ConfigurationError(error.message, reason=error.reason) from error
    if len({person.id for person in group}) != len(group):
        raise ConfigurationError("one custodian was named twice", reason="CUSTODIAN_TWICE")


def _unreadable(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"cannot read {path}: a ceremony's script is a TOML file of at most 64 KiB",
        reason="SCRIPT_FILE",
    )
