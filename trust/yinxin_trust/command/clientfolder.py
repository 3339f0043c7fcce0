"""The folder that a department or an authority takes home: what its client shows and trusts.

See ``yinxin.credentials`` for the files. The private keys in it are made here
for convenience and kept nowhere else.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from yinxin_proto import pem
from yinxin_proto.error import AlreadyExistsError, ConfigurationError, MalformedError
from yinxin_proto.signature import PublicKey, SigningKey, Suite
from yinxin_trust.certification import tls_anchors
from yinxin_trust.publication import first_root
from yinxin_trust.region import Region

CLIENTS: Final = "clients"
"""Folder of the region's directory in which clients are put unless told otherwise."""
_DRAFT: Final = ".unfinished"
_MAX_KEY_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who gets a folder."""

    principal_id: str
    display_name: str
    authority_code: str | None = None


class ClientFolder:
    """One folder in the making: its files are put beside their places, and moved there at the end.

    What was begun and not finished is removed, and does not stand in the way
    of the next attempt.

    Args:
        path: The folder; must not exist, or be empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._draft = path / _DRAFT

    def make(self) -> None:
        """Begin the folder.

        Raises:
            AlreadyExistsError: There is something in it (``FOLDER_IN_USE``).
            ConfigurationError: It cannot be made (``FOLDER``).
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            taken = any(entry != self._draft for entry in self.path.iterdir())
            if not taken:
                shutil.rmtree(self._draft, ignore_errors=True)
                self._draft.mkdir(mode=0o700)
        except OSError as error:
            raise ConfigurationError(
                f"cannot make {self.path}: {error.strerror}", reason="FOLDER"
            ) from error
        if taken:
            raise AlreadyExistsError(
                f"{self.path} is not empty; name another folder", reason="FOLDER_IN_USE"
            )

    def put_key(self, name: str, key: SigningKey) -> None:
        """Write a private key, PEM, readable by its owner alone."""
        self._write(name, pem.encode(pem.PRIVATE_KEY, key.to_pkcs8()), 0o600)

    def put_region(self, region: Region, client: Client, chain: tuple[bytes, ...]) -> None:
        """Write the certificate, and what the client needs to know of the region."""
        with region.storage.read() as conn:
            anchors, root = tls_anchors(conn), first_root(conn)
        self._write("client.crt", _pem(*chain))
        self._write("tls-anchor.crt", _pem(*anchors))
        self._write("root.json", root)
        members = {
            "region": region.namespace.code,
            "domain": region.namespace.domain,
            "name": client.display_name,
            "principal": client.principal_id,
            "root": "root.json",
        }
        if client.authority_code is not None:
            members["authority"] = client.authority_code
        text = json.dumps(members, ensure_ascii=False, indent=2) + "\n"
        self._write("region.json", text.encode())

    def finish(self) -> None:
        """Move everything to its place.

        Raises:
            ConfigurationError: It cannot be moved (``FOLDER``).
        """
        try:
            for file in self._draft.iterdir():
                file.rename(self.path / file.name)
            self._draft.rmdir()
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {self.path}: {error.strerror}", reason="FOLDER"
            ) from error

    def remove(self) -> None:
        """Take back what was begun; what is finished stays, since it may be in force."""
        shutil.rmtree(self._draft, ignore_errors=True)
        with suppress(OSError):
            # Only where nothing is in it.
            self.path.rmdir()

    def _write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        path = self._draft / name
        try:
            path.touch(mode=mode)
            path.write_bytes(content)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {path}: {error.strerror}", reason="FOLDER"
            ) from error


def read_public_key(path: Path, suite: Suite) -> PublicKey:
    """Read an authority's public approval key from a PEM file.

    Raises:
        ConfigurationError: It cannot be read (``APPROVAL_KEY_FILE``), or is
            not a public key of the suite (``APPROVAL_KEY``).
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_KEY_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", reason="APPROVAL_KEY_FILE"
        ) from error
    try:
        label, der = pem.decode(content)
        if label != pem.PUBLIC_KEY:
            raise MalformedError("PEM: not a public key", reason="PEM")
        return suite.load_public(der)
    except MalformedError:
        raise ConfigurationError(
            f"{path} is no {suite.name} public key in PEM; a private key stays with the authority",
            reason="APPROVAL_KEY",
        ) from None


def _pem(*chain: bytes) -> bytes:
    return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in chain)
