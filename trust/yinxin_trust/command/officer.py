"""``yinxin region officer``: who may sign operations, kept with the offline keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin_ca.dualcontrol import FIRST_OFFICERS, DualControl, officer_outcome
from yinxin_ca.officer import Officer
from yinxin_proto.operation import Action, SignedOperation, new_operation
from yinxin_proto.strict import Json
from yinxin_proto.suite import ES256
from yinxin_proto.trustchange import parameters_of
from yinxin_trust.command.clientfolder import read_public_key
from yinxin_trust.command.console import audited
from yinxin_trust.command.keytheft import Out, Signed, hand_out, read_operation
from yinxin_trust.command.opening import RegionDirectory, open_region
from yinxin_trust.command.passphrase import (
    OfflinePassphraseFile,
    PassphraseFile,
    PassphraseSource,
)
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.publication import published_trust_list
from yinxin_trust.region import Region

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)

OfficerId = Annotated[str, typer.Option("--id", metavar="ID", show_default=False)]


@app.callback()
def officer() -> None:
    """Officers, who sign what can break trust."""


@app.command("add")
def add(
    context: typer.Context,
    directory: RegionDirectory,
    officer_id: OfficerId,
    name: Annotated[str, typer.Option("--name", metavar="TEXT", show_default=False)],
    key: Annotated[Path, typer.Option("--key", metavar="PEM", show_default=False)],
    operation: Signed = None,
    out: Out = None,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Register an officer; from the third on, two officers sign it."""
    terminal = terminal_of(context)
    source = PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
    )
    public = read_public_key(key, ES256)
    with open_region(directory, source, offline=True) as region:
        control = _control(region)
        needs = len(control.register.officers()) >= FIRST_OFFICERS
        outcome = officer_outcome(public)
        if needs and operation is None:
            _prepare(region, context, out, Action.ADD_OFFICER, officer_id, outcome)
            return
        with audited(region, "AddOfficer", f"officers/{officer_id}"):
            control.add_officer(
                Officer(id=officer_id, name=name, public_key=public), _read(operation)
            )
    terminal.line("officer.added", style="green", name=officer_id)


@app.command("remove")
def remove(
    context: typer.Context,
    directory: RegionDirectory,
    officer_id: OfficerId,
    operation: Signed = None,
    out: Out = None,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Take an officer out of office; two officers sign it."""
    terminal = terminal_of(context)
    source = PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
    )
    with open_region(directory, source, offline=True) as region:
        if operation is None:
            _prepare(region, context, out, Action.REMOVE_OFFICER, officer_id, {})
            return
        with audited(region, "RemoveOfficer", f"officers/{officer_id}"):
            _control(region).remove_officer(officer_id, _read(operation))
    terminal.line("officer.removed", style="green", name=officer_id)


@app.command("list")
def list_officers(
    context: typer.Context,
    directory: RegionDirectory,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """List the officers, with the digest of each one's key."""
    terminal = terminal_of(context)
    source = PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
    )
    with open_region(directory, source, offline=True) as region:
        officers = region.keyring.control(region.clock).register.officers()
    columns = [terminal.text(f"officer.column.{name}") for name in ("id", "name", "key")]
    rows = [(one.id, one.name, one.public_key.thumbprint.hex()[:16]) for one in officers.values()]
    terminal.table(columns, rows)


def _control(region: Region) -> DualControl:
    """Return the signer's judgement, once its register was held against what is published."""
    control = region.keyring.control(region.clock)
    with region.storage.read() as conn:
        control.require_current(published_trust_list(conn, region.clock.now()))
    return control


def _read(path: Path | None) -> SignedOperation | None:
    return None if path is None else read_operation(path).signed()


def _prepare(
    region: Region,
    context: typer.Context,
    out: Path | None,
    action: Action,
    target: str,
    outcome: Json,
) -> None:
    operation = new_operation(
        action,
        target,
        parameters_of(outcome),
        region=region.namespace.code,
        clock=region.clock,
        entropy=region.entropy,
    )
    path = out or Path(f"{action.value}-{operation.nonce.hex()[:8]}.json")
    hand_out(terminal_of(context), path, operation, outcome)
