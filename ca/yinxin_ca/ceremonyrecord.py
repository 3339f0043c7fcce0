"""The record 仪式记录 of a ceremony: what was done, in one append-only file.

Each line is canonical JSON and names the SHA-256 of the line before it; the
hash of the last line is the record's head, which is printed, and signed by
the custodians. Nothing can be changed, left out or moved without another head.
A line that a crash cut short is dropped: its step was not taken, and is taken
again. Moments never go back; a clock that does is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from yinxin_ca import storage
from yinxin_ca.custodian import Identity
from yinxin_proto.clock import Clock
from yinxin_proto.error import (
    FailedPreconditionError,
    IntegrityError,
    MalformedError,
    NotFoundError,
    VerificationError,
    YinxinError,
)
from yinxin_proto.signature import Signer
from yinxin_proto.strict import (
    Json,
    b64url_decode,
    b64url_encode,
    canonical_json,
    parse_json_object,
)

BEGUN: Final = "begun"
DEALT: Final = "dealt"
CONFIRMED: Final = "confirmed"
RESEALED: Final = "resealed"
PRESENTED: Final = "presented"
OPENED: Final = "opened"
REFUSED: Final = "refused"
SIGNED: Final = "signed"
EVENTS: Final = frozenset({BEGUN, DEALT, CONFIRMED, RESEALED, PRESENTED, OPENED, REFUSED, SIGNED})
"""What a step may be; a record that says anything else was not written here."""
MAX_RECORD_BYTES: Final = 1 << 22
MAX_LINE_BYTES: Final = 1 << 16

_START: Final = sha256(b"yinxin/ceremony/v1\0").digest()
_SIGNED_DOMAIN: Final = b"yinxin/ceremony-head/v1\0"
_FIXED: Final = ("at", "event", "previous", "sequence")


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a record."""

    sequence: int
    """From 1."""
    at: datetime
    """When it was written, UTC, to the second."""
    event: str
    """What was done."""
    members: Mapping[str, Any]
    """What the step says beyond that."""
    head: bytes
    """The record's head once it ended here."""


class CeremonyRecord:
    """A record in a file, mode 0600; made by `create`, read again by `open`.

    Args:
        path: The file.
        clock: Dates the steps.

    Raises:
        NotFoundError: There is no such record (``RECORD_NOT_FOUND``).
        IntegrityError: A line that is none, does not follow from the one
            before, or is signed by nobody it names (``RECORD_BROKEN``).
        KeyStoreError: It cannot be read or written (``STORE_DENIED``, ``STORE_IO``).
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._steps: list[Step] = []
        self._end = 0
        self._read()

    @classmethod
    def create(
        cls, path: Path, *, clock: Clock, plan: Callable[[], dict[str, Json]]
    ) -> CeremonyRecord:
        """Begin a record, unless it has begun; its first step says what is planned.

        Args:
            path: The file, made if absent.
            clock: Dates the steps.
            plan: Gives the members of the first step; among them ``custodians``.

        Raises:
            FailedPreconditionError: The clock is before the record's last
                step (``CLOCK_WENT_BACK``).
        """
        # Before the file: a plan that cannot be made leaves none.
        planned = plan() if not path.exists() or not path.stat().st_size else None
        with storage.typed_errors(path, "making the record"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(path, flags, 0o600))
            storage.sync_directory(path.parent)
        record = cls(path, clock=clock)
        if not record.steps:
            record.append(BEGUN, **(plan() if planned is None else planned))
        record._check_clock()
        return record

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was done so far."""
        return tuple(self._steps)

    @property
    def head(self) -> bytes:
        """SHA-256 of the last line: what is printed, and signed."""
        return self._steps[-1].head if self._steps else _START

    def find(self, event: str) -> tuple[Step, ...]:
        """Return the steps of a kind, oldest first."""
        return tuple(step for step in self._steps if step.event == event)

    @property
    def signatures(self) -> frozenset[str]:
        """Ids of the custodians who signed the record as it now is, signatures aside."""
        signers: set[str] = set()
        for step in reversed(self._steps):
            if step.event != SIGNED:
                break
            signers.add(str(step.members["custodian"]))
        return frozenset(signers)

    def append(self, event: str, **members: Json) -> None:
        """Write a step; it is on disk before the call returns.

        Raises:
            FailedPreconditionError: The clock went back (``CLOCK_WENT_BACK``).
        """
        now = self._check_clock()
        line = canonical_json(
            {
                "sequence": len(self._steps) + 1,
                "at": int(now.timestamp()),
                "event": event,
                "previous": b64url_encode(self.head),
                **members,
            }
        )
        with storage.typed_errors(self._path, "writing the record"), self._locked() as descriptor:
            if os.fstat(descriptor).st_size != self._end:
                raise FailedPreconditionError(
                    "another process writes this ceremony's record; let one do it",
                    reason="RECORD_BUSY",
                )
            _write(descriptor, line + b"\n", self._end)
        self._end += len(line) + 1
        self._steps.append(_step(line, self.head, len(self._steps) + 1))

    def sign(self, custodian: str, signer: Signer) -> None:
        """Let a custodian sign the head."""
        signature = signer.sign(_SIGNED_DOMAIN + self.head)
        self.append(SIGNED, custodian=custodian, signature=b64url_encode(signature))

    def _check_clock(self) -> datetime:
        now = self._clock.now().replace(microsecond=0)
        if self._steps and now < self._steps[-1].at:
            raise FailedPreconditionError(
                "this machine's clock is before the last step of the ceremony's record; set it",
                reason="CLOCK_WENT_BACK",
            )
        return now

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _read(self) -> None:
        if not self._path.is_file():
            raise NotFoundError(
                f"{self._path} is no record of a ceremony; begin one with: yinxin ceremony begin",
                reason="RECORD_NOT_FOUND",
            )
        with storage.typed_errors(self._path, "reading the record"), self._locked() as descriptor:
            content = os.pread(descriptor, MAX_RECORD_BYTES + 1, 0)
            if len(content) > MAX_RECORD_BYTES:
                raise _broken(self._path, 0)
            for line in content.splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    os.ftruncate(descriptor, self._end)
                    break
                self._follow(line[:-1])
                self._end += len(line)

    def _follow(self, line: bytes) -> None:
        sequence = len(self._steps) + 1
        try:
            step = _step(line, self.head, sequence)
            if self._steps and step.at < self._steps[-1].at:
                raise MalformedError("a step before the one before it", reason="RECORD")
            if step.event == SIGNED:
                self._check_signature(step)
        except (YinxinError, KeyError, TypeError, ValueError, OverflowError, OSError) as error:
            raise _broken(self._path, sequence) from error
        self._steps.append(step)

    def _check_signature(self, step: Step) -> None:
        for value in self._steps[0].members["custodians"]:
            identity = Identity.from_json(value, "custodian")
            if identity.id == step.members["custodian"]:
                signature = b64url_decode(step.members["signature"])
                identity.key.verify(signature, _SIGNED_DOMAIN + self.head)
                return
        raise VerificationError("signed by none of the custodians", reason="SIGNATURE")


def _step(line: bytes, previous: bytes, sequence: int) -> Step:
    members = parse_json_object(line, max_bytes=MAX_LINE_BYTES)
    if (
        canonical_json(members) != line
        or members["sequence"] != sequence
        or members["previous"] != b64url_encode(previous)
    ):
        raise MalformedError("a line that does not follow from the one before", reason="RECORD")
    if members["event"] not in EVENTS:
        raise MalformedError("a step of no known kind", reason="RECORD")
    return Step(
        sequence=sequence,
        at=datetime.fromtimestamp(members["at"], UTC),
        event=members["event"],
        members={name: value for name, value in members.items() if name not in _FIXED},
        head=sha256(line).digest(),
    )


def _write(descriptor: int, content: bytes, offset: int) -> None:
    try:
        written = 0
        while written < len(content):
            written += os.pwrite(descriptor, content[written:], offset + written)
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, offset)
        raise


def _broken(path: Path, sequence: int) -> IntegrityError:
    return IntegrityError(
        f"{path.name}: step {sequence} does not follow from the one before it, or was altered; "
        "compare with the head that the custodians wrote down, and restore a copy",
        reason="RECORD_BROKEN",
    )
