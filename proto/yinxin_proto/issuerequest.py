"""Issue requests: the exact bytes that an issuing authority approves.

A request is canonical JSON (RFC 8785), so that the one who approves, the
region that issues and the log that commits to its hash mean the same bytes::

    {fields, holder_key, holders, issued_on, issuer, nonce, number, region,
     schema, type, type_version, valid_from, valid_until}

Its 32 random bytes keep the log from confirming a guessed number. Only form is
judged here, with every fault at once; whether the type allows such fields is
the catalogue's to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from hashlib import sha256
from typing import Final

from yinxin_proto.error import InvalidArgumentError, MalformedError, Violation
from yinxin_proto.form import Form
from yinxin_proto.identifier import is_type
from yinxin_proto.name import RegionCode, parse_region_code
from yinxin_proto.number import IdentifierType, SubjectNumber, is_credit_code
from yinxin_proto.number import parse as parse_number
from yinxin_proto.strict import Json, b64url_encode, canonical_json, parse_canonical_json
from yinxin_proto.suite import public_from_jwk

SCHEMA: Final = 1
MAX_REQUEST_BYTES: Final = 1 << 18
MAX_HOLDERS: Final = 16
MAX_FIELDS: Final = 64
MAX_FIELD_CHARACTERS: Final = 4096
MAX_NAME_CHARACTERS: Final = 200
MAX_NUMBER_CHARACTERS: Final = 64
NONCE_BYTES: Final = 32

_MEMBERS: Final = (
    "fields",
    "holder_key",
    "holders",
    "issued_on",
    "issuer",
    "nonce",
    "number",
    "region",
    "schema",
    "type",
    "type_version",
    "valid_from",
    "valid_until",
)
_HOLDER_MEMBERS: Final = ("name", "number", "number_type")
_JWK_MEMBERS: Final = ("crv", "kty", "x", "y")
_FIELD_NAME: Final = re.compile(r"KZ_[A-Za-z0-9_]{1,60}")


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a licence is for (持证主体)."""

    name: str
    """Name of the person or body."""
    number: SubjectNumber
    """Checked number."""

    def __repr__(self) -> str:
        return f"Holder({self.number!r})"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class IssueRequest:
    """What is to be issued, to whom. Made by `parse` or `from_document`."""

    region: RegionCode
    """Region that is to issue, GB/T 2260."""
    type: str
    """Licence type, 21 characters."""
    type_version: int
    """Version of the type's schema, from 1."""
    issuer: str
    """Credit code of the issuing authority."""
    number: str
    """Licence number (证照编号); it may contain a subject's."""
    issued_on: date
    """颁发日期."""
    valid_from: date
    """First day of validity."""
    valid_until: date | None
    """Last day of validity; None for 长期."""
    holders: tuple[Holder, ...]
    """1 to 16 holders."""
    fields: Mapping[str, str]
    """Extension fields ``KZ_*`` of the type."""
    holder_key: Mapping[str, str] | None
    """Public JWK of the holder's key, where the holder has one."""
    nonce: bytes
    """32 random bytes."""

    def to_bytes(self) -> bytes:
        """Return the canonical JSON; the exact inverse of `parse`."""
        return canonical_json(
            {
                "fields": dict(self.fields),
                "holder_key": None if self.holder_key is None else dict(self.holder_key),
                "holders": [
                    {
                        "name": holder.name,
                        "number": holder.number.reveal(),
                        "number_type": holder.number.type.value,
                    }
                    for holder in self.holders
                ],
                "issued_on": self.issued_on.isoformat(),
                "issuer": self.issuer,
                "nonce": b64url_encode(self.nonce),
                "number": self.number,
                "region": self.region,
                "schema": SCHEMA,
                "type": self.type,
                "type_version": self.type_version,
                "valid_from": self.valid_from.isoformat(),
                "valid_until": None if self.valid_until is None else self.valid_until.isoformat(),
            }
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of `to_bytes`: the entry of an approval's Merkle tree."""
        return request_digest(self.to_bytes())

    @classmethod
    def parse(cls, data: bytes) -> IssueRequest:
        """Parse a request.

        Raises:
            MalformedError: Not canonical JSON, or more than 256 KiB.
            InvalidArgumentError: Unacceptable fields; ``violations`` has all.
        """
        document = parse_canonical_json(data, max_bytes=MAX_REQUEST_BYTES)
        request = cls.from_document(document)
        for index, holder in enumerate(request.holders):
            # One holder, one spelling: the region indexes what was approved.
            if document["holders"][index]["number"] != holder.number.reveal():
                raise InvalidArgumentError(
                    "issue request: unacceptable fields",
                    reason="REQUEST",
                    violations=[
                        Violation(
                            f"holders[{index}].number", "is not normalised", "NUMBER_NOT_NORMALISED"
                        )
                    ],
                )
        return request

    @classmethod
    def from_document(cls, document: Json) -> IssueRequest:
        """Read a request from its members; holders' numbers are normalised.

        Args:
            document: As parsed from JSON, or as a client built it.

        Raises:
            MalformedError: Not an object.
            InvalidArgumentError: Unacceptable fields; ``violations`` has all.
        """
        if type(document) is not dict:
            raise MalformedError("issue request: an object was expected", reason="JSON")
        form = Form(document, known=_MEMBERS)
        form.constant("schema", SCHEMA)
        members: dict[str, Json] = {
            "region": form.parsed("region", parse_region_code),
            "type": form.parsed("type", _licence_type),
            "type_version": form.integer("type_version", at_least=1),
            "issuer": form.parsed("issuer", _issuer),
            "number": form.text("number", max_characters=MAX_NUMBER_CHARACTERS),
            "issued_on": form.day("issued_on"),
            "valid_from": form.day("valid_from"),
            "valid_until": form.day("valid_until", optional=True),
            "holders": _holders(form),
            "fields": _fields(form),
            "holder_key": _holder_key(form),
            "nonce": form.octets("nonce", size=NONCE_BYTES),
        }
        _check_dates(form, members["valid_from"], members["valid_until"])
        form.check("issue request")
        return cls(**members)

    def __repr__(self) -> str:
        return f"IssueRequest(type={self.type!r}, issuer={self.issuer!r})"


def request_digest(data: bytes) -> bytes:
    """Return SHA-256 of a request's exact bytes."""
    return sha256(data).digest()


def _licence_type(text: str) -> str:
    if not is_type(text):
        raise InvalidArgumentError(
            "a licence type has 21 digits and capitals", reason="IDENTIFIER_TYPE"
        )
    return text


def _issuer(text: str) -> str:
    if not is_credit_code(text):
        raise InvalidArgumentError(
            "an issuer is named by a valid credit code", reason="IDENTIFIER_ISSUER"
        )
    return text


def _check_dates(form: Form, first: date | None, last: date | None) -> None:
    if first is not None and last is not None and last < first:
        form.refuse("valid_until", "is before valid_from", "DATES_REVERSED")


def _holders(form: Form) -> tuple[Holder, ...] | None:
    holders = []
    for index, element in enumerate(form.array("holders", max_items=MAX_HOLDERS) or ()):
        path = f"holders[{index}]"
        if type(element) is not dict:
            form.refuse(path, "an object is expected", "FIELD_TYPE")
            continue
        inner = Form(element, known=_HOLDER_MEMBERS, path=path, violations=form.violations)
        name = inner.text("name", max_characters=MAX_NAME_CHARACTERS)
        kind = inner.parsed("number_type", IdentifierType.of)
        if kind is None:
            continue
        number = inner.parsed("number", partial(parse_number, kind))
        if name is not None and number is not None:
            holders.append(Holder(name, number))
    if len(holders) > 1 and len({holder.number for holder in holders}) != len(holders):
        form.refuse("holders", "a holder occurs twice", "HOLDER_TWICE")
    return tuple(holders)


def _fields(form: Form) -> dict[str, str] | None:
    fields = form.object("fields")
    if fields is None:
        return None
    if len(fields) > MAX_FIELDS:
        form.refuse("fields", f"at most {MAX_FIELDS} fields are expected", "FIELD_COUNT")
        return None
    inner = Form(fields, known=fields, path="fields", violations=form.violations)
    for name in fields:
        if type(name) is not str or _FIELD_NAME.fullmatch(name) is None:
            # Not repeated: whoever mistook a value for a name wrote it here.
            form.refuse("fields", "a field is named KZ_ and letters, digits or _", "FIELD_NAME")
        else:
            inner.text(name, max_characters=MAX_FIELD_CHARACTERS, lines=True)
    return dict(fields)


def _holder_key(form: Form) -> dict[str, str] | None:
    if form.value("holder_key") is None:
        return None
    jwk = form.object("holder_key")
    if jwk is None:
        return None
    if jwk.keys() != set(_JWK_MEMBERS):
        form.refuse("holder_key", f"has members {', '.join(_JWK_MEMBERS)} alone", "KEY")
        return None
    try:
        public_from_jwk(jwk)
    except MalformedError as error:
        form.refuse("holder_key", error.message, error.reason)
    return dict(jwk)
