"""Opening a region for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin_proto.error import YinxinError
from yinxin_trust.command.console import record
from yinxin_trust.command.passphrase import PassphraseSource
from yinxin_trust.region import OFFLINE, Region
from yinxin_trust.settings import load_settings

OPEN_METHOD: Final = "OpenOfflineKeys"
RegionDirectory = Annotated[Path, typer.Argument(metavar="DIR", show_default=False)]


@contextmanager
def open_region(
    directory: Path, passphrases: PassphraseSource, *, offline: bool = False
) -> Iterator[Region]:
    """Open a region's directory; with its offline keys where who is trusted changes.

    Raises:
        ConfigurationError: Not a region's directory, before anybody is asked
            for a passphrase.
        WrongPassphraseError: A passphrase does not open its store.
    """
    load_settings(directory)
    online = passphrases.online()
    if not offline:
        with Region.open(directory, passphrase=online) as region:
            yield region
        return
    with _with_offline_keys(directory, online, passphrases) as region:
        yield region


def _with_offline_keys(directory: Path, online: str, passphrases: PassphraseSource) -> Region:
    """Open a region with its offline keys; that they were opened, or not, is audited."""
    try:
        region = Region.open(
            directory,
            passphrase=online,
            offline_passphrase=passphrases.offline(online, store=directory / OFFLINE),
        )
    except YinxinError as error:
        # Without the offline keys: who tried to have them is on record either way.
        with Region.open(directory, passphrase=online) as region:
            record(region, OPEN_METHOD, OFFLINE, error=error)
        raise
    record(region, OPEN_METHOD, OFFLINE, error=None)
    return region
