"""SD-JWT in the JSON serialisation of JWS (RFC 9901 §8), read as the compact one.

Both forms say the same; what a verifier does is defined on the compact one
(``sd_hash`` too, §8.1), so reading rebuilds it and nothing else needs to know.
"""

from __future__ import annotations

from typing import Final

from yinxin_proto.disclosure import MAX_DISCLOSURES
from yinxin_proto.error import MalformedError
from yinxin_proto.sdjwt import MAX_PRESENTATION_BYTES, SdJwt, parse
from yinxin_proto.strict import Json, canonical_json, parse_json_object

_SIGNATURE_MEMBERS: Final = ("protected", "signature", "header")


def parse_json_serialisation(data: bytes, *, max_bytes: int = MAX_PRESENTATION_BYTES) -> SdJwt:
    """Parse a flattened or a general JSON serialisation with one signature.

    Args:
        data: UTF-8 JSON.
        max_bytes: Bound on all of it.

    Raises:
        MalformedError: Not of this form (``SD_JWT_FORM``), several signatures,
            or what `sdjwt.parse` refuses.
    """
    document = parse_json_object(data, max_bytes=max_bytes)
    signature = _single_signature(document)
    header = signature.get("header", {})
    if not isinstance(header, dict):
        raise _not_of_form("header is not an object")
    disclosures = header.get("disclosures", [])
    if not isinstance(disclosures, list) or len(disclosures) > MAX_DISCLOSURES:
        raise _not_of_form(f"disclosures is not an array of at most {MAX_DISCLOSURES}")
    jws = (signature.get("protected"), document.get("payload"), signature.get("signature"))
    parts = [".".join(map(_text, jws)), *map(_text, disclosures)]
    sd_jwt = parse("~".join([*parts, _text(header.get("kb_jwt", ""))]), max_bytes=max_bytes)
    if not header.keys().isdisjoint(sd_jwt.header):
        # RFC 7515 §7.2.1: names are disjoint, or the unsigned one might win.
        raise _not_of_form("a header member is both protected and not")
    return sd_jwt


def format_json_serialisation(sd_jwt: SdJwt) -> bytes:
    """Return the flattened JSON serialisation."""
    protected, payload, signature = sd_jwt.issuer_jwt.split(".")
    header: dict[str, Json] = {"disclosures": list(sd_jwt.encoded_disclosures)}
    if sd_jwt.key_binding is not None:
        header["kb_jwt"] = sd_jwt.key_binding
    return canonical_json(
        {"header": header, "payload": payload, "protected": protected, "signature": signature}
    )


def _single_signature(document: dict[str, Json]) -> dict[str, Json]:
    if "signatures" not in document:
        return document
    signatures = document["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise _not_of_form("signatures does not hold exactly one")
    if not isinstance(signatures[0], dict) or any(n in document for n in _SIGNATURE_MEMBERS):
        raise _not_of_form("neither flattened nor general")
    return signatures[0]


def _text(value: Json) -> str:
    # A separator within a part would move the boundaries of the compact form.
    if not isinstance(value, str) or "~" in value:
        raise _not_of_form("a member is not a string of base64url")
    return value


def _not_of_form(what: str) -> MalformedError:
    return MalformedError(f"SD-JWT in JSON: {what}", reason="SD_JWT_FORM")
