"""``yinxin licence issue``: from a JSON request, or a department's CSV of approvals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin.approval_csv import ISSUER, MAX_BYTES, ApprovalRow, read_approvals
from yinxin.client import Client
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
from yinxin.command.inputfile import InputFile, read_input
from yinxin.command.licenceview import (
    licence_json,
    make_folder,
    save_licence,
    show_licence,
    show_licences,
)
from yinxin.context import Context
from yinxin.issuance import MAX_BATCH
from yinxin.licence import IssuedLicence
from yinxin_edge.terminal import Terminal, exit_status, show_error
from yinxin_proto.error import (
    DeadlineExceededError,
    InvalidArgumentError,
    MalformedError,
    UnavailableError,
    Violation,
    YinxinError,
)
from yinxin_proto.strict import Json, canonical_json, parse_json

MAX_JSON_BYTES: Final = 16 << 20
_UNREACHABLE: Final = (UnavailableError, DeadlineExceededError)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One run of the command."""

    client: Client
    context: Context
    terminal: Terminal
    wait: bool


def issue(
    context: typer.Context,
    file: InputFile,
    server: Server,
    credentials: CredentialsFolder,
    purpose: Purpose,
    case: CaseNumber = "",
    item: ServiceItem = "",
    operator: Operator = "",
    server_name: ServerName = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", show_default=False)] = None,
    request_id: Annotated[
        str | None, typer.Option("--request-id", metavar="ID", show_default=False)
    ] = None,
    own_only: Annotated[bool, typer.Option("--own-only")] = False,
    batch: Annotated[bool, typer.Option("--batch")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait")] = True,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64)] = 8,
    as_json: AsJson = False,
) -> None:
    """Issue what an authority approved, from a JSON or CSV file."""
    terminal: Terminal = context.obj
    said = call_context(purpose, case, item, operator)
    if out is not None:
        make_folder(out)
    with open_client(terminal, server, credentials, server_name) as client:
        run = _Run(client=client, context=said, terminal=terminal, wait=wait)
        failure: YinxinError | None = None
        if file.suffix.lower() == ".csv":
            rows = _own_rows(run, read_input(file, max_bytes=MAX_BYTES), own_only=own_only)
            if batch:
                licences = _issue_batches(run, rows)
            else:
                licences, failure = _issue_rows(run, rows, jobs)
        else:
            licences = _issue_json(run, read_input(file, max_bytes=MAX_JSON_BYTES), request_id)
        _show(terminal, licences, out, as_json=as_json)
    if failure is not None:
        raise typer.Exit(int(exit_status(failure)))


def register(application: typer.Typer) -> None:
    """Add the command to a group."""
    application.command("issue")(issue)


def _show(
    terminal: Terminal, licences: Sequence[IssuedLicence], out: Path | None, *, as_json: bool
) -> None:
    saved = {
        licence.identifier: save_licence(licence, out)
        for licence in licences
        if out is not None and licence.file is not None
    }
    if as_json:
        terminal.json([licence_json(one, saved.get(one.identifier)) for one in licences])
    elif len(licences) == 1:
        show_licence(terminal, licences[0], saved.get(licences[0].identifier))
    else:
        show_licences(terminal, licences)
        terminal.note("issue.done", style="green", count=len(licences))
        if saved:
            terminal.note("issue.saved", style="green", count=len(saved), path=out)


def _issue_json(run: _Run, data: bytes, request_id: str | None) -> list[IssuedLicence]:
    """An object is one licence, an array a batch under one approval."""
    document = parse_json(data, max_bytes=MAX_JSON_BYTES)
    if isinstance(document, dict):
        return [
            run.client.issue(document, context=run.context, request_id=request_id, wait=run.wait)
        ]
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        raise MalformedError(
            "a request is a JSON object, a batch an array of such", reason="REQUEST_FILE"
        )
    return run.client.issue_many(
        document, context=run.context, request_id=request_id, wait=run.wait
    )


def _own_rows(run: _Run, data: bytes, *, own_only: bool) -> list[ApprovalRow]:
    """Return the rows of the credentials' authority; others are left out only if asked."""
    rows = read_approvals(data, run.client.type, region=run.client.region)
    credentials = run.client.credentials
    authority = None if credentials is None else credentials.authority
    own = [row for row in rows if row.request["issuer"] == authority]
    if len(own) == len(rows) or own_only:
        if len(own) < len(rows):
            run.terminal.note("issue.left_out", style="yellow", count=len(rows) - len(own))
        return own
    raise InvalidArgumentError(
        "the file has approvals of other authorities; nothing was issued",
        reason="APPROVALS",
        violations=[
            Violation(f"rows[{row.line}].{ISSUER}", "is another authority", "FOREIGN_AUTHORITY")
            for row in rows
            if row.request["issuer"] != authority
        ],
    )


def row_request_id(*parts: Json) -> str:
    """Return a request id that follows from what is asked.

    So a file can be handed in again after a failure: what was issued from it
    before is returned, not issued again.
    """
    return "file-" + sha256(canonical_json(list(parts))).hexdigest()[:48]


def _issue_rows(
    run: _Run, rows: Sequence[ApprovalRow], jobs: int
) -> tuple[list[IssuedLicence], YinxinError | None]:
    """Issue each row under its own case; return what was issued, and the first failure."""

    def issue_one(row: ApprovalRow) -> IssuedLicence:
        return run.client.issue(
            row.request,
            context=_row_context(run.context, row),
            request_id=row_request_id(row.case_number, dict(row.request)),
            wait=run.wait,
        )

    licences: list[IssuedLicence] = []
    failure: YinxinError | None = None
    with ThreadPoolExecutor(jobs) as pool:
        for row, outcome in zip(rows, _each(pool, issue_one, rows), strict=False):
            if isinstance(outcome, YinxinError):
                failure = failure or outcome
                run.terminal.note("issue.row_failed", style="red", line=row.line)
                show_error(run.terminal, outcome)
            else:
                licences.append(outcome)
    return licences, failure


def _each(
    pool: ThreadPoolExecutor,
    call: Callable[[ApprovalRow], IssuedLicence],
    rows: Sequence[ApprovalRow],
) -> Iterator[IssuedLicence | YinxinError]:
    """Yield what each row came to; stop when the region can no longer be reached."""
    futures = [pool.submit(call, row) for row in rows]
    try:
        for future in futures:
            try:
                outcome: IssuedLicence | YinxinError = future.result()
            except YinxinError as error:
                outcome = error
            yield outcome
            if isinstance(outcome, _UNREACHABLE):
                return
    finally:
        for future in futures:
            future.cancel()


def _row_context(given: Context, row: ApprovalRow) -> Context:
    """What the command line says of the case wins over the file."""
    return Context(
        given.purpose,
        case_number=given.case_number or row.case_number,
        service_item=given.service_item or row.service_item,
        operator=given.operator,
    )


def _issue_batches(run: _Run, rows: Sequence[ApprovalRow]) -> list[IssuedLicence]:
    licences: list[IssuedLicence] = []
    for start in range(0, len(rows), MAX_BATCH):
        requests = [dict(row.request) for row in rows[start : start + MAX_BATCH]]
        licences += run.client.issue_many(
            requests, context=run.context, request_id=row_request_id(*requests), wait=run.wait
        )
    return licences
