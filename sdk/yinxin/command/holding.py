"""``yinxin licence get|list|events``."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from yinxin.command.connection import (
    AsJson,
    CaseNumber,
    CredentialsFolder,
    Operator,
    Purpose,
    Server,
    ServerName,
    ServiceItem,
    call_context,
    open_client,
)
from yinxin.command.inputfile import STANDARD_INPUT
from yinxin.command.licenceview import (
    licence_json,
    save_licence,
    show_events,
    show_licence,
    show_licences,
)
from yinxin.licence import LicenceState
from yinxin_edge.terminal import Terminal
from yinxin_proto.error import FailedPreconditionError
from yinxin_proto.number import MAX_TEXT_CHARACTERS, IdentifierType, SubjectNumber
from yinxin_proto.number import parse as parse_number

LicenceArgument = Annotated[str, typer.Argument(metavar="LICENCE", show_default=False)]


def get(
    context: typer.Context,
    licence: LicenceArgument,
    server: Server,
    credentials: CredentialsFolder,
    purpose: Purpose,
    case: CaseNumber = "",
    item: ServiceItem = "",
    operator: Operator = "",
    server_name: ServerName = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE|DIR|-", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a licence, and save its file."""
    terminal: Terminal = context.obj
    said = call_context(purpose, case, item, operator)
    with open_client(terminal, server, credentials, server_name) as client:
        found = client.get(licence, context=said, with_file=out is not None)
    if out == STANDARD_INPUT:
        if found.file is None:
            raise FailedPreconditionError("the licence came without its file", reason="NO_FILE")
        sys.stdout.buffer.write(found.file)
        sys.stdout.buffer.flush()
        return
    saved = None if out is None else save_licence(found, out)
    if as_json:
        terminal.json(licence_json(found, saved))
    else:
        show_licence(terminal, found, saved)


def list_licences(
    context: typer.Context,
    server: Server,
    credentials: CredentialsFolder,
    purpose: Purpose,
    case: CaseNumber = "",
    item: ServiceItem = "",
    operator: Operator = "",
    server_name: ServerName = None,
    holder: Annotated[
        str | None, typer.Option("--holder", metavar="KIND", show_default=False)
    ] = None,
    licence_type: Annotated[
        str | None, typer.Option("--type", metavar="CODE", show_default=False)
    ] = None,
    issuer: Annotated[
        str | None, typer.Option("--issuer", metavar="CODE", show_default=False)
    ] = None,
    state: Annotated[list[LicenceState] | None, typer.Option("--state", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """List licences: a holder's file, a type's, an authority's."""
    terminal: Terminal = context.obj
    said = call_context(purpose, case, item, operator)
    number = None if holder is None else _ask_number(terminal, holder)
    with open_client(terminal, server, credentials, server_name) as client:
        found = client.list(
            context=said,
            holder=number,
            licence_type=licence_type,
            issuer=issuer,
            states=state or (),
        )
        licences = list(islice(found, limit + 1))
    shown = licences[:limit]
    if as_json:
        terminal.json([licence_json(one) for one in shown])
    else:
        show_licences(terminal, shown)
    if len(licences) > limit:
        terminal.note("list.more", count=limit)


def events(
    context: typer.Context,
    licence: LicenceArgument,
    server: Server,
    credentials: CredentialsFolder,
    purpose: Purpose,
    case: CaseNumber = "",
    item: ServiceItem = "",
    operator: Operator = "",
    server_name: ServerName = None,
) -> None:
    """List what happened to a licence."""
    terminal: Terminal = context.obj
    said = call_context(purpose, case, item, operator)
    with open_client(terminal, server, credentials, server_name) as client:
        show_events(terminal, list(client.events(licence, context=said)))


def register(application: typer.Typer) -> None:
    """Add the commands to a group."""
    application.command("get")(get)
    application.command("list")(list_licences)
    application.command("events")(events)


def _ask_number(terminal: Terminal, kind: str) -> SubjectNumber:
    """Ask for a holder's number, or read a line of it from a pipe.

    Never from the command line, which every user of the machine can read.
    """
    known = IdentifierType.of(kind)
    if sys.stdin.isatty():
        label = terminal.text("list.number", kind=f"{known.name_zh} {known.value}")
        text = str(typer.prompt(label, err=True))
    else:
        text = sys.stdin.readline(MAX_TEXT_CHARACTERS + 2)
    return parse_number(known, text.strip())
