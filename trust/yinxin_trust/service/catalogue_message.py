"""Licence types as messages."""

from __future__ import annotations

from typing import Final

from yinxin_proto.v1.catalogue_pb2 import (
    DefiningAuthority,
    IssueMode,
    LicenceType,
    ServiceItem,
)
from yinxin_proto.v1.common_pb2 import LocalizedText
from yinxin_trust.catalogue import LicenceType as Entry
from yinxin_trust.namespace import Namespace
from yinxin_trust.service.timestamp import of_ms

_MODES: Final = {
    "issue": IssueMode.ISSUE_MODE_ISSUE,
    "verify-only": IssueMode.ISSUE_MODE_VERIFY_ONLY,
}


def type_message(
    entry: Entry, namespace: Namespace, *, created_ms: int, whole: bool = True
) -> LicenceType:
    """Return a type as a message.

    Args:
        entry: One schema version of it. Levels and categories have the
            contract's numbers.
        namespace: The region's names.
        created_ms: When the version was added.
        whole: Whether its ``definition`` is told.
    """
    document = entry.document
    name, authority = document["name"], document["defining_authority"]
    return LicenceType(
        name=f"{namespace.resource}/licenceTypes/{entry.code}",
        code=entry.code,
        display_name=LocalizedText(zh=name["zh"], en=name["en"]),
        defining_authority=DefiningAuthority(
            code=authority["code"], display_name=authority["name"], level=authority["level"]
        ),
        category=document["category"],
        issuing_level=document["issuing_level"],
        issue_mode=_MODES[document["issue_mode"]],
        number_types=document["number_types"],
        min_holders=document["min_holders"],
        max_holders=document["max_holders"],
        validity=document["validity"],
        service_items=[
            ServiceItem(code=item["code"], display_name=item["name"])
            for item in document["service_items"]
        ],
        schema_version=entry.schema_version,
        definition=entry.to_bytes() if whole else b"",
        create_time=of_ms(created_ms),
        etag=f'"{entry.schema_version}"',
    )
