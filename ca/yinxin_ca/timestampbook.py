"""What a time-stamp authority has given out: serial numbers, and how late it was.

A token may never carry a number that another carries, nor a time before one
that was given already, whatever happens to the machine or its clock. So both
are on disk before a token is signed. Only the last state matters: two slots of
one file are written in turn, and a slot that a power cut tore is not counted.
"""

from __future__ import annotations

import fcntl
import os
import threading
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from yinxin_ca import storage
from yinxin_proto.clock import Entropy
from yinxin_proto.error import FailedPreconditionError, IntegrityError

_SLOT: Final = 64
_TAG: Final = 16
_RANDOM_BITS: Final = 64


class TimestampBook(Protocol):
    """What every book offers."""

    def reserve(self, at: datetime) -> int:
        """Record a time, durably, and return a serial number for it alone.

        Raises:
            FailedPreconditionError: A time before the last recorded one
                (reason ``CLOCK_BACK``): the clock went back.
        """
        ...


@dataclass(frozen=True, slots=True)
class _State:
    count: int
    """Tokens so far."""
    last: int
    """Time of the last one, in seconds since 1970."""

    def next(self, at: datetime) -> _State:
        moment = int(at.timestamp())
        if moment < self.last:
            raise FailedPreconditionError(
                "the clock stands before the last time-stamp given; nothing is stamped until it "
                "has caught up: check the machine's time",
                reason="CLOCK_BACK",
            )
        return _State(self.count + 1, moment)

    def serial(self, entropy: Entropy) -> int:
        """Return a number that is unique even if an older book were restored."""
        return self.count << _RANDOM_BITS | int.from_bytes(entropy.token(_RANDOM_BITS // 8), "big")

    def to_bytes(self) -> bytes:
        content = self.count.to_bytes(8, "big") + self.last.to_bytes(8, "big")
        return (content + sha256(content).digest()[:_TAG]).ljust(_SLOT, b"\0")

    @classmethod
    def read(cls, slot: bytes) -> _State | None:
        state = cls(int.from_bytes(slot[:8], "big"), int.from_bytes(slot[8:16], "big"))
        return state if state.to_bytes() == slot else None


class InMemoryTimestampBook:
    """A book that ends with the process: for tests and demos."""

    def __init__(self, *, entropy: Entropy) -> None:
        self._entropy = entropy
        self._state = _State(0, 0)
        self._lock = threading.Lock()

    def reserve(self, at: datetime) -> int:
        """See `TimestampBook.reserve`."""
        with self._lock:
            self._state = self._state.next(at)
            return self._state.serial(self._entropy)


class FileTimestampBook:
    """A book in a file, mode 0600, made if absent; several processes may share it.

    Args:
        path: The file; its directory exists.
        entropy: Draws a part of every serial number.

    Raises:
        KeyStoreError: It cannot be read or written (``STORE_DENIED``, ``STORE_IO``).
        IntegrityError: Neither slot is whole (``TIMESTAMP_BOOK``); `reserve` too.
    """

    def __init__(self, path: Path, *, entropy: Entropy) -> None:
        self._path = path
        self._entropy = entropy
        self._lock = threading.Lock()
        with storage.typed_errors(path, "opening the time-stamp book"):
            # Whole or not at all: an empty book is never mistaken for a lost one.
            storage.write_new(path, 2 * _State(0, 0).to_bytes(), entropy=entropy)
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._read()

    def close(self) -> None:
        """Let go of the file; nothing is left to be written."""
        os.close(self._descriptor)

    def reserve(self, at: datetime) -> int:
        """See `TimestampBook.reserve`."""
        with self._lock, storage.typed_errors(self._path, "writing the time-stamp book"):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                state = self._read().next(at)
                # Over the older slot: the newer one stands until this is whole.
                offset = state.count % 2 * _SLOT
                os.pwrite(self._descriptor, state.to_bytes(), offset)
                os.fdatasync(self._descriptor)
                return state.serial(self._entropy)
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _read(self) -> _State:
        with storage.typed_errors(self._path, "reading the time-stamp book"):
            content = os.pread(self._descriptor, 2 * _SLOT, 0)
        slots = (content[:_SLOT], content[_SLOT:])
        whole = [state for slot in slots if (state := _State.read(slot)) is not None]
        if whole:
            return max(whole, key=lambda state: state.count)
        raise IntegrityError(
            f"{self._path.name}: neither slot is whole; give the time-stamp authority a new key "
            "and a new book",
            reason="TIMESTAMP_BOOK",
        )
