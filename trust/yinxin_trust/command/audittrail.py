"""``yinxin audit verify``: whether the audit trail is whole."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from yinxin_edge.terminal import ExitStatus
from yinxin_trust.auditchain import AuditCheck
from yinxin_trust.command.opening import RegionDirectory, open_region
from yinxin_trust.command.passphrase import PassphraseFile, PassphraseSource
from yinxin_trust.command.speech import terminal_of

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def audit() -> None:
    """The audit trail."""


@app.command("verify")
def verify(
    context: typer.Context,
    directory: RegionDirectory,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Check that no row of the trail was altered, added, dropped, moved or cut off."""
    terminal = terminal_of(context)
    source = PassphraseSource(terminal=terminal, file=passphrase_file)
    with open_region(directory, source) as region, region.storage.read() as conn:
        findings = list(AuditCheck(conn=conn, seal=region.audit_seal).findings())
    if as_json:
        terminal.json([{"code": f.code, "where": f.where, "detail": f.detail} for f in findings])
    elif not findings:
        terminal.line("audit.whole", style="green")
    else:
        for found in findings:
            terminal.line("audit.wrong", style="bold red", code=found.code, detail=found.detail)
    if findings:
        raise typer.Exit(ExitStatus.FAILED)
