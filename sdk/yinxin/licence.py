"""Licences as a region answers them: their names, states, events and files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from google.protobuf.timestamp_pb2 import Timestamp

from yinxin_proto.error import FailedPreconditionError
from yinxin_proto.v1 import licence_pb2

SUFFIX: Final = ".licence.json"
"""Of a licence file that `IssuedLicence.save` names."""
_PRIVATE: Final = 0o600


class LicenceState(StrEnum):
    """What state a licence is in."""

    VALID = "valid"
    SUSPENDED = "suspended"
    FROZEN = "frozen"
    LOST = "lost"
    CANCELLED = "cancelled"
    REVOKED = "revoked"
    ANNULLED = "annulled"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    TRANSFERRED = "transferred"
    SUPERSEDED = "superseded"
    UNKNOWN = "unknown"
    """A state that a newer server knows, or none."""

    @property
    def number(self) -> licence_pb2.LicenceState.ValueType:
        """The state as messages carry it."""
        return _STATE_NUMBERS[self]


class Operation(StrEnum):
    """What is done to a licence; each under the authority's approval."""

    ISSUE = "issue"
    CHANGE = "change"
    RENEW = "renew"
    SUSPEND = "suspend"
    FREEZE = "freeze"
    LOSE = "lose"
    REINSTATE = "reinstate"
    CANCEL = "cancel"
    REVOKE = "revoke"
    ANNUL = "annul"
    WITHDRAW = "withdraw"
    EXPIRE = "expire"
    TRANSFER = "transfer"
    REISSUE = "reissue"
    UNKNOWN = "unknown"
    """An operation that a newer server knows, or none."""

    @property
    def number(self) -> licence_pb2.LicenceOperation.ValueType:
        """The operation as messages carry it."""
        return _OPERATION_NUMBERS[self]


_STATE_NUMBERS: Final[Mapping[LicenceState, licence_pb2.LicenceState.ValueType]] = {
    state: licence_pb2.LicenceState.Value(
        "LICENCE_STATE_UNSPECIFIED"
        if state is LicenceState.UNKNOWN
        else f"LICENCE_STATE_{state.name}"
    )
    for state in LicenceState
}
_OPERATION_NUMBERS: Final[Mapping[Operation, licence_pb2.LicenceOperation.ValueType]] = {
    operation: licence_pb2.LicenceOperation.Value(
        "LICENCE_OPERATION_UNSPECIFIED"
        if operation is Operation.UNKNOWN
        else f"LICENCE_OPERATION_{operation.name}"
    )
    for operation in Operation
}
_STATES: Final = {int(number): state for state, number in _STATE_NUMBERS.items()}
_OPERATIONS: Final = {int(number): operation for operation, number in _OPERATION_NUMBERS.items()}


def moment(value: Timestamp) -> datetime:
    """Return a timestamp as a moment in UTC."""
    return value.ToDatetime(UTC)


def timestamp(value: datetime) -> Timestamp:
    """Return a timezone-aware moment as messages carry it."""
    made = Timestamp()
    made.FromDatetime(value)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedLicence:
    """One revision of a licence, as its region answers it."""

    name: str
    """Resource name, ``regions/350300/licences/<type.issuer.serial>``."""
    identifier: str
    """Full identifier with version and check character, GB/T 36904."""
    revision_id: str
    """Version in three digits."""
    licence_type: str
    """Resource name of the type."""
    issuer: str
    """Resource name of the issuing authority."""
    state: LicenceState
    """Its state when the region answered."""
    created_at: datetime
    """When the revision was stored, UTC."""
    valid_until: datetime | None
    """End of its last day; None for 长期."""
    status_uri: str
    """Its status list."""
    status_index: int
    """Its place in that list."""
    log_index: int | None
    """Its place in the log; None until sequenced."""
    etag: str
    """Changes with every change of state or revision."""
    file: bytes | None = field(repr=False)
    """The licence file (credential, opening, receipt); None where it was not
    asked for, or is not there yet. It names the holder: keep it accordingly."""

    @classmethod
    def from_message(cls, message: licence_pb2.Licence) -> Self:
        """Read a licence from its message."""
        limited = message.HasField("valid_until")
        return cls(
            name=message.name,
            identifier=message.identifier,
            revision_id=message.revision_id,
            licence_type=message.licence_type,
            issuer=message.issuer,
            state=_STATES.get(int(message.state), LicenceState.UNKNOWN),
            created_at=moment(message.create_time),
            valid_until=moment(message.valid_until) if limited else None,
            status_uri=message.status_uri,
            status_index=message.status_index,
            log_index=message.log_index if message.HasField("log_index") else None,
            etag=message.etag,
            file=message.licence_file or None,
        )

    def save(self, path: Path | str) -> Path:
        """Write the licence file, readable by its owner alone, and return where.

        Args:
            path: A file to make or replace, or a directory, where the file is
                named by the identifier.

        Raises:
            FailedPreconditionError: There is no file to save (``NO_FILE``).
            OSError: It cannot be written.
        """
        if self.file is None:
            raise FailedPreconditionError(
                "the licence came without its file; get it once its receipt is there",
                reason="NO_FILE",
            )
        target = Path(path)
        if target.is_dir():
            target = target / (self.identifier + SUFFIX)
        write_private(target, self.file)
        return target


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceEvent:
    """One thing that happened to a licence."""

    operation: Operation
    from_state: LicenceState
    """`LicenceState.UNKNOWN` for the first."""
    to_state: LicenceState
    revision_id: str
    reason_code: str
    reason: str
    legal_basis: str
    operator: str
    """Who acted, as the call's context said."""
    effective_at: datetime
    """From when on, UTC."""
    created_at: datetime
    """When it was stored, UTC."""
    log_index: int | None
    """Its place in the log; None until sequenced."""

    @classmethod
    def from_message(cls, message: licence_pb2.LicenceEvent) -> Self:
        """Read an event from its message."""
        return cls(
            operation=_OPERATIONS.get(int(message.operation), Operation.UNKNOWN),
            from_state=_STATES.get(int(message.from_state), LicenceState.UNKNOWN),
            to_state=_STATES.get(int(message.to_state), LicenceState.UNKNOWN),
            revision_id=message.revision_id,
            reason_code=message.reason_code,
            reason=message.reason,
            legal_basis=message.legal_basis,
            operator=message.operator,
            effective_at=moment(message.effective_time),
            created_at=moment(message.create_time),
            log_index=message.log_index if message.HasField("log_index") else None,
        )


def write_private(path: Path, data: bytes) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
