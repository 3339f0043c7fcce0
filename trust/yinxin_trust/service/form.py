"""A request's fields, read one by one with every fault noted at once.

Whoever sent a request wants to hear of all its faults together, so a field
that cannot be read is noted, and `Form.check` refuses the request for all of
them. What was read is behind `Field.value`, which exists after the check alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Generic, Protocol, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from yinxin_proto.error import InternalError, InvalidArgumentError, MalformedError, Violation
from yinxin_proto.name import parse_region_code
from yinxin_proto.v1.common_pb2 import CallContext as ContextMessage
from yinxin_trust.context import CallContext
from yinxin_trust.namespace import Namespace
from yinxin_trust.request import check_request_id

T = TypeVar("T")
_NOTHING: Final = CallContext("")


class _InRegion(Protocol):
    @property
    def region(self) -> str: ...


N = TypeVar("N", bound=_InRegion)


class Field(Generic[T]):
    """One field that was read, or was noted as unreadable."""

    __slots__ = ("_read",)

    def __init__(self, *read: T) -> None:
        self._read = read

    @property
    def value(self) -> T:
        """What was read; ask only after `Form.check`."""
        if not self._read:
            raise InternalError("a field was used before the request was checked")
        return self._read[0]

    @property
    def or_none(self) -> T | None:
        """What was read, if anything was."""
        return self._read[0] if self._read else None


class Form:
    """The fields of one request, and the faults found so far.

    Args:
        namespace: The region's names.
    """

    __slots__ = ("_namespace", "violations")

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self.violations: list[Violation] = []

    def refuse(self, field: str, description: str, reason: str) -> None:
        """Note a fault."""
        self.violations.append(Violation(field, description, reason))

    def check(self) -> None:
        """Refuse the request for every fault noted.

        Raises:
            InvalidArgumentError: There is one (``REQUEST``).
        """
        if self.violations:
            raise InvalidArgumentError(
                "the request is not acceptable", reason="REQUEST", violations=self.violations
            )

    def context(self, message: ContextMessage, *, public: bool) -> CallContext:
        """Return the call context; an empty one where it is not acceptable.

        What is refused must not be stored: it may hold a subject's number.
        """
        context = CallContext(
            message.purpose, message.case_number, message.service_item, message.operator
        )
        violations = context.violations(public=public)
        if not violations:
            return context
        self.violations += violations
        return _NOTHING

    def read(self, field: str, parse: Callable[[str], T], text: str) -> Field[T]:
        """Read a text with a parser, noting what it refuses."""
        try:
            return Field(parse(text))
        except (InvalidArgumentError, MalformedError) as error:
            if error.violations:
                self.violations += [
                    Violation(f"{field}.{v.field}", v.description, v.reason)
                    for v in error.violations
                ]
            else:
                self.refuse(field, error.message, error.reason)
            return Field()

    def name(self, field: str, parse: Callable[[str], N], text: str) -> Field[N]:
        """Read the name of a resource of this region."""
        found = self.read(field, parse, text)
        name = found.or_none
        if name is not None and name.region != self._namespace.code:
            self.refuse(field, f"this region is {self._namespace.resource}", "REGION")
            return Field()
        return found

    def parent(self, text: str, field: str = "parent") -> None:
        """Demand the name of this region."""
        if text == self._namespace.resource:
            return
        self.read(field, lambda name: parse_region_code(name.removeprefix("regions/")), text)
        self.refuse(field, f"this region is {self._namespace.resource}", "REGION")

    def moment(self, field: str, message: Timestamp, *, given: bool) -> datetime | None:
        """Return a moment, None where it was not given."""
        if not given:
            return None
        try:
            return message.ToDatetime(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.refuse(field, "a moment between the years 1 and 9999 is expected", "TIMESTAMP")
            return None

    def request_id(self, text: str, *, optional: bool = False) -> None:
        """Demand an identifier of the request (AIP-155)."""
        if not (optional and not text):
            # Its own error names the field.
            try:
                check_request_id(text)
            except InvalidArgumentError as error:
                self.violations += error.violations

    def present(self, field: str, value: object) -> None:
        """Demand that a field is not empty."""
        if not value:
            self.refuse(field, "is missing", "FIELD_MISSING")
