"""``yinxin renew``: the caller's own certificate, before it ends."""

from __future__ import annotations

from typing import Annotated

import typer

from yinxin.command.connection import (
    AsJson,
    CredentialsFolder,
    Server,
    ServerName,
    open_client,
)
from yinxin.renewal import is_due
from yinxin_edge.clock import SystemClock
from yinxin_edge.terminal import Terminal


def renew(
    context: typer.Context,
    server: Server,
    credentials: CredentialsFolder,
    if_due: Annotated[bool, typer.Option("--if-due")] = False,
    server_name: ServerName = None,
    as_json: AsJson = False,
) -> None:
    """Renew the certificate in the credentials, with a new key."""
    terminal: Terminal = context.obj
    if if_due and not is_due(credentials, SystemClock().now()):
        if as_json:
            terminal.json({"renewed": False})
        else:
            terminal.line("renew.early")
        return
    with open_client(terminal, server, credentials, server_name) as client:
        made = client.renew_certificate(credentials)
    if as_json:
        terminal.json(
            {
                "renewed": True,
                "principal": made.principal,
                "notAfter": made.not_after.isoformat(),
            }
        )
        return
    members = [
        (terminal.text("renew.principal"), made.principal),
        (terminal.text("renew.until"), made.not_after.strftime("%Y-%m-%d %H:%M UTC")),
    ]
    terminal.record(terminal.text("renew.done"), members, style="green")


def register(application: typer.Typer) -> None:
    """Add the command to an application."""
    application.command("renew")(renew)
