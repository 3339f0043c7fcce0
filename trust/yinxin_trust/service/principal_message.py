"""Principals and their roles as messages."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from yinxin_proto.error import NotFoundError
from yinxin_proto.strict import canonical_json
from yinxin_proto.v1.administration_pb2 import Principal, RoleAssignment
from yinxin_proto.v1.administration_pb2 import Role as RoleMessage
from yinxin_trust import schema
from yinxin_trust.access import Role
from yinxin_trust.namespace import Namespace
from yinxin_trust.service.form import Field, Form
from yinxin_trust.service.timestamp import of_ms

_Row = Row[*tuple[Any, ...]]
_ROLES: Final = {role: RoleMessage.Value(f"ROLE_{role.name}") for role in Role}
_ROLE_OF: Final[dict[int, Role]] = {number: role for role, number in _ROLES.items()}


def read_role(form: Form, field: str, number: int) -> Field[Role]:
    """Read a role, noting one that there is not."""
    found = _ROLE_OF.get(number)
    if found is None:
        form.refuse(field, "a role is expected", "ROLE")
        return Field()
    return Field(found)


def principal_messages(
    conn: Connection, namespace: Namespace, rows: Sequence[_Row]
) -> list[Principal]:
    """Return principals with all their roles, those withdrawn included."""
    r = schema.role_assignment.c
    wanted = [row.principal_id for row in rows]
    roles: dict[str, list[_Row]] = {}
    query = select(schema.role_assignment).where(r.principal_id.in_(wanted))
    for assignment in conn.execute(query.order_by(r.assigned_ms, r.role)):
        roles.setdefault(assignment.principal_id, []).append(assignment)
    return [_message(row, namespace, roles.get(row.principal_id, [])) for row in rows]


def principal_message(conn: Connection, namespace: Namespace, principal_id: str) -> Principal:
    """Return one principal.

    Raises:
        NotFoundError: The region's records do not name it (``PRINCIPAL``).
    """
    query = select(schema.principal).where(schema.principal.c.principal_id == principal_id)
    row = conn.execute(query).one_or_none()
    if row is None:
        raise NotFoundError("no such principal in this region", reason="PRINCIPAL")
    return principal_messages(conn, namespace, [row])[0]


def _message(row: _Row, namespace: Namespace, roles: Sequence[_Row]) -> Principal:
    return Principal(
        name=f"{namespace.resource}/principals/{row.principal_id}",
        display_name=row.display_name,
        authority_code=row.authority_code or "",
        uri=namespace.principal_uri(row.principal_id),
        role_assignments=[_assignment(role) for role in roles],
        create_time=of_ms(row.created_ms),
        etag=_etag(row, roles),
    )


def _assignment(row: _Row) -> RoleAssignment:
    message = RoleAssignment(role=_ROLES[Role(row.role)], assign_time=of_ms(row.assigned_ms))
    if row.withdrawn_ms is not None:
        message.withdraw_time.CopyFrom(of_ms(row.withdrawn_ms))
    return message


def _etag(row: _Row, roles: Sequence[_Row]) -> str:
    state = [row.enabled, *([role.role, role.assigned_ms, role.withdrawn_ms] for role in roles)]
    return f'"{sha256(canonical_json(state)).hexdigest()[:16]}"'
