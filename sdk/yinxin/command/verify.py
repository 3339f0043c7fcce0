"""``yinxin verify``: offline from a pack, or online at a region."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin.client import Client
from yinxin.command.connection import (
    AsJson,
    CaseNumber,
    Operator,
    ServerName,
    ServiceItem,
    call_context,
    open_client,
)
from yinxin.command.inputfile import InputFile, read_input
from yinxin.command.moment import parse_moment
from yinxin.command.packopening import (
    OptionalCredentials,
    PackOption,
    PinOption,
    PqRootOption,
    StateOption,
    describe_pinning,
    open_verifier,
)
from yinxin.command.reportview import show_report
from yinxin.context import Context
from yinxin.verifier import Verifier
from yinxin_edge.terminal import Terminal
from yinxin_proto.error import YinxinError
from yinxin_proto.licence import MAX_FILE_BYTES, parse_type
from yinxin_verifier.examination import Request
from yinxin_verifier.policy import OFFLINE, ONLINE, Policy
from yinxin_verifier.reason import Text
from yinxin_verifier.report import Indication, Report

POLICIES: Final = {policy.name.lower(): policy for policy in (ONLINE, OFFLINE)}

ServerOption = Annotated[
    str | None,
    typer.Option("--server", metavar="HOST:PORT", envvar="YINXIN_SERVER", show_default=False),
]
PurposeOption = Annotated[
    str | None,
    typer.Option("--purpose", metavar="TEXT", envvar="YINXIN_PURPOSE", show_default=False),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What is asked, of whomever."""

    presentation: bytes
    at: datetime | None
    policy: Policy | None
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A report, and what a person is shown beside it."""

    report: Report
    field_names: Mapping[str, Text]
    trust: str | None = None


def verify(
    context: typer.Context,
    file: InputFile,
    pack: PackOption = None,
    server: ServerOption = None,
    credentials: OptionalCredentials = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", show_default=False)] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="|".join(POLICIES), show_default=False)
    ] = None,
    purpose: PurposeOption = None,
    case: CaseNumber = "",
    item: ServiceItem = "",
    operator: Operator = "",
    audience: Annotated[str | None, typer.Option("--audience", show_default=False)] = None,
    nonce: Annotated[str | None, typer.Option("--nonce", show_default=False)] = None,
    pin: PinOption = None,
    pq_root: PqRootOption = None,
    state: StateOption = None,
    server_name: ServerName = None,
    claims: Annotated[bool, typer.Option("--claims")] = False,
    as_json: AsJson = False,
) -> None:
    """Verify a licence file or an SD-JWT."""
    terminal: Terminal = context.obj
    if pack is None and (server is None or credentials is None or purpose is None):
        raise typer.BadParameter("give --pack, or --server with --credentials and --purpose")
    question = _Question(
        # One byte more than a licence file may have: just too large is a verdict too.
        presentation=read_input(file, max_bytes=MAX_FILE_BYTES + 1),
        at=None if at is None else parse_moment(at),
        policy=_policy(policy),
        request=Request(purpose=purpose, audience=audience, nonce=nonce),
    )
    if pack is not None:
        verifier = open_verifier(
            terminal, pack, pin=pin, pq_root=pq_root, credentials=credentials, state=state
        )
        answer = _ask_pack(terminal, verifier, question)
    else:
        said = call_context(purpose or "", case, item, operator)
        with open_client(terminal, server or "", credentials or Path(), server_name) as client:
            answer = _ask_region(client, question, said)
    if as_json:
        terminal.plain(answer.report.to_json(claims=claims, indent=2))
    else:
        show_report(terminal, answer.report, field_names=answer.field_names, trust=answer.trust)
    raise typer.Exit(answer.report.exit_status)


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("verify")(verify)


def _policy(name: str | None) -> Policy | None:
    if name is None:
        return None
    found = POLICIES.get(name.lower())
    if found is None:
        raise typer.BadParameter(f"--policy is one of {', '.join(POLICIES)}")
    return found


def _ask_pack(terminal: Terminal, verifier: Verifier, question: _Question) -> _Answer:
    report = verifier.verify(
        question.presentation, question.at, question.policy or OFFLINE, question.request
    )
    return _Answer(
        report=report,
        field_names=_names(report, verifier.field_names),
        trust=describe_pinning(terminal, verifier),
    )


def _ask_region(client: Client, question: _Question, context: Context) -> _Answer:
    report = client.verify(
        question.presentation,
        context=context,
        at=question.at,
        policy=question.policy or ONLINE,
        request=question.request,
    )
    return _Answer(
        report=report, field_names=_names(report, lambda code: client.type(code).field_names)
    )


def _names(report: Report, find: Callable[[str], Mapping[str, Text]]) -> Mapping[str, Text]:
    """Return the names of the fields that will be shown, which only a licence that passed has."""
    if report.indication is not Indication.TOTAL_PASSED:
        return {}
    try:
        return find(parse_type(report.require_passed()["vct"]))
    except YinxinError:
        # For display alone: the verdict is there already.
        return {}
