"""``yinxin verify``: offline from a pack, or online at a region."""

from __future__ import annotations

from hashlib import sha256
from os import environ
from pathlib import Path
from typing import Annotated, Final

import typer

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
from yinxin.command.reportview import show_report
from yinxin.verifier import Verifier
from yinxin_edge.terminal import Terminal
from yinxin_proto.licence import MAX_FILE_BYTES, parse_type
from yinxin_proto.repository_metadata import MAX_ROOT_BYTES
from yinxin_verifier.examination import Request
from yinxin_verifier.pack import Pinning
from yinxin_verifier.policy import OFFLINE, ONLINE, Policy
from yinxin_verifier.report import Indication, Report

POLICIES: Final = {policy.name.lower(): policy for policy in (ONLINE, OFFLINE)}
_SHOWN_FINGERPRINT: Final = 16

PackOption = Annotated[
    Path | None, typer.Option("--pack", metavar="DIR|FILE", exists=True, show_default=False)
]
ServerOption = Annotated[
    str | None,
    typer.Option("--server", metavar="HOST:PORT", envvar="YINXIN_SERVER", show_default=False),
]
CredentialsOption = Annotated[
    Path | None,
    typer.Option("--credentials", metavar="DIR", envvar="YINXIN_CREDENTIALS", show_default=False),
]
PurposeOption = Annotated[
    str | None,
    typer.Option("--purpose", metavar="TEXT", envvar="YINXIN_PURPOSE", show_default=False),
]
PinOption = Annotated[
    Path | None, typer.Option("--pin", metavar="ROOT", exists=True, show_default=False)
]
StateOption = Annotated[Path | None, typer.Option("--state", metavar="FILE", show_default=False)]


def verify(
    context: typer.Context,
    file: InputFile,
    pack: PackOption = None,
    server: ServerOption = None,
    credentials: CredentialsOption = None,
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
    state: StateOption = None,
    server_name: ServerName = None,
    claims: Annotated[bool, typer.Option("--claims")] = False,
    as_json: AsJson = False,
) -> None:
    """Verify a licence file or an SD-JWT."""
    terminal: Terminal = context.obj
    moment = None if at is None else parse_moment(at)
    presentation = None if pack is None and server is None else _read(file)
    if presentation is None:
        raise typer.BadParameter("give --pack or --server")
    request = Request(purpose=purpose, audience=audience, nonce=nonce)
    if pack is not None:
        verifier = _open(terminal, pack, pin, state)
        report = verifier.verify(presentation, moment, _policy(policy, OFFLINE), request)
        _show(terminal, report, verifier, as_json=as_json, claims=claims)
    else:
        if server is None or credentials is None or purpose is None:
            raise typer.BadParameter("--server needs --credentials and --purpose")
        said = call_context(purpose, case, item, operator)
        with open_client(terminal, server, credentials, server_name) as client:
            report = client.verify(
                presentation,
                context=said,
                at=moment,
                policy=_policy(policy, ONLINE),
                request=request,
            )
        _show(terminal, report, None, as_json=as_json, claims=claims)
    raise typer.Exit(report.exit_status)


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("verify")(verify)


def default_state(pin: Path | None) -> Path:
    """Return where the verifier remembers what it saw, unless told otherwise.

    One home, one memory; whoever names the root by ``--pin`` has one for each.
    """
    home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    folder = Path(home) / "yinxin" / "verifier"
    if pin is None:
        return folder / "home.json"
    root = read_input(pin, max_bytes=MAX_ROOT_BYTES)
    return folder / f"root-{sha256(root).hexdigest()[:_SHOWN_FINGERPRINT]}.json"


def _read(file: Path) -> bytes:
    # One byte more than a licence file may have: too large is a verdict, not an error.
    return read_input(file, max_bytes=MAX_FILE_BYTES + 1)


def _open(terminal: Terminal, pack: Path, pin: Path | None, state: Path | None) -> Verifier:
    place = state or default_state(pin)
    verifier = Verifier.open(pack, pin=pin, state=place)
    if verifier.pinning is Pinning.FIRST_USE:
        terminal.note(
            "verify.first_use", style="yellow", fingerprint=verifier.root_fingerprint, path=place
        )
    return verifier


def _policy(name: str | None, default: Policy) -> Policy:
    if name is None:
        return default
    found = POLICIES.get(name.lower())
    if found is None:
        raise typer.BadParameter(f"--policy is one of {', '.join(POLICIES)}")
    return found


def _show(
    terminal: Terminal, report: Report, verifier: Verifier | None, *, as_json: bool, claims: bool
) -> None:
    if as_json:
        terminal.plain(report.to_json(claims=claims, indent=2))
        return
    names = {}
    if verifier is not None and report.indication is Indication.TOTAL_PASSED:
        names = dict(verifier.field_names(parse_type(report.require_passed()["vct"])))
    trust = None
    if verifier is not None:
        trust = terminal.text(
            f"verify.pinning.{verifier.pinning.value}",
            fingerprint=verifier.root_fingerprint[:_SHOWN_FINGERPRINT],
        )
    show_report(terminal, report, field_names=names, trust=trust)
