"""``yinxin ceremony``: the offline keys under k of n custodians, by a script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin_ca.ceremony import Ceremony
from yinxin_ca.ceremonyrecord import CeremonyRecord, Step
from yinxin_ca.ceremonyscript import CustodianTable, Operation, Script
from yinxin_ca.custodian import Custodian
from yinxin_edge.clock import SystemClock, SystemEntropy
from yinxin_edge.terminal import Terminal
from yinxin_proto.error import ConfigurationError
from yinxin_trust.command.opening import RegionDirectory
from yinxin_trust.command.passphrase import (
    OfflinePassphraseFile,
    PassphraseFile,
    PassphraseSource,
)
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.diagnosis import show_moment
from yinxin_trust.region import OFFLINE
from yinxin_trust.settings import FILE, load_settings

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)

ScriptFile = Annotated[Path, typer.Argument(metavar="SCRIPT", show_default=False)]


@app.callback()
def ceremony() -> None:
    """Ceremonies of the offline keys."""


@app.command("custodian")
def custodian(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", show_default=False)],
    id: Annotated[str, typer.Option("--id", metavar="ID", show_default=False)],  # noqa: A002
    name: Annotated[str, typer.Option("--name", metavar="TEXT", show_default=False)],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a custodian's own folder, under a passphrase of one's own."""
    terminal = terminal_of(context)
    passphrase = PassphraseSource(terminal=terminal, file=passphrase_file).new_one()
    made = Custodian.create(
        folder,
        id=id,
        name=name,
        passphrase=passphrase,
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )
    members = [
        (terminal.text("ceremony.folder"), folder),
        (terminal.text("ceremony.key"), made.identity.key.thumbprint.hex()),
    ]
    terminal.record(terminal.text("ceremony.made", name=name, id=id), members, style="green")
    terminal.note("ceremony.keep", style="")


@app.command("plan")
def plan(context: typer.Context, script: ScriptFile) -> None:
    """Check a script, and list its steps; nothing is changed."""
    terminal = terminal_of(context)
    read = Script.load(script)
    terminal.record(terminal.text("ceremony.plan"), _plan(terminal, read), style="green")
    terminal.note(f"ceremony.todo.{read.operation}", style="")


@app.command("begin")
def begin(context: typer.Context, script: ScriptFile) -> None:
    """Begin a ceremony: its script and custodians are on record from now on."""
    terminal = terminal_of(context)
    made = PassphraseSource(terminal=terminal).ceremony(script)
    members = [*_plan(terminal, made.script), *_ending(terminal, made.record)]
    terminal.record(terminal.text("ceremony.begun"), members, style="green")
    terminal.note(f"ceremony.todo.{made.script.operation}", style="")


@app.command("share")
def share(
    context: typer.Context,
    directory: RegionDirectory,
    script: ScriptFile,
    offline_passphrase_file: OfflinePassphraseFile = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Replace the offline passphrase by shares."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
    )
    made = passphrases.ceremony(script)
    store = _store(directory, made.script)
    made.share(store, passphrase=passphrases.offline_alone())
    show_shared(terminal, made)


@app.command("renew")
def renew(context: typer.Context, directory: RegionDirectory, script: ScriptFile) -> None:
    """Replace the shares by new ones."""
    terminal = terminal_of(context)
    made = PassphraseSource(terminal=terminal).ceremony(script)
    made.renew(_store(directory, made.script))
    show_shared(terminal, made)


@app.command("open")
def open_(context: typer.Context, directory: RegionDirectory, script: ScriptFile) -> None:
    """Open the offline store with shares, and do nothing else."""
    terminal = terminal_of(context)
    made = PassphraseSource(terminal=terminal).ceremony(script)
    made.open(_store(directory, made.script))
    terminal.record(terminal.text("ceremony.opened"), _ending(terminal, made.record), style="green")


@app.command("record")
def record(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="RECORD", show_default=False)],
) -> None:
    """Check a record, and show it."""
    terminal = terminal_of(context)
    read = CeremonyRecord(file, clock=SystemClock())
    columns = ("step", "time", "event", "who", "detail")
    terminal.table(
        [terminal.text(f"ceremony.{column}") for column in columns],
        [_row(terminal, step) for step in read.steps],
    )
    terminal.record(terminal.text("ceremony.record"), _ending(terminal, read), style="green")


def _store(directory: Path, script: Script) -> Path:
    """Return the offline store of a region's directory, or one that was carried away alone.

    Raises:
        ConfigurationError: The script is for another region (``REGION``).
    """
    if not (directory / FILE).exists():
        return directory
    check_region(script, load_settings(directory).region.code)
    return directory / OFFLINE


def check_region(script: Script, code: str) -> None:
    """Refuse a script that is for another region.

    Raises:
        ConfigurationError: It is (``REGION``).
    """
    if code != script.tables.ceremony.region:
        raise ConfigurationError(
            f"the script is for region {script.tables.ceremony.region}, not for {code}",
            reason="REGION",
        )


def show_shared(terminal: Terminal, made: Ceremony) -> None:
    """Say who holds the offline store from now on."""
    title = terminal.text(
        "ceremony.shared",
        count=len(made.script.tables.custodian),
        threshold=made.script.tables.ceremony.threshold,
    )
    terminal.record(title, _ending(terminal, made.record), style="green")
    terminal.note("ceremony.copies", style="yellow")


def _plan(terminal: Terminal, script: Script) -> list[tuple[str, object]]:
    table = script.tables.ceremony
    members: list[tuple[str, object]] = [
        (terminal.text("ceremony.operation"), table.operation.value),
        (terminal.text("ceremony.purpose"), table.purpose),
        (terminal.text("ceremony.region"), table.region),
        (terminal.text("ceremony.custodians"), _names(script.tables.custodian)),
    ]
    if script.tables.holder:
        members.append((terminal.text("ceremony.holders"), _names(script.tables.holder)))
    if table.operation is not Operation.OPEN:
        count = len(script.tables.custodian)
        lifetime = terminal.text("ceremony.days", days=table.lifetime.days)
        members += [
            (terminal.text("ceremony.threshold"), f"{table.threshold} / {count}"),
            (terminal.text("ceremony.lifetime"), lifetime),
        ]
    if table.witnesses:
        members.append((terminal.text("ceremony.witnesses"), "、".join(table.witnesses)))
    members.append((terminal.text("ceremony.script"), script.digest.hex()))
    return members


def _names(people: tuple[CustodianTable, ...]) -> str:
    return "、".join(f"{person.name}（{person.id}）" for person in people)


def _ending(terminal: Terminal, read: CeremonyRecord) -> list[tuple[str, object]]:
    return [
        (terminal.text("ceremony.signed"), ", ".join(sorted(read.signatures)) or "—"),
        (terminal.text("ceremony.head"), read.head.hex()),
    ]


def _row(terminal: Terminal, step: Step) -> list[str]:
    members = step.members
    detail = members.get("reason") or members.get("purpose") or members.get("ceremony") or ""
    return [
        str(step.sequence),
        show_moment(step.at),
        terminal.text(f"ceremony.done.{step.event}"),
        str(members.get("custodian") or ""),
        str(detail),
    ]
