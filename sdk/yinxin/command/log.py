"""``yinxin log checkpoint|prove``: what a region's log says, and proofs of it."""

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
from yinxin.command.inputfile import InputFile, read_input
from yinxin.command.packopening import (
    OptionalCredentials,
    PackOption,
    PinOption,
    open_verifier,
)
from yinxin.log import LICENCES
from yinxin.proof import LicenceProof, prove_licence
from yinxin.verifier import Verifier
from yinxin_edge.terminal import Terminal
from yinxin_proto.checkpoint import UnverifiedCheckpoint
from yinxin_proto.error import VerificationError
from yinxin_proto.licence import MAX_FILE_BYTES
from yinxin_proto.merkle import TreeHead
from yinxin_proto.strict import Json

OptionalServer = Annotated[
    str | None,
    typer.Option("--server", metavar="HOST:PORT", envvar="YINXIN_SERVER", show_default=False),
]


def checkpoint(
    context: typer.Context,
    server: Server,
    credentials: CredentialsFolder,
    log: Annotated[str, typer.Option("--log", metavar="NAME")] = LICENCES,
    pack: PackOption = None,
    pin: PinOption = None,
    server_name: ServerName = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest checkpoint of a log, and check that the log only grew."""
    terminal: Terminal = context.obj
    with open_client(terminal, server, credentials, server_name) as client:
        found = client.checkpoint(log)
        members = _head(found)
        if pack is not None:
            verifier = open_verifier(terminal, pack, pin=pin, credentials=credentials)
            known = _verify(verifier, found)
            members["signature"] = "VALID"
            if known is not None and known.size > 0:
                old, new = sorted((known, found.claimed.head), key=lambda head: head.size)
                client.prove_consistency(old, new, log)
                members["consistentWith"] = known.size
    _show(terminal, "log.checkpoint", members, as_json=as_json)


def prove(
    context: typer.Context,
    file: InputFile,
    server: OptionalServer = None,
    credentials: OptionalCredentials = None,
    pack: PackOption = None,
    pin: PinOption = None,
    server_name: ServerName = None,
    as_json: AsJson = False,
) -> None:
    """Show that a licence is in the log, step by step."""
    terminal: Terminal = context.obj
    proof = prove_licence(read_input(file, max_bytes=MAX_FILE_BYTES))
    members = _proof(proof)
    if pack is not None:
        verifier = open_verifier(terminal, pack, pin=pin, credentials=credentials)
        _verify(verifier, proof.checkpoint)
        members["signature"] = "VALID"
    if server is not None and credentials is not None:
        with open_client(terminal, server, credentials, server_name) as client:
            now = client.checkpoint().claimed
            if now.origin != proof.checkpoint.claimed.origin:
                raise VerificationError(
                    "the region's log has another origin now", reason="CHECKPOINT_ORIGIN"
                )
            client.prove_consistency(proof.checkpoint.claimed.head, now.head)
        members["consistentWith"] = now.size
    _show(terminal, "log.proof", members, as_json=as_json)


def register(application: typer.Typer) -> None:
    """Add the commands to a group."""
    application.command("checkpoint")(checkpoint)
    application.command("prove")(prove)


def _head(found: UnverifiedCheckpoint) -> dict[str, Json]:
    return {
        "origin": found.claimed.origin,
        "size": found.claimed.size,
        "root": found.claimed.root.hex(),
        "signers": [line.name for line in found.note.signatures],
        "signature": "UNCHECKED",
    }


def _proof(proof: LicenceProof) -> dict[str, Json]:
    return {
        "identifier": proof.identifier,
        "entry": proof.entry.hex(),
        "leaf": proof.leaf.hex(),
        "index": proof.receipt.index,
        "path": [sibling.hex() for sibling in proof.receipt.proof],
        **_head(proof.checkpoint),
    }


def _verify(verifier: Verifier, found: UnverifiedCheckpoint) -> TreeHead | None:
    """Check a checkpoint under the pack's key for its log; return the head that the pack holds."""
    log = verifier.trust.home.logs.get(found.claimed.origin)
    if log is None:
        raise VerificationError("the pack knows no log of this origin", reason="LOG_UNKNOWN")
    log.verify(found, verifier.trust.home.witnesses)
    return log.head


def _show(terminal: Terminal, title: str, members: dict[str, Json], *, as_json: bool) -> None:
    if as_json:
        terminal.json(members)
        return
    shown: list[tuple[str, object]] = []
    for name, value in members.items():
        label = terminal.text(f"log.row.{name}")
        if name == "signature":
            shown.append((label, terminal.text(f"log.signature.{value}")))
        elif isinstance(value, list):
            shown.append((label, "\n".join(map(str, value))))
        else:
            shown.append((label, value))
    checked = members["signature"] == "VALID"
    terminal.record(terminal.text(title), shown, style="green" if checked else "yellow")
