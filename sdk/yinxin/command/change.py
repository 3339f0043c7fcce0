"""``yinxin licence suspend|reinstate|revoke|cancel|freeze|lose|annul|withdraw``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

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
from yinxin.command.holding import LicenceArgument
from yinxin.command.licenceview import licence_json, show_licence
from yinxin.command.moment import parse_moment
from yinxin.licence import Operation
from yinxin_edge.terminal import Terminal

OPERATIONS: Final = (
    Operation.SUSPEND,
    Operation.REINSTATE,
    Operation.REVOKE,
    Operation.CANCEL,
    Operation.FREEZE,
    Operation.LOSE,
    Operation.ANNUL,
    Operation.WITHDRAW,
)

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", show_default=False)]
LegalBasis = Annotated[str, typer.Option("--legal-basis", metavar="TEXT", show_default=False)]
ReasonCode = Annotated[str, typer.Option("--reason-code", metavar="CODE")]
RequestId = Annotated[str | None, typer.Option("--request-id", metavar="ID", show_default=False)]


def register(application: typer.Typer) -> None:
    """Add a command for each operation to a group."""
    for operation in OPERATIONS:
        _register(application, operation)


def _register(application: typer.Typer, operation: Operation) -> None:
    @application.command(operation.value)
    def change(
        context: typer.Context,
        licence: LicenceArgument,
        server: Server,
        credentials: CredentialsFolder,
        purpose: Purpose,
        reason: Reason,
        legal_basis: LegalBasis,
        reason_code: ReasonCode = "OTHER",
        effective: Annotated[
            str | None, typer.Option("--effective", metavar="TIME", show_default=False)
        ] = None,
        request_id: RequestId = None,
        case: CaseNumber = "",
        item: ServiceItem = "",
        operator: Operator = "",
        server_name: ServerName = None,
        as_json: AsJson = False,
    ) -> None:
        """Change a licence's status under the authority's approval."""
        terminal: Terminal = context.obj
        said = call_context(purpose, case, item, operator)
        moment: datetime | None = None if effective is None else parse_moment(effective)
        with open_client(terminal, server, credentials, server_name) as client:
            changed = client.change_status(
                licence,
                operation,
                reason=reason,
                legal_basis=legal_basis,
                reason_code=reason_code,
                effective_at=moment,
                request_id=request_id,
                context=said,
            )
        if as_json:
            terminal.json(licence_json(changed))
            return
        terminal.note(
            "change.done", style="green", operation=terminal.text(f"operation.{operation.value}")
        )
        show_licence(terminal, changed)
