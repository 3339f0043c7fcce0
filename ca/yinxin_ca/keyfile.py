"""Key material in a directory of encrypted files, opened by a passphrase.

::

    master.json               scrypt parameters, and the master key sealed under the result
    <owner>.<purpose>.<version>.key
        line 1                canonical JSON: what may be known of the key
        line 2                base64url of nonce ‖ ciphertext and tag

Line 1 is the additional data of line 2, byte for byte, and names the store and
the key: a file copied under another name, from another store, or cut short
does not open. One scrypt opens the store; each key after that costs one
decryption, under the cipher that ``master.json`` names. The passphrase is the
only protection of a stolen disk or backup.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag

from yinxin_ca import storage
from yinxin_ca.keystore import KeyInfo, KeyRef, already_exists, not_found
from yinxin_ca.masterkey import MASTER_FILE, MasterKey
from yinxin_ca.software import Material, SoftwareKeyStore
from yinxin_ca.storecipher import AES_256_GCM, aead
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import (
    InvalidArgumentError,
    KeyStoreError,
    MalformedError,
)
from yinxin_proto.strict import (
    Json,
    b64url_decode,
    b64url_encode,
    canonical_json,
    parse_json_object,
)

SCHEMA: Final = 1
MAX_KEY_FILE_BYTES: Final = 32_768

_SUFFIX: Final = ".key"
_NONCE: Final = 12
_MEMBERS: Final = frozenset({"created_at", "key", "kind", "schema", "spki", "store"})


class KeyDirectory:
    """A `Shelf` of encrypted files; see the module for the format.

    Args:
        directory: Holds the files; belongs to this store alone.
        master: The opened master key of the store.
        entropy: Makes nonces and the names of temporary files.
    """

    def __init__(self, *, directory: Path, master: MasterKey, entropy: Entropy) -> None:
        self._directory = directory
        self._master = master
        self._entropy = entropy
        self._cipher = aead(master.cipher, master.key)

    def put(self, material: Material) -> None:
        """Seal and write a new file; see `Shelf.put`.

        Raises:
            AlreadyExistsError: The name is taken (reason ``KEY_EXISTS``), also
                when another process took it at this very moment.
            KeyStoreError: The directory cannot be written (``STORE_DENIED``,
                ``STORE_IO``).
            ResourceExhaustedError: The disk is full (``STORAGE_FULL``).
        """
        path = self._path(material.info.ref)
        header = canonical_json(_to_header(material.info, self._master.store_id))
        nonce = self._entropy.token(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, material.content, header)
        content = b"%s\n%s\n" % (header, b64url_encode(sealed).encode("ascii"))
        with storage.typed_errors(path, "writing the key file"):
            created = storage.write_new(path, content, entropy=self._entropy)
        if not created:
            raise already_exists(material.info.ref)

    def get(self, ref: KeyRef) -> Material:
        """Read and open a file; see `Shelf.get`.

        Raises:
            KeyStoreError: No such key (reason ``KEY_NOT_FOUND``); a file that
                is cut short or otherwise not one of ours (``KEY_FILE``); one
                that belongs to another name or another store
                (``KEY_MISPLACED``); one that was altered (``KEY_SEAL``); no
                permission (``STORE_DENIED``).
        """
        path = self._path(ref)
        try:
            with storage.typed_errors(path, "reading the key file"):
                content = storage.read_bounded(path, max_bytes=MAX_KEY_FILE_BYTES)
        except KeyStoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise not_found(ref) from None
            raise
        header, sealed = _split(content, path)
        info, store_id = _from_header(header, path)
        if info.ref != ref or store_id != self._master.store_id:
            raise KeyStoreError(
                f"key file {path.name} belongs to another name or another store; "
                "restore the right file from a backup",
                reason="KEY_MISPLACED",
            )
        try:
            secret = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], header)
        except InvalidTag:
            raise KeyStoreError(
                f"key file {path.name} was altered; restore it from a backup", reason="KEY_SEAL"
            ) from None
        return Material(info, secret)

    def names(self) -> tuple[KeyRef, ...]:
        """Return the names of the key files; see `Shelf.names`.

        Raises:
            KeyStoreError: A ``.key`` file whose name is not a key's
                (reason ``KEY_FILE``).
        """
        with storage.typed_errors(self._directory, "listing the key directory"):
            files = [path.name for path in self._directory.iterdir()]
        found = (name for name in files if name.endswith(_SUFFIX) and not name.startswith("."))
        try:
            return tuple(KeyRef.parse(name.removesuffix(_SUFFIX)) for name in found)
        except InvalidArgumentError as error:
            raise KeyStoreError(
                "a .key file whose name is not a key's; move it out of the key directory",
                reason="KEY_FILE",
            ) from error

    def remove(self, ref: KeyRef) -> None:
        """Delete a file; see `Shelf.remove`. Backups are the operator's to find."""
        path = self._path(ref)
        with storage.typed_errors(path, "destroying the key file"):
            try:
                path.unlink()
            except FileNotFoundError:
                raise not_found(ref) from None
            storage.sync_directory(self._directory)

    def _path(self, ref: KeyRef) -> Path:
        return self._directory / f"{ref}{_SUFFIX}"


def create_key_store(
    directory: Path,
    *,
    passphrase: str,
    clock: Clock,
    entropy: Entropy,
    cipher: str = AES_256_GCM,
) -> SoftwareKeyStore:
    """Make a new, empty store in ``directory`` (made if absent, mode 0700).

    ``cipher`` (`storecipher`) seals everything in it for good.

    Raises:
        AlreadyExistsError: There is a store already (reason ``STORE_EXISTS``).
        InvalidArgumentError: An empty passphrase (``PASSPHRASE_EMPTY``).
        KeyStoreError: Key files without their master key (``STORE_INCOMPLETE``),
            or a directory that cannot be written.
    """
    with storage.typed_errors(directory, "making the key directory"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        orphans = any(directory.glob(f"*{_SUFFIX}")) and not (directory / MASTER_FILE).exists()
    if orphans:
        # A new master key would make them unreadable for good.
        raise KeyStoreError(
            f"the directory has key files but no {MASTER_FILE}; restore it from a backup",
            reason="STORE_INCOMPLETE",
        )
    master = MasterKey.create(directory, passphrase=passphrase, entropy=entropy, cipher=cipher)
    shelf = KeyDirectory(directory=directory, master=master, entropy=entropy)
    return SoftwareKeyStore(shelf=shelf, clock=clock, entropy=entropy)


def open_key_store(
    directory: Path, *, passphrase: str, clock: Clock, entropy: Entropy
) -> SoftwareKeyStore:
    """Open the store in ``directory``; costs one scrypt (about 0.1 s, 32 MiB).

    Raises:
        WrongPassphraseError: The passphrase does not open it.
        KeyStoreError: No store there (reason ``STORE_NOT_FOUND``), a damaged
            ``master.json`` (``STORE_FILE``), or no permission.
    """
    master = MasterKey.open(directory, passphrase=passphrase)
    shelf = KeyDirectory(directory=directory, master=master, entropy=entropy)
    return SoftwareKeyStore(shelf=shelf, clock=clock, entropy=entropy)


def _to_header(info: KeyInfo, store_id: bytes) -> dict[str, Json]:
    return {
        "schema": SCHEMA,
        "store": b64url_encode(store_id),
        "key": str(info.ref),
        "kind": info.kind,
        "created_at": int(info.created_at.timestamp()),
        "spki": None if info.spki is None else b64url_encode(info.spki),
    }


def _split(content: bytes, path: Path) -> tuple[bytes, bytes]:
    lines = content.split(b"\n")
    if len(content) > MAX_KEY_FILE_BYTES or len(lines) != 3 or lines[2]:
        raise _damaged(path)
    try:
        return lines[0], b64url_decode(lines[1])
    except MalformedError as error:
        raise _damaged(path) from error


def _from_header(header: bytes, path: Path) -> tuple[KeyInfo, bytes]:
    try:
        members = parse_json_object(header, max_bytes=MAX_KEY_FILE_BYTES, max_depth=1)
        if members.keys() != _MEMBERS or members["schema"] != SCHEMA:
            raise _damaged(path)
        spki = members["spki"]
        info = KeyInfo(
            ref=KeyRef.parse(members["key"]),
            kind=members["kind"],
            created_at=datetime.fromtimestamp(members["created_at"], UTC),
            spki=None if spki is None else b64url_decode(spki),
        )
        return info, b64url_decode(members["store"])
    except (
        MalformedError,
        InvalidArgumentError,
        TypeError,
        AttributeError,
        ValueError,
        OverflowError,
        OSError,
    ) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> KeyStoreError:
    return KeyStoreError(
        f"key file {path.name} is cut short or not a key file; restore it from a backup",
        reason="KEY_FILE",
    )
