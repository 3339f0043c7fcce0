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

MAX_SIGNATURES: Final = 8
_SIGNATURE_MEMBERS: Final = ("protected", "signature", "header")


def parse_json_serialisation(
    data: bytes, *, index: int = 0, max_bytes: int = MAX_PRESENTATION_BYTES
) -> SdJwt:
    """Parse a flattened or a general JSON serialisation.

    Args:
        data: UTF-8 JSON.
        index: Which of several signatures is meant; the others are not looked
            at. Disclosures belong to the first and go with each (§8.1).
        max_bytes: Bound on all of it.

    Raises:
        MalformedError: Not of this form (``SD_JWT_FORM``), no such signature,
            or what `sdjwt.parse` refuses.
    """
    document = parse_json_object(data, max_bytes=max_bytes)
    signatures = _signatures(document)
    if not 0 <= index < len(signatures):
        raise _not_of_form("no such signature")
    signature, header = signatures[index], signatures[0].get("header", {})
    if not isinstance(header, dict):
        raise _not_of_form("header is not an object")
    disclosures = header.get("disclosures", [])
    if not isinstance(disclosures, list) or len(disclosures) > MAX_DISCLOSURES:
        raise _not_of_form(f"disclosures is not an array of at most {MAX_DISCLOSURES}")
    jws = (signature.get("protected"), document.get("payload"), signature.get("signature"))
    parts = [".".join(map(_text, jws)), *map(_text, disclosures)]
    sd_jwt = parse("~".join([*parts, _text(header.get("kb_jwt", ""))]), max_bytes=max_bytes)
    unprotected = signature.get("header", {})
    if not isinstance(unprotected, dict) or not unprotected.keys().isdisjoint(sd_jwt.header):
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


def _signatures(document: dict[str, Json]) -> list[dict[str, Json]]:
    if "signatures" not in document:
        return [document]
    found = document["signatures"]
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_SIGNATURES:
        raise _not_of_form(f"signatures does not hold 1 to {MAX_SIGNATURES}")
    if any(name in document for name in _SIGNATURE_MEMBERS):
        raise _not_of_form("both flattened and general")
    if not all(isinstance(signature, dict) for signature in found):
        raise _not_of_form("a signature is not an object")
    for signature in found[1:]:
        header = signature.get("header", {})
        if not isinstance(header, dict) or "disclosures" in header or "kb_jwt" in header:
            raise _not_of_form("disclosures outside the first signature")
    return found


def _text(value: Json) -> str:
    # A separator within a part would move the boundaries of the compact form.
    if not isinstance(value, str) or "~" in value:
        raise _not_of_form("a member is not a string of base64url")
    return value


def _not_of_form(what: str) -> MalformedError:
    return MalformedError(f"SD-JWT in JSON: {what}", reason="SD_JWT_FORM")
