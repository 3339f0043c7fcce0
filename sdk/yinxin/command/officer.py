"""``yinxin officer``: an officer's own side, on a machine that need know no region."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin.command.inputfile import InputFile, read_input
from yinxin.officerkey import make_officer_key, open_officer_key
from yinxin.operationview import outcome_rows
from yinxin_edge.clock import SystemClock
from yinxin_edge.terminal import Terminal
from yinxin_proto.error import ConfigurationError, FailedPreconditionError
from yinxin_proto.operation import check_officer, sign_operation
from yinxin_proto.operationfile import MAX_FILE_BYTES, OperationFile

VARIABLE: Final = "YINXIN_OFFICER_PASSPHRASE"

KeyFile = Annotated[Path, typer.Option("--key", metavar="FILE", show_default=False)]
Officer = Annotated[str, typer.Option("--id", metavar="ID", show_default=False)]


def register(application: typer.Typer) -> None:
    """Add the commands to a group."""
    application.command("key")(key)
    application.command("sign")(sign)


def key(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", show_default=False)],
) -> None:
    """Make a personal key; hand its public half to the region."""
    terminal: Terminal = context.obj
    public = make_officer_key(out, _passphrase(terminal, new=True))
    terminal.line("officer.made", style="green", path=out, public=public)


def sign(
    context: typer.Context,
    file: InputFile,
    key_file: KeyFile,
    officer: Officer,
    yes: Annotated[bool, typer.Option("--yes")] = False,
) -> None:
    """Sign an operation, after it was shown in words."""
    terminal: Terminal = context.obj
    check_officer(officer)
    wanted = OperationFile.parse(read_input(file, max_bytes=MAX_FILE_BYTES))
    wanted.operation.check_time(SystemClock().now())
    _show(terminal, wanted)
    if not yes and not _agreed(terminal):
        raise FailedPreconditionError("nothing was signed", reason="NOT_AGREED")
    signer = open_officer_key(key_file, _passphrase(terminal, new=False))
    token = sign_operation(wanted.operation, officer=officer, signer=signer)
    signed = wanted.with_signature(token)
    draft = file.with_name(f".{file.name}.signed")
    try:
        draft.write_bytes(signed.to_bytes())
        draft.replace(file)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {file}: {error.strerror}", reason="OPERATION_FILE"
        ) from error
    terminal.line(
        "officer.signed",
        style="green",
        path=file,
        count=len(signed.signatures),
        needed=wanted.operation.persons,
    )


def _show(terminal: Terminal, wanted: OperationFile) -> None:
    operation = wanted.operation

    def row(name: str) -> str:
        return terminal.text(f"officer.row.{name}")

    members: list[tuple[str, object]] = [
        (row("action"), terminal.text(f"officer.action.{operation.action.value}")),
        (row("target"), operation.target),
        (row("region"), operation.region),
        (row("expires"), datetime.fromtimestamp(operation.expires, UTC).isoformat()),
        (row("persons"), operation.persons),
        (row("digest"), operation.digest.hex()),
    ]
    members += [(row(name), value) for name, value in outcome_rows(wanted)]
    terminal.record(terminal.text("officer.title"), members, style="yellow")


def _agreed(terminal: Terminal) -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "there is nobody to ask; give --yes if the operation was read", reason="NOT_AGREED"
        )
    return bool(typer.confirm(terminal.text("officer.agree"), default=False))


def _passphrase(terminal: Terminal, *, new: bool) -> str:
    given = os.environ.pop(VARIABLE, None)
    if given:
        return given
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"there is nobody to ask for the passphrase: set {VARIABLE}",
            reason="PASSPHRASE_MISSING",
        )
    return terminal.ask_secret("officer.new_passphrase" if new else "officer.passphrase")
