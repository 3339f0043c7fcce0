"""``yinxin doctor``: examine a region and its machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin_edge.terminal import ExitStatus, Terminal
from yinxin_proto.error import KeyStoreError
from yinxin_trust.command.opening import RegionDirectory
from yinxin_trust.command.passphrase import (
    OfflinePassphraseFile,
    PassphraseFile,
    PassphraseSource,
)
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.diagnosis import Diagnosis, Level, Observation
from yinxin_trust.region import OFFLINE, Region

app: Final = typer.Typer(add_completion=False)

_LATER_CA: Final = re.compile(r"(?P<authority>[a-z]+)-(?P<number>[0-9]+)-ca")


@app.command()
def doctor(
    context: typer.Context,
    directory: RegionDirectory,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Examine a region: keys, data, clock, space, and what will run out."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
    )
    with _open(directory, passphrases) as region:
        seen = list(Diagnosis(region=region, directory=directory).observations())
    if as_json:
        terminal.json([_json(terminal, observation) for observation in seen])
    else:
        _show(terminal, seen)
    if any(observation.level is Level.FAULT for observation in seen):
        raise typer.Exit(ExitStatus.FAILED)


@contextmanager
def _open(directory: Path, passphrases: PassphraseSource) -> Iterator[Region]:
    """Open the region, with its offline keys if they are here and open."""
    online = passphrases.online()
    try:
        region = Region.open(
            directory,
            passphrase=online,
            offline_passphrase=passphrases.offline(online, store=directory / OFFLINE),
        )
    except KeyStoreError:
        # Offline keys may be elsewhere, as they should; online ones may not.
        region = Region.open(directory, passphrase=online)
    with region:
        yield region


def _show(terminal: Terminal, seen: list[Observation]) -> None:
    columns = [terminal.text(f"doctor.column.{name}") for name in ("topic", "level", "text")]
    rows = [
        (
            terminal.text(f"doctor.topic.{observation.topic}"),
            terminal.text(f"doctor.level.{observation.level.name.lower()}"),
            _text(terminal, observation),
        )
        for observation in seen
    ]
    terminal.table(columns, rows)
    worst = max(observation.level for observation in seen)
    style = {Level.OK: "green", Level.NOTE: "yellow", Level.FAULT: "bold red"}[worst]
    terminal.line(f"doctor.verdict.{worst.name.lower()}", style=style)


def _text(terminal: Terminal, observation: Observation) -> str:
    values = dict(observation.values)
    if "name" in values:
        values["name"] = _name(terminal, str(values["name"]))
    return terminal.text(f"doctor.{observation.text}", **values)


def _name(terminal: Terminal, name: str) -> str:
    """Return what a thing is called: by a name of its own; an authority goes by its code."""
    if known := terminal.texts.find(f"doctor.name.{name}", terminal.language):
        return known
    if later := _LATER_CA.fullmatch(name):
        first = _name(terminal, f"{later['authority']}-ca")
        return terminal.text("doctor.version", name=first, number=later["number"])
    return terminal.text("doctor.authority", code=name)


def _json(terminal: Terminal, observation: Observation) -> dict[str, object]:
    return {
        "topic": observation.topic,
        "level": observation.level.name,
        "code": observation.text,
        "text": _text(terminal, observation),
        "values": dict(observation.values),
    }
