"""The holder's file 一人一档、一企一档, and licences by other questions.

Everything listed is a licence at its newest version; a licence of several
holders is in each one's file and filed once, under its owner. A licence whose
holder's file is asked for is found by the holder's reference alone: no number
is in a query, a page token or an answer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    and_,
    exists,
    select,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from yinxin_proto.error import NotFoundError
from yinxin_proto.number import SubjectNumber
from yinxin_proto.strict import Json
from yinxin_trust import schema
from yinxin_trust.event import LicenceEvent, load_events
from yinxin_trust.namespace import Namespace
from yinxin_trust.page import Cursor, Page, PageTokens, older, page_size_of
from yinxin_trust.record import LicenceRecord, open_rows
from yinxin_trust.subject import SubjectDirectory
from yinxin_trust.transition import State

_QUERY_WIDTH: Final = 500

_Row = Row[*tuple[Any, ...]]
_Query = Select[*tuple[Any, ...]]


class Holding:
    """Finds licences and opens them.

    Args:
        subjects: Opens the data keys.
        namespace: The region's names.
        pages: Makes page tokens.
    """

    def __init__(
        self, *, subjects: SubjectDirectory, namespace: Namespace, pages: PageTokens
    ) -> None:
        self._subjects = subjects
        self._namespace = namespace
        self._pages = pages

    def first_revisions(self, conn: Connection, bodies: Sequence[str]) -> list[LicenceRecord]:
        """Return the first version of each licence, in the order asked for.

        Raises:
            NotFoundError: One of them is not here (``LICENCE``).
        """
        found: dict[str, LicenceRecord] = {}
        for start in range(0, len(bodies), _QUERY_WIDTH):
            wanted = list(bodies[start : start + _QUERY_WIDTH])
            query = _by_body().where(
                schema.licence_identifier.c.body.in_(wanted), ~_has_other(earlier=True)
            )
            for record in self._open(conn, list(conn.execute(query))):
                found[record.identifier.body] = record
        if any(body not in found for body in bodies):
            raise _no_licence()
        return [found[body] for body in bodies]

    def at_revisions(
        self, conn: Connection, wanted: Sequence[tuple[str, int]]
    ) -> list[LicenceRecord]:
        """Return versions of licences by body and version, in the order asked for.

        Raises:
            NotFoundError: One of them is not here (``LICENCE``).
        """
        found: dict[tuple[str, int], LicenceRecord] = {}
        for start in range(0, len(wanted), _QUERY_WIDTH):
            some = set(wanted[start : start + _QUERY_WIDTH])
            query = _by_body().where(
                schema.licence_identifier.c.body.in_({body for body, _ in some}),
                schema.licence.c.revision.in_({revision for _, revision in some}),
            )
            for record in self._open(conn, list(conn.execute(query))):
                found[record.identifier.body, record.identifier.version] = record
        if any(key not in found for key in wanted):
            raise _no_licence()
        return [found[key] for key in wanted]

    def get(self, conn: Connection, body: str, revision: int | None = None) -> LicenceRecord:
        """Return a licence at its newest version, or at the one named.

        Raises:
            NotFoundError: No such licence or version (``LICENCE``).
        """
        query = _by_body().where(schema.licence_identifier.c.body == body)
        if revision is not None:
            query = query.where(schema.licence.c.revision == revision)
        row = conn.execute(query.order_by(schema.licence.c.revision.desc()).limit(1)).first()
        if row is None:
            raise _no_licence()
        return self._open(conn, [row])[0]

    def revisions(self, conn: Connection, body: str) -> list[LicenceRecord]:
        """Return every version of a licence, newest first.

        Raises:
            NotFoundError: No such licence (``LICENCE``).
        """
        query = _by_body().where(schema.licence_identifier.c.body == body)
        rows = list(conn.execute(query.order_by(schema.licence.c.revision.desc())))
        if not rows:
            raise _no_licence()
        return self._open(conn, rows)

    def events(self, conn: Connection, body: str) -> list[LicenceEvent]:
        """Return what happened to a licence, oldest first; the issue is the first.

        Raises:
            NotFoundError: No such licence (``LICENCE``).
        """
        query = _by_body().where(schema.licence_identifier.c.body == body)
        row = conn.execute(query.order_by(schema.licence.c.revision).limit(1)).first()
        if row is None:
            raise _no_licence()
        ref = bytes(row.subject_ref)
        owner = self._subjects.by_ref(conn, [ref]).get(ref)
        if owner is None:
            raise _no_licence()
        return load_events(conn, row, owner)

    def of_holder(
        self,
        conn: Connection,
        number: SubjectNumber,
        *,
        type_code: str | None = None,
        issuer: str | None = None,
        states: Collection[State] | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[LicenceRecord]:
        """Return one page of a holder's file, newest licences first.

        A holder who is not on file has an empty one.

        Raises:
            InvalidArgumentError: A page size or token that is not acceptable.
        """
        size = page_size_of(page_size)
        holder = self._subjects.find(conn, (number,)).get(number)
        if holder is None:
            return Page([], "")
        bound: Json = ["holder", holder.ref.hex(), type_code, issuer, _state_codes(states)]
        h, lic = schema.holding.c, schema.licence.c
        query = (
            select(h.created_ms.label("listed_ms"), *lic)
            .join_from(
                schema.holding,
                schema.licence,
                and_(lic.subject_ref == h.owner_ref, lic.licence_ref == h.licence_ref),
            )
            .where(h.subject_ref == holder.ref)
        )
        query = _narrowed(query, type_code=type_code, issuer=issuer, states=states)
        return self._page(conn, query, h, size=size, token=page_token, bound=bound)

    def by_issuer(
        self,
        conn: Connection,
        issuer: str,
        *,
        type_code: str | None = None,
        states: Collection[State] | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[LicenceRecord]:
        """Return one page of an authority's licences, newest first.

        Raises:
            InvalidArgumentError: A page size or token that is not acceptable.
        """
        size = page_size_of(page_size)
        bound: Json = ["issuer", issuer, type_code, _state_codes(states)]
        # Ordered by the first version's date: a licence keeps its place when it is changed.
        first = schema.licence.alias("first_version")
        f, lic = first.c, schema.licence.c
        query = (
            select(f.created_ms.label("listed_ms"), *lic)
            .join_from(
                first,
                schema.licence,
                and_(lic.subject_ref == f.subject_ref, lic.licence_ref == f.licence_ref),
            )
            .where(f.issuer_code == issuer, ~_has_other(first, earlier=True))
        )
        query = _narrowed(query, type_code=type_code, issuer=None, states=states)
        return self._page(conn, query, f, size=size, token=page_token, bound=bound)

    def _page(
        self,
        conn: Connection,
        query: _Query,
        order: ReadOnlyColumnCollection[str, Column[Any]],
        *,
        size: int,
        token: str,
        bound: Json,
    ) -> Page[LicenceRecord]:
        cursor = self._pages.read(token, bound)
        if cursor is not None:
            query = query.where(older(order.created_ms, order.licence_ref, cursor))
        query = query.order_by(order.created_ms.desc(), order.licence_ref.desc()).limit(size + 1)
        page = self._pages.page(list(conn.execute(query)), size, bound, _cursor_of)
        return Page(self._open(conn, page.items), page.next_token)

    def _open(self, conn: Connection, rows: Sequence[_Row]) -> list[LicenceRecord]:
        owners = self._subjects.by_ref(conn, {bytes(row.subject_ref) for row in rows})
        return open_rows(rows, owners, self._namespace)


def _cursor_of(row: _Row) -> Cursor:
    return Cursor(row.listed_ms, bytes(row.licence_ref))


def _by_body() -> _Query:
    i, lic = schema.licence_identifier.c, schema.licence.c
    return select(schema.licence).join_from(
        schema.licence_identifier,
        schema.licence,
        and_(lic.subject_ref == i.subject_ref, lic.licence_ref == i.licence_ref),
    )


def _narrowed(
    query: _Query,
    *,
    type_code: str | None,
    issuer: str | None,
    states: Collection[State] | None,
) -> _Query:
    lic = schema.licence.c
    query = query.where(~_has_other(earlier=False))
    if type_code is not None:
        query = query.where(lic.type_code == type_code)
    if issuer is not None:
        query = query.where(lic.issuer_code == issuer)
    if states:
        query = query.where(lic.state.in_(sorted(state.value for state in states)))
    return query


def _has_other(of: FromClause = schema.licence, *, earlier: bool) -> ColumnElement[bool]:
    """Return the condition that the same licence has an earlier, or a later, version."""
    other = schema.licence.alias("other_version")
    return exists().where(
        other.c.subject_ref == of.c.subject_ref,
        other.c.licence_ref == of.c.licence_ref,
        other.c.revision < of.c.revision if earlier else other.c.revision > of.c.revision,
    )


def _state_codes(states: Collection[State] | None) -> list[str]:
    return sorted(state.value for state in states or ())


def _no_licence() -> NotFoundError:
    return NotFoundError("no such licence in this region", reason="LICENCE")
