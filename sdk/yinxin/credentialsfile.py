"""The files of a credentials folder, and how a renewal puts new ones in their places."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from yinxin_proto.error import ConfigurationError

CERTIFICATE: Final = "client.crt"
PRIVATE_KEY: Final = "client.key"
TLS_ANCHOR: Final = "tls-anchor.crt"
REGION: Final = "region.json"
APPROVAL_KEY: Final = "approval.key"
REQUEST: Final = "client.csr"
NEXT: Final = ".next"
"""After the name of what a renewal is about to put in its place."""


def finish_renewal(folder: Path) -> None:
    """Put the next key and certificate into their places, if both are there.

    Raises:
        ConfigurationError: The folder cannot be written (``CREDENTIALS_WRITE``).
    """
    certificate = folder / f"{CERTIFICATE}{NEXT}"
    try:
        if not certificate.exists():
            return
        key = folder / f"{PRIVATE_KEY}{NEXT}"
        if key.exists():
            key.replace(folder / PRIVATE_KEY)
        # Before the certificate, which is what says that this is to be finished: a
        # request left behind would be sent again for the key before.
        (folder / f"{REQUEST}{NEXT}").unlink(missing_ok=True)
        certificate.replace(folder / CERTIFICATE)
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> ConfigurationError:
    """Return the error for a folder that cannot be written."""
    return ConfigurationError(
        f"cannot write {folder}: {error.strerror}", reason="CREDENTIALS_WRITE"
    )
