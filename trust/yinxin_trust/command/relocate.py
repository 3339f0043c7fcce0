"""The ``--database`` of ``yinxin serve``: move the region there, once."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from yinxin_ca.keyfile import open_key_store
from yinxin_edge.clock import SystemClock, SystemEntropy
from yinxin_edge.database import Database
from yinxin_edge.terminal import Terminal
from yinxin_proto.error import ConfigurationError
from yinxin_trust.background import lease_holder
from yinxin_trust.command.region import warn_of_password
from yinxin_trust.keyring import Keyring
from yinxin_trust.keystores import KEYS, StoreMaker
from yinxin_trust.relocation import Relocation
from yinxin_trust.settings import load_settings, write_database_url
from yinxin_trust.soundness import Soundness
from yinxin_trust.storage import Storage


def relocate(terminal: Terminal, directory: Path, passphrase: str, database: str) -> None:
    """Move a region to another database, unless it is there already.

    The caller holds the lock of the region's directory.

    Raises:
        YinxinError: As `Relocation.run`; the region then stays where it was.
    """
    settings = load_settings(directory)
    present, url = absolute(settings.database_url(directory)), absolute(database)
    if url == present:
        return
    clock, entropy = SystemClock(), SystemEntropy()
    files = open_key_store(directory / KEYS, passphrase=passphrase, clock=clock, entropy=entropy)
    maker = StoreMaker(directory=directory, clock=clock, entropy=entropy)
    keystore = maker.online(settings.keys, files)
    soundness = Soundness(keyring=Keyring(settings.namespace, keystore), directory=directory)
    with (
        closing(Storage(Database.open(present))) as source,
        closing(Storage(Database.open(url))) as target,
    ):
        moved = Relocation(
            source=source,
            target=target,
            holder=lease_holder(directory),
            check=lambda storage: soundness.examine(storage, full=True).require_sound(),
            clock=clock,
            entropy=entropy,
        ).run()
    write_database_url(directory, url)
    terminal.note("serve.moved", style="green", rows=moved.rows, tables=moved.tables)
    warn_of_password(terminal, url)


def absolute(url: str) -> str:
    """Return a database URL that means the same wherever it is read.

    Raises:
        ConfigurationError: Not a URL of a database that lasts (``DATABASE_URL``).
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        # The URL may hold a password: it is not repeated.
        parsed = None
    if parsed is None or not parsed.database:
        raise ConfigurationError(
            "the database URL must be sqlite:////path or postgresql://user@host/name",
            reason="DATABASE_URL",
        )
    if parsed.get_backend_name() == "sqlite":
        parsed = parsed.set(database=str(Path(parsed.database).resolve()))
    return parsed.render_as_string(hide_password=False)
