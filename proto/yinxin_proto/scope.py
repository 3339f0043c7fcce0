"""Who may issue which licence types, and when 颁发范围.

A chain of certificates says who holds a key; only the trust list says what
that key's owner may do with it (registering a type does not authorise an
issuer for it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from yinxin_proto.error import MalformedError
from yinxin_proto.identifier import is_type
from yinxin_proto.keyrecord import KeyPurpose, KeyRecord
from yinxin_proto.member import Members, as_integer
from yinxin_proto.number import is_credit_code
from yinxin_proto.strict import Json

MAX_TYPES: Final = 4096
MAX_KEYS: Final = 1024

_CODE: Final = re.compile(r"[0-9A-Z]{18,21}")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_PURPOSES: Final = {KeyPurpose.LICENCE, KeyPurpose.APPROVAL, KeyPurpose.REQUEST}


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeScope:
    """One licence type that an authority may issue, and when.

    Raises:
        MalformedError: ``TYPE_CODE``; ``TYPE_VALIDITY`` when the dates are
            reversed.
    """

    type: str
    """Licence type code, 21 characters (GB/T 36904)."""
    not_before: int
    """First second (Unix time) of the scope."""
    not_after: int | None = None
    """Last second of the scope; None while there is no end."""

    def __post_init__(self) -> None:
        if not is_type(self.type):
            raise MalformedError("type: a code has 21 characters", reason="TYPE_CODE")
        if self.not_after is not None and self.not_after < self.not_before:
            raise MalformedError("type: not_after is before not_before", reason="TYPE_VALIDITY")

    def covers(self, at: int) -> bool:
        """Tell whether ``at`` (Unix seconds) lies within the scope."""
        return self.not_before <= at and (self.not_after is None or at <= self.not_after)

    def to_json(self) -> dict[str, Json]:
        """Return the members."""
        return {"type": self.type, "not_before": self.not_before, "not_after": self.not_after}

    @classmethod
    def from_json(cls, value: Json, where: str) -> TypeScope:
        """Read a scope at ``where``; see `Members` for the errors."""
        members = Members(value, where, ("type", "not_before", "not_after"))
        return cls(
            type=members.text("type", _CODE),
            not_before=members.integer("not_before"),
            not_after=members.one_or_none("not_after", as_integer),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """An issuing authority 颁发机构: its types and its keys, with their history.

    Raises:
        MalformedError: ``CREDIT_CODE``; ``DUPLICATE_TYPE`` when two scopes of
            one type overlap; ``KEY_PURPOSE`` for a key that belongs to the
            region.
    """

    code: str
    """Unified social credit code."""
    name: str
    name_en: str | None = None
    types: tuple[TypeScope, ...] = ()
    """Scopes; one type may have several that are apart in time."""
    keys: tuple[KeyRecord, ...] = ()
    """Licence, approval and request keys."""

    def __post_init__(self) -> None:
        if not is_credit_code(self.code):
            raise MalformedError("authority: not a credit code", reason="CREDIT_CODE")
        if any(key.purpose not in _PURPOSES for key in self.keys):
            raise MalformedError(
                "authority: holds licence, approval and request keys alone", reason="KEY_PURPOSE"
            )
        last: dict[str, int | None] = {}
        for scope in sorted(self.types, key=lambda scope: scope.not_before):
            end = last.get(scope.type, -1)
            if end is None or scope.not_before <= end:
                raise MalformedError(
                    "authority: two scopes of one type overlap", reason="DUPLICATE_TYPE"
                )
            last[scope.type] = scope.not_after

    def may_issue(self, licence_type: str, at: int) -> bool:
        """Tell whether the type was within the authority's scope at ``at``."""
        return any(scope.type == licence_type and scope.covers(at) for scope in self.types)

    def to_json(self) -> dict[str, Json]:
        """Return the members; ``name_en`` is absent rather than ``null``."""
        members: dict[str, Json] = {
            "code": self.code,
            "name": self.name,
            "types": [scope.to_json() for scope in self.types],
            "keys": [key.to_json() for key in self.keys],
        }
        if self.name_en is not None:
            members["name_en"] = self.name_en
        return members

    @classmethod
    def from_json(cls, value: Json, where: str) -> Authority:
        """Read an authority at ``where``; see `Members` for the errors."""
        members = Members(
            value, where, ("code", "name", "name_en", "types", "keys"), optional=("name_en",)
        )
        return cls(
            code=members.text("code", _CODE),
            name=members.text("name", _NAME),
            name_en=members.text("name_en", _NAME) if members.has("name_en") else None,
            types=members.each("types", TypeScope.from_json, max_items=MAX_TYPES),
            keys=members.each("keys", KeyRecord.from_json, max_items=MAX_KEYS),
        )
