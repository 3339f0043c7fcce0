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

from yinxin_edge.terminal import Terminal
from yinxin_proto.error import ConfigurationError, InvalidArgumentError

VARIABLE: Final = "YINXIN_PASSPHRASE"
OFFLINE_VARIABLE: Final = "YINXIN_OFFLINE_PASSPHRASE"
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

    def offline(self, online: str) -> str:
        """Return the passphrase of the offline key store: the online one unless given."""
        return self._given(self.offline_file, OFFLINE_VARIABLE) or online

    def new(self) -> tuple[str, str]:
        """Return the passphrases of new stores, online and offline; asks twice.

        Raises:
            InvalidArgumentError: Too short (``PASSPHRASE_SHORT``), or typed
                differently the second time (``PASSPHRASE_DIFFERS``).
        """
        online = self._given(self.file, VARIABLE)
        if online is None:
            online = self._ask("passphrase.new")
            if self._ask("passphrase.again") != online:
                raise InvalidArgumentError(
                    "the two passphrases differ; nothing was made", reason="PASSPHRASE_DIFFERS"
                )
        offline = self.offline(online)
        if min(len(online), len(offline)) < MIN_CHARACTERS:
            raise InvalidArgumentError(
                f"a passphrase has at least {MIN_CHARACTERS} characters: it is all that protects "
                "the keys on a stolen disk",
                reason="PASSPHRASE_SHORT",
            )
        return online, offline

    def _given(self, file: Path | None, variable: str) -> str | None:
        if file is not None:
            return _read(file)
        # Taken out, so that no process started from here inherits it.
        return os.environ.pop(variable, None) or None

    def _ask(self, key: str) -> str:
        if not sys.stdin.isatty():
            raise ConfigurationError(
                f"there is nobody to ask for the passphrase: set {VARIABLE}, or name a file "
                "with --passphrase-file",
                reason="PASSPHRASE_MISSING",
            )
        return self.terminal.ask_secret(key)


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
