"""Tokens that the specification authors' own library issued and presented."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from yinxin_proto.error import YinxinError
from yinxin_proto.jose import parse_compact
from yinxin_proto.keybinding import confirmation_key, verify_key_binding
from yinxin_proto.numericdate import read_moment
from yinxin_proto.sdjwt import SdJwt, parse
from yinxin_proto.sdjwt_json import parse_json_serialisation
from yinxin_proto.strict import Json
from yinxin_proto.suite import ES256

MIN_CASES = 12

pytestmark = pytest.mark.vectors


def cases(vectors: Path) -> list[dict[str, Any]]:
    document = json.loads((vectors / "sd-jwt" / "reference_cases.json").read_text("utf-8"))
    found: list[dict[str, Any]] = document["cases"]
    assert len(found) >= MIN_CASES
    return found


def read(token: Json) -> SdJwt:
    if isinstance(token, str) and not token.lstrip().startswith("{"):
        return parse(token)
    data = token if isinstance(token, str) else json.dumps(token)
    return parse_json_serialisation(data.encode())


def signed_at(sd_jwt: SdJwt) -> datetime:
    claims = json.loads(parse_compact(str(sd_jwt.key_binding)).payload)
    return read_moment(claims, "iat")


def test_every_presentation_verifies_to_the_claims_expected(vectors: Path) -> None:
    for case in cases(vectors):
        sd_jwt = read(case["presentation"])
        key = ES256.public_from_jwk(case["issuer_jwk"])
        verified = sd_jwt.verify(key, typ=str(sd_jwt.header["typ"]))
        claims = {name: value for name, value in verified.claims.items() if name != "cnf"}
        expected = {n: v for n, v in case["verified_claims"].items() if n != "cnf"}
        assert claims == expected, case["name"]


def test_every_token_issued_in_compact_form_verifies_and_reads_back(vectors: Path) -> None:
    for case in cases(vectors):
        if case["serialization"] == "compact":
            sd_jwt = read(case["issuance"])
            sd_jwt.verify(ES256.public_from_jwk(case["issuer_jwk"]), typ=None)
            assert sd_jwt.to_text() == case["issuance"], case["name"]


def test_every_key_binding_holds_for_its_audience_and_nonce_alone(vectors: Path) -> None:
    bound = [case for case in cases(vectors) if case["key_binding"]]
    assert bound
    for case in bound:
        sd_jwt = read(case["presentation"])
        verified = sd_jwt.verify(ES256.public_from_jwk(case["issuer_jwk"]), typ=None)
        key = confirmation_key(verified.claims)
        assert key == ES256.public_from_jwk(case["holder_jwk"]), case["name"]
        expected: dict[str, Any] = {
            "audience": case["audience"],
            "nonce": case["nonce"],
            "now": signed_at(sd_jwt),
            "max_age": timedelta(0),
        }
        verify_key_binding(sd_jwt, key, **expected)
        for change in ({"audience": "x"}, {"nonce": "x"}):
            with pytest.raises(YinxinError):
                verify_key_binding(sd_jwt, key, **{**expected, **change})


def test_no_presentation_verifies_under_another_key_or_as_a_licence(vectors: Path) -> None:
    for case in cases(vectors):
        sd_jwt = read(case["presentation"])
        for jwk, typ in ((case["holder_jwk"], None), (case["issuer_jwk"], "dc+sd-jwt")):
            with pytest.raises(YinxinError):
                sd_jwt.verify(ES256.public_from_jwk(jwk), typ=typ)
