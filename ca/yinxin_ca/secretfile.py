"""One line of text in a file that nobody else can read: a PIN, an access code.

The file is made by whoever runs the machine (systemd ``LoadCredential``, a
secret mounted into a container): it is in no setting, on no command line and
in no environment, which other processes could read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from yinxin_proto.error import ConfigurationError

_MAX_BYTES: Final = 4096
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read_secret_line(path: Path, *, what: str) -> str:
    """Return the line.

    Args:
        path: The file.
        what: What it holds, for messages.

    Raises:
        ConfigurationError: It cannot be read, or is not one line of UTF-8
            (``SECRET_FILE``); others may read it (``SECRET_FILE_OPEN``).
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}, which is to hold {what}: {error.strerror}",
            reason="SECRET_FILE",
        ) from error
    if mode & _OTHERS:
        raise ConfigurationError(
            f"{path} holds {what}, and other users of this machine can read it; "
            f"run: chmod go-rwx {path}",
            reason="SECRET_FILE_OPEN",
        )
    text = raw.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
    if not text or "\n" in text or "\N{REPLACEMENT CHARACTER}" in text or len(raw) > _MAX_BYTES:
        raise ConfigurationError(
            f"{path} must hold one line of UTF-8 text: {what}", reason="SECRET_FILE"
        )
    return text
