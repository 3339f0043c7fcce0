"""A register in one append-only file of JSON lines.

Every record is one line, on disk before its call returns; the whole state is
what reading the lines again gives. Several processes may share the file: each
operation holds its lock and first reads what others appended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from yinxin_ca import storage
from yinxin_ca.register import CertificateRecord, InMemoryRegister
from yinxin_proto.crl import RevocationReason
from yinxin_proto.error import IntegrityError, MalformedError, YinxinError
from yinxin_proto.strict import (
    Json,
    b64url_decode,
    b64url_encode,
    canonical_json,
    parse_json_object,
)

MAX_LINE_BYTES: Final = 1 << 18


class FileRegister:
    """A `Register` kept in a file, mode 0600, made if absent.

    A line that a crash cut short is dropped: its call never returned, and what
    it announced was never signed.

    Args:
        path: The file; its directory exists.

    Raises:
        KeyStoreError: It cannot be read or written (``STORE_DENIED``,
            ``STORE_IO``); every method may raise this too.
        ResourceExhaustedError: The disk is full (``STORAGE_FULL``); likewise.
        IntegrityError: A line that is no record, or contradicts an earlier one
            (``REGISTER_LINE``); likewise.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread_lock = threading.RLock()
        self._state = InMemoryRegister()
        self._offset = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with storage.typed_errors(path, "opening the register"):
            self._descriptor = os.open(path, flags, 0o600)
            storage.sync_directory(path.parent)
        with self._current():
            """Reading once at the start shows a damaged file before it is needed."""

    def close(self) -> None:
        """Let go of the file; nothing is left to be written."""
        os.close(self._descriptor)

    def record_intent(self, serial: int, profile: str, tbs: bytes) -> None:
        """See `Register.record_intent`."""
        self._record(event="intent", serial=_hex(serial), profile=profile, tbs=b64url_encode(tbs))

    def record_issued(self, serial: int, der: bytes) -> None:
        """See `Register.record_issued`."""
        self._record(event="issued", serial=_hex(serial), der=b64url_encode(der))

    def record_revoked(self, serial: int, reason: RevocationReason, at: datetime) -> None:
        """See `Register.record_revoked`; ``at`` is kept to the second."""
        seconds = int(at.timestamp())
        self._record(event="revoked", serial=_hex(serial), reason=str(reason), at=seconds)

    def record_crl(self, number: int, tbs: bytes) -> None:
        """See `Register.record_crl`; the digest is kept, since the list follows from the lines."""
        self._record(event="crl", number=number, tbs_sha256=b64url_encode(sha256(tbs).digest()))

    def find(self, serial: int) -> CertificateRecord | None:
        """See `Register.find`."""
        with self._current() as state:
            return state.find(serial)

    def records(self) -> tuple[CertificateRecord, ...]:
        """See `Register.records`."""
        with self._current() as state:
            return state.records()

    def revoked(self) -> tuple[CertificateRecord, ...]:
        """See `Register.revoked`."""
        with self._current() as state:
            return state.revoked()

    def unfinished(self) -> tuple[CertificateRecord, ...]:
        """See `Register.unfinished`."""
        with self._current() as state:
            return state.unfinished()

    def crl_number(self) -> int:
        """See `Register.crl_number`."""
        with self._current() as state:
            return state.crl_number()

    def _record(self, **event: Json) -> None:
        line = canonical_json(event) + b"\n"
        with self._current() as state:
            _apply(state, event)
            try:
                with storage.typed_errors(self._path, "writing the register"):
                    self._append(line)
            except YinxinError:
                # Memory is now ahead of the file: forget it, and read again.
                self._state, self._offset = InMemoryRegister(), 0
                raise

    def _append(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._offset)
            raise
        self._offset += len(line)

    @contextlib.contextmanager
    def _current(self) -> Iterator[InMemoryRegister]:
        """Hold the file's lock, and bring the state up to date with the file."""
        with self._thread_lock:
            with storage.typed_errors(self._path, "locking the register"):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                self._read_on()
                yield self._state
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _read_on(self) -> None:
        with storage.typed_errors(self._path, "reading the register"):
            size = os.fstat(self._descriptor).st_size
            tail = b""
            while self._offset + len(tail) < size:
                tail += os.pread(self._descriptor, size, self._offset + len(tail))
        for line in tail.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                with storage.typed_errors(self._path, "mending the register"):
                    os.ftruncate(self._descriptor, self._offset)
                return
            self._replay(line)
            self._offset += len(line)

    def _replay(self, line: bytes) -> None:
        try:
            _apply(self._state, parse_json_object(line, max_bytes=MAX_LINE_BYTES, max_depth=1))
        except (YinxinError, KeyError, TypeError, ValueError, OverflowError, OSError) as error:
            raise IntegrityError(
                f"{self._path.name}: the line at byte {self._offset} is no record, or "
                "contradicts an earlier one; restore the register from a backup",
                reason="REGISTER_LINE",
            ) from error


def _apply(state: InMemoryRegister, event: dict[str, Json]) -> None:
    match event["event"]:
        case "intent":
            state.record_intent(_serial(event), str(event["profile"]), b64url_decode(event["tbs"]))
        case "issued":
            state.record_issued(_serial(event), b64url_decode(event["der"]))
        case "revoked":
            at = datetime.fromtimestamp(event["at"], UTC)
            state.record_revoked(_serial(event), RevocationReason(event["reason"]), at)
        case "crl":
            state.record_crl(int(event["number"]), b64url_decode(event["tbs_sha256"]))
        case _:
            raise MalformedError("an event of no known kind", reason="REGISTER_LINE")


def _hex(serial: int) -> str:
    return f"{serial:x}"


def _serial(event: dict[str, Json]) -> int:
    return int(event["serial"], 16)
