"""The key that opens a key directory, sealed under a passphrase.

scrypt (RFC 7914) turns the passphrase into a key-encryption key; under it lies
the master key, so that a new passphrase rewrites one small file and no key.
The file names the cipher of the whole directory, unless that is AES-256-GCM.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from yinxin_ca import storage
from yinxin_ca.storecipher import AES_256_GCM, CIPHERS, aead
from yinxin_proto.clock import Entropy
from yinxin_proto.error import (
    AlreadyExistsError,
    InvalidArgumentError,
    KeyStoreError,
    MalformedError,
    WrongPassphraseError,
)
from yinxin_proto.strict import (
    Json,
    b64url_decode,
    b64url_encode,
    canonical_json,
    parse_json_object,
)

MASTER_FILE: Final = "master.json"
SCHEMA: Final = 1
KEY_BYTES: Final = 32
STORE_ID_BYTES: Final = 16
SCRYPT_N: Final = 1 << 15
"""With r = 8 and p = 1: 32 MiB and about 0.1 s for each guess (RFC 7914 §2)."""

_R: Final = 8
_P: Final = 1
_SALT: Final = 16
_NONCE: Final = 12
_MAX_N: Final = 1 << 20
_MAX_BYTES: Final = 4096
_MEMBERS: Final = frozenset({"kdf", "nonce", "salt", "schema", "sealed", "store"})
_CIPHER: Final = "cipher"
_KDF_MEMBERS: Final = frozenset({"n", "name", "p", "r"})


@dataclass(frozen=True, slots=True)
class MasterKey:
    """An opened master key."""

    store_id: bytes
    """Random name of the store, 16 bytes; every key file repeats it."""
    key: bytes = field(repr=False)
    """Seals the key files; 32 bytes."""
    cipher: str = AES_256_GCM
    """What it seals them under (`storecipher`)."""

    @classmethod
    def create(
        cls,
        directory: Path,
        *,
        passphrase: str,
        entropy: Entropy,
        cipher: str = AES_256_GCM,
    ) -> MasterKey:
        """Make a master key and write it, sealed, into ``directory``.

        Raises:
            AlreadyExistsError: There is one already (reason ``STORE_EXISTS``).
            InvalidArgumentError: An empty passphrase (``PASSPHRASE_EMPTY``).
            ConfigurationError: No such cipher (``CIPHER``).
            KeyStoreError: The directory cannot be written.
        """
        master = cls(
            store_id=entropy.token(STORE_ID_BYTES), key=entropy.token(KEY_BYTES), cipher=cipher
        )
        content = _seal(master, passphrase, entropy)
        path = directory / MASTER_FILE
        with storage.typed_errors(path, "writing"):
            created = storage.write_new(path, content, entropy=entropy)
        if not created:
            raise AlreadyExistsError(
                "the directory is a key store already; open it, or choose an empty one",
                reason="STORE_EXISTS",
            )
        return master

    @classmethod
    def open(cls, directory: Path, *, passphrase: str) -> MasterKey:
        """Read the master key of ``directory``.

        Raises:
            WrongPassphraseError: The passphrase does not open it.
            KeyStoreError: None there (reason ``STORE_NOT_FOUND``), a damaged
                file (``STORE_FILE``), or no permission (``STORE_DENIED``).
        """
        return cls.unseal(_read(directory / MASTER_FILE), passphrase=passphrase)

    @classmethod
    def unseal(cls, content: bytes, *, passphrase: str) -> MasterKey:
        """Open what `seal` returned, or a master file's content; raises as `open`."""
        members = _parse(content)
        try:
            store_id = b64url_decode(members["store"])
            kek = _stretch(passphrase, b64url_decode(members["salt"]), members["kdf"]["n"])
            sealed = b64url_decode(members["sealed"])
            cipher = str(members.get(_CIPHER, AES_256_GCM))
            nonce = b64url_decode(members["nonce"])
            key = aead(cipher, kek).decrypt(nonce, sealed, _aad(members))
        except InvalidTag:
            raise WrongPassphraseError(
                f"the passphrase does not open the key store (or {MASTER_FILE} was altered)"
            ) from None
        except (MalformedError, TypeError, AttributeError, ValueError) as error:
            raise _damaged() from error
        return cls(store_id=store_id, key=key, cipher=cipher)

    def change_passphrase(self, directory: Path, *, passphrase: str, entropy: Entropy) -> None:
        """Seal the master key under another passphrase, in place.

        The old passphrase still opens copies of the old file: after a leak,
        make a new store with new keys.

        Raises:
            InvalidArgumentError: An empty passphrase (``PASSPHRASE_EMPTY``).
            KeyStoreError: The directory cannot be written.
        """
        self.replace(directory, self.seal(passphrase, entropy), entropy=entropy)

    def seal(self, passphrase: str, entropy: Entropy) -> bytes:
        """Return what a master file holds when it is sealed under a passphrase.

        Raises:
            InvalidArgumentError: An empty passphrase (``PASSPHRASE_EMPTY``).
        """
        return _seal(self, passphrase, entropy)

    def replace(self, directory: Path, content: bytes, *, entropy: Entropy) -> None:
        """Put what `seal` returned in place of the master file, all at once.

        Raises:
            KeyStoreError: The directory cannot be written.
        """
        path = directory / MASTER_FILE
        with storage.typed_errors(path, "rewriting"):
            storage.replace(path, content, entropy=entropy)


def read_master_file(directory: Path) -> bytes:
    """Return the content of a key store's master file, still sealed.

    Raises:
        KeyStoreError: None there (reason ``STORE_NOT_FOUND``), or no
            permission (``STORE_DENIED``).
    """
    return _read(directory / MASTER_FILE)


def _seal(master: MasterKey, passphrase: str, entropy: Entropy) -> bytes:
    if not passphrase:
        raise InvalidArgumentError("a passphrase is needed", reason="PASSPHRASE_EMPTY")
    salt, nonce = entropy.token(_SALT), entropy.token(_NONCE)
    members: dict[str, Json] = {
        "schema": SCHEMA,
        "store": b64url_encode(master.store_id),
        "kdf": {"name": "scrypt", "n": SCRYPT_N, "r": _R, "p": _P},
        "salt": b64url_encode(salt),
    }
    if master.cipher != AES_256_GCM:
        members[_CIPHER] = master.cipher
    kek = _stretch(passphrase, salt, SCRYPT_N)
    sealed = aead(master.cipher, kek).encrypt(nonce, master.key, _aad(members))
    members |= {"nonce": b64url_encode(nonce), "sealed": b64url_encode(sealed)}
    return canonical_json(members) + b"\n"


def _aad(members: dict[str, Json]) -> bytes:
    sealed_beside = ("schema", "store", "kdf", "salt", _CIPHER)
    return canonical_json({name: members[name] for name in sealed_beside if name in members})


def _stretch(passphrase: str, salt: bytes, n: int) -> bytes:
    # NFC: the same characters typed on another keyboard may arrive decomposed.
    text = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    return Scrypt(salt=salt, length=KEY_BYTES, n=n, r=_R, p=_P).derive(text)


def _read(path: Path) -> bytes:
    try:
        with storage.typed_errors(path, "reading"):
            return storage.read_bounded(path, max_bytes=_MAX_BYTES)
    except KeyStoreError as error:
        if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
            raise KeyStoreError(
                f"no key store in this directory ({MASTER_FILE} is missing)",
                reason="STORE_NOT_FOUND",
            ) from None
        raise


def _parse(content: bytes) -> dict[str, Json]:
    try:
        members = parse_json_object(content, max_bytes=_MAX_BYTES, max_depth=2)
    except MalformedError as error:
        raise _damaged() from error
    kdf = members.get("kdf")
    # Bounded before scrypt runs: a planted cost must not take the machine down.
    if (
        members.keys() - {_CIPHER} != _MEMBERS
        or members.get(_CIPHER, AES_256_GCM) not in CIPHERS
        or members["schema"] != SCHEMA
        or not isinstance(kdf, dict)
        or kdf.keys() != _KDF_MEMBERS
        or (kdf["name"], kdf["r"], kdf["p"]) != ("scrypt", _R, _P)
        or not isinstance(kdf["n"], int)
        or not SCRYPT_N <= kdf["n"] <= _MAX_N
    ):
        raise _damaged()
    return members


def _damaged() -> KeyStoreError:
    return KeyStoreError(
        f"{MASTER_FILE} is cut short or not a key store's; restore it from a backup",
        reason="STORE_FILE",
    )
