"""``yinxin serve``: run a region's server processes until told to stop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Annotated, Final

import typer

from yinxin_edge.clock import SystemClock
from yinxin_edge.directory_lock import lock_directory
from yinxin_edge.journal import Journal
from yinxin_edge.port import reserve_port
from yinxin_edge.supervisor import Supervisor
from yinxin_edge.terminal import Terminal
from yinxin_proto.suite import SM2
from yinxin_trust.command.opening import RegionDirectory
from yinxin_trust.command.passphrase import PassphraseFile, PassphraseSource
from yinxin_trust.command.region import describe_database
from yinxin_trust.command.relocate import relocate
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.keystores import require_answers
from yinxin_trust.region import Region
from yinxin_trust.servercertificate import ServerCertificate
from yinxin_trust.settings import load_settings
from yinxin_trust.soundness import Soundness
from yinxin_trust.worker import ProcessSettings, process_specs

app: Final = typer.Typer(add_completion=False)


@app.command()
def serve(
    context: typer.Context,
    directory: RegionDirectory,
    database: Annotated[
        str | None, typer.Option("--database", metavar="URL", show_default=False)
    ] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", show_default=False)
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=256, show_default=False)
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Serve a region."""
    terminal = terminal_of(context)
    settings = load_settings(directory)
    passphrase = PassphraseSource(terminal=terminal, file=passphrase_file).online()
    server = replace(
        settings.server,
        listen=listen or settings.server.listen,
        workers=workers or settings.server.workers,
    )
    with ExitStack() as held:
        held.enter_context(lock_directory(directory))
        address = held.enter_context(reserve_port(server.listen))
        public = settings.http.listen
        public = held.enter_context(reserve_port(public)) if public else ""
        if database is not None:
            relocate(terminal, directory, passphrase, database)
        process = ProcessSettings(
            name="",
            directory=directory,
            passphrase=passphrase,
            address=address,
            http_address=public,
        )
        Supervisor(
            workers=process_specs(process, workers=server.workers),
            journal=Journal(clock=SystemClock(), context={"process": "supervisor"}),
            on_ready=_examine(terminal, process, workers=server.workers),
        ).run()
    terminal.note("serve.stopped")


def _examine(terminal: Terminal, process: ProcessSettings, *, workers: int) -> Callable[[], None]:
    """Check the region before anybody is served; return what announces it."""
    with Region.open(process.directory, passphrase=process.passphrase) as region:
        require_answers(region.keyring.online)
        _open_keys(region)
        soundness = Soundness(keyring=region.keyring, directory=process.directory)
        soundness.examine(region.storage).require_sound()
        ServerCertificate(region=region, directory=process.directory).ensure()
        ready = terminal.text(
            "serve.ready",
            name=region.namespace.name,
            code=region.namespace.code,
            address=process.address,
            workers=workers,
            database=describe_database(region),
        )
        if process.http_address:
            ready += "\n" + terminal.text("serve.public", address=process.http_address)
    return lambda: terminal.plain(ready)


def _open_keys(region: Region) -> None:
    """Open the keys that this machine might be unable to use, before anybody is served.

    Raises:
        ConfigurationError: A key of SM2, and no libcrypto that has it
            (``SM2_UNAVAILABLE``). Where a device keeps the key, none is needed.
    """
    if not region.foundation.suites.is_commercial:
        return
    store = region.keyring.online
    for info in store.list():
        if info.kind == SM2.name:
            store.signer(info.ref)
