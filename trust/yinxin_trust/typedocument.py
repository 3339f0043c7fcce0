"""Catalogue documents: what one must be before its type may be issued.

The shape is ``catalogue_entry.schema.json``; beside it stand the few rules
that a JSON Schema cannot say. Violations never quote a value, and a name only
if it is one that a document may have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

import jsonschema_rs

from yinxin_proto.error import Violation
from yinxin_proto.number import is_credit_code
from yinxin_proto.strict import Json, parse_json_object

SHAPE: Final = "catalogue_entry.schema.json"
# Of a document or of a licence's fields. No run of digits that a subject's number could be.
_NAME: Final = re.compile(r"(?!.*[0-9]{6})(?:KZ_[A-Z0-9_]{1,32}|\$?[A-Za-z_]{1,32})\Z")
_HIDDEN: Final = "…"


@cache
def _shape() -> jsonschema_rs.Validator:
    data = (resources.files("yinxin_trust") / SHAPE).read_bytes()
    return jsonschema_rs.validator_for(parse_json_object(data))


def shown(name: object) -> str:
    """Return a member's name or an element's place, if it may be repeated to a caller."""
    if isinstance(name, int) or (isinstance(name, str) and _NAME.match(name)):
        return str(name)
    return _HIDDEN


def schema_violation(error: Any, *path: str) -> Violation:  # noqa: ANN401 - untyped library
    """Return a violation for a fault that a JSON Schema found.

    Args:
        error: A ``jsonschema_rs.ValidationError``. Its message quotes the
            value, so it is never used.
        path: Where the instance stands in its request.
    """
    field = ".".join([*path, *(shown(part) for part in error.instance_path)])
    keyword: str = error.kind.name
    if keyword == "required":
        name = shown(error.kind.property)
        return Violation(f"{field}.{name}".lstrip("."), "is missing", "FIELD_MISSING")
    if keyword == "additionalProperties":
        names = ", ".join(sorted({shown(name) for name in error.kind.unexpected}))
        return Violation(field, f"has no member {names}", "FIELD_UNKNOWN")
    return Violation(field, f"breaks the rule `{keyword}` of its schema", "FIELD")


def document_violations(document: Mapping[str, Json]) -> Iterator[Violation]:
    """Yield everything that is wrong with a catalogue document."""
    faults = [schema_violation(error) for error in _shape().iter_errors(dict(document))]
    yield from faults
    if faults:
        return
    if _has_float(document):
        # JSON Schema counts 1.0 as an integer; two spellings would be two documents.
        yield Violation("", "numbers are written as integers", "FIELD")
        return
    yield from _authority_violations(document)
    if document["min_holders"] > document["max_holders"]:
        yield Violation("max_holders", "is not less than min_holders", "HOLDER_COUNT")
    yield from _field_violations(document)


def _authority_violations(document: Mapping[str, Json]) -> Iterator[Violation]:
    code = document["defining_authority"]["code"]
    if not is_credit_code(code):
        yield Violation("defining_authority.code", "a unified social credit code", "CREDIT_CODE")
    if document["code"][:18] != code:
        yield Violation("code", "begins with the code of the defining authority", "TYPE_CODE")


def _field_violations(document: Mapping[str, Json]) -> Iterator[Violation]:
    fields = document["fields"]
    if list(document["display_names"]) != list(fields["properties"]):
        yield Violation("display_names", "name the fields, in their order", "DISPLAY_NAMES")
    for name in fields["required"]:
        if name not in fields["properties"]:
            yield Violation("fields.required", f"{shown(name)} is no field", "FIELD_UNKNOWN")
    try:
        jsonschema_rs.validator_for(fields)
    except (jsonschema_rs.ValidationError, ValueError):
        yield Violation("fields", "has a pattern that is not a regular expression", "PATTERN")


def _has_float(value: Json) -> bool:
    if isinstance(value, Mapping):
        return any(_has_float(member) for member in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(_has_float(element) for element in value)
    return isinstance(value, float)
