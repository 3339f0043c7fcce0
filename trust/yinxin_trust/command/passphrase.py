"""Passphrases of the key stores: from a file, the environment, or a person.

Never from the command line, which every user of the machine can read.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from yinxin_ca.ceremony import Ceremony
from yinxin_ca.ceremonyscript import CustodianTable, Script
from yinxin_edge.clock import SystemClock, SystemEntropy
from yinxin_edge.terminal import Terminal
from yinxin_proto.error import ConfigurationError, InvalidArgumentError

VARIABLE: Final = "YINXIN_PASSPHRASE"
OFFLINE_VARIABLE: Final = "YINXIN_OFFLINE_PASSPHRASE"
SCRIPT_SUFFIX: Final = ".toml"
MIN_CHARACTERS: Final = 8
_MAX_BYTES: Final = 4096

PassphraseFile = Annotated[Path | None, typer.Option("--passphrase-file", show_default=False)]
OfflinePassphraseFile = Annotated[
    Path | None, typer.Option("--offline-passphrase-file", show_default=False)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassphraseSource:
    """Where the passphrases of one command come from."""

    terminal: Terminal
    file: Path | None = None
    offline_file: Path | None = None

    def online(self) -> str:
        """Return the passphrase of the online key store; asks where nothing gives it.

        Raises:
            ConfigurationError: The file cannot be read, or there is nobody to ask.
        """
        return self._given(self.file, VARIABLE) or self._ask("passphrase.online")

    def offline(self, online: str, *, store: Path | None = None) -> str:
        """Return the passphrase of the offline key store: the online one unless given.

        A file that ends in ``.toml`` is a ceremony's script: the custodians
        whom it names are asked, and their shares give the passphrase.

        Args:
            online: The other store's.
            store: The offline store's directory, which the shares are for.

        Raises:
            YinxinError: As `yinxin_ca.ceremony.Ceremony.open` raises.
        """
        if self.offline_file is not None and self.offline_file.suffix == SCRIPT_SUFFIX:
            if store is None:
                raise ConfigurationError(
                    "shares open a store that is there; a new one is given a passphrase first",
                    reason="PASSPHRASE_FILE",
                )
            return self.ceremony(self.offline_file).open(store)
        return self._given(self.offline_file, OFFLINE_VARIABLE) or online

    def offline_alone(self) -> str:
        """Return the passphrase of the offline store where the online one is not needed.

        Raises:
            ConfigurationError: The file cannot be read, or there is nobody to ask.
        """
        given = self._given(self.offline_file, OFFLINE_VARIABLE)
        return given or self._given(self.file, VARIABLE) or self._ask("passphrase.offline")

    def ceremony(self, script: Path) -> Ceremony:
        """Begin the ceremony of a script, or go on with it, asking its custodians here."""
        return Ceremony.begin(
            Script.load(script),
            clock=SystemClock(),
            entropy=SystemEntropy(),
            ask=lambda person: self.custodian(person, script.parent),
        )

    def custodian(self, person: CustodianTable, directory: Path) -> str:
        """Return the passphrase of a custodian's folder."""
        if person.passphrase_file is not None:
            return _read(directory / person.passphrase_file)
        return self._ask("passphrase.custodian", name=person.name, id=person.id)

    def new(self) -> tuple[str, str]:
        """Return the passphrases of new stores, online and offline; asks twice.

        Raises:
            InvalidArgumentError: Too short (``PASSPHRASE_SHORT``), or typed
                differently the second time (``PASSPHRASE_DIFFERS``).
        """
        online = self._chosen()
        offline = self.offline(online)
        _check_length(min(len(online), len(offline)))
        return online, offline

    def new_one(self) -> str:
        """Return the passphrase of one new store; raises as `new`."""
        chosen = self._chosen()
        _check_length(len(chosen))
        return chosen

    def _chosen(self) -> str:
        given = self._given(self.file, VARIABLE)
        if given is not None:
            return given
        chosen = self._ask("passphrase.new")
        if self._ask("passphrase.again") != chosen:
            raise InvalidArgumentError(
                "the two passphrases differ; nothing was made", reason="PASSPHRASE_DIFFERS"
            )
        return chosen

    def _given(self, file: Path | None, variable: str) -> str | None:
        if file is not None:
            return _read(file)
        # Taken out, so that no process started from here inherits it.
        return os.environ.pop(variable, None) or None

    def _ask(self, key: str, **values: object) -> str:
        if not sys.stdin.isatty():
            raise ConfigurationError(
                f"there is nobody to ask for the passphrase: set {VARIABLE}, or name a file "
                "with --passphrase-file",
                reason="PASSPHRASE_MISSING",
            )
        return self.terminal.ask_secret(key, **values)


def _check_length(characters: int) -> None:
    if characters < MIN_CHARACTERS:
        raise InvalidArgumentError(
            f"a passphrase has at least {MIN_CHARACTERS} characters: it is all that protects "
            "the keys on a stolen disk",
            reason="PASSPHRASE_SHORT",
        )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", reason="PASSPHRASE_FILE"
        ) from error
    text = raw.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
    if not text or "\n" in text or "\N{REPLACEMENT CHARACTER}" in text or len(raw) > _MAX_BYTES:
        raise ConfigurationError(
            f"{path} must hold one line of UTF-8 text: the passphrase", reason="PASSPHRASE_FILE"
        )
    return text
