"""``yinxin region init``: found a region in a new directory."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import typer
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from yinxin_edge.terminal import Terminal
from yinxin_proto.sm2provider import provider
from yinxin_proto.suite import ES256, SM2
from yinxin_trust.command import officer
from yinxin_trust.command.ceremony import check_region, show_shared
from yinxin_trust.command.opening import RegionDirectory
from yinxin_trust.command.passphrase import (
    OfflinePassphraseFile,
    PassphraseFile,
    PassphraseSource,
)
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.keysettings import KeysTable
from yinxin_trust.publication import first_root
from yinxin_trust.region import OFFLINE, Region
from yinxin_trust.settings import (
    DatabaseTable,
    HttpTable,
    RegionTable,
    ServerTable,
    Settings,
    load_keys,
)
from yinxin_trust.settingscheck import check_settings

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)

_DEFAULT: Final = ServerTable()


app.add_typer(officer.app, name="officer")


@app.callback()
def region() -> None:
    """Found a region."""


@app.command("init")
def init(
    context: typer.Context,
    directory: RegionDirectory,
    code: Annotated[str, typer.Option("--code", metavar="350300", show_default=False)],
    domain: Annotated[str, typer.Option("--domain", metavar="DOMAIN", show_default=False)],
    name: Annotated[str, typer.Option("--name", metavar="TEXT", show_default=False)],
    database: Annotated[str, typer.Option("--database", metavar="URL", show_default=False)] = "",
    suite: Annotated[str, typer.Option("--suite", metavar="SUITE", show_default=False)] = "",
    root_suite: Annotated[
        str, typer.Option("--root-suite", metavar="SUITE", show_default=False)
    ] = "",
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT")] = _DEFAULT.listen,
    http: Annotated[str, typer.Option("--http", metavar="HOST:PORT", show_default=False)] = "",
    public_url: Annotated[
        str, typer.Option("--public-url", metavar="URL", show_default=False)
    ] = "",
    host: Annotated[list[str] | None, typer.Option("--host", show_default=False)] = None,
    keys: Annotated[Path | None, typer.Option("--keys", metavar="FILE", show_default=False)] = None,
    passphrase_file: PassphraseFile = None,
    offline_passphrase_file: OfflinePassphraseFile = None,
    ceremony: Annotated[
        Path | None, typer.Option("--ceremony", metavar="SCRIPT", show_default=False)
    ] = None,
) -> None:
    """Found a region: its keys, certificates, database, logs and first publication."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(
        terminal=terminal, file=passphrase_file, offline_file=offline_passphrase_file
    )
    names, addresses = split_hosts(host or [*_DEFAULT.names, *_DEFAULT.addresses])
    settings = Settings(
        region=RegionTable(
            code=code, domain=domain, name=name, suite=suite or usual_suite(), root_suite=root_suite
        ),
        database=DatabaseTable(url=database),
        server=ServerTable(listen=listen, names=names, addresses=addresses),
        http=HttpTable(listen=http, public_url=public_url),
        keys=KeysTable() if keys is None else load_keys(keys),
    )
    check_settings(settings)
    # Before anything is made: a script that cannot be followed makes no region.
    sharing = None if ceremony is None else passphrases.ceremony(ceremony)
    if sharing is not None:
        check_region(sharing.script, code)
    online, offline = passphrases.new()
    Region.create(directory, settings, passphrase=online, offline_passphrase=offline)
    if sharing is not None:
        # Interrupted, it is done again with: yinxin ceremony share.
        sharing.share(directory / OFFLINE, passphrase=offline)
        show_shared(terminal, sharing)
    warn_of_password(terminal, database)
    with Region.open(directory, passphrase=online) as made:
        _show(terminal, directory, made)


def usual_suite() -> str:
    """Return the suite of a region that names none: SM2, where this machine can do it.

    A region has a code of GB/T 2260, so it comes under the rules of commercial
    cryptography.
    """
    return SM2.name if provider().find() else ES256.name


def split_hosts(hosts: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return DNS names and IP addresses apart."""
    names: list[str] = []
    addresses: list[str] = []
    for host in hosts:
        try:
            addresses.append(str(ipaddress.ip_address(host)))
        except ValueError:
            names.append(host)
    return tuple(names), tuple(addresses)


def warn_of_password(terminal: Terminal, url: str) -> None:
    """Say that a password in a database URL is now in a file."""
    try:
        password = make_url(url).password if url else None
    except ArgumentError:
        return
    if password is not None:
        terminal.note("database.password", style="yellow")


def _show(terminal: Terminal, directory: Path, region: Region) -> None:
    with region.storage.read() as conn:
        fingerprint = sha256(first_root(conn)).hexdigest()
    members = [
        (terminal.text("region.directory"), directory),
        (terminal.text("region.code"), region.namespace.code),
        (terminal.text("region.domain"), region.namespace.domain),
        (terminal.text("region.database"), describe_database(region)),
        (terminal.text("region.suite"), region.foundation.suites.own.name),
        (terminal.text("region.root_suite"), region.foundation.suites.root.name),
        (terminal.text("region.root"), fingerprint),
    ]
    terminal.record(
        terminal.text("region.made", name=region.namespace.name), members, style="green"
    )
    terminal.note("region.next", directory=directory, style="")


def describe_database(region: Region) -> str:
    """Return kind and version of a region's database, e.g. ``SQLite 3.40.1``."""
    database = region.storage.database
    kind = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[database.dialect]
    return f"{kind} {'.'.join(map(str, database.version))}"
