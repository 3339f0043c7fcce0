"""A custodian 保管人 of the offline keys: a folder of one's own, such as a stick.

::

    custodian.json                who it is, and the key that its signatures verify under
    keys/                         a key store under the custodian's own passphrase
    <ceremony>.share.json         a share of the offline store's secret (`yinxin_ca.share`)

The signing key signs the records of ceremonies; a secret beside it seals the
shares. Whoever finds the folder has nothing without the passphrase.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from yinxin_ca import storage
from yinxin_ca.keyfile import create_key_store, open_key_store
from yinxin_ca.keystore import KeyRef, Purpose
from yinxin_ca.software import SoftwareKeyStore
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import (
    AlreadyExistsError,
    InvalidArgumentError,
    KeyStoreError,
    MalformedError,
)
from yinxin_proto.es256 import ES256
from yinxin_proto.member import Members
from yinxin_proto.signature import PublicKey, Signer
from yinxin_proto.strict import Json, b64url_encode, canonical_json, parse_json_object

CUSTODIAN_FILE: Final = "custodian.json"
KEYS: Final = "keys"
MAX_NAME: Final = 64

_SCHEMA: Final = 1
_MAX_BYTES: Final = 4096
_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A custodian as everybody may know one.

    Raises:
        InvalidArgumentError: An id that is not 1 to 32 lower-case letters,
            digits and hyphens, or a name that is not 1 to 64 printable
            characters (``CUSTODIAN``).
    """

    id: str
    """Short name, unique among the custodians of a region."""
    name: str
    """Name or office of the person."""
    key: PublicKey
    """Verifies the custodian's signatures."""

    def __post_init__(self) -> None:
        check_identity(self.id, self.name)

    def to_json(self) -> dict[str, Json]:
        """Return the members."""
        return {"id": self.id, "name": self.name, "spki": b64url_encode(self.key.spki)}

    @classmethod
    def from_json(cls, value: Json, where: str) -> Self:
        """Read an identity; see `Members` for the errors.

        Raises:
            MalformedError: A key that is not one of ES256.
        """
        members = Members(value, where, ("id", "name", "spki"))
        return cls(
            id=members.text("id", _ID),
            name=members.text("name", re.compile(rf".{{1,{MAX_NAME}}}")),
            key=ES256.load_public(members.octets("spki", max_bytes=512)),
        )


class Custodian:
    """A custodian whose folder is open: able to sign, and to open shares.

    Use `create`, then `open`.
    """

    def __init__(self, *, folder: Path, identity: Identity, store: SoftwareKeyStore) -> None:
        self.folder = folder
        self.identity = identity
        self._store = store

    @property
    def signer(self) -> Signer:
        """Signs the records of ceremonies."""
        return self._store.signer(_ref(self.identity.id, Purpose.CUSTODIAN))

    @property
    def sealing_key(self) -> bytes:
        """Seals this custodian's shares, 32 bytes."""
        return self._store.secret(_ref(self.identity.id, Purpose.CUSTODIAN_SEAL))

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        id: str,  # noqa: A002 - the member's name
        name: str,
        passphrase: str,
        clock: Clock,
        entropy: Entropy,
    ) -> Self:
        """Make a custodian's folder, with keys of its own.

        Raises:
            InvalidArgumentError: An unacceptable id or name (``CUSTODIAN``).
            AlreadyExistsError: There is a custodian in it (``CUSTODIAN_EXISTS``).
        """
        check_identity(id, name)
        if (folder / CUSTODIAN_FILE).exists():
            raise AlreadyExistsError(
                "the folder is a custodian's already; name another", reason="CUSTODIAN_EXISTS"
            )
        store = create_key_store(folder / KEYS, passphrase=passphrase, clock=clock, entropy=entropy)
        signer = store.generate(_ref(id, Purpose.CUSTODIAN), ES256)
        store.generate_secret(_ref(id, Purpose.CUSTODIAN_SEAL))
        identity = Identity(id=id, name=name, key=signer.public_key)
        content = canonical_json({"schema": _SCHEMA, "custodian": identity.to_json()}) + b"\n"
        path = folder / CUSTODIAN_FILE
        # Last: a folder without it is not a custodian's.
        with storage.typed_errors(path, "writing"):
            storage.write_new(path, content, entropy=entropy)
        return cls(folder=folder, identity=identity, store=store)

    @classmethod
    def open(cls, folder: Path, *, passphrase: str, clock: Clock, entropy: Entropy) -> Self:
        """Open a custodian's folder with the custodian's own passphrase.

        Raises:
            WrongPassphraseError: It does not open it.
            KeyStoreError: Not a custodian's folder (``CUSTODIAN_FILE``), one
                whose keys are another's (``CUSTODIAN_KEY``), or unreadable.
        """
        identity = read_identity(folder)
        store = open_key_store(folder / KEYS, passphrase=passphrase, clock=clock, entropy=entropy)
        found = cls(folder=folder, identity=identity, store=store)
        if found.signer.public_key.spki != identity.key.spki:
            raise KeyStoreError(
                f"{CUSTODIAN_FILE} names another key than the folder has; "
                "restore it from the custodian's copy",
                reason="CUSTODIAN_KEY",
            )
        return found


def read_identity(folder: Path) -> Identity:
    """Return whose folder it is, as it says; nothing is opened.

    Raises:
        KeyStoreError: Not a custodian's folder (``CUSTODIAN_FILE``).
    """
    path = folder / CUSTODIAN_FILE
    try:
        with storage.typed_errors(path, "reading"):
            content = storage.read_bounded(path, max_bytes=_MAX_BYTES)
        members = Members(
            parse_json_object(content, max_bytes=_MAX_BYTES, max_depth=3),
            CUSTODIAN_FILE,
            ("schema", "custodian"),
        )
        if members.integer("schema") != _SCHEMA:
            raise MalformedError("a custodian of another schema", reason="SCHEMA")
        return members.one("custodian", Identity.from_json)
    except (KeyStoreError, MalformedError, InvalidArgumentError) as error:
        raise KeyStoreError(
            f"{folder} is not a custodian's folder, or its {CUSTODIAN_FILE} is damaged",
            reason="CUSTODIAN_FILE",
        ) from error


def check_identity(id: str, name: str) -> None:  # noqa: A002 - the member's name
    """Refuse a custodian who could not be named in a record.

    Raises:
        InvalidArgumentError: See `Identity` (``CUSTODIAN``).
    """
    if _ID.fullmatch(id) is None or not name.strip() or not name.isprintable():
        raise InvalidArgumentError(
            "a custodian has an id of at most 32 lower-case letters, digits and hyphens, and a "
            f"name of at most {MAX_NAME} printable characters",
            reason="CUSTODIAN",
        )
    if len(name) > MAX_NAME:
        raise InvalidArgumentError(
            f"a custodian's name has at most {MAX_NAME} characters", reason="CUSTODIAN"
        )


def _ref(custodian: str, purpose: Purpose) -> KeyRef:
    return KeyRef(custodian, purpose)
