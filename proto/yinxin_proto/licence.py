"""The licence as a file, and the claims of its SD-JWT (GB/T 36903 short names).

Identifier, type, issuing authority, validity and status are always disclosed;
number, issue date, holders and every ``KZ_*`` field only as the holder chooses.
A file is JSON ``{opening, receipt, sd_jwt}``; a bare SD-JWT is read too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from yinxin_proto.concealment import SD
from yinxin_proto.error import MalformedError
from yinxin_proto.identifier import LicenceIdentifier
from yinxin_proto.issuerequest import Holder, IssueRequest
from yinxin_proto.numericdate import to_seconds
from yinxin_proto.statuslist import StatusReference
from yinxin_proto.strict import Json, canonical_json, parse_json_object

MEDIA_TYPE: Final = "application/vnd.yinxin.licence+json"
LONG_TERM: Final = "长期"
"""What stands for the last day of a licence that has none."""
SCHEMA_CLAIM: Final = "yinxin_schema"
"""Claim: version of the type's schema."""
TYPE_PREFIX: Final = "urn:yinxin:licence-type:"
MAX_FILE_BYTES: Final = 1 << 20

_FILE_MEMBERS: Final = frozenset({"opening", "receipt", "sd_jwt"})
_ISSUER: Final = re.compile(
    r"https://([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)/authorities/([0-9A-Z]{18})"
)
_TYPE: Final = re.compile(r"[0-9A-Z]{21}")
_DAY: Final = 86_400
_UTC8: Final = 8 * 3600
_EPOCH: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True, repr=False)
class LicenceFile:
    """A licence with what proves its place in the log, nothing of it believed."""

    sd_jwt: str
    """The SD-JWT, perhaps with disclosures and key binding."""
    opening: bytes | None = None
    """What the leaf commits to besides the licence; canonical JSON."""
    receipt: bytes | None = None
    """Proof of inclusion (C2SP tlog-proof), UTF-8."""

    @classmethod
    def parse(cls, data: bytes) -> LicenceFile:
        """Read a licence file, or a bare SD-JWT with white space around it.

        Raises:
            MalformedError: Neither, too large, or a member that is unknown or
                of another type (``LICENCE_FILE``).
        """
        if len(data) > MAX_FILE_BYTES:
            raise MalformedError(f"licence: more than {MAX_FILE_BYTES} bytes", reason="TOO_LARGE")
        text = data.strip(b" \t\r\n")
        if text[:1] != b"{":
            if not text.isascii() or b"~" not in text:
                raise MalformedError("licence: neither JSON nor an SD-JWT", reason="LICENCE_FILE")
            return cls(text.decode("ascii"))
        members = parse_json_object(text, max_bytes=MAX_FILE_BYTES)
        sd_jwt, opening, receipt = map(members.get, ("sd_jwt", "opening", "receipt"))
        if (
            not members.keys() <= _FILE_MEMBERS
            or type(sd_jwt) is not str
            or not isinstance(opening, dict | None)
            or not isinstance(receipt, str | None)
        ):
            raise MalformedError(
                "licence: sd_jwt, opening and receipt are expected", reason="LICENCE_FILE"
            )
        return cls(
            sd_jwt,
            None if opening is None else canonical_json(opening),
            None if receipt is None else receipt.encode("utf-8"),
        )

    def to_bytes(self) -> bytes:
        """Return the file as canonical JSON; absent parts are left out.

        Raises:
            MalformedError: An opening that is not a JSON object, or a receipt
                that is not UTF-8.
        """
        members: dict[str, Json] = {"sd_jwt": self.sd_jwt}
        if self.opening is not None:
            members["opening"] = parse_json_object(self.opening)
        if self.receipt is not None:
            try:
                members["receipt"] = self.receipt.decode("utf-8")
            except UnicodeDecodeError as error:
                raise MalformedError("licence: a receipt is UTF-8", reason="RECEIPT") from error
        return canonical_json(members)

    def __repr__(self) -> str:
        return "LicenceFile(…)"


def build_claims(
    request: IssueRequest,
    *,
    identifier: LicenceIdentifier,
    status: StatusReference,
    domain: str,
    type_name: str,
    authority_name: str,
    issued_at: datetime,
) -> dict[str, Json]:
    """Return the claims of a licence, marked for `sdjwt.issue`.

    Args:
        request: What was approved.
        identifier: Allotted to this version of the licence.
        status: Where its status will be found.
        domain: The region's domain, in lower case.
        type_name: 证照名称, as the catalogue has it.
        authority_name: 颁发机构, as the region's records have it.
        issued_at: Now, timezone-aware.
    """
    last = request.valid_until
    claims: dict[str, Json] = {
        "iss": issuer_uri(domain, request.issuer),
        "vct": TYPE_PREFIX + request.type,
        SCHEMA_CLAIM: request.type_version,
        "iat": to_seconds(issued_at),
        "nbf": start_of_day(request.valid_from),
        "ZZBS": str(identifier),
        "ZZMC": type_name,
        "ZZBFJG": authority_name,
        "ZZBFJGDM": request.issuer,
        "ZZYXQQSRQ": request.valid_from.isoformat(),
        "ZZYXQJZRQ": LONG_TERM if last is None else last.isoformat(),
        "status": status.to_claim(),
        "ZZBH": SD(request.number),
        "ZZBFRQ": SD(request.issued_on.isoformat()),
        "CZZT": [_holder_claims(holder) for holder in request.holders],
    }
    if last is not None:
        claims["exp"] = start_of_day(last) + _DAY
    if request.holder_key is not None:
        claims["cnf"] = {"jwk": dict(request.holder_key)}
    for name, value in request.fields.items():
        claims[name] = SD(value)
    return claims


def count_decoys(fields: Mapping[str, str], optional_fields: Collection[str]) -> int:
    """Return one decoy for each optional field that a licence lacks.

    All licences of a type then hold as many digests, and their number does
    not tell which have a field.
    """
    return sum(name not in fields for name in optional_fields)


def issuer_uri(domain: str, code: str) -> str:
    """Return the ``iss`` of an authority."""
    return f"https://{domain}/authorities/{code}"


def parse_issuer(iss: Json) -> tuple[str, str]:
    """Return the region's domain and the authority's credit code from ``iss``.

    Raises:
        MalformedError: Not of our form (``ISSUER``).
    """
    match = _ISSUER.fullmatch(iss) if isinstance(iss, str) else None
    if match is None:
        raise MalformedError("licence: iss is not an authority of a region", reason="ISSUER")
    return match[1], match[2]


def parse_type(vct: Json) -> str:
    """Return the licence type of 21 characters from ``vct``.

    Raises:
        MalformedError: Not of our form (``LICENCE_TYPE``).
    """
    if isinstance(vct, str) and vct.startswith(TYPE_PREFIX):
        code = vct[len(TYPE_PREFIX) :]
        if _TYPE.fullmatch(code) is not None:
            return code
    raise MalformedError("licence: vct is not a licence type", reason="LICENCE_TYPE")


def start_of_day(day: date) -> int:
    """Return when a day begins at UTC+8, in seconds since 1970.

    A licence is valid to the end of its last day, which is where the next begins.
    """
    return (day.toordinal() - _EPOCH) * _DAY - _UTC8


def _holder_claims(holder: Holder) -> dict[str, Json]:
    kind = holder.number.type
    return {
        "CZZT": SD(holder.name),
        "CZZTDM": SD(holder.number.reveal()),
        "CZZTDMLXDM": SD(kind.value),
        "CZZTDMLX": SD(kind.name_zh),
    }
