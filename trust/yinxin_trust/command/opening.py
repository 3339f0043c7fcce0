"""Opening a region for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from yinxin_trust.command.passphrase import PassphraseSource
from yinxin_trust.region import Region
from yinxin_trust.settings import load_settings

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
    region = Region.open(
        directory,
        passphrase=online,
        offline_passphrase=passphrases.offline(online) if offline else None,
    )
    with region:
        yield region
