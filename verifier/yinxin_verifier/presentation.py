"""Whether what was presented is a licence, unaltered, and consistent with itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Final

from yinxin_proto import identifier as identifier_format
from yinxin_proto import sdjwt
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError, YinxinError
from yinxin_proto.licence import LONG_TERM, LicenceFile, parse_type, start_of_day
from yinxin_proto.strict import Json
from yinxin_verifier import reason
from yinxin_verifier.examination import Examination
from yinxin_verifier.reason import Finding, Text
from yinxin_verifier.step import Grounds

_DAY: Final = 86_400
_ALWAYS: Final = ("ZZBS", "ZZMC", "ZZBFJG", "ZZBFJGDM", "ZZYXQQSRQ", "ZZYXQJZRQ")
"""Texts that every licence shows (design section 4)."""
_TEXT: Final = frozenset({str})


def check_format(x: Examination) -> Finding | None:
    """Parse the licence file, or the bare SD-JWT, within bounds."""
    evidence = x.evidence
    presented = evidence.licence
    x.receipt_bytes, x.opening_bytes = evidence.receipt, evidence.opening
    try:
        if isinstance(presented, bytes) or presented[:1] == "{":
            file = LicenceFile.parse(_octets(presented))
            if file.receipt is not None and file.opening is not None:
                # A pair: the log's opening says nothing of the holder's receipt.
                x.receipt_bytes, x.opening_bytes = file.receipt, file.opening
            presented = file.sd_jwt
        x.sd_jwt = sdjwt.parse(presented)
        x.payload = x.sd_jwt.payload
    except MalformedError as error:
        return reason.FORMAT.because(error.reason)
    return None


def _octets(presented: bytes | str) -> bytes:
    if isinstance(presented, bytes):
        return presented
    # A lone surrogate becomes a question mark, which no licence has outside texts.
    return presented.encode("utf-8", "replace")


def ground_format(x: Examination) -> Grounds:
    """Describe what was read."""
    size = len(x.evidence.licence)
    return Grounds(Text(f"读入 {size} 字节", f"{size} bytes read"))


def check_type(x: Examination) -> Finding | None:
    """Check ``typ`` and ``vct`` before anything is read by their meaning."""
    if x.sd_jwt.jws.header.get("typ") != sdjwt.TYP:
        return reason.TOKEN_TYPE
    vct = x.payload.get("vct")
    known = x.evidence.trust.licence_type(vct)
    if known is not None:
        x.licence_type = known
        return None
    try:
        x.licence_type = parse_type(vct)
    except MalformedError:
        return reason.LICENCE_TYPE
    return None


def ground_type(x: Examination) -> Grounds:
    """Describe the type claimed."""
    code = getattr(x, "licence_type", None) or "—"
    return Grounds(Text(f"证照类型 {code}", f"licence type {code}"))


def check_signature(x: Examination) -> Finding | None:
    """Check the issuer's signature over exactly the bytes presented."""
    try:
        # Type and algorithm were held against the key's record before.
        jws = x.sd_jwt.jws
        x.issuer.key.verify(jws.signature, jws.signing_input)
    except VerificationError as error:
        return reason.SIGNATURE.because(error.reason)
    return None


def ground_signature(x: Examination) -> Grounds:
    """Describe by which suite."""
    name = x.issuer.record.suite
    return Grounds(Text(f"{name} 签名", f"{name} signature"))


def check_disclosures(x: Examination) -> Finding | None:
    """Match every disclosed field to a digest that was signed (RFC 9901 §7.1)."""
    try:
        x.sd_jwt.check_disclosures()
    except YinxinError as error:
        return reason.DISCLOSURE.because(error.reason)
    x.is_whole = True
    return None


def ground_disclosures(x: Examination) -> Grounds:
    """Describe how many fields were shown."""
    count = len(x.sd_jwt.encoded_disclosures)
    return Grounds(Text(f"出示 {count} 个字段", f"{count} fields disclosed"))


def check_claims(x: Examination) -> Finding | None:
    """Check the claims that every licence carries, and their types."""
    payload = x.payload
    if not _TEXT.issuperset(map(type, map(payload.get, _ALWAYS))):
        missing = next(name for name in _ALWAYS if type(payload.get(name)) is not str)
        return reason.CLAIMS.because(f"CLAIM_{missing}")
    issued_at = payload.get("iat")
    if type(issued_at) is not int:
        return reason.CLAIMS.because("CLAIM_IAT")
    x.issued_at = issued_at
    return _check_days(payload) or _read_status(x, payload.get("status"))


def _check_days(payload: Mapping[str, Json]) -> Finding | None:
    """The dates that people read must be those that machines enforce."""
    starts, expires = payload.get("nbf"), payload.get("exp")
    first = _start_of(payload["ZZYXQQSRQ"])
    if first is None:
        return reason.CLAIMS.because("CLAIM_ZZYXQQSRQ")
    if type(starts) is not int or starts != first:
        return reason.CLAIMS.because("CLAIM_NBF")
    if payload["ZZYXQJZRQ"] == LONG_TERM:
        return None if "exp" not in payload else reason.CLAIMS.because("CLAIM_EXP")
    last = _start_of(payload["ZZYXQJZRQ"])
    if last is None:
        return reason.CLAIMS.because("CLAIM_ZZYXQJZRQ")
    if type(expires) is not int or expires != last + _DAY:
        return reason.CLAIMS.because("CLAIM_EXP")
    return None


@lru_cache(maxsize=4096)
def _start_of(day: str) -> int | None:
    """Return when a day begins at UTC+8; a region's licences share few days.

    None where it is not written YYYY-MM-DD: the library reads other forms too.
    """
    try:
        found = date.fromisoformat(day)
    except ValueError:
        return None
    return start_of_day(found) if found.isoformat() == day else None


def _read_status(x: Examination, status: Json) -> Finding | None:
    entry = status.get("status_list") if type(status) is dict else None
    if type(entry) is dict:
        uri, index = entry.get("uri"), entry.get("idx")
        if type(uri) is str and type(index) is int and index >= 0:
            x.status_uri, x.status_index = uri, index
            return None
    return reason.CLAIMS.because("CLAIM_STATUS")


def ground_claims(x: Examination) -> Grounds:
    """Describe how many claims there are."""
    return Grounds(
        Text(f"必备内容共 {len(x.payload)} 项", f"{len(x.payload)} claims always disclosed")
    )


def check_identifier(x: Examination) -> Finding | None:
    """Check the identifier against itself, the licence type and the issuer."""
    payload = x.payload
    series = x.issuer.series.get(x.licence_type)
    if (
        series is not None
        and series.holds(payload["ZZBS"])
        and payload["ZZBFJGDM"] == x.issuer.authority.code
    ):
        return None
    return _identifier_fault(x)


def _identifier_fault(x: Examination) -> Finding | None:
    """The careful way: for what is wrong, and for types outside the issuer's scope."""
    try:
        found = identifier_format.parse(x.payload["ZZBS"])
    except InvalidArgumentError as error:
        if error.reason == "IDENTIFIER_CHECK":
            return reason.IDENTIFIER_CHECK
        return reason.IDENTIFIER.because(error.reason)
    code = x.issuer.authority.code
    if found.type != x.licence_type or found.issuer != code or x.payload["ZZBFJGDM"] != code:
        return reason.IDENTIFIER_MISMATCH
    return None


def ground_identifier(x: Examination) -> Grounds:
    """Give the identifier, where it is one: anything else might be a subject's number."""
    text = x.payload["ZZBS"]
    try:
        identifier_format.parse(text, allow_wrong_check=True)
    except InvalidArgumentError:
        text = "—"
    return Grounds(Text(f"证照标识 {text}", f"identifier {text}"))
