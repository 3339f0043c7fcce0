"""Reading licences, and a holder's file 一人一档."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask

from yinxin.context import Context
from yinxin.licence import IssuedLicence, LicenceEvent, LicenceState
from yinxin.session import CallGroup
from yinxin.transport import pages
from yinxin_proto import identifier as identifiers
from yinxin_proto.name import AuthorityName, LicenceName, RegionCode, TypeName
from yinxin_proto.number import SubjectNumber
from yinxin_proto.v1 import common_pb2
from yinxin_proto.v1.licence_pb2 import (
    GetLicenceRequest,
    ListLicenceEventsRequest,
    ListLicenceRevisionsRequest,
    ListLicencesRequest,
)
from yinxin_proto.v1.licence_pb2_grpc import LicenceServiceStub

PAGE_SIZE: Final = 200

_WITH_FILE: Final = FieldMask(paths=["*"])


class HoldingCalls(CallGroup):
    """Calls that read licences.

    A licence is named by an `IssuedLicence`, its resource name, or its full
    identifier.
    """

    def get(
        self, licence: IssuedLicence | str, *, context: Context, with_file: bool = True
    ) -> IssuedLicence:
        """Return a licence at its newest revision, or at the one named.

        Args:
            licence: An identifier or a name ``…@002`` stands for that revision.
            context: Why.
            with_file: Whether the licence file is wanted.

        Raises:
            NotFoundError: There is none, or the caller may not know of it.
            FailedPreconditionError: The file is wanted and has no receipt yet.
        """
        name = licence_name(self._session.region, licence)
        if isinstance(licence, IssuedLicence):
            name = LicenceName(name.region, name.body)
        request = GetLicenceRequest(context=context.to_message(), name=str(name))
        if with_file:
            request.read_mask.CopyFrom(_WITH_FILE)
        transport = self._session.transport
        return IssuedLicence.from_message(
            transport.call(transport.stub(LicenceServiceStub).GetLicence, request)
        )

    def list(
        self,
        *,
        context: Context,
        holder: SubjectNumber | None = None,
        licence_type: str | None = None,
        issuer: str | None = None,
        states: Iterable[LicenceState] = (),
        with_files: bool = False,
    ) -> Iterator[IssuedLicence]:
        """Yield licences, newest first, page by page as they are taken.

        Args:
            context: Why.
            holder: Whose; the number travels in the request's body alone.
            licence_type: Code of 21 characters.
            issuer: Credit code.
            states: Only these.
            with_files: Whether the licence files are wanted.
        """
        region = self._session.region
        request = ListLicencesRequest(
            context=context.to_message(),
            parent=self._session.parent,
            licence_type="" if licence_type is None else str(TypeName(region, licence_type)),
            issuer="" if issuer is None else str(AuthorityName(region, issuer)),
            states=[state.number for state in states],
            page_size=PAGE_SIZE,
        )
        if holder is not None:
            request.holder.CopyFrom(subject_number(holder))
        if with_files:
            request.read_mask.CopyFrom(_WITH_FILE)
        transport = self._session.transport
        method = transport.stub(LicenceServiceStub).ListLicences

        def fetch(token: str) -> tuple[Iterator[IssuedLicence], str]:
            request.page_token = token
            answer = transport.call(method, request)
            return map(IssuedLicence.from_message, answer.licences), answer.next_page_token

        return pages(fetch)

    def revisions(
        self, licence: IssuedLicence | str, *, context: Context
    ) -> Iterator[IssuedLicence]:
        """Yield the revisions of a licence, newest first, without files."""
        request = ListLicenceRevisionsRequest(
            context=context.to_message(),
            name=plain_name(self._session.region, licence),
            page_size=PAGE_SIZE,
        )
        transport = self._session.transport
        method = transport.stub(LicenceServiceStub).ListLicenceRevisions

        def fetch(token: str) -> tuple[Iterator[IssuedLicence], str]:
            request.page_token = token
            answer = transport.call(method, request)
            return map(IssuedLicence.from_message, answer.licences), answer.next_page_token

        return pages(fetch)

    def events(self, licence: IssuedLicence | str, *, context: Context) -> Iterator[LicenceEvent]:
        """Yield what happened to a licence, oldest first."""
        request = ListLicenceEventsRequest(
            context=context.to_message(),
            parent=plain_name(self._session.region, licence),
            page_size=PAGE_SIZE,
        )
        transport = self._session.transport
        method = transport.stub(LicenceServiceStub).ListLicenceEvents

        def fetch(token: str) -> tuple[Iterator[LicenceEvent], str]:
            request.page_token = token
            answer = transport.call(method, request)
            return map(LicenceEvent.from_message, answer.licence_events), answer.next_page_token

        return pages(fetch)


def licence_name(region: RegionCode, licence: IssuedLicence | str) -> LicenceName:
    """Return the name of a licence, or of the revision that is named.

    Raises:
        InvalidArgumentError: Neither a resource name nor an identifier.
    """
    text = licence.name if isinstance(licence, IssuedLicence) else licence
    if text.startswith(identifiers.PREFIX):
        identifier = identifiers.parse(text)
        return LicenceName.of(region, identifier).at(identifier.version)
    return LicenceName.parse(text)


def plain_name(region: RegionCode, licence: IssuedLicence | str) -> str:
    """Return the name of a licence whatever its revision; errors as `licence_name`."""
    name = licence_name(region, licence)
    return str(LicenceName(name.region, name.body))


def subject_number(number: SubjectNumber) -> common_pb2.SubjectNumber:
    """Return a holder's number as messages carry it: in the body, in clear, under TLS."""
    return common_pb2.SubjectNumber(type=number.type.value, value=number.reveal())
