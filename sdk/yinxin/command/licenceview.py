"""Licences and their events, as a command shows them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

from yinxin.licence import IssuedLicence, LicenceEvent
from yinxin_edge.terminal import Terminal
from yinxin_proto.error import ConfigurationError
from yinxin_proto.strict import Json

CHINA: Final = timezone(timedelta(hours=8), "UTC+8")


def show_moment(moment: datetime) -> str:
    """Return a moment as people in the region read it."""
    return moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S UTC+8")


def show_last_day(end: datetime) -> str:
    """Return the last day of validity; a licence ends where the next day begins."""
    return (end - timedelta(seconds=1)).astimezone(CHINA).strftime("%Y-%m-%d")


def licence_json(licence: IssuedLicence, saved: Path | None = None) -> dict[str, Json]:
    """Return a licence as JSON members, without its file: that names the holder."""
    members: dict[str, Json] = {
        "name": licence.name,
        "identifier": licence.identifier,
        "revision": licence.revision_id,
        "type": licence.licence_type,
        "issuer": licence.issuer,
        "state": licence.state.value,
        "created": licence.created_at.isoformat(),
        "validUntil": None if licence.valid_until is None else licence.valid_until.isoformat(),
        "statusUri": licence.status_uri,
        "statusIndex": licence.status_index,
        "logIndex": licence.log_index,
        "etag": licence.etag,
    }
    if saved is not None:
        members["file"] = str(saved)
    return members


def show_licence(terminal: Terminal, licence: IssuedLicence, saved: Path | None = None) -> None:
    """Print one licence."""
    until, index = licence.valid_until, licence.log_index
    members: list[tuple[str, object]] = [
        ("identifier", licence.identifier),
        ("name", licence.name),
        ("state", state_text(terminal, licence.state.value)),
        ("created", show_moment(licence.created_at)),
        ("until", terminal.text("licence.long_term") if until is None else show_last_day(until)),
        (
            "log",
            terminal.text("licence.pending") if index is None else index,
        ),
    ]
    if saved is not None:
        members.append(("file", saved))
    terminal.record(
        terminal.text("licence.title"),
        [(terminal.text(f"licence.column.{name}"), value) for name, value in members],
        style="green" if licence.state.value == "valid" else "yellow",
    )


def show_licences(terminal: Terminal, licences: Iterable[IssuedLicence]) -> None:
    """Print licences, a line each."""
    columns = ("identifier", "state", "created", "log")
    terminal.table(
        [terminal.text(f"licence.column.{name}") for name in columns],
        (
            (
                licence.identifier,
                state_text(terminal, licence.state.value),
                show_moment(licence.created_at),
                "" if licence.log_index is None else licence.log_index,
            )
            for licence in licences
        ),
    )


def show_events(terminal: Terminal, events: Iterable[LicenceEvent]) -> None:
    """Print what happened to a licence, a line each."""
    columns = ("operation", "state", "effective", "reason", "basis", "operator", "log")
    terminal.table(
        [terminal.text(f"licence.column.{name}") for name in columns],
        (
            (
                terminal.text(f"operation.{event.operation.value}"),
                state_text(terminal, event.to_state.value),
                show_moment(event.effective_at),
                event.reason,
                event.legal_basis,
                event.operator,
                "" if event.log_index is None else event.log_index,
            )
            for event in events
        ),
    )


def state_text(terminal: Terminal, state: str) -> str:
    """Return a state's name for people."""
    return terminal.text(f"state.{state}")


def save_licence(licence: IssuedLicence, target: Path) -> Path:
    """Write a licence file.

    Raises:
        ConfigurationError: It cannot be written there (``OUTPUT``).
    """
    try:
        return licence.save(target)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {target}: {error.strerror}; name another place with --out",
            reason="OUTPUT",
        ) from error


def make_folder(folder: Path) -> None:
    """Make the folder that licence files go to, before anything is asked of a region.

    Raises:
        ConfigurationError: It cannot be made (``OUTPUT``).
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make {folder}: {error.strerror}; name another place with --out",
            reason="OUTPUT",
        ) from error
