"""Subjects 持证主体: who holds licences, under a random name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from yinxin.context import Context
from yinxin.holding import subject_number
from yinxin.session import CallGroup
from yinxin_proto.number import SubjectNumber
from yinxin_proto.v1 import subject_pb2
from yinxin_proto.v1.subject_pb2_grpc import SubjectServiceStub


class SubjectKind(StrEnum):
    """What a subject is."""

    PERSON = "person"
    """自然人."""
    LEGAL_PERSON = "legal_person"
    """法人."""
    OTHER_ORGANISATION = "other_organisation"
    """非法人组织."""
    UNKNOWN = "unknown"
    """A kind that a newer server knows, or none."""


_KINDS: Final = {
    SubjectKind.PERSON: subject_pb2.SUBJECT_KIND_PERSON,
    SubjectKind.LEGAL_PERSON: subject_pb2.SUBJECT_KIND_LEGAL_PERSON,
    SubjectKind.OTHER_ORGANISATION: subject_pb2.SUBJECT_KIND_OTHER_ORGANISATION,
    SubjectKind.UNKNOWN: subject_pb2.SUBJECT_KIND_UNSPECIFIED,
}
_BY_NUMBER: Final = {int(number): kind for kind, number in _KINDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A holder of licences."""

    name: str
    """Resource name, ``regions/350300/subjects/<random>``."""
    kind: SubjectKind
    identifiers: tuple[tuple[str, str], ...]
    """Kind and masked value of each number."""
    etag: str
    """Changes with every change."""

    @classmethod
    def from_message(cls, message: subject_pb2.Subject) -> Self:
        """Read a subject from its message."""
        return cls(
            name=message.name,
            kind=_BY_NUMBER.get(int(message.kind), SubjectKind.UNKNOWN),
            identifiers=tuple((item.type, item.masked_value) for item in message.identifiers),
            etag=message.etag,
        )


class SubjectCalls(CallGroup):
    """Calls about subjects. Numbers travel in the bodies of requests alone."""

    def register_subject(
        self,
        numbers: Sequence[SubjectNumber],
        *,
        display_name: str,
        kind: SubjectKind,
        context: Context,
        request_id: str | None = None,
    ) -> Subject:
        """Register a subject with 1 to 8 numbers; one that is known is returned as it is.

        Raises:
            AlreadyExistsError: The numbers belong to different subjects.
        """
        request = subject_pb2.RegisterSubjectRequest(
            context=context.to_message(),
            parent=self._session.parent,
            request_id=self._session.request_id(request_id),
            kind=_KINDS[kind],
            display_name=display_name,
            numbers=[subject_number(number) for number in numbers],
        )
        transport = self._session.transport
        method = transport.stub(SubjectServiceStub).RegisterSubject
        return Subject.from_message(transport.call(method, request))

    def get_subject(self, name: str, *, context: Context) -> Subject:
        """Return a subject by its resource name.

        Raises:
            NotFoundError: There is none.
        """
        request = subject_pb2.GetSubjectRequest(context=context.to_message(), name=name)
        transport = self._session.transport
        return Subject.from_message(
            transport.call(transport.stub(SubjectServiceStub).GetSubject, request)
        )

    def find_subject(self, number: SubjectNumber, *, context: Context) -> Subject:
        """Return the subject that has a number.

        Raises:
            NotFoundError: None has it.
        """
        request = subject_pb2.LookupSubjectRequest(
            context=context.to_message(),
            parent=self._session.parent,
            number=subject_number(number),
        )
        transport = self._session.transport
        method = transport.stub(SubjectServiceStub).LookupSubject
        return Subject.from_message(transport.call(method, request))

    def link_identifier(
        self,
        subject: Subject,
        number: SubjectNumber,
        *,
        context: Context,
        request_id: str | None = None,
    ) -> Subject:
        """Link one more number to a subject, unless it was changed since.

        Raises:
            AlreadyExistsError: Another subject has the number.
            ConflictError: The subject was changed since.
        """
        request = subject_pb2.LinkIdentifierRequest(
            context=context.to_message(),
            name=subject.name,
            request_id=self._session.request_id(request_id),
            number=subject_number(number),
            etag=subject.etag,
        )
        transport = self._session.transport
        method = transport.stub(SubjectServiceStub).LinkIdentifier
        return Subject.from_message(transport.call(method, request))
