"""CatalogueService: which types of licence the region knows."""

from __future__ import annotations

import grpc
from sqlalchemy import Connection, select

from yinxin_proto.clock import Clock
from yinxin_proto.error import InternalError
from yinxin_proto.name import TypeName
from yinxin_proto.strict import Json
from yinxin_proto.v1.catalogue_pb2 import (
    CreateLicenceTypeRequest,
    GetLicenceTypeRequest,
    LicenceType,
    ListLicenceTypesRequest,
    ListLicenceTypesResponse,
)
from yinxin_proto.v1.catalogue_pb2_grpc import CatalogueServiceServicer
from yinxin_trust import schema
from yinxin_trust.catalogue import LicenceType as Entry
from yinxin_trust.catalogue import add_type, load_catalogue, parse_type
from yinxin_trust.directory import touch
from yinxin_trust.founding import catalogue_targets
from yinxin_trust.namespace import Namespace
from yinxin_trust.page import PageTokens
from yinxin_trust.publication import Publication
from yinxin_trust.rows import RowBatch, milliseconds
from yinxin_trust.service.admission import Admission
from yinxin_trust.service.catalogue_message import type_message
from yinxin_trust.service.once import Once
from yinxin_trust.storage import Storage


class CatalogueServicer(CatalogueServiceServicer):
    """Shows the catalogue, and adds to it.

    Args:
        admission: Who may call.
        once: Writes that a repeated request makes once.
        storage: The region's database.
        publication: Publishes new types.
        pages: Makes page tokens.
        namespace: The region's names.
        clock: Dates new types.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        once: Once,
        storage: Storage,
        publication: Publication,
        pages: PageTokens,
        namespace: Namespace,
        clock: Clock,
    ) -> None:
        self._admission = admission
        self._once = once
        self._storage = storage
        self._publication = publication
        self._pages = pages
        self._namespace = namespace
        self._clock = clock

    def ListLicenceTypes(
        self, request: ListLicenceTypesRequest, context: grpc.ServicerContext
    ) -> ListLicenceTypesResponse:
        """List the newest version of every type, ordered by code."""
        with self._admission.admit(request.context) as visit:
            visit.form.parent(request.parent)
            visit.form.check()
            entries = visit.snapshot.catalogue.newest()
            page = self._pages.of_list(
                list(enumerate(entries)),
                position_of=lambda place: place[0],
                query=["licenceTypes", [entry.code for entry in entries]],
                page_size=request.page_size,
                page_token=request.page_token,
            )
            visit.item_count = len(page.items)
            with self._storage.read() as conn:
                times = _created(conn, [entry for _, entry in page.items])
            return ListLicenceTypesResponse(
                licence_types=[
                    type_message(entry, self._namespace, created_ms=created_ms, whole=False)
                    for (_, entry), created_ms in zip(page.items, times, strict=True)
                ],
                next_page_token=page.next_token,
            )

    def GetLicenceType(
        self, request: GetLicenceTypeRequest, context: grpc.ServicerContext
    ) -> LicenceType:
        """Get one type, at its newest or an earlier schema version."""
        with self._admission.admit(request.context) as visit:
            name = visit.form.name("name", TypeName.parse, request.name)
            visit.form.check()
            visit.resource(name.value)
            version = request.schema_version or None
            return self._message(visit.snapshot.catalogue.get(name.value.id, version))

    def CreateLicenceType(
        self, request: CreateLicenceTypeRequest, context: grpc.ServicerContext
    ) -> LicenceType:
        """Add a type, or the next schema version of one, and publish it."""
        with self._admission.admit(request.context) as visit:
            form = visit.form
            form.parent(request.parent)
            form.request_id(request.request_id, optional=True)
            definition = request.licence_type.definition
            entry = form.read("licence_type.definition", lambda _: parse_type(definition), "")
            form.check()
            visit.resource(f"{self._namespace.resource}/licenceTypes/{entry.value.code}")

            def add(conn: Connection, _: RowBatch) -> Json:
                touch(conn)
                add_type(conn, entry.value, now_ms=milliseconds(self._clock.now()))
                self._publication.publish(conn, {"catalogue": catalogue_targets([entry.value])})
                return [entry.value.code, entry.value.schema_version]

            code, version = self._once.run(visit, request, add)
            with self._storage.read() as conn:
                return self._message(load_catalogue(conn).get(code, version))

    def _message(self, entry: Entry) -> LicenceType:
        with self._storage.read() as conn:
            (created_ms,) = _created(conn, [entry])
        return type_message(entry, self._namespace, created_ms=created_ms)


def _created(conn: Connection, entries: list[Entry]) -> list[int]:
    """Return when each version was added."""
    t = schema.licence_type.c
    query = select(t.code, t.schema_version, t.created_ms).where(
        t.code.in_([entry.code for entry in entries])
    )
    times = {(code, version): created_ms for code, version, created_ms in conn.execute(query)}
    try:
        return [times[entry.code, entry.schema_version] for entry in entries]
    except KeyError as error:
        raise InternalError("a licence type is in memory and not in the database") from error
