"""``yinxin authority add``: let an authority issue, and make its client folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin_ca.keystore import Purpose
from yinxin_edge.terminal import Terminal
from yinxin_proto.error import InvalidArgumentError, NotFoundError, Violation
from yinxin_proto.number import is_credit_code
from yinxin_proto.signature import PublicKey
from yinxin_trust.access import Role
from yinxin_trust.catalogue import Catalogue, load_catalogue
from yinxin_trust.command.clientfolder import CLIENTS, Client, ClientFolder, read_public_key
from yinxin_trust.command.console import audited
from yinxin_trust.command.enrolment import enrol_within, require_new
from yinxin_trust.command.opening import RegionDirectory, open_region
from yinxin_trust.command.passphrase import (
    OfflinePassphraseFile,
    PassphraseFile,
    PassphraseSource,
)
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.region import Region
from yinxin_trust.registration import NewAuthority

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)

APPROVAL_KEY: Final = "approval.key"
ROLES: Final = (Role.ISSUER, Role.VERIFIER)


@app.callback()
def authority() -> None:
    """Enrol authorities."""


@app.command("add")
def add(
    context: typer.Context,
    directory: RegionDirectory,
    code: Annotated[str, typer.Option("--code", metavar="CODE", show_default=False)],
    name: Annotated[str, typer.Option("--name", metavar="TEXT", show_default=False)],
    types: Annotated[list[str], typer.Option("--type", metavar="TYPE", show_default=False)],
    name_en: Annotated[str, typer.Option("--name-en", metavar="TEXT", show_default=False)] = "",
    approval_key: Annotated[
        Path | None, typer.Option("--approval-key", metavar="PEM", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FOLDER", show_default=False)] = None,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Add an issuing authority: its licence key, its place in the trust list, its client."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
    )
    client = Client(principal_id=principal_of(code), display_name=name, authority_code=code)
    with open_region(directory, passphrases, offline=True) as region:
        require_new(region, client)
        folder = ClientFolder(out or directory / CLIENTS / client.principal_id)
        added = NewAuthority(
            code=code,
            name=name,
            name_en=name_en,
            types=_type_codes(region, types),
            approval_key=_approval_key(region, folder, approval_key),
        )
        try:
            # At once: an authority whose approval key or principal is lost could do nothing.
            region.registrar.add_authority(
                added,
                also=lambda conn: enrol_within(conn, region, client, roles=ROLES, folder=folder),
            )
        except BaseException:
            folder.remove()
            raise
        _show(terminal, region, added, folder, own_key=approval_key is not None)


@app.command("add-key")
def add_key(
    context: typer.Context,
    directory: RegionDirectory,
    code: Annotated[str, typer.Option("--code", metavar="CODE", show_default=False)],
    approval_key: Annotated[
        Path, typer.Option("--approval-key", metavar="PEM", show_default=False)
    ],
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
) -> None:
    """Publish the public half of an authority's next approval key."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
    )
    with open_region(directory, passphrases, offline=True) as region:
        with region.storage.read() as conn:
            name = region.directory.snapshot(conn).authority(code).name
        public = read_public_key(approval_key, region.foundation.suite)
        with audited(region, "AddApprovalKey", f"authorities/{code}"):
            added = region.rotation().accept(code, Purpose.APPROVAL, public)
        terminal.line("key.added", style="green", name=name, ref=str(added.ref))


def principal_of(code: str) -> str:
    """Return the principal's id for an authority: ``issuer-`` and its organisation code.

    Raises:
        InvalidArgumentError: Not a unified social credit code.
    """
    if not is_credit_code(code):
        raise InvalidArgumentError(
            "the authority cannot be added",
            violations=[Violation("code", "a unified social credit code", "CREDIT_CODE")],
        )
    return f"issuer-{code[8:17].lower()}"


def find_type(catalogue: Catalogue, wanted: str) -> str:
    """Return the code of a type that is given by code, or by its exact name.

    Raises:
        NotFoundError: The catalogue has no such type.
    """
    for entry in catalogue.newest():
        if wanted in (entry.code, entry.name):
            return entry.code
    raise NotFoundError(
        f"the catalogue has no type {wanted!r}; list them with: yinxin type list DIR",
        reason="LICENCE_TYPE",
    )


def _type_codes(region: Region, wanted: list[str]) -> tuple[str, ...]:
    with region.storage.read() as conn:
        catalogue = load_catalogue(conn)
    violations: list[Violation] = []
    codes: list[str] = []
    for text in wanted:
        try:
            codes.append(find_type(catalogue, text))
        except NotFoundError as error:
            violations.append(Violation("type", error.message, "LICENCE_TYPE"))
    if violations:
        raise InvalidArgumentError("the authority cannot be added", violations=violations)
    return tuple(dict.fromkeys(codes))


def _approval_key(region: Region, folder: ClientFolder, given: Path | None) -> PublicKey:
    """Return the public approval key; where none is given, make one into the folder."""
    suite = region.foundation.suite
    if given is not None:
        public = read_public_key(given, suite)
        folder.make()
        return public
    # First, since a machine may not be able to make keys of the suite.
    key = suite.generate()
    folder.make()
    folder.put_key(APPROVAL_KEY, key)
    return key.public_key


def _show(
    terminal: Terminal, region: Region, added: NewAuthority, folder: ClientFolder, *, own_key: bool
) -> None:
    with region.storage.read() as conn:
        catalogue = load_catalogue(conn)
    names = "、".join(catalogue.get(code).name for code in added.types)
    members = [
        (terminal.text("authority.code"), added.code),
        (terminal.text("authority.types"), names),
        (terminal.text("client.principal"), principal_of(added.code)),
        (terminal.text("client.roles"), ", ".join(ROLES)),
        (terminal.text("client.folder"), folder.path),
    ]
    terminal.record(terminal.text("authority.added", name=added.name), members, style="green")
    terminal.note("authority.own_key" if own_key else "authority.made_key", style="")
