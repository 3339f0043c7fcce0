"""Officers 安全员, and what the signer must never forget: kept with the offline keys.

A register of persons, of the nonces that were carried out and of the trust
list that was signed last. It lies beside the offline store, under a MAC key
that is inside it: whoever runs the service can neither add a person to it nor
have an operation carried out twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from yinxin_ca import storage
from yinxin_proto.clock import Entropy
from yinxin_proto.error import (
    AlreadyExistsError,
    IntegrityError,
    MalformedError,
    NotFoundError,
    YinxinError,
)
from yinxin_proto.operation import check_officer
from yinxin_proto.signature import PublicKey
from yinxin_proto.strict import (
    Json,
    b64url_decode,
    b64url_encode,
    canonical_json,
    parse_json_object,
)
from yinxin_proto.suite import suite

MAX_LINE_BYTES: Final = 1 << 16
MAX_REGISTER_BYTES: Final = 64 << 20
MAX_LIST_BYTES: Final = 8 << 20
REGISTER_FILE: Final = "register.jsonl"
_START: Final = b"yinxin/officers/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Officer:
    """A person who may sign operations."""

    id: str
    """How signatures name the person."""
    name: str
    """The person's name, as it is shown."""
    public_key: PublicKey
    """The person's own; no two officers have the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRecord:
    """What the signer is about to sign, and by which operations."""

    at: int
    """Unix seconds, by the signer's clock."""
    nonces: tuple[bytes, ...]
    operations: tuple[bytes, ...]
    """Digests."""
    trust_list: bytes | None = None
    """SHA-256 of the trust list, where one is to be signed."""
    base: bytes | None = None
    """SHA-256 of the list that it follows."""
    withdrawn: tuple[bytes, ...] = ()
    """CAs that the list names no more; see `trustchange.withdrawals`."""


class OfficerRegister(Protocol):
    """What every register offers; each record is durable when its call returns."""

    def officers(self) -> Mapping[str, Officer]:
        """Return the persons in office, by id."""
        ...

    def is_used(self, nonce: bytes) -> bool:
        """Tell whether an operation of this nonce was carried out."""
        ...

    def last_moment(self) -> int:
        """Return when something was recorded last, Unix seconds; 0 before the first."""
        ...

    def last_list(self) -> bytes | None:
        """Return the bytes of the trust list that was signed last."""
        ...

    def withdrawn(self) -> frozenset[bytes]:
        """Return the CAs that were ever taken from the list."""
        ...

    def is_current(self, trust_list: bytes) -> bool:
        """Tell whether a published list (its digest) can be the newest.

        It is the one that was signed last, or the one that that follows: the
        last may have been signed and, for a crash, never published. Before the
        first, which is signed at the founding, none can be.
        """
        ...

    def add(self, officer: Officer, at: int) -> None:
        """Record a person.

        Raises:
            AlreadyExistsError: The id or the key is another's (``OFFICER_EXISTS``):
                one key is one person.
        """
        ...

    def remove(self, officer: str, at: int) -> None:
        """Record that a person is no longer in office.

        Raises:
            NotFoundError: Nobody of this id is (``OFFICER_UNKNOWN``).
        """
        ...

    def record(self, signing: SigningRecord, trust_list: bytes | None = None) -> None:
        """Record what is about to be signed, before it is."""
        ...


class InMemoryOfficerRegister:
    """A register that ends with the process: for tests, and inside the one in a file."""

    def __init__(self) -> None:
        self._officers: dict[str, Officer] = {}
        self._used: set[bytes] = set()
        self._at = 0
        self._list: bytes | None = None
        self._current: set[bytes | None] = set()
        self._withdrawn: set[bytes] = set()

    def officers(self) -> Mapping[str, Officer]:
        """See `OfficerRegister.officers`."""
        return MappingProxyType(dict(self._officers))

    def is_used(self, nonce: bytes) -> bool:
        """See `OfficerRegister.is_used`."""
        return nonce in self._used

    def last_moment(self) -> int:
        """See `OfficerRegister.last_moment`."""
        return self._at

    def last_list(self) -> bytes | None:
        """See `OfficerRegister.last_list`."""
        return self._list

    def withdrawn(self) -> frozenset[bytes]:
        """See `OfficerRegister.withdrawn`."""
        return frozenset(self._withdrawn)

    def is_current(self, trust_list: bytes) -> bool:
        """See `OfficerRegister.is_current`."""
        return trust_list in self._current

    def add(self, officer: Officer, at: int) -> None:
        """See `OfficerRegister.add`."""
        check_officer(officer.id)
        for known in self._officers.values():
            if known.id == officer.id or known.public_key.spki == officer.public_key.spki:
                raise AlreadyExistsError(
                    "an officer of this name, or with this key, is registered already: one key "
                    "is one person's",
                    reason="OFFICER_EXISTS",
                )
        self._officers[officer.id] = officer
        self._at = max(self._at, at)

    def remove(self, officer: str, at: int) -> None:
        """See `OfficerRegister.remove`."""
        if officer not in self._officers:
            raise NotFoundError("no officer of this name is registered", reason="OFFICER_UNKNOWN")
        del self._officers[officer]
        self._at = max(self._at, at)

    def record(self, signing: SigningRecord, trust_list: bytes | None = None) -> None:
        """See `OfficerRegister.record`."""
        self._used.update(signing.nonces)
        self._withdrawn.update(signing.withdrawn)
        self._at = max(self._at, signing.at)
        if signing.trust_list is not None:
            self._list = trust_list
            self._current = {signing.trust_list, signing.base}


class FileOfficerRegister:
    """A register in a folder of the offline store's.

    Each line carries a MAC over itself and the line before: none can be
    altered, dropped or moved. The file is replaced as a whole, so a crash leaves
    the old one or the new.

    Args:
        folder: Made if absent, mode 0700.
        key: MAC key, from inside the offline store.
        entropy: Names temporary files.
        new: Whether a region is being founded: afterwards there is a register.

    Raises:
        IntegrityError: It is gone, or has a line that is not ours (``OFFICER_REGISTER``).
        KeyStoreError: It cannot be read or written; every method may raise this too.
    """

    def __init__(self, folder: Path, *, key: bytes, entropy: Entropy, new: bool = False) -> None:
        self._folder = folder
        self._key = key
        self._entropy = entropy
        self._path = folder / REGISTER_FILE
        with storage.typed_errors(folder, "making the officers' register"):
            folder.mkdir(mode=0o700, exist_ok=True)
        self._lines = b""
        self._mac = _START
        self._state = InMemoryOfficerRegister()
        self._read()
        if not (self._lines or new):
            # Else whoever can delete a file could have officers appointed anew.
            raise IntegrityError(
                "the officers' register is gone; restore the offline store from a backup",
                reason="OFFICER_REGISTER",
            )

    def officers(self) -> Mapping[str, Officer]:
        """See `OfficerRegister.officers`."""
        return self._state.officers()

    def is_used(self, nonce: bytes) -> bool:
        """See `OfficerRegister.is_used`."""
        return self._state.is_used(nonce)

    def last_moment(self) -> int:
        """See `OfficerRegister.last_moment`."""
        return self._state.last_moment()

    def last_list(self) -> bytes | None:
        """See `OfficerRegister.last_list`."""
        return self._state.last_list()

    def withdrawn(self) -> frozenset[bytes]:
        """See `OfficerRegister.withdrawn`."""
        return self._state.withdrawn()

    def is_current(self, trust_list: bytes) -> bool:
        """See `OfficerRegister.is_current`."""
        return self._state.is_current(trust_list)

    def add(self, officer: Officer, at: int) -> None:
        """See `OfficerRegister.add`."""
        key = officer.public_key
        self._write(
            {
                "event": "add",
                "at": at,
                "officer": officer.id,
                "name": officer.name,
                "suite": key.suite.name,
                "spki": b64url_encode(key.spki),
            }
        )

    def remove(self, officer: str, at: int) -> None:
        """See `OfficerRegister.remove`."""
        self._write({"event": "remove", "at": at, "officer": officer})

    def record(self, signing: SigningRecord, trust_list: bytes | None = None) -> None:
        """See `OfficerRegister.record`."""
        if trust_list is not None:
            # First: a line never names a list that is not there.
            storage.replace(self._list_path(trust_list), trust_list, entropy=self._entropy)
        self._write(
            {
                "event": "sign",
                "at": signing.at,
                "nonces": [b64url_encode(nonce) for nonce in signing.nonces],
                "operations": [b64url_encode(one) for one in signing.operations],
                "trust_list": _encoded(signing.trust_list),
                "base": _encoded(signing.base),
                "withdrawn": [b64url_encode(one) for one in signing.withdrawn],
            }
        )
        self._drop_lists()

    def _drop_lists(self) -> None:
        last = self._state.last_list()
        kept = None if last is None else self._list_path(last)
        with storage.typed_errors(self._folder, "dropping an older trust list"):
            for path in self._folder.glob("trust-*.json"):
                if path != kept:
                    path.unlink(missing_ok=True)

    def _list_path(self, trust_list: bytes) -> Path:
        return self._folder / f"trust-{sha256(trust_list).hexdigest()}.json"

    def _write(self, event: dict[str, Json]) -> None:
        with self._alone():
            self._append(event)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes out, and read first what they wrote."""
        with storage.typed_errors(self._folder, "locking the officers' register"):
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with storage.typed_errors(self._folder, "locking the officers' register"):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._start_anew()
            yield
        finally:
            os.close(descriptor)

    def _start_anew(self) -> None:
        self._lines, self._mac, self._state = b"", _START, InMemoryOfficerRegister()
        self._read()

    def _append(self, event: dict[str, Json]) -> None:
        body = canonical_json(event)
        mac = self._mac_of(body)
        # Applied to a copy of the past first: what is refused is never written.
        self._apply(event)
        line = canonical_json({"event": body.decode(), "mac": b64url_encode(mac)}) + b"\n"
        try:
            storage.replace(self._path, self._lines + line, entropy=self._entropy)
        except YinxinError:
            self._start_anew()
            raise
        self._lines += line
        self._mac = mac

    def _mac_of(self, body: bytes) -> bytes:
        return hmac.digest(self._key, self._mac + b"\0" + body, "sha256")

    def _read(self) -> None:
        if not self._path.exists():
            return
        data = storage.read_bounded(self._path, max_bytes=MAX_REGISTER_BYTES)
        for line in data.splitlines(keepends=True):
            try:
                self._replay(line)
            except (YinxinError, KeyError, TypeError, ValueError) as error:
                raise IntegrityError(
                    "the officers' register was altered or cut short; restore the offline "
                    "store from a backup",
                    reason="OFFICER_REGISTER",
                ) from error
            self._lines += line

    def _replay(self, line: bytes) -> None:
        members = parse_json_object(line, max_bytes=MAX_LINE_BYTES, max_depth=2)
        body = str(members["event"]).encode()
        mac = self._mac_of(body)
        if not hmac.compare_digest(mac, b64url_decode(str(members["mac"]))):
            raise MalformedError("a line is not ours", reason="OFFICER_REGISTER")
        self._apply(parse_json_object(body, max_bytes=MAX_LINE_BYTES, max_depth=2))
        self._mac = mac

    def _apply(self, event: dict[str, Json]) -> None:
        at = int(event["at"])
        match event["event"]:
            case "add":
                key = suite(str(event["suite"])).load_public(b64url_decode(str(event["spki"])))
                officer = Officer(id=str(event["officer"]), name=str(event["name"]), public_key=key)
                self._state.add(officer, at)
            case "remove":
                self._state.remove(str(event["officer"]), at)
            case "sign":
                self._state.record(self._signing(event, at), self._listed(event["trust_list"]))
            case _:
                raise MalformedError("an event of no known kind", reason="OFFICER_REGISTER")

    def _signing(self, event: dict[str, Json], at: int) -> SigningRecord:
        return SigningRecord(
            at=at,
            nonces=tuple(b64url_decode(nonce) for nonce in event["nonces"]),
            operations=tuple(b64url_decode(one) for one in event["operations"]),
            trust_list=_decoded(event["trust_list"]),
            base=_decoded(event["base"]),
            withdrawn=tuple(b64url_decode(one) for one in event["withdrawn"]),
        )

    def _listed(self, digest: Json) -> bytes | None:
        """Return the list that a line names, if it is the newest: older ones are dropped."""
        if digest is None:
            return None
        path = self._folder / f"trust-{b64url_decode(str(digest)).hex()}.json"
        if not path.exists():
            return None
        data = storage.read_bounded(path, max_bytes=MAX_LIST_BYTES)
        if sha256(data).digest() != b64url_decode(str(digest)):
            raise MalformedError("the trust list signed last was altered", reason="TRUST_LIST")
        return data


def _encoded(digest: bytes | None) -> str | None:
    return None if digest is None else b64url_encode(digest)


def _decoded(value: Json) -> bytes | None:
    return None if value is None else b64url_decode(str(value))
