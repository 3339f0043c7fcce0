"""ApprovalService: what was done in an authority's name, for its own comparison."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import grpc

from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.identifier import of_body
from yinxin_proto.name import AuthorityName, LicenceName, parse_region_code
from yinxin_proto.v1.approval_pb2 import (
    Approval,
    ApprovedRequest,
    GetApprovalRequest,
    ListApprovalsRequest,
    ListApprovalsResponse,
)
from yinxin_proto.v1.approval_pb2_grpc import ApprovalServiceServicer
from yinxin_trust.access import Role
from yinxin_trust.namespace import Namespace
from yinxin_trust.page import PageTokens
from yinxin_trust.reconciliation import (
    ApprovalFilter,
    ApprovalRecord,
    approved_requests,
    get_approval,
    list_approvals,
)
from yinxin_trust.reconciliation import ApprovedRequest as RequestRecord
from yinxin_trust.service.admission import Admission, Visit
from yinxin_trust.service.timestamp import of_ms
from yinxin_trust.storage import Storage

_NAME: Final = re.compile(r"(regions/[^/]*/authorities/[^/]*)/approvals/([0-9a-f]{64})")


class _ApprovalName(NamedTuple):
    authority: AuthorityName
    digest: bytes

    @property
    def region(self) -> str:
        return self.authority.region


class ApprovalServicer(ApprovalServiceServicer):
    """Shows approvals to the authority that gave them, and to auditors.

    Args:
        admission: Who may call.
        storage: The region's database.
        pages: Makes page tokens.
        namespace: The region's names.
    """

    def __init__(
        self, *, admission: Admission, storage: Storage, pages: PageTokens, namespace: Namespace
    ) -> None:
        self._admission = admission
        self._storage = storage
        self._pages = pages
        self._namespace = namespace

    def GetApproval(self, request: GetApprovalRequest, context: grpc.ServicerContext) -> Approval:
        """Get one approval with what became of each request under it."""
        with self._admission.admit(request.context) as visit:
            name = visit.form.name("name", _parse, request.name)
            visit.form.check()
            authority = name.value.authority
            _require_party(visit, authority.code)
            with self._storage.read() as conn:
                found = get_approval(conn, authority.code, name.value.digest)
                requests = approved_requests(conn, found)
            message = self._message(found)
            visit.resource(message.name)
            message.requests.extend(self._request(item) for item in requests)
            return message

    def ListApprovals(
        self, request: ListApprovalsRequest, context: grpc.ServicerContext
    ) -> ListApprovalsResponse:
        """List an authority's approvals, oldest first."""
        with self._admission.admit(request.context) as visit:
            form = visit.form
            parent = form.name("parent", AuthorityName.parse, request.parent)
            since = form.moment(
                "start_time", request.start_time, given=request.HasField("start_time")
            )
            until = form.moment("end_time", request.end_time, given=request.HasField("end_time"))
            form.check()
            _require_party(visit, parent.value.code)
            visit.resource(parent.value)
            wanted = ApprovalFilter(issuer_code=parent.value.code, since=since, until=until)
            with self._storage.read() as conn:
                page = list_approvals(
                    conn,
                    wanted,
                    pages=self._pages,
                    page_size=request.page_size,
                    page_token=request.page_token,
                )
            visit.item_count = len(page.items)
            return ListApprovalsResponse(
                approvals=[self._message(item) for item in page.items],
                next_page_token=page.next_token,
            )

    def _message(self, record: ApprovalRecord) -> Approval:
        return Approval(
            name=f"{self._namespace.resource}/authorities/{record.issuer_code}"
            f"/approvals/{record.digest.hex()}",
            token=record.token,
            key_thumbprint=record.key_thumbprint,
            create_time=of_ms(record.created_ms),
            request_count=record.count,
        )

    def _request(self, record: RequestRecord) -> ApprovedRequest:
        identifier = of_body(record.body, record.version)
        message = ApprovedRequest(
            request_digest=record.digest,
            licence=str(LicenceName.of(parse_region_code(self._namespace.code), identifier)),
            revision_id=f"{record.version:03}",
        )
        if record.log_index is not None:
            message.log_index = record.log_index
        return message


def _parse(text: str) -> _ApprovalName:
    match = _NAME.fullmatch(text)
    if match is None:
        raise InvalidArgumentError(
            "regions/{region}/authorities/{credit code}/approvals/{SHA-256, hexadecimal} "
            "is expected",
            reason="RESOURCE_NAME",
        )
    return _ApprovalName(AuthorityName.parse(match[1]), bytes.fromhex(match[2]))


def _require_party(visit: Visit, code: str) -> None:
    """Let an auditor see every authority's approvals, an issuer its own authority's."""
    if Role.AUDITOR not in visit.caller.roles:
        visit.caller.require_authority(code)
