"""Audit records as messages, and which of them are asked for."""

from __future__ import annotations

from typing import Final

from yinxin_proto.name import PrincipalName
from yinxin_proto.v1.administration_pb2 import AuditRecord, ListAuditRecordsRequest
from yinxin_proto.v1.common_pb2 import CallContext
from yinxin_trust.audit import AuditFilter
from yinxin_trust.audit import AuditRecord as Row
from yinxin_trust.namespace import Namespace
from yinxin_trust.service.form import Form
from yinxin_trust.service.timestamp import of

MAX_TARGET_CHARACTERS: Final = 512


def read_filter(form: Form, request: ListAuditRecordsRequest) -> AuditFilter:
    """Read which records are asked for, noting every fault."""
    form.parent(request.parent)
    caller = None
    if request.principal:
        name = form.name("principal", PrincipalName.parse, request.principal)
        caller = name.or_none
    if len(request.target) > MAX_TARGET_CHARACTERS:
        form.refuse("target", f"at most {MAX_TARGET_CHARACTERS} characters", "FIELD_LENGTH")
    return AuditFilter(
        caller=None if caller is None else caller.id,
        resource=request.target or None,
        since=form.moment("start_time", request.start_time, given=request.HasField("start_time")),
        until=form.moment("end_time", request.end_time, given=request.HasField("end_time")),
    )


def audit_message(row: Row, namespace: Namespace) -> AuditRecord:
    """Return one record as a message."""
    said = row.context
    return AuditRecord(
        name=f"{namespace.resource}/auditRecords/{row.ref.hex()}",
        call_time=of(row.at),
        # Another region's caller is on record by its whole URI.
        principal=row.caller
        if row.caller.startswith("https:")
        else f"{namespace.resource}/principals/{row.caller}",
        # What was done at the region's own machine is no method of a contract.
        method=row.method if row.method.startswith("Console/") else f"yinxin.v1.{row.method}",
        target=row.resource,
        context=CallContext(
            purpose=said.purpose,
            case_number=said.case_number,
            service_item=said.service_item,
            operator=said.operator,
        ),
        code=row.outcome,
        reason=row.reason,
        item_count=row.item_count,
    )
