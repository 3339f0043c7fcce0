"""Subjects and their numbers as messages."""

from __future__ import annotations

from typing import Final

from yinxin_proto.number import SubjectNumber, parse
from yinxin_proto.v1.common_pb2 import SubjectNumber as NumberMessage
from yinxin_proto.v1.subject_pb2 import LinkedIdentifier, Subject, SubjectKind
from yinxin_trust.namespace import Namespace
from yinxin_trust.service.form import Field, Form
from yinxin_trust.service.timestamp import of_ms
from yinxin_trust.subject import Kind, SubjectProfile

_KINDS: Final = {
    Kind.PERSON: SubjectKind.SUBJECT_KIND_PERSON,
    Kind.LEGAL_PERSON: SubjectKind.SUBJECT_KIND_LEGAL_PERSON,
    Kind.OTHER_ORGANISATION: SubjectKind.SUBJECT_KIND_OTHER_ORGANISATION,
}
_KIND_OF: Final[dict[int, Kind]] = {number: kind for kind, number in _KINDS.items()}


def read_kind(form: Form, field: str, number: int) -> Field[Kind]:
    """Read a kind of subject, noting one that there is not."""
    found = _KIND_OF.get(number)
    if found is None:
        form.refuse(field, "a kind of subject is expected", "FIELD_MISSING")
        return Field()
    return Field(found)


def read_number(form: Form, field: str, message: NumberMessage) -> Field[SubjectNumber]:
    """Read a subject's number; what is wrong with it is noted, never the number."""
    return form.read(field, lambda text: parse(message.type, text), message.value)


def subject_message(profile: SubjectProfile, namespace: Namespace) -> Subject:
    """Return a subject as a message; its numbers are masked, its name is left out."""
    return Subject(
        name=f"{namespace.resource}/subjects/{profile.subject.ref.hex()}",
        kind=_KINDS[profile.kind],
        identifiers=[
            LinkedIdentifier(
                type=str(linked.number.type),
                masked_value=_masked(linked.number.reveal()),
                link_time=of_ms(linked.linked_ms),
            )
            for linked in profile.numbers
        ],
        create_time=of_ms(profile.created_ms),
        etag=profile.etag,
    )


def _masked(value: str) -> str:
    """Show the first and last characters alone."""
    return f"{value[0]}{'*' * max(1, len(value) - 2)}{value[-1]}"
