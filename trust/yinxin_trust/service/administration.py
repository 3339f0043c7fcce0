"""AdministrationService: principals, roles, the audit trail, preflight.

Nothing here can change who is trusted: that takes the offline keys.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Final

import grpc
from sqlalchemy import Connection, select

from yinxin_ca.subject import principal_uri
from yinxin_proto.certificaterequest import parse_request
from yinxin_proto.error import ConflictError, PermissionDeniedError
from yinxin_proto.name import PrincipalName
from yinxin_proto.strict import Json
from yinxin_proto.v1.administration_pb2 import (
    AssignRoleRequest,
    CreatePrincipalRequest,
    GetRegionRequest,
    ListAuditRecordsRequest,
    ListAuditRecordsResponse,
    ListPrincipalsRequest,
    ListPrincipalsResponse,
    PreflightReport,
    Principal,
    Region,
    RenewCertificateRequest,
    RenewCertificateResponse,
    RevokeCertificatesRequest,
    RevokeCertificatesResponse,
    RunPreflightRequest,
    WithdrawRoleRequest,
)
from yinxin_proto.v1.administration_pb2_grpc import AdministrationServiceServicer
from yinxin_proto.v1.common_pb2 import LocalizedText
from yinxin_trust import schema
from yinxin_trust.access import Role
from yinxin_trust.audit import list_records
from yinxin_trust.enrolment import PrincipalCertificates
from yinxin_trust.page import Cursor, PageTokens, page_size_of
from yinxin_trust.preflight import preflight
from yinxin_trust.publication import trust_list_version
from yinxin_trust.registration import Registrar
from yinxin_trust.rows import RowBatch
from yinxin_trust.service.admission import Admission, Visit
from yinxin_trust.service.audit_message import audit_message, read_filter
from yinxin_trust.service.certificate_request import read_reason, read_serial, renewal_message
from yinxin_trust.service.once import Once
from yinxin_trust.service.preflight_message import preflight_message
from yinxin_trust.service.principal_message import (
    principal_message,
    principal_messages,
    read_role,
)
from yinxin_trust.service.timestamp import of
from yinxin_trust.soundness import log_verifiers

MAX_NAME_CHARACTERS: Final = 100


class AdministrationServicer(AdministrationServiceServicer):
    """Administers the region.

    Args:
        admission: Who may call.
        once: Writes that a repeated request makes once.
        registrar: Keeps principals and roles, and certifies keys.
        pages: Makes page tokens.
    """

    def __init__(
        self, *, admission: Admission, once: Once, registrar: Registrar, pages: PageTokens
    ) -> None:
        self._admission = admission
        self._once = once
        self._registrar = registrar
        self._storage = registrar.storage
        self._namespace = registrar.keyring.namespace
        self._pages = pages
        self._certificates = PrincipalCertificates(registrar=registrar)

    def GetRegion(self, request: GetRegionRequest, context: grpc.ServicerContext) -> Region:
        """Describe the region."""
        with self._admission.admit(request.context) as visit:
            visit.form.parent(request.name, "name")
            visit.form.check()
            visit.resource(self._namespace.resource)
            h = schema.log_head.c
            with self._storage.read() as conn:
                origins = conn.execute(select(h.origin).order_by(h.log_number)).scalars().all()
                trusted = trust_list_version(conn)
            return Region(
                name=self._namespace.resource,
                domain=self._namespace.domain,
                display_name=LocalizedText(zh=self._namespace.name, en=self._namespace.name),
                suite=self._registrar.suite.name,
                log_origins=origins,
                trust_list_version=trusted,
                current_time=of(self._registrar.clock.now()),
                software_version=version("yinxin"),
            )

    def ListPrincipals(
        self, request: ListPrincipalsRequest, context: grpc.ServicerContext
    ) -> ListPrincipalsResponse:
        """List the principals, ordered by name."""
        with self._admission.admit(request.context) as visit:
            visit.form.parent(request.parent)
            visit.form.check()
            query: Json = ["principals"]
            size = page_size_of(request.page_size)
            cursor = self._pages.read(request.page_token, query)
            p = schema.principal.c
            listed = select(schema.principal).order_by(p.principal_id).limit(size + 1)
            if cursor is not None:
                listed = listed.where(p.principal_id > cursor.ref.decode())
            with self._storage.read() as conn:
                rows = conn.execute(listed).all()
                page = self._pages.page(
                    rows, size, query, lambda row: Cursor(0, row.principal_id.encode())
                )
                messages = principal_messages(conn, self._namespace, page.items)
            visit.item_count = len(messages)
            return ListPrincipalsResponse(principals=messages, next_page_token=page.next_token)

    def CreatePrincipal(
        self, request: CreatePrincipalRequest, context: grpc.ServicerContext
    ) -> Principal:
        """Enrol a principal, and certify its TLS key when a request for it is given."""
        with self._admission.admit(request.context) as visit:
            self._check_new(visit, request)
            der, name, told = request.certificate_request, request.principal_id, request.principal
            if der:
                visit.form.read("certificate_request", lambda _: parse_request(der), "")
            visit.form.check()

            def enrol(conn: Connection, _: RowBatch) -> Json:
                self._registrar.add_principal(
                    conn,
                    principal_id=name,
                    display_name=told.display_name.strip(),
                    authority_code=told.authority_code or None,
                )
                return self._certify(conn, name, der) if der else []

            chain = self._once.run(visit, request, enrol)
            message = self._message(name)
            message.certificate_chain.extend(bytes.fromhex(certificate) for certificate in chain)
            return message

    def RenewCertificate(
        self, request: RenewCertificateRequest, context: grpc.ServicerContext
    ) -> RenewCertificateResponse:
        """Certify the caller's next TLS key."""
        with self._admission.admit(request.context) as visit:
            name = visit.form.name("name", PrincipalName.parse, request.name)
            visit.form.request_id(request.request_id, optional=True)
            visit.form.check()
            visit.resource(name.value)
            principal_id = name.value.id
            if principal_id != visit.caller.principal_id:
                raise PermissionDeniedError(
                    "a principal renews its own certificate, and nobody else's",
                    reason="OWN_CERTIFICATE",
                )
            chain = self._once.run(
                visit,
                request,
                lambda conn, _: self._certify(conn, principal_id, request.certificate_request),
            )
            return renewal_message([bytes.fromhex(certificate) for certificate in chain])

    def RevokeCertificates(
        self, request: RevokeCertificatesRequest, context: grpc.ServicerContext
    ) -> RevokeCertificatesResponse:
        """Revoke TLS certificates of a principal."""
        with self._admission.admit(request.context) as visit:
            name = visit.form.name("name", PrincipalName.parse, request.name)
            visit.form.request_id(request.request_id, optional=True)
            reason = read_reason(visit.form, request.reason)
            serial = read_serial(visit.form, request.serial_number)
            visit.form.check()
            visit.resource(name.value)

            def revoke(conn: Connection, _: RowBatch) -> Json:
                principal_message(conn, self._namespace, name.value.id)
                revoked = self._certificates.revoke(
                    conn, name.value.id, reason=reason.value, serial=serial.value
                )
                visit.item_count = len(revoked)
                return [f"{number:x}" for number in revoked]

            return RevokeCertificatesResponse(serial_numbers=self._once.run(visit, request, revoke))

    def _certify(self, conn: Connection, principal_id: str, request: bytes) -> Json:
        key = self._certificates.admit(conn, principal_id, request)
        chain = self._certificates.certify(principal_id, key)
        return [certificate.hex() for certificate in chain]

    def _check_new(self, visit: Visit, request: CreatePrincipalRequest) -> None:
        form, told = visit.form, request.principal
        form.parent(request.parent)
        form.request_id(request.request_id, optional=True)
        domain = self._namespace.domain
        form.read("principal_id", lambda text: principal_uri(domain, text), request.principal_id)
        label = told.display_name.strip()
        if not 1 <= len(label) <= MAX_NAME_CHARACTERS or not label.isprintable():
            form.refuse(
                "principal.display_name",
                f"1 to {MAX_NAME_CHARACTERS} printable characters",
                "FIELD_LENGTH",
            )
        if told.authority_code and told.authority_code not in visit.snapshot.authorities:
            form.refuse("principal.authority_code", "no authority of this region", "AUTHORITY")
        if not form.violations:
            visit.resource(f"{self._namespace.resource}/principals/{request.principal_id}")

    def AssignRole(self, request: AssignRoleRequest, context: grpc.ServicerContext) -> Principal:
        """Assign a role, in force at once."""
        with self._admission.admit(request.context) as visit:
            by = visit.caller.principal_id
            return self._change_role(
                visit,
                request,
                lambda conn, name, role: self._registrar.assign(conn, name, role, by=by),
            )

    def WithdrawRole(
        self, request: WithdrawRoleRequest, context: grpc.ServicerContext
    ) -> Principal:
        """Withdraw a role, in force at once."""
        with self._admission.admit(request.context) as visit:
            by = visit.caller.principal_id
            return self._change_role(
                visit,
                request,
                lambda conn, name, role: self._registrar.withdraw(conn, name, role, by=by),
            )

    def _change_role(
        self,
        visit: Visit,
        request: AssignRoleRequest | WithdrawRoleRequest,
        change: Callable[[Connection, str, Role], None],
    ) -> Principal:
        form = visit.form
        name = form.name("name", PrincipalName.parse, request.name)
        form.request_id(request.request_id, optional=True)
        role = read_role(form, "role", request.role)
        form.check()
        visit.resource(name.value)
        principal_id = name.value.id
        if principal_id == visit.caller.principal_id:
            raise PermissionDeniedError(
                "nobody changes their own roles; another security administrator can",
                reason="OWN_ROLES",
            )

        def act(conn: Connection, _: RowBatch) -> Json:
            found = principal_message(conn, self._namespace, principal_id)
            if request.etag and request.etag != found.etag:
                raise ConflictError(
                    "the principal changed since it was read; read it again", reason="ETAG"
                )
            change(conn, principal_id, role.value)
            return None

        self._once.run(visit, request, act)
        return self._message(principal_id)

    def ListAuditRecords(
        self, request: ListAuditRecordsRequest, context: grpc.ServicerContext
    ) -> ListAuditRecordsResponse:
        """List audit records, oldest first."""
        with self._admission.admit(request.context) as visit:
            wanted = read_filter(visit.form, request)
            visit.form.check()
            with self._storage.read() as conn:
                page = list_records(
                    conn,
                    wanted,
                    pages=self._pages,
                    page_size=request.page_size,
                    page_token=request.page_token,
                )
            visit.item_count = len(page.items)
            return ListAuditRecordsResponse(
                audit_records=[audit_message(row, self._namespace) for row in page.items],
                next_page_token=page.next_token,
            )

    def RunPreflight(
        self, request: RunPreflightRequest, context: grpc.ServicerContext
    ) -> PreflightReport:
        """Check that tiles, head and tables agree."""
        with self._admission.admit(request.context) as visit:
            visit.form.parent(request.parent)
            visit.form.check()
            visit.resource(self._namespace.resource)
            with self._storage.read() as conn:
                logs = log_verifiers(self._registrar.keyring.at(conn))
            report = preflight(self._storage, logs=logs)
            return preflight_message(report)

    def _message(self, principal_id: str) -> Principal:
        with self._storage.read() as conn:
            return principal_message(conn, self._namespace, principal_id)
