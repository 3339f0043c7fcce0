"""SubjectService: holders, and the numbers that they are known by."""

from __future__ import annotations

import grpc
from sqlalchemy import Connection

from yinxin_proto.error import AlreadyExistsError
from yinxin_proto.name import SubjectName
from yinxin_proto.strict import Json
from yinxin_proto.v1.subject_pb2 import (
    GetSubjectRequest,
    LinkIdentifierRequest,
    LookupSubjectRequest,
    RegisterSubjectRequest,
    Subject,
)
from yinxin_proto.v1.subject_pb2_grpc import SubjectServiceServicer
from yinxin_trust.namespace import Namespace
from yinxin_trust.rows import RowBatch
from yinxin_trust.service.admission import Admission
from yinxin_trust.service.form import Form
from yinxin_trust.service.once import Once
from yinxin_trust.service.subject_message import read_kind, read_number, subject_message
from yinxin_trust.storage import Storage
from yinxin_trust.subject import Kind, SubjectDirectory
from yinxin_trust.subject_profile import kind_of as kind_of_number

MAX_NUMBERS = 8
MAX_NAME_CHARACTERS = 200


class SubjectServicer(SubjectServiceServicer):
    """Registers subjects and finds them.

    Args:
        admission: Who may call.
        once: Writes that a repeated request makes once.
        storage: The region's database.
        subjects: Makes and finds subjects.
        namespace: The region's names.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        once: Once,
        storage: Storage,
        subjects: SubjectDirectory,
        namespace: Namespace,
    ) -> None:
        self._admission = admission
        self._once = once
        self._storage = storage
        self._subjects = subjects
        self._namespace = namespace

    def RegisterSubject(
        self, request: RegisterSubjectRequest, context: grpc.ServicerContext
    ) -> Subject:
        """Register a subject with its numbers; one that is on file keeps its name."""
        with self._admission.admit(request.context) as visit:
            form = visit.form
            form.parent(request.parent)
            form.request_id(request.request_id, optional=True)
            kind = read_kind(form, "kind", request.kind)
            _check_name(form, request.display_name)
            if not 1 <= len(request.numbers) <= MAX_NUMBERS:
                form.refuse("numbers", f"1 to {MAX_NUMBERS} are expected", "FIELD_COUNT")
            numbers = [
                read_number(form, f"numbers[{place}]", number)
                for place, number in enumerate(request.numbers[:MAX_NUMBERS])
            ]
            form.check()
            first = kind_of_number(numbers[0].value)
            if (kind.value is Kind.PERSON) is not (first is Kind.PERSON):
                form.refuse("kind", "is not what the first number is a number of", "SUBJECT_KIND")
                form.check()

            def register(conn: Connection, batch: RowBatch) -> Json:
                subject = self._subjects.register(
                    conn,
                    batch,
                    [number.value for number in numbers],
                    name=request.display_name.strip(),
                    kind=kind.value,
                )
                visit.resource(self._name(subject.ref))
                return subject.ref.hex()

            ref = bytes.fromhex(self._once.run(visit, request, register))
            visit.resource(self._name(ref))
            return self._message(ref)

    def GetSubject(self, request: GetSubjectRequest, context: grpc.ServicerContext) -> Subject:
        """Get a subject by name."""
        with self._admission.admit(request.context) as visit:
            ref = self._ref(visit.form, request.name)
            visit.resource(self._name(ref))
            return self._message(ref)

    def LookupSubject(
        self, request: LookupSubjectRequest, context: grpc.ServicerContext
    ) -> Subject:
        """Find a subject by one of its numbers."""
        with self._admission.admit(request.context) as visit:
            visit.form.parent(request.parent)
            number = read_number(visit.form, "number", request.number)
            visit.form.check()
            with self._storage.read() as conn:
                ref = self._subjects.get(conn, number.value).ref
            visit.resource(self._name(ref))
            return self._message(ref)

    def LinkIdentifier(
        self, request: LinkIdentifierRequest, context: grpc.ServicerContext
    ) -> Subject:
        """Link one more number to a subject."""
        with self._admission.admit(request.context) as visit:
            number = read_number(visit.form, "number", request.number)
            visit.form.request_id(request.request_id, optional=True)
            ref = self._ref(visit.form, request.name)
            visit.resource(self._name(ref))

            def link(conn: Connection, batch: RowBatch) -> Json:
                holder = self._subjects.find(conn, (number.value,)).get(number.value)
                if holder is not None and holder.ref != ref:
                    raise AlreadyExistsError(
                        "another subject has this number; they cannot be joined",
                        reason="SUBJECT_SPLIT",
                    )
                if holder is None:
                    subject = self._subjects.profile(conn, ref).subject
                    self._subjects.link(conn, batch, subject, (number.value,), etag=request.etag)
                return ref.hex()

            self._once.run(visit, request, link)
            return self._message(ref)

    def _ref(self, form: Form, text: str) -> bytes:
        name = form.name("name", SubjectName.parse, text)
        form.check()
        return name.value.ref

    def _name(self, ref: bytes) -> str:
        return f"{self._namespace.resource}/subjects/{ref.hex()}"

    def _message(self, ref: bytes) -> Subject:
        with self._storage.read() as conn:
            return subject_message(self._subjects.profile(conn, ref), self._namespace)


def _check_name(form: Form, name: str) -> None:
    if not name.strip() or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        form.refuse(
            "display_name", f"1 to {MAX_NAME_CHARACTERS} printable characters", "FIELD_LENGTH"
        )
