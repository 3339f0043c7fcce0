"""Resource names (AIP-122) and region codes (GB/T 2260).

A name is a path of collections and ids, ``regions/350300/licences/…``; a
version of a licence is a revision of it, ``…@002`` (AIP-162). No name holds a
subject's number: searches by number travel in request bodies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final, NewType, Self

from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.identifier import LicenceIdentifier, is_type, of_body
from yinxin_proto.number import is_credit_code

MAX_NAME_CHARACTERS: Final = 256

RegionCode = NewType("RegionCode", str)
"""A six-digit code of GB/T 2260, checked by `parse_region_code`."""

_REGION: Final = re.compile(r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[12])[0-9]{4}")
_REFERENCE: Final = re.compile(r"[0-9a-f]{32}")
_ID: Final = re.compile(r"[0-9a-z](?:[0-9a-z-]{0,61}[0-9a-z])?")


def parse_region_code(text: str) -> RegionCode:
    """Check a region's code: province 2, city 2, county 2 digits.

    Codes are not looked up (they are reformed every year), their structure is.

    Raises:
        InvalidArgumentError: ``REGION_CODE``.
    """
    if _REGION.fullmatch(text) is None or (text[2:4] == "00" and text[4:] != "00"):
        raise InvalidArgumentError(
            "a region is six digits of GB/T 2260, such as 350300", reason="REGION_CODE"
        )
    return RegionCode(text)


def region_level(code: RegionCode) -> int:
    """Return 1 for a province, 2 for a city, 3 for a county."""
    if code[4:] != "00":
        return 3
    return 2 if code[2:4] != "00" else 1


def region_contains(outer: RegionCode, inner: RegionCode) -> bool:
    """Whether ``inner`` is ``outer`` or lies under it in the GB/T 2260 tree.

    By levels, never by string prefix: 350300 contains 350302, not 350400.
    """
    digits = 2 * region_level(outer)
    return outer[:digits] == inner[:digits]


def _refuse(form: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"a name of the form {form} was expected", reason="RESOURCE_NAME")


@dataclass(frozen=True, slots=True)
class RegionName:
    """``regions/{region}``."""

    region: RegionCode

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the name.

        Raises:
            InvalidArgumentError: ``RESOURCE_NAME`` or ``REGION_CODE``.
        """
        collection, _, code = text[:MAX_NAME_CHARACTERS].partition("/")
        if collection != "regions":
            raise _refuse("regions/{region}")
        return cls(parse_region_code(code))

    def __str__(self) -> str:
        return f"regions/{self.region}"


@dataclass(frozen=True, slots=True)
class _InRegion:
    """``regions/{region}/{collection}/{id}``."""

    region: RegionCode
    """Code of the region."""
    id: str
    """Last segment of the name."""

    COLLECTION: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse an id that a name of this kind cannot have."""
        parse_region_code(self.region)
        if not self._accepts(self.id):
            raise _refuse(self._form())

    @classmethod
    def _form(cls) -> str:
        return f"regions/{{region}}/{cls.COLLECTION}/{{id}}"

    @classmethod
    def _accepts(cls, id_: str) -> bool:
        return _ID.fullmatch(id_) is not None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the name; ``str`` of the result is ``text`` again.

        Raises:
            InvalidArgumentError: ``RESOURCE_NAME`` or ``REGION_CODE``.
        """
        parts = text.split("/", 4) if len(text) <= MAX_NAME_CHARACTERS else []
        if len(parts) != 4 or parts[0] != "regions" or parts[2] != cls.COLLECTION:
            raise _refuse(cls._form())
        return cls(parse_region_code(parts[1]), parts[3])

    def __str__(self) -> str:
        return f"regions/{self.region}/{self.COLLECTION}/{self.id}"


@dataclass(frozen=True, slots=True)
class AuthorityName(_InRegion):
    """``regions/{region}/authorities/{credit code}``."""

    COLLECTION: ClassVar[str] = "authorities"

    @classmethod
    def _accepts(cls, id_: str) -> bool:
        return is_credit_code(id_)

    @property
    def code(self) -> str:
        """The authority's unified social credit code."""
        return self.id


@dataclass(frozen=True, slots=True)
class TypeName(_InRegion):
    """``regions/{region}/licenceTypes/{21 characters}``."""

    COLLECTION: ClassVar[str] = "licenceTypes"

    @classmethod
    def _accepts(cls, id_: str) -> bool:
        return is_type(id_)


@dataclass(frozen=True, slots=True)
class SubjectName(_InRegion):
    """``regions/{region}/subjects/{random reference, 32 hexadecimal digits}``."""

    COLLECTION: ClassVar[str] = "subjects"

    @classmethod
    def _accepts(cls, id_: str) -> bool:
        # Nothing else, or a clerk could put a subject's number into a name.
        return _REFERENCE.fullmatch(id_) is not None

    @property
    def ref(self) -> bytes:
        """The reference, 16 bytes."""
        return bytes.fromhex(self.id)


@dataclass(frozen=True, slots=True)
class PrincipalName(_InRegion):
    """``regions/{region}/principals/{id}``: who may call."""

    COLLECTION: ClassVar[str] = "principals"


@dataclass(frozen=True, slots=True)
class OperationName(_InRegion):
    """``regions/{region}/operations/{id}``: work that goes on (AIP-151)."""

    COLLECTION: ClassVar[str] = "operations"


@dataclass(frozen=True, slots=True)
class LicenceName:
    """``regions/{region}/licences/{type.issuer.serial}``, with ``@{version}`` for one version."""

    region: RegionCode
    """Code of the region."""
    body: str
    """``type.issuer.serial`` of the identifier."""
    version: int | None = None
    """The version, 1 to 999; ``None`` for the licence whatever its version."""

    def __post_init__(self) -> None:
        """Refuse what no identifier can have."""
        parse_region_code(self.region)
        of_body(self.body, 1 if self.version is None else self.version)

    @classmethod
    def of(cls, region: RegionCode, identifier: LicenceIdentifier) -> Self:
        """Return the name of the licence, whatever its version."""
        return cls(region, identifier.body)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the name; ``str`` of the result is ``text`` again.

        Raises:
            InvalidArgumentError: ``RESOURCE_NAME``, ``REGION_CODE``, or as
                `yinxin_proto.identifier.of_body`.
        """
        found = _LICENCE.fullmatch(text) if len(text) <= MAX_NAME_CHARACTERS else None
        if found is None:
            raise _refuse("regions/{region}/licences/{type.issuer.serial}[@{version}]")
        region, body, version = found.groups()
        return cls(parse_region_code(region), body, None if version is None else int(version))

    @property
    def identifier(self) -> LicenceIdentifier | None:
        """The identifier of the version named, if one is."""
        return None if self.version is None else of_body(self.body, self.version)

    def at(self, version: int) -> Self:
        """Return the name of one version (AIP-162 revision)."""
        return type(self)(self.region, self.body, version)

    def __str__(self) -> str:
        revision = "" if self.version is None else f"@{self.version:03}"
        return f"regions/{self.region}/licences/{self.body}{revision}"


_LICENCE: Final = re.compile(r"regions/([^/]*)/licences/([0-9A-Z.]+)(?:@([0-9]{3}))?")
