"""Licences and their events as messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask

from yinxin_proto.v1.licence_pb2 import (
    Licence,
    LicenceEvent,
    LicenceOperation,
    LicenceState,
)
from yinxin_trust.event import LicenceEvent as Event
from yinxin_trust.namespace import Namespace
from yinxin_trust.record import LicenceRecord
from yinxin_trust.service.form import Field, Form
from yinxin_trust.service.timestamp import of_ms
from yinxin_trust.transition import Operation, State, row_of

FILE: Final = "licence_file"
_FIELDS: Final = frozenset(Licence.DESCRIPTOR.fields_by_name)
_STATES: Final = {state: LicenceState.Value(f"LICENCE_STATE_{state.name}") for state in State}
_NO_STATE: Final = LicenceState.LICENCE_STATE_UNSPECIFIED
_STATE_OF: Final[dict[int, State]] = {number: state for state, number in _STATES.items()}
_OPERATIONS: Final = {
    name.removeprefix("LICENCE_OPERATION_").lower(): number
    for name, number in LicenceOperation.items()
}
_OPERATION_OF: Final[dict[int, Operation]] = {
    _OPERATIONS[operation.value]: operation for operation in Operation
}
_EXPIRING: Final = row_of(Operation.EXPIRE).sources


class ReadMask:
    """Which fields of a licence are asked for; all but the file unless told.

    Args:
        form: Where unknown fields are noted.
        mask: As the request has it; all but the file when omitted.
    """

    __slots__ = ("_paths", "wants_file")

    def __init__(self, form: Form | None = None, mask: FieldMask | None = None) -> None:
        paths = frozenset(mask.paths if mask is not None else ())
        if form is not None and not paths <= _FIELDS | {"*"}:
            form.refuse("read_mask", f"fields of Licence are: {', '.join(sorted(_FIELDS))}", "MASK")
        self._paths = None if not paths or "*" in paths else paths
        self.wants_file = FILE in paths or "*" in paths
        """Whether the licence file is asked for."""

    def apply(self, message: Licence) -> Licence:
        """Clear what was not asked for."""
        if self._paths is not None:
            for name in _FIELDS - self._paths:
                message.ClearField(name)  # type: ignore[arg-type]
        return message


def read_states(form: Form, field: str, numbers: Iterable[int]) -> frozenset[State]:
    """Read states, noting those that there are not."""
    asked = set(numbers)
    if not asked <= _STATE_OF.keys():
        form.refuse(field, "not a state of a licence", "STATE")
    return frozenset(_STATE_OF[number] for number in asked & _STATE_OF.keys())


def read_operation(form: Form, field: str, number: int) -> Field[Operation]:
    """Read an operation, noting one that is not offered."""
    found = _OPERATION_OF.get(number)
    if found is None:
        known = ", ".join(operation.name for operation in Operation)
        form.refuse(field, f"LICENCE_OPERATION_* of {known} is expected", "OPERATION")
        return Field()
    return Field(found)


def licence_message(
    record: LicenceRecord,
    namespace: Namespace,
    *,
    now_ms: int,
    log_index: int | None = None,
    file: bytes = b"",
) -> Licence:
    """Return a licence as a message.

    Args:
        record: One version of it.
        namespace: The region's names.
        now_ms: A licence whose validity is over shows as expired, swept or not.
        log_index: Index of its entry, once it has one.
        file: The licence file, where the caller may have it and asked for it.
    """
    identifier = record.identifier
    state = record.state
    until = record.valid_until_ms
    if until is not None and until <= now_ms and state in _EXPIRING:
        state = State.EXPIRED
    message = Licence(
        name=namespace.licence_name(identifier),
        identifier=str(identifier),
        revision_id=f"{identifier.version:03}",
        licence_type=f"{namespace.resource}/licenceTypes/{identifier.type}",
        schema_version=record.type_version,
        issuer=f"{namespace.resource}/authorities/{identifier.issuer}",
        state=_STATES[state],
        create_time=of_ms(record.created_ms),
        update_time=of_ms(record.updated_ms),
        valid_from=of_ms(record.valid_from_ms),
        status_uri=record.status.uri,
        status_index=record.status.index,
        etag=record.etag,
        licence_file=file,
    )
    if until is not None:
        message.valid_until.CopyFrom(of_ms(until))
    if log_index is not None:
        message.log_index = log_index
    return message


def event_message(event: Event, namespace: Namespace, *, log_index: int | None) -> LicenceEvent:
    """Return what happened to a licence as a message."""
    message = LicenceEvent(
        operation=_OPERATIONS[event.operation],
        from_state=_NO_STATE if event.from_state is None else _STATES[event.from_state],
        to_state=_STATES[event.to_state],
        revision_id=f"{event.identifier.version:03}",
        reason_code=event.reason_code,
        reason=event.detail.reason,
        legal_basis=event.detail.legal_basis,
        operator=event.detail.operator,
        principal=f"{namespace.resource}/principals/{event.caller}" if event.caller else "",
        effective_time=of_ms(event.effective_ms),
        create_time=of_ms(event.recorded_ms),
    )
    if log_index is not None:
        message.log_index = log_index
    return message
