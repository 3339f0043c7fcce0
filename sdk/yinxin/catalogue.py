"""The catalogue of licence types, as a region publishes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from yinxin.session import CallGroup
from yinxin.transport import pages
from yinxin_proto.error import MalformedError
from yinxin_proto.name import TypeName
from yinxin_proto.strict import Json, parse_json_object
from yinxin_proto.v1 import catalogue_pb2
from yinxin_proto.v1.catalogue_pb2_grpc import CatalogueServiceStub
from yinxin_verifier.reason import Text

MAX_DEFINITION_BYTES: Final = 1 << 18
_PAGE_SIZE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceType:
    """One type of licence, at one version of its fields."""

    code: str
    """21 characters, GB/T 36904."""
    display_name: Text
    """Its name."""
    schema_version: int
    """Version of its fields, from 1."""
    is_issued: bool
    """False: the region verifies it alone."""
    validity: str
    """Longest validity, ``P5Y`` or 长期."""
    min_holders: int
    max_holders: int
    number_types: tuple[str, ...]
    """Kinds of number that a holder may be known by."""
    definition: Mapping[str, Json] = field(repr=False)
    """The whole catalogue entry; empty in a list."""

    @classmethod
    def from_message(cls, message: catalogue_pb2.LicenceType) -> Self:
        """Read a type from its message.

        Raises:
            MalformedError: Its definition is not a JSON object.
        """
        return cls(
            code=message.code,
            display_name=Text(message.display_name.zh, message.display_name.en),
            schema_version=message.schema_version,
            is_issued=message.issue_mode == catalogue_pb2.ISSUE_MODE_ISSUE,
            validity=message.validity,
            min_holders=message.min_holders,
            max_holders=message.max_holders,
            number_types=tuple(message.number_types),
            definition=(
                parse_json_object(message.definition, max_bytes=MAX_DEFINITION_BYTES)
                if message.definition
                else {}
            ),
        )

    @property
    def field_names(self) -> Mapping[str, Text]:
        """Display names of the type's fields, by ``KZ_*`` name.

        Raises:
            MalformedError: The definition has none (``DEFINITION``).
        """
        return field_names(self.definition)


def field_names(definition: Mapping[str, Json]) -> dict[str, Text]:
    """Return the display names of the fields that a catalogue entry defines.

    Raises:
        MalformedError: Not of this form (``DEFINITION``).
    """
    try:
        names = definition["display_names"]
        return {str(name): Text(str(text["zh"]), str(text["en"])) for name, text in names.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise MalformedError(
            "the type's definition names no fields", reason="DEFINITION"
        ) from error


class CatalogueCalls(CallGroup):
    """Calls about the catalogue, which is public."""

    def types(self) -> Iterator[LicenceType]:
        """Yield the types of the region, ordered by code, without definitions."""
        request = catalogue_pb2.ListLicenceTypesRequest(
            parent=self._session.parent, page_size=_PAGE_SIZE
        )
        transport = self._session.transport
        method = transport.stub(CatalogueServiceStub).ListLicenceTypes

        def fetch(token: str) -> tuple[Iterator[LicenceType], str]:
            request.page_token = token
            answer = transport.call(method, request)
            return map(LicenceType.from_message, answer.licence_types), answer.next_page_token

        return pages(fetch)

    def type(self, code: str, *, schema_version: int | None = None) -> LicenceType:
        """Return a type with its definition, at the newest version or the one named.

        Raises:
            NotFoundError: The region's catalogue has no such type or version.
            InvalidArgumentError: Not a type's code.
        """
        request = catalogue_pb2.GetLicenceTypeRequest(
            name=str(TypeName(self._session.region, code)), schema_version=schema_version or 0
        )
        transport = self._session.transport
        answer = transport.call(transport.stub(CatalogueServiceStub).GetLicenceType, request)
        return LicenceType.from_message(answer)
