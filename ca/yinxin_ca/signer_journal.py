"""What a signer signed: one append-only file of JSON lines, each bound to the one before.

A line is on disk before the signature that it is about leaves the signer: there
may be a line without a signature (a crash in between), never a signature
without a line. ``previous`` is the SHA-256 of the line before, so that a line
cannot be taken out or altered without altering all that follow; the last hash,
noted elsewhere, pins the whole.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from yinxin_ca import storage
from yinxin_ca.keystore import KeyRef
from yinxin_proto.clock import Clock
from yinxin_proto.error import IntegrityError, MalformedError, UnavailableError
from yinxin_proto.strict import Json, b64url_encode, canonical_json, parse_json_object

MAX_LINE_BYTES: Final = 4096

_FIRST: Final = b64url_encode(bytes(32))


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that a caller had done with a key."""

    kind: str
    """``sign``, ``create`` (asked for), ``created`` or ``delete``."""
    key: KeyRef
    principal: str
    """Who asked."""
    digest: bytes
    """SHA-256 of the message signed, of the public key made or destroyed, or of the
    name of the suite that was asked for."""


class SignerJournal:
    """The file, open for one process.

    Args:
        path: The file, mode 0600, made if absent.
        clock: Dates lines.

    Raises:
        UnavailableError: Another process has it open (``JOURNAL_IN_USE``).
        KeyStoreError: It cannot be opened (``STORE_DENIED``, ``STORE_IO``).
        IntegrityError: It does not hang together (``JOURNAL_LINE``).
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._write_lock = threading.Lock()
        self._sync_lock = threading.Lock()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with storage.typed_errors(path, "opening the signer's journal"):
            self._descriptor = os.open(path, flags, 0o600)
            storage.sync_directory(path.parent)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise UnavailableError(
                f"another process writes {path.name}; one signer to a directory",
                reason="JOURNAL_IN_USE",
            ) from error
        self._number, self._last, size = _recover(path)
        with storage.typed_errors(path, "mending the signer's journal"):
            os.ftruncate(self._descriptor, size)
        self._size = self._synced = size

    @property
    def head(self) -> tuple[int, str]:
        """How many lines there are, and the hash of the last: what pins them all."""
        return self._number, self._last

    def record(self, act: Act) -> None:
        """Write a line; on disk when this returns. Threads share a flush.

        Raises:
            ResourceExhaustedError: The disk is full (``STORAGE_FULL``).
            KeyStoreError: It cannot be written.
        """
        with self._write_lock:
            line = canonical_json(self._members(act)) + b"\n"
            with storage.typed_errors(self._path, "writing the signer's journal"):
                self._append(line)
            self._number, self._last = self._number + 1, _hash(line)
            mine = self._size
        with self._sync_lock:
            if self._synced < mine:
                reached = self._size
                with storage.typed_errors(self._path, "writing the signer's journal"):
                    os.fsync(self._descriptor)
                self._synced = reached

    def close(self) -> None:
        """Let go of the file; nothing is left to be written."""
        os.close(self._descriptor)

    def _members(self, act: Act) -> dict[str, Json]:
        return {
            "number": self._number + 1,
            "previous": self._last,
            "at": int(self._clock.now().timestamp()),
            "act": act.kind,
            "key": str(act.key),
            "principal": act.principal,
            "digest": b64url_encode(act.digest),
        }

    def _append(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(line)


def read_journal(path: Path) -> Iterator[dict[str, Json]]:
    """Yield the lines of a journal, each checked against the one before.

    A last line that a crash cut short is left out: its signature never left.

    Raises:
        KeyStoreError: It cannot be read.
        IntegrityError: A line that is none, or does not follow (``JOURNAL_LINE``).
    """
    for _, members in _lines(path):
        yield members


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Json]]]:
    number, last = 0, _FIRST
    with storage.typed_errors(path, "reading the signer's journal"), path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            if not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
                return
            try:
                members = parse_json_object(line, max_bytes=MAX_LINE_BYTES, max_depth=1)
            except MalformedError as error:
                raise _broken(path, number) from error
            if members.get("number") != number + 1 or members.get("previous") != last:
                raise _broken(path, number)
            number, last = number + 1, _hash(line)
            yield line, members


def _recover(path: Path) -> tuple[int, str, int]:
    """Return the number and hash of the last whole line, and where it ends."""
    number, last, size = 0, _FIRST, 0
    for line, _ in _lines(path):
        number, last, size = number + 1, _hash(line), size + len(line)
    return number, last, size


def _hash(line: bytes) -> str:
    return b64url_encode(sha256(line).digest())


def _broken(path: Path, number: int) -> IntegrityError:
    return IntegrityError(
        f"{path.name}: line {number + 1} does not follow from the lines before it; keep the file "
        "as evidence, and find out who changed it",
        reason="JOURNAL_LINE",
    )
