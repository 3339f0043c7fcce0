"""LicenceService: licences, the holder's file, and changes of status.

Who sees what is decided in docs/decisions/0010: a licence file, which shows
its holder, leaves for the issuing authority and for registrars alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc
from sqlalchemy import Connection

from yinxin_proto.clock import Clock
from yinxin_proto.error import PermissionDeniedError
from yinxin_proto.name import AuthorityName, LicenceName, TypeName
from yinxin_proto.number import SubjectNumber
from yinxin_proto.v1.licence_pb2 import (
    ChangeLicenceStatusRequest,
    GetLicenceRequest,
    Licence,
    ListLicenceEventsRequest,
    ListLicenceEventsResponse,
    ListLicenceRevisionsRequest,
    ListLicenceRevisionsResponse,
    ListLicencesRequest,
    ListLicencesResponse,
)
from yinxin_proto.v1.licence_pb2_grpc import LicenceServiceServicer
from yinxin_trust.access import Principal, Role
from yinxin_trust.changecommand import ChangeCommand
from yinxin_trust.holding import Holding
from yinxin_trust.ledger import LICENCES, indexes, not_sequenced, receipts
from yinxin_trust.lifecycle import Lifecycle
from yinxin_trust.namespace import Namespace
from yinxin_trust.page import Page, PageTokens
from yinxin_trust.record import LicenceRecord
from yinxin_trust.rows import milliseconds
from yinxin_trust.service.admission import Admission, Visit
from yinxin_trust.service.form import Field
from yinxin_trust.service.licence_message import (
    ReadMask,
    event_message,
    licence_message,
    read_operation,
    read_states,
)
from yinxin_trust.service.subject_message import read_number
from yinxin_trust.storage import Storage
from yinxin_trust.transition import State

MAX_FILES: Final = 200
"""Licences with their files on one page: they must fit into one message."""


class LicenceServicer(LicenceServiceServicer):
    """Reads licences and changes their status.

    Args:
        admission: Who may call.
        storage: The region's database.
        holding: Finds licences.
        lifecycle: Changes them.
        pages: Makes page tokens.
        namespace: The region's names.
        clock: The moment of the answer.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        storage: Storage,
        holding: Holding,
        lifecycle: Lifecycle,
        pages: PageTokens,
        namespace: Namespace,
        clock: Clock,
    ) -> None:
        self._admission = admission
        self._storage = storage
        self._holding = holding
        self._lifecycle = lifecycle
        self._pages = pages
        self._namespace = namespace
        self._clock = clock

    def GetLicence(self, request: GetLicenceRequest, context: grpc.ServicerContext) -> Licence:
        """Get a licence at its newest version, or at the one named."""
        with self._admission.admit(request.context) as visit:
            name = visit.form.name("name", LicenceName.parse, request.name)
            mask = ReadMask(visit.form, request.read_mask)
            visit.form.check()
            visit.resource(name.value)
            readers = {Role.REGISTRAR} if mask.wants_file else {Role.REGISTRAR, Role.VERIFIER}
            if visit.caller.roles.isdisjoint(readers):
                _require_own(visit.caller, name.value.body)
            with self._storage.read() as conn:
                record = self._holding.get(conn, name.value.body, name.value.version)
                return self._messages(conn, [record], mask, late_is_error=True)[0]

    def ListLicences(
        self, request: ListLicencesRequest, context: grpc.ServicerContext
    ) -> ListLicencesResponse:
        """List licences: a holder's file when a holder is named."""
        with self._admission.admit(request.context) as visit:
            question = _Question(visit, request)
            visit.form.check()
            issuer = question.issuer_for(visit.caller)
            with self._storage.read() as conn:
                page = self._list(conn, request, question, issuer)
                messages = self._messages(conn, page.items, question.mask)
            visit.item_count = len(messages)
            return ListLicencesResponse(licences=messages, next_page_token=page.next_token)

    def _list(
        self,
        conn: Connection,
        request: ListLicencesRequest,
        question: _Question,
        issuer: str | None,
    ) -> Page[LicenceRecord]:
        size = request.page_size
        if question.mask.wants_file:
            size = min(size, MAX_FILES) if size > 0 else size
        if question.holder is not None:
            return self._holding.of_holder(
                conn,
                question.holder.value,
                type_code=question.type_code,
                issuer=issuer,
                states=question.states,
                page_size=size,
                page_token=request.page_token,
            )
        return self._holding.by_issuer(
            conn,
            issuer or "",
            type_code=question.type_code,
            states=question.states,
            page_size=size,
            page_token=request.page_token,
        )

    def ListLicenceRevisions(
        self, request: ListLicenceRevisionsRequest, context: grpc.ServicerContext
    ) -> ListLicenceRevisionsResponse:
        """List the versions of a licence, newest first."""
        with self._admission.admit(request.context) as visit:
            body = self._body(visit, "name", request.name)
            with self._storage.read() as conn:
                page = self._pages.of_list(
                    self._holding.revisions(conn, body),
                    position_of=lambda record: record.identifier.version,
                    query=["revisions", body],
                    page_size=request.page_size,
                    page_token=request.page_token,
                )
                messages = self._messages(conn, page.items, ReadMask())
            visit.item_count = len(messages)
            return ListLicenceRevisionsResponse(licences=messages, next_page_token=page.next_token)

    def ListLicenceEvents(
        self, request: ListLicenceEventsRequest, context: grpc.ServicerContext
    ) -> ListLicenceEventsResponse:
        """List what happened to a licence, oldest first."""
        with self._admission.admit(request.context) as visit:
            body = self._body(visit, "parent", request.parent)
            with self._storage.read() as conn:
                page = self._pages.of_list(
                    self._holding.events(conn, body),
                    position_of=lambda event: event.generation,
                    query=["events", body],
                    page_size=request.page_size,
                    page_token=request.page_token,
                )
                places = indexes(conn, LICENCES, [event.entry for event in page.items])
            visit.item_count = len(page.items)
            return ListLicenceEventsResponse(
                licence_events=[
                    event_message(event, self._namespace, log_index=places.get(event.entry))
                    for event in page.items
                ],
                next_page_token=page.next_token,
            )

    def ChangeLicenceStatus(
        self, request: ChangeLicenceStatusRequest, context: grpc.ServicerContext
    ) -> Licence:
        """Suspend, reinstate, revoke, cancel, … under the authority's approval."""
        with self._admission.admit(request.context) as visit:
            command = _change_command(visit, request)
            record = self._lifecycle.change(command)
            visit.recorded = True
            with self._storage.read() as conn:
                return self._messages(conn, [record], ReadMask())[0]

    def _body(self, visit: Visit, field: str, text: str) -> str:
        """Read the name of a licence of which the caller may see the history."""
        name = visit.form.name(field, LicenceName.parse, text)
        visit.form.check()
        visit.resource(name.value)
        body = name.value.body
        if Role.REGISTRAR not in visit.caller.roles:
            _require_own(visit.caller, body)
        return body

    def _messages(
        self,
        conn: Connection,
        records: Sequence[LicenceRecord],
        mask: ReadMask,
        *,
        late_is_error: bool = False,
    ) -> list[Licence]:
        entries = [record.entry for record in records]
        places = indexes(conn, LICENCES, entries)
        proofs = receipts(conn, LICENCES, entries) if mask.wants_file else {}
        if mask.wants_file and late_is_error and not proofs:
            raise not_sequenced()
        now_ms = milliseconds(self._clock.now())
        return [
            mask.apply(
                licence_message(
                    record,
                    self._namespace,
                    now_ms=now_ms,
                    log_index=places.get(record.entry),
                    file=record.file(proofs[record.entry]) if record.entry in proofs else b"",
                )
            )
            for record in records
        ]


class _Question:
    """What ListLicences is asked."""

    def __init__(self, visit: Visit, request: ListLicencesRequest) -> None:
        form = visit.form
        form.parent(request.parent)
        self.holder: Field[SubjectNumber] | None = (
            read_number(form, "holder", request.holder) if request.HasField("holder") else None
        )
        self._type = (
            form.name("licence_type", TypeName.parse, request.licence_type)
            if request.licence_type
            else None
        )
        self._issuer = (
            form.name("issuer", AuthorityName.parse, request.issuer) if request.issuer else None
        )
        self.states: frozenset[State] = read_states(form, "states", request.states)
        self.mask = ReadMask(form, request.read_mask)
        is_registrar = Role.REGISTRAR in visit.caller.roles
        if self.holder is None and not request.issuer and is_registrar:
            form.refuse("issuer", "name an authority, or a holder", "FIELD_MISSING")

    @property
    def type_code(self) -> str | None:
        """The type that is asked for, if one is."""
        return None if self._type is None else self._type.value.id

    def issuer_for(self, caller: Principal) -> str | None:
        """Return the one authority whose licences are shown; None for all.

        A registrar sees a whole file; an issuer its own authority's part of it.
        """
        asked = None if self._issuer is None else self._issuer.value.code
        if Role.REGISTRAR in caller.roles:
            return asked
        own = caller.authority_code
        if own is None or asked not in {None, own}:
            raise _not_own()
        return own


def _change_command(visit: Visit, request: ChangeLicenceStatusRequest) -> ChangeCommand:
    form = visit.form
    name = form.name("name", LicenceName.parse, request.name)
    form.request_id(request.request_id)
    form.present("change_request", request.change_request)
    form.present("approval", request.approval)
    operation = read_operation(form, "operation", request.operation)
    form.check()
    visit.resource(name.value)
    return ChangeCommand(
        caller=visit.caller,
        context=visit.context,
        request_id=request.request_id,
        body=name.value.body,
        operation=operation.value,
        change_request=request.change_request,
        approval=request.approval,
        etag=request.etag,
        operator_certificate_hash=visit.call.principal.certificate_hash,
    )


def _require_own(caller: Principal, body: str) -> None:
    """Let only the issuing authority's own issuers pass."""
    if Role.ISSUER not in caller.roles or caller.authority_code != body.split(".")[1]:
        raise _not_own()


def _not_own() -> PermissionDeniedError:
    return PermissionDeniedError(
        "only the issuing authority's principals and registrars may read this",
        reason="AUTHORITY",
    )
