"""The catalogue of licence types: what may be issued, and with which fields.

A type is a data file (``catalogue_data/<code>-<schema version>.json``, GB/T
36902 style), stored in the database so that a region can add its own without
a release. Its fields are a JSON Schema, compiled once per process.
"""

from __future__ import annotations

import json
import re
from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from importlib import resources
from typing import Final

import jsonschema_rs
from sqlalchemy import Connection, select

from yinxin_proto.approval import IssueRequest
from yinxin_proto.error import (
    AlreadyExistsError,
    InvalidArgumentError,
    MalformedError,
    NotFoundError,
    Violation,
)
from yinxin_proto.strict import Json, parse_json_object
from yinxin_trust import schema
from yinxin_trust.typedocument import document_violations, schema_violation

LONG_TERM: Final = "长期"
MAX_DOCUMENT_BYTES: Final = 256 << 10
_PERIOD: Final = re.compile(r"P(?:(?P<years>[1-9][0-9]?)Y)?(?:(?P<months>[1-9][0-9]?)M)?\Z")


@dataclass(frozen=True)
class LicenceType:
    """One schema version of one licence type."""

    code: str
    schema_version: int
    document: Mapping[str, Json] = field(repr=False)

    @property
    def name(self) -> str:
        """证照名称, as licences carry it."""
        return str(self.document["name"]["zh"])

    def to_bytes(self) -> bytes:
        """Return the document as JSON; the inverse of `parse_type`.

        Not canonical JSON: that would sort the fields, whose order is how they are shown.
        """
        return json.dumps(dict(self.document), ensure_ascii=False, separators=(",", ":")).encode()

    @property
    def is_issuable(self) -> bool:
        """False for a type that is only verified here, such as an ID card."""
        return bool(self.document["issue_mode"] == "issue")

    @cached_property
    def validator(self) -> jsonschema_rs.Validator:
        """Compiled schema of the ``KZ_*`` fields."""
        return jsonschema_rs.validator_for(self.document["fields"])

    @cached_property
    def required_fields(self) -> frozenset[str]:
        """Fields that every licence of the type has; the others get decoys."""
        return frozenset(self.document["fields"].get("required", ()))

    @cached_property
    def optional_fields(self) -> frozenset[str]:
        """Fields that a licence of the type may lack."""
        return frozenset(self.document["fields"].get("properties", ())) - self.required_fields

    def violations(self, request: IssueRequest) -> Iterator[Violation]:
        """Yield what the type forbids about a request, all of it."""
        if not self.is_issuable:
            yield Violation("type", "this type is verified here, never issued", "VERIFY_ONLY")
        if not self.validator.is_valid(request.fields):
            for error in self.validator.iter_errors(request.fields):
                yield schema_violation(error, "fields")
        yield from self._holder_violations(request)
        yield from self._validity_violations(request)

    def _holder_violations(self, request: IssueRequest) -> Iterator[Violation]:
        low, high = self.document["min_holders"], self.document["max_holders"]
        if not low <= len(request.holders) <= high:
            wanted = f"{low}" if low == high else f"{low} to {high}"
            yield Violation("holders", f"this type has {wanted} holder(s)", "HOLDER_COUNT")
        accepted = self.document["number_types"]
        for position, holder in enumerate(request.holders):
            if str(holder.number.type) not in accepted:
                yield Violation(
                    f"holders[{position}].number_type",
                    f"this type accepts {', '.join(accepted)}",
                    "NUMBER_TYPE",
                )

    def _validity_violations(self, request: IssueRequest) -> Iterator[Violation]:
        validity = self.document["validity"]
        if validity == LONG_TERM:
            return
        if request.valid_until is None or request.valid_until > _plus_period(
            request.valid_from, validity
        ):
            yield Violation("valid_until", f"this type is valid for {validity} at most", "VALIDITY")


def _plus_period(start: date, period: str) -> date:
    match = _PERIOD.match(period)
    if match is None:
        raise MalformedError(f"catalogue: validity {period} is no period", reason="CATALOGUE")
    months = start.month - 1 + int(match["months"] or 0)
    year, month = start.year + int(match["years"] or 0) + months // 12, months % 12 + 1
    if year > date.max.year:
        return date.max
    # 29 February and the 31st end with the month, where it is shorter.
    return date(year, month, min(start.day, monthrange(year, month)[1]))


class Catalogue:
    """The types of a region, by code; the newest schema version is issued."""

    def __init__(self, types: Mapping[tuple[str, int], LicenceType]) -> None:
        self._types = dict(types)
        self._newest: dict[str, LicenceType] = {}
        for entry in sorted(types.values(), key=lambda entry: entry.schema_version):
            self._newest[entry.code] = entry

    def get(self, code: str, version: int | None = None) -> LicenceType:
        """Return a type; the newest schema version when none is named.

        Raises:
            NotFoundError: The catalogue has no such type, or no such version.
        """
        found = self._newest.get(code) if version is None else self._types.get((code, version))
        if found is None:
            raise NotFoundError(
                "the catalogue has no such licence type or schema version; list the types",
                reason="LICENCE_TYPE",
            )
        return found

    def newest(self) -> list[LicenceType]:
        """Return the newest version of every type, ordered by code."""
        return [self._newest[code] for code in sorted(self._newest)]


def parse_type(data: bytes) -> LicenceType:
    """Read and check a catalogue document.

    Raises:
        MalformedError: Not JSON.
        InvalidArgumentError: Names every unacceptable member at once.
    """
    document = parse_json_object(data, max_bytes=MAX_DOCUMENT_BYTES)
    violations = list(document_violations(document))
    if violations:
        raise InvalidArgumentError("the catalogue document is unusable", violations=violations)
    return LicenceType(document["code"], document["schema_version"], document)


def builtin_types() -> list[LicenceType]:
    """Return the types that ship with the project."""
    folder = resources.files("yinxin_trust") / "catalogue_data"
    return [
        parse_type(entry.read_bytes())
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".json")
    ]


def add_type(conn: Connection, entry: LicenceType, *, now_ms: int) -> None:
    """Store a type or its next schema version, inside a write transaction.

    Raises:
        AlreadyExistsError: That version is there; versions never change.
        InvalidArgumentError: It skips a version.
    """
    t = schema.licence_type.c
    known = conn.execute(select(t.schema_version).where(t.code == entry.code)).scalars().all()
    if entry.schema_version in known:
        raise AlreadyExistsError(
            "this schema version of the type exists; a change is a new version",
            reason="LICENCE_TYPE",
        )
    if entry.schema_version != max(known, default=0) + 1:
        raise InvalidArgumentError(
            "schema versions have no gaps",
            violations=[Violation("schema_version", f"{max(known, default=0) + 1} is next")],
        )
    conn.execute(
        schema.licence_type.insert().values(
            code=entry.code,
            schema_version=entry.schema_version,
            document=entry.to_bytes().decode(),
            created_ms=now_ms,
        )
    )


def load_catalogue(conn: Connection) -> Catalogue:
    """Read all types."""
    types: dict[tuple[str, int], LicenceType] = {}
    for row in conn.execute(select(schema.licence_type)):
        document = parse_json_object(row.document.encode(), max_bytes=MAX_DOCUMENT_BYTES)
        types[row.code, row.schema_version] = LicenceType(row.code, row.schema_version, document)
    return Catalogue(types)
