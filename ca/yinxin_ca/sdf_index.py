"""Which key of ours is at which index of a cryptographic machine.

A machine numbers its keys; the file binds a key's name to an index and to the
public key that was there. One canonical JSON object::

    {"schema": 1, "keys": {"<name>": {"index", "spki", "created_at"}}, "spent": […]}

An index whose key was destroyed is spent: it is never bound to another name,
since GM/T 0018 has no call that destroys the key in the machine.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from yinxin_ca import storage
from yinxin_ca.keystore import KeyRef
from yinxin_proto.clock import Entropy
from yinxin_proto.error import InvalidArgumentError, KeyStoreError, MalformedError
from yinxin_proto.strict import (
    Json,
    b64url_decode,
    b64url_encode,
    canonical_json,
    parse_json_object,
)

SCHEMA: Final = 1
MAX_BYTES: Final = 1 << 20

_MEMBERS: Final = frozenset({"schema", "keys", "spent"})
_KEY_MEMBERS: Final = frozenset({"index", "spki", "created_at"})


@dataclass(frozen=True, slots=True)
class Binding:
    """One key's place."""

    index: int
    spki: bytes
    created_at: datetime


@dataclass(slots=True)
class Bindings:
    """The content of the file."""

    keys: dict[KeyRef, Binding] = field(default_factory=dict)
    spent: set[int] = field(default_factory=set)

    def is_free(self, index: int) -> bool:
        """Whether no key of ours is or was there."""
        return index not in self.spent and all(key.index != index for key in self.keys.values())

    def to_bytes(self) -> bytes:
        """Return what `parse_bindings` reads."""
        keys: dict[str, Json] = {
            str(ref): {
                "index": key.index,
                "spki": b64url_encode(key.spki),
                "created_at": int(key.created_at.timestamp()),
            }
            for ref, key in self.keys.items()
        }
        return canonical_json({"schema": SCHEMA, "keys": keys, "spent": sorted(self.spent)}) + b"\n"


def parse_bindings(content: bytes) -> Bindings:
    """Read the content of the file.

    Raises:
        MalformedError: Not such a file (``SDF_INDEX_FILE``).
    """
    try:
        members = parse_json_object(content, max_bytes=MAX_BYTES, max_depth=3)
        if members.keys() != _MEMBERS or members["schema"] != SCHEMA:
            raise _damaged()
        keys = {KeyRef.parse(name): _binding(value) for name, value in members["keys"].items()}
        found = Bindings(keys, {_index(number) for number in members["spent"]})
    except (InvalidArgumentError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise _damaged() from error
    indexes = [key.index for key in found.keys.values()]
    if len(set(indexes)) != len(indexes) or found.spent & set(indexes):
        raise _damaged()
    return found


class IndexFile:
    """The file; its lock holds between threads and processes.

    Args:
        path: The file; made when something is first bound.
        entropy: Names temporary files.
    """

    def __init__(self, path: Path, *, entropy: Entropy) -> None:
        self._path = path
        self._entropy = entropy
        self._thread_lock = threading.Lock()

    def read(self) -> Bindings:
        """Return what is bound; nothing where there is no file yet.

        Raises:
            KeyStoreError: It cannot be read (``STORE_DENIED``, ``STORE_IO``) or
                is damaged (``SDF_INDEX_FILE``).
        """
        try:
            with storage.typed_errors(self._path, "reading"):
                content = storage.read_bounded(self._path, max_bytes=MAX_BYTES)
        except KeyStoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return Bindings()
            raise
        try:
            return parse_bindings(content)
        except MalformedError as error:
            raise KeyStoreError(
                f"{self._path.name} is damaged; restore it from a backup: without it nobody "
                "knows which key of the machine is whose",
                reason="SDF_INDEX_FILE",
            ) from error

    @contextmanager
    def change(self) -> Iterator[Bindings]:
        """Yield what is bound; what the block changes is durable when it ends well."""
        lock = self._path.with_suffix(".lock")
        with self._thread_lock:
            with storage.typed_errors(lock, "locking"):
                descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                bindings = self.read()
                yield bindings
                with storage.typed_errors(self._path, "writing"):
                    storage.replace(self._path, bindings.to_bytes(), entropy=self._entropy)
            finally:
                os.close(descriptor)


def _binding(members: Json) -> Binding:
    if members.keys() != _KEY_MEMBERS:
        raise _damaged()
    at = datetime.fromtimestamp(_index(members["created_at"]), UTC)
    return Binding(_index(members["index"]), b64url_decode(members["spki"]), at)


def _index(value: Json) -> int:
    if type(value) is not int or value < 0:
        raise _damaged()
    return value


def _damaged() -> MalformedError:
    return MalformedError("not an index of keys in a machine", reason="SDF_INDEX_FILE")
