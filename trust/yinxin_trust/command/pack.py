"""``yinxin pack export``: what verifiers need offline, as one directory or file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin_proto.trustlist import TrustList
from yinxin_trust.command.opening import RegionDirectory, open_region
from yinxin_trust.command.passphrase import PassphraseFile, PassphraseSource
from yinxin_trust.command.speech import terminal_of
from yinxin_trust.diagnosis import show_moment
from yinxin_trust.ledger import LICENCES, signed_head
from yinxin_trust.pack_export import collect, write_directory, write_zip
from yinxin_trust.publication import TRUST_TARGET, current_view
from yinxin_trust.refresh import refresh

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)

_ZIP: Final = ".zip"


@app.callback()
def pack() -> None:
    """Offline packs."""


@app.command("export")
def export(
    context: typer.Context,
    directory: RegionDirectory,
    out: Annotated[Path, typer.Argument(metavar="OUT", show_default=False)],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign what is due, and export all that verifiers need."""
    terminal = terminal_of(context)
    passphrases = PassphraseSource(terminal=terminal, file=passphrase_file)
    with open_region(directory, passphrases) as region:
        refresh(region)
        now = region.clock.now()
        with region.storage.read() as conn:
            files = collect(conn, now)
            view = current_view(conn, now)
            head = signed_head(conn, LICENCES)
            authorities = TrustList.parse(view.target(TRUST_TARGET)).authorities
    write = write_zip if out.suffix.lower() == _ZIP else write_directory
    write(files, out)
    members = [
        (terminal.text("pack.trust"), view.versions["targets"]),
        (terminal.text("pack.authorities"), len(authorities)),
        (terminal.text("pack.log"), head.size),
        (terminal.text("pack.files"), len(files)),
        (terminal.text("pack.size"), f"{sum(map(len, files.values())) / 1024:.0f} KiB"),
        (terminal.text("pack.made"), show_moment(now)),
    ]
    terminal.record(terminal.text("pack.exported", path=out), members, style="green")
