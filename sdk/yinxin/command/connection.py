"""What every command that calls a region asks for: where, who, and why."""

from __future__ import annotations

from os import environ
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin.client import Client, connect
from yinxin.context import Context
from yinxin.credentials import Credentials
from yinxin_edge.terminal import Terminal

APPROVAL_VARIABLE: Final = "YINXIN_APPROVAL_PASSPHRASE"
"""Environment variable with the passphrase of the approval key."""

Server = Annotated[
    str,
    typer.Option("--server", metavar="HOST:PORT", envvar="YINXIN_SERVER", show_default=False),
]
ServerName = Annotated[
    str | None,
    typer.Option("--server-name", metavar="NAME", envvar="YINXIN_SERVER_NAME", show_default=False),
]
CredentialsFolder = Annotated[
    Path,
    typer.Option("--credentials", metavar="DIR", envvar="YINXIN_CREDENTIALS", show_default=False),
]
Purpose = Annotated[
    str,
    typer.Option("--purpose", metavar="TEXT", envvar="YINXIN_PURPOSE", show_default=False),
]
CaseNumber = Annotated[str, typer.Option("--case", metavar="NUMBER", show_default=False)]
ServiceItem = Annotated[str, typer.Option("--item", metavar="CODE", show_default=False)]
Operator = Annotated[
    str,
    typer.Option("--operator", metavar="NAME", envvar="YINXIN_OPERATOR", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json")]


def open_client(
    terminal: Terminal, server: str, folder: Path, server_name: str | None = None
) -> Client:
    """Return a client; the approval key's passphrase is asked for if it is needed."""

    def passphrase() -> str:
        return environ.get(APPROVAL_VARIABLE) or terminal.ask_secret("connection.passphrase")

    credentials = Credentials.load(folder, passphrase=passphrase)
    return connect(server, credentials=credentials, server_name=server_name)


def call_context(purpose: str, case: str = "", item: str = "", operator: str = "") -> Context:
    """Return the context of a command's calls."""
    return Context(purpose, case_number=case, service_item=item, operator=operator)
