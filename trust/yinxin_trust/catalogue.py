"""The catalogue of licence types: what may be issued, and with which fields.

A type is a data file (``catalogue_data/<code>-<schema version>.json``, GB/T
36902 style), stored in the database so that a region can add its own without
a release. Its fields are a JSON Schema, compiled once per process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from importlib import resources
from typing import Any, Final

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
from yinxin_proto.strict import Json, canonical_json, parse_json_object
from yinxin_trust import schema

LONG_TERM: Final = "长期"
MAX_DOCUMENT_BYTES: Final = 256 << 10
_PERIOD: Final = re.compile(r"P(?:(?P<years>[1-9][0-9]?)Y)?(?:(?P<months>[1-9][0-9]?)M)?\Z")
_CODE: Final = re.compile(r"[0-9A-Z]{21}\Z")
_MEMBERS: Final = frozenset(
    [
        "schema",
        "code",
        "schema_version",
        "name",
        "defining_authority",
        "category",
        "service_items",
        "holder_categories",
        "min_holders",
        "max_holders",
        "number_types",
        "validity",
        "issuing_level",
        "issue_mode",
        "display_names",
        "fields",
    ]
)


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
        """Return the document as canonical JSON; the inverse of `parse_type`."""
        return canonical_json(dict(self.document))

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
                yield _schema_violation(error)
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


def _schema_violation(error: Any) -> Violation:
    # Never the library's message: it quotes the value.
    path = ".".join(str(part) for part in ("fields", *error.instance_path))
    keyword = str(error.schema_path[-1]) if error.schema_path else "schema"
    kind = type(error.kind).__name__.rpartition("_")[2]
    named = getattr(error.kind, "property", None) or getattr(error.kind, "unexpected", None)
    if kind == "Required" and named is not None:
        return Violation(f"{path}.{named}", "is missing", "FIELD_MISSING")
    if kind == "AdditionalProperties" and named is not None:
        names = ", ".join(sorted(map(str, named)))
        return Violation(path, f"this type has no field {names}", "FIELD_UNKNOWN")
    return Violation(path, f"breaks the rule `{keyword}` of the type's schema", "FIELD")


def _plus_period(start: date, period: str) -> date:
    match = _PERIOD.match(period)
    if match is None:
        raise MalformedError(f"catalogue: validity {period} is no period", reason="CATALOGUE")
    months = start.month - 1 + int(match["months"] or 0)
    year, month = start.year + int(match["years"] or 0) + months // 12, months % 12 + 1
    day = start.day
    while True:
        try:
            return date(year, month, day)
        except ValueError:
            day -= 1


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
    violations = [
        *(Violation(name, "is missing") for name in sorted(_MEMBERS - document.keys())),
        *(Violation(name, "is unknown") for name in sorted(document.keys() - _MEMBERS)),
    ]
    if not violations:
        violations = list(_document_violations(document))
    if violations:
        raise InvalidArgumentError("the catalogue document is unusable", violations=violations)
    return LicenceType(document["code"], document["schema_version"], document)


def _document_violations(document: Mapping[str, Json]) -> Iterator[Violation]:
    if not isinstance(document["code"], str) or not _CODE.match(document["code"]):
        yield Violation("code", "21 digits and capitals (GB/T 36904)")
    version = document["schema_version"]
    if type(version) is not int or version < 1:
        yield Violation("schema_version", "an integer from 1")
    name = document["name"]
    if not isinstance(name, dict) or not all(isinstance(name.get(k), str) for k in ("zh", "en")):
        yield Violation("name", "an object with zh and en")
    if document["issue_mode"] not in ("issue", "verify-only"):
        yield Violation("issue_mode", "issue or verify-only")
    validity = document["validity"]
    if validity != LONG_TERM and not (isinstance(validity, str) and _PERIOD.match(validity)):
        yield Violation("validity", "长期, or a period such as P5Y")
    low, high = document["min_holders"], document["max_holders"]
    if type(low) is not int or type(high) is not int or not 1 <= low <= high:
        yield Violation("min_holders", "integers, 1 ≤ min_holders ≤ max_holders")
    yield from _schema_document_violations(document["fields"])


def _schema_document_violations(fields: Json) -> Iterator[Violation]:
    if not isinstance(fields, dict) or fields.get("additionalProperties") is not False:
        yield Violation("fields", "a JSON Schema object with additionalProperties false")
        return
    for name in fields.get("properties", {}):
        if not name.startswith("KZ_"):
            yield Violation(f"fields.properties.{name}", "type-specific names begin with KZ_")
    try:
        jsonschema_rs.meta.validate(fields)
        jsonschema_rs.validator_for(fields)
    except (jsonschema_rs.ValidationError, ValueError):
        yield Violation("fields", "not a JSON Schema (draft 2020-12)")


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
