"""``yinxin principal``: let a department or a system call, or stop it at once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin_ca.subject import principal_uri
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import InvalidArgumentError
from yinxin_trust.access import Role, check_exclusive
from yinxin_trust.command.clientfolder import CLIENTS, Client, ClientFolder
from yinxin_trust.command.console import audited
from yinxin_trust.command.enrolment import enrol
from yinxin_trust.command.opening import RegionDirectory, open_region
from yinxin_trust.command.passphrase import PassphraseFile, PassphraseSource
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.enrolment import PrincipalCertificates

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def principal() -> None:
    """Enrol who may call."""


@app.command("add")
def add(
    context: typer.Context,
    directory: RegionDirectory,
    principal_id: Annotated[str, typer.Option("--id", metavar="ID", show_default=False)],
    roles: Annotated[list[Role], typer.Option("--role", show_default=False)],
    name: Annotated[str, typer.Option("--name", metavar="TEXT", show_default=False)] = "",
    authority: Annotated[
        str | None, typer.Option("--authority", metavar="CODE", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FOLDER", show_default=False)] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Add a principal with its roles, and certify a new TLS key for it."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(terminal=terminal, file=passphrase_file)
    check_exclusive(roles)
    client = Client(
        principal_id=principal_id, display_name=name or principal_id, authority_code=authority
    )
    with open_region(directory, passphrases) as region:
        principal_uri(region.namespace.domain, principal_id)
        if authority is not None:
            with region.storage.read() as conn:
                region.directory.snapshot(conn).authority(authority)
        folder = ClientFolder(out or directory / CLIENTS / principal_id)
        folder.make()
        try:
            enrol(region, client, roles=roles, folder=folder)
        except BaseException:
            folder.remove()
            raise
    members = [
        (terminal.text("client.principal"), principal_id),
        (terminal.text("client.roles"), ", ".join(roles)),
        (terminal.text("client.folder"), folder.path),
    ]
    terminal.record(
        terminal.text("principal.added", name=client.display_name), members, style="green"
    )


_KnownId = Annotated[str, typer.Option("--id", metavar="ID", show_default=False)]


@app.command("disable")
def disable(
    context: typer.Context,
    directory: RegionDirectory,
    principal_id: _KnownId,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Stop a principal: it is refused at its next call, whoever holds its key."""
    _set_enabled(context, directory, principal_id, passphrase_file, enabled=False)


@app.command("enable")
def enable(
    context: typer.Context,
    directory: RegionDirectory,
    principal_id: _KnownId,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Let a stopped principal call again."""
    _set_enabled(context, directory, principal_id, passphrase_file, enabled=True)


class Reason(StrEnum):
    """Why certificates are revoked (RFC 5280 §5.3.1)."""

    KEY_COMPROMISE = "key-compromise"
    AFFILIATION_CHANGED = "affiliation-changed"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessation-of-operation"


@app.command("revoke")
def revoke(
    context: typer.Context,
    directory: RegionDirectory,
    principal_id: _KnownId,
    reason: Annotated[Reason, typer.Option("--reason", show_default=False)],
    serial: Annotated[
        str | None, typer.Option("--serial", metavar="HEX", show_default=False)
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Revoke a principal's certificates; in force within a second, on every worker."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(terminal=terminal, file=passphrase_file)
    with (
        open_region(directory, passphrases) as region,
        audited(region, "RevokeCertificates", f"principals/{principal_id}"),
        region.storage.write() as conn,
    ):
        region.directory.snapshot(conn).principal(principal_id)
        revoked = PrincipalCertificates(registrar=region.registrar).revoke(
            conn,
            principal_id,
            reason=RevocationReason[reason.name],
            serial=None if serial is None else _serial(serial),
        )
    members = [(terminal.text("principal.serial"), f"{number:x}") for number in revoked]
    title = terminal.text("principal.revoked", name=principal_id, count=len(revoked))
    terminal.record(title, members, style="green")


def _serial(text: str) -> int:
    try:
        return int(text.replace(":", ""), 16)
    except ValueError:
        raise InvalidArgumentError(
            "a serial number is given in hexadecimal", reason="SERIAL"
        ) from None


def _set_enabled(
    context: typer.Context,
    directory: Path,
    principal_id: str,
    passphrase_file: Path | None,
    *,
    enabled: bool,
) -> None:
    terminal = terminal_of(context)
    passphrases = PassphraseSource(terminal=terminal, file=passphrase_file)
    with open_region(directory, passphrases) as region, region.storage.write() as conn:
        region.registrar.set_enabled(conn, principal_id, enabled=enabled)
    key = "principal.enabled" if enabled else "principal.disabled"
    terminal.line(key, name=principal_id)
