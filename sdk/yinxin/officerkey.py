"""An officer's personal key, in a PEM file of the officer's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_der_private_key,
)

from yinxin.credentials import MAX_FILE_BYTES
from yinxin.privatekeyfile import read_private_key
from yinxin_proto import pem
from yinxin_proto.error import (
    AlreadyExistsError,
    ConfigurationError,
    InvalidArgumentError,
    MalformedError,
    WrongPassphraseError,
)
from yinxin_proto.suite import ES256, Signer

MIN_CHARACTERS: Final = 8
PUBLIC_SUFFIX: Final = ".pub"


def make_officer_key(path: Path, passphrase: str) -> Path:
    """Make a personal key under a passphrase; return where its public half lies.

    Raises:
        InvalidArgumentError: A passphrase of fewer than 8 characters (``PASSPHRASE_SHORT``).
        AlreadyExistsError: There is a file already (``FILE_EXISTS``).
        ConfigurationError: It cannot be written (``OFFICER_KEY``).
    """
    if len(passphrase) < MIN_CHARACTERS:
        raise InvalidArgumentError(
            f"a passphrase has at least {MIN_CHARACTERS} characters", reason="PASSPHRASE_SHORT"
        )
    key = ES256.generate()
    private = load_der_private_key(key.to_pkcs8(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode("utf-8"))
    )
    public = path.with_name(path.name + PUBLIC_SUFFIX)
    _write(path, private, 0o600)
    _write(public, pem.encode(pem.PUBLIC_KEY, key.public_key.spki), 0o644)
    return public


def open_officer_key(path: Path, passphrase: str) -> Signer:
    """Return what signs with a personal key.

    Raises:
        ConfigurationError: It cannot be read, or is no such key (``OFFICER_KEY``).
        WrongPassphraseError: The passphrase does not open it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", reason="OFFICER_KEY"
        ) from error
    if b"ENCRYPTED" not in data:
        raise ConfigurationError(
            f"{path} is not an officer's key under a passphrase; make one with: yinxin officer key",
            reason="OFFICER_KEY",
        )
    try:
        return ES256.load_private(read_private_key(data, passphrase.encode("utf-8")))
    except MalformedError:
        # Not chained: a parser's text could quote what it read.
        raise WrongPassphraseError("the passphrase does not open the officer's key") from None


def _write(path: Path, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(path, flags, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise AlreadyExistsError(
            f"{path} exists; a key is never overwritten", reason="FILE_EXISTS"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}", reason="OFFICER_KEY"
        ) from error
