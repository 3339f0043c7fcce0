"""``yinxin signer``: key pairs on a machine of their own."""

from __future__ import annotations

import signal
from multiprocessing.connection import wait
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin_ca.keystore import Purpose
from yinxin_ca.signer_journal import read_journal
from yinxin_ca.signer_service import SignerServicer, signer_service
from yinxin_edge.clock import SystemClock, SystemEntropy
from yinxin_edge.interceptor import CallLimits
from yinxin_edge.journal import Journal
from yinxin_edge.principal import PeerVerifier
from yinxin_edge.server import Server, ServerSettings
from yinxin_edge.signal_pipe import signal_pipe
from yinxin_edge.tls import server_credentials
from yinxin_proto.certificate import Certificate, parse
from yinxin_trust.command.passphrase import PassphraseFile, PassphraseSource
from yinxin_trust.command.region import split_hosts
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.keysettings import KeysTable
from yinxin_trust.settings import load_keys
from yinxin_trust.signerhouse import (
    JOURNAL,
    SignerHouse,
    SignerSettings,
    SignerTable,
    load_signer,
)

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)

SignerDirectory = Annotated[Path, typer.Argument(metavar="DIR", show_default=False)]
MAX_REQUEST_BYTES: Final = (1 << 20) + 4096
_DEFAULT: Final = SignerTable(domain="signer.example")


@app.callback()
def signer() -> None:
    """Key pairs on a machine of their own."""


@app.command("init")
def init(
    context: typer.Context,
    directory: SignerDirectory,
    domain: Annotated[str, typer.Option("--domain", metavar="DOMAIN", show_default=False)],
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT")] = _DEFAULT.listen,
    host: Annotated[list[str] | None, typer.Option("--host", show_default=False)] = None,
    keys: Annotated[Path | None, typer.Option("--keys", metavar="FILE", show_default=False)] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make the directory of a signer, with a TLS anchor of its own."""
    terminal = terminal_of(context)
    names, addresses = split_hosts(host or [*_DEFAULT.names, *_DEFAULT.addresses])
    settings = SignerSettings(
        signer=SignerTable(domain=domain, listen=listen, names=names, addresses=addresses),
        keys=KeysTable() if keys is None else load_keys(keys),
    )
    passphrase, _ = PassphraseSource(terminal=terminal, file=passphrase_file).new()
    SignerHouse.create(
        directory, settings, passphrase=passphrase, clock=SystemClock(), entropy=SystemEntropy()
    )
    terminal.note("signer.made", style="green", directory=directory)


@app.command("client")
def client(
    context: typer.Context,
    directory: SignerDirectory,
    client_id: Annotated[str, typer.Option("--id", metavar="ID", show_default=False)],
    purpose: Annotated[list[Purpose], typer.Option("--purpose", show_default=False)],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", show_default=False)],
    manage: Annotated[bool, typer.Option("--manage")] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Let a region call: a certificate, pinned, for keys of the purposes named."""
    terminal = terminal_of(context)
    load_signer(directory)
    passphrase = PassphraseSource(terminal=terminal, file=passphrase_file).online()
    house = _open(directory, passphrase)
    house.enrol(client_id, purposes=tuple(purpose), may_manage=manage, folder=out)
    terminal.note("signer.client", style="green", id=client_id, folder=out)


@app.command("serve")
def serve(
    context: typer.Context,
    directory: SignerDirectory,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", show_default=False)
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign for those enrolled, until told to stop."""
    terminal = terminal_of(context)
    load_signer(directory)
    passphrase = PassphraseSource(terminal=terminal, file=passphrase_file).online()
    house = _open(directory, passphrase)
    journal = house.journal()
    table = house.settings.signer
    servicer = SignerServicer(store=house.store, journal=journal, callers=house.settings.callers())
    server = Server(
        settings=ServerSettings(
            listen=listen or table.listen,
            threads=table.threads,
            share_port=False,
            limits=CallLimits(max_request_bytes=MAX_REQUEST_BYTES),
        ),
        services=[signer_service(servicer)],
        credentials=server_credentials(house.identity()),
        identify=PeerVerifier(
            anchors={table.domain: (parse(house.anchor),)},
            clock=house.clock,
            is_revoked=_is_revoked,
        ),
        journal=Journal(clock=house.clock, context={"process": "signer"}),
        entropy=house.entropy,
    )
    address = f"{(listen or table.listen).rpartition(':')[0]}:{server.port}"
    with signal_pipe(signal.SIGTERM, signal.SIGINT) as signalled:
        server.start()
        terminal.plain(
            terminal.text("signer.ready", address=address, clients=len(house.settings.client))
        )
        wait([signalled])
        server.stop()
    journal.close()
    terminal.note("signer.stopped")


@app.command("journal")
def check_journal(context: typer.Context, directory: SignerDirectory) -> None:
    """Check that the journal hangs together, and say what it ends with."""
    terminal = terminal_of(context)
    load_signer(directory)
    count, last = 0, "-"
    for members in read_journal(directory / JOURNAL):
        count, last = members["number"], f"{members['act']} {members['key']}"
    terminal.plain(terminal.text("signer.journal", count=count, last=last))


def _open(directory: Path, passphrase: str) -> SignerHouse:
    return SignerHouse.open(
        directory, passphrase=passphrase, clock=SystemClock(), entropy=SystemEntropy()
    )


def _is_revoked(certificate: Certificate) -> bool:
    # Callers are pinned in signer.toml, one certificate each: what is taken out
    # there is refused, so there is no list of revoked ones beside it.
    del certificate
    return False
