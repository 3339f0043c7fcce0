"""The JOSE parser: what it refuses before it looks at a key, and after."""

from __future__ import annotations

import json
import warnings
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping

import pytest

from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.jose import (
    MAX_CERTIFICATE_BYTES,
    encode_x5c,
    parse_compact,
    sign_compact,
    x5c_chain,
)
from yinxin_proto.suite import ES256

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from jose import jws as oracle
    from jose.exceptions import JWSError

KEY = ES256.load_deterministic(0xABCDEF)
OTHER = ES256.load_deterministic(0xFEDCBA)
TYP = "yinxin-approval+jwt"
TOKEN = sign_compact(KEY, typ=TYP, header={"kid": "甲"}, payload=b'{"a":1}')


def part(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def token(header: object, payload: bytes = b"{}") -> str:
    """Sign under any header, as an attacker who holds a key would."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    signing_input = f"{part(text)}.{part(payload)}"
    return f"{signing_input}.{part(KEY.sign(signing_input.encode()))}"


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises((MalformedError, VerificationError, InvalidArgumentError)) as caught:
        act()
    return caught.value.reason


def test_what_is_signed_is_parsed_and_verifies() -> None:
    found = parse_compact(TOKEN)
    found.verify(KEY.public_key, typ=TYP)
    assert found.token == TOKEN
    assert found.header == {"alg": "ES256", "typ": TYP, "kid": "甲"}
    assert found.payload == b'{"a":1}'
    assert found.signing_input.decode() == TOKEN.rpartition(".")[0]
    assert len(found.signature) == 64
    assert parse_compact(TOKEN.encode()) == found


def test_python_jose_agrees_on_what_is_signed() -> None:
    jwk = ES256.public_to_jwk(KEY.public_key) | {"alg": "ES256"}
    assert oracle.verify(TOKEN, jwk, ["ES256"]) == b'{"a":1}'
    with pytest.raises(JWSError):
        oracle.verify(TOKEN[:-4] + "AAAA", jwk, ["ES256"])


def test_python_jose_accepts_what_is_refused_here() -> None:
    jwk = ES256.public_to_jwk(KEY.public_key) | {"alg": "ES256"}
    for lenient in (token({"alg": "ES256", "crit": ["exp"], "exp": 1}), f"{TOKEN}=="):
        assert oracle.verify(lenient, jwk, ["ES256"])
        with pytest.raises(MalformedError):
            parse_compact(lenient)


def test_the_payload_may_be_empty() -> None:
    empty = sign_compact(KEY, typ=TYP, payload=b"")
    parse_compact(empty).verify(KEY.public_key, typ=TYP)


def test_another_type_does_not_verify() -> None:
    found = parse_compact(TOKEN)
    for typ in ("dc+sd-jwt", TYP.upper(), f"application/{TYP}", ""):
        assert refusal(lambda typ=typ: found.verify(KEY.public_key, typ=typ)) == "TYP"  # type: ignore[misc]
    assert (
        refusal(lambda: parse_compact(token({"alg": "ES256"})).verify(KEY.public_key, typ=TYP))
        == "TYP"
    )


def test_the_key_decides_the_algorithm() -> None:
    for algorithm in ("ES384", "RS256", "es256", "EdDSA", "SM2SM3", "ES256 "):
        found = parse_compact(token({"alg": algorithm, "typ": TYP}))
        assert refusal(lambda f=found: f.verify(KEY.public_key, typ=TYP)) == "ALGORITHM"  # type: ignore[misc]


def test_another_key_does_not_verify() -> None:
    assert refusal(lambda: parse_compact(TOKEN).verify(OTHER.public_key, typ=TYP)) == "SIGNATURE"


def test_any_part_that_was_changed_does_not_verify() -> None:
    header, payload, signature = TOKEN.split(".")
    changed_header = part(json.dumps({"alg": "ES256", "typ": TYP, "kid": "乙"}).encode())
    for changed in (
        f"{changed_header}.{payload}.{signature}",
        f"{header}.{part(b'{}')}.{signature}",
        f"{header}.{payload}.{part(bytes(64))}",
    ):
        assert (
            refusal(lambda c=changed: parse_compact(c).verify(KEY.public_key, typ=TYP))  # type: ignore[misc]
            == "SIGNATURE"
        )


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"alg": "ES256", "jwk": {}}, "JWS_EMBEDDED_KEY"),
        ({"alg": "ES256", "jku": "https://attacker.example/keys"}, "JWS_EMBEDDED_KEY"),
        ({"alg": "ES256", "x5u": "https://attacker.example/chain"}, "JWS_EMBEDDED_KEY"),
        ({"alg": "ES256", "crit": ["exp"], "exp": 1}, "JWS_HEADER"),
        ({"alg": "ES256", "crit": []}, "JWS_HEADER"),
        ({"alg": "ES256", "b64": False}, "JWS_HEADER"),
        ({"alg": "ES256", "b64": True}, "JWS_HEADER"),
        ({"alg": "ES256", "zip": "DEF"}, "JWS_HEADER"),
        ({"alg": "ES256", "enc": "A256GCM"}, "JWS_HEADER"),
        ({"alg": "ES256", "typ": 1}, "JWS_HEADER"),
        ({"alg": "ES256", "kid": None}, "JWS_HEADER"),
        ({"alg": "ES256", "cty": []}, "JWS_HEADER"),
        ({"alg": "none"}, "JWS_ALGORITHM"),
        ({"alg": "nOnE"}, "JWS_ALGORITHM"),
        ({"alg": "HS256"}, "JWS_ALGORITHM"),
        ({"alg": "hs512"}, "JWS_ALGORITHM"),
        ({"alg": ["ES256"]}, "JWS_ALGORITHM"),
        ({"alg": None}, "JWS_ALGORITHM"),
        ({"alg": ""}, "JWS_ALGORITHM"),
        ({}, "JWS_ALGORITHM"),
        ([], "JSON"),
        (b"{", "JSON"),
        (b'{"alg":"ES256","alg":"ES256"}', "JSON_DUPLICATE_MEMBER"),
        ({"alg": "ES256", "kid": [[[[[]]]]]}, "TOO_DEEP"),
    ],
)
def test_a_header_that_steers_the_verifier_is_refused(header: object, why: str) -> None:
    assert refusal(lambda: parse_compact(token(header))) == why


HEADER, PAYLOAD, SIGNATURE = TOKEN.split(".")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "JWS_PARTS"),
        (".", "JWS_PARTS"),
        ("..", "JWS_PARTS"),
        (f"{HEADER}.{PAYLOAD}", "JWS_PARTS"),
        (f"{HEADER}.{PAYLOAD}.", "JWS_PARTS"),
        (f".{PAYLOAD}.{SIGNATURE}", "JWS_PARTS"),
        (f"{TOKEN}.", "JWS_PARTS"),
        (f"{TOKEN}.x.y", "JWS_PARTS"),
        (f"{TOKEN}=", "BASE64URL"),
        (f"{TOKEN} ", "BASE64URL"),
        (f" {TOKEN}", "BASE64URL"),
        (f"{TOKEN}\n", "BASE64URL"),
        (f"{HEADER}.{PAYLOAD} .{SIGNATURE}", "BASE64URL"),
        (f"{TOKEN[:-1]}+", "BASE64URL"),
        (f"{TOKEN[:-1]}é", "BASE64URL"),
        (f"{HEADER}.é.{SIGNATURE}", "BASE64URL"),
        (f"é.{PAYLOAD}.{SIGNATURE}", "BASE64URL"),
        (
            json.dumps({"payload": PAYLOAD, "protected": HEADER, "signature": SIGNATURE}),
            "JWS_PARTS",
        ),
    ],
)
def test_a_token_with_another_form_is_refused(text: str, why: str) -> None:
    assert refusal(lambda: parse_compact(text)) == why
    assert refusal(lambda: parse_compact(text.encode())) == why


def test_a_token_is_bounded() -> None:
    assert refusal(lambda: parse_compact(TOKEN, max_bytes=len(TOKEN) - 1)) == "TOO_LARGE"
    parse_compact(TOKEN, max_bytes=len(TOKEN)).verify(KEY.public_key, typ=TYP)


def test_a_header_read_once_cannot_be_changed_for_the_next_reader() -> None:
    header = parse_compact(TOKEN).header
    with pytest.raises(TypeError):
        header["alg"] = "none"  # type: ignore[index]
    assert parse_compact(TOKEN).header["alg"] == "ES256"


@pytest.mark.parametrize(
    "header",
    [{"alg": "none"}, {"typ": "x"}, {"crit": []}, {"jwk": {}}, {"a": b""}, {"a": float("nan")}],
)
def test_a_header_that_the_parser_would_refuse_is_not_signed(header: Mapping[str, object]) -> None:
    assert refusal(lambda: sign_compact(KEY, typ=TYP, header=header, payload=b"")) == "JWS_HEADER"


def test_a_header_with_half_a_character_is_not_signed() -> None:
    header = {"kid": "\ud800"}
    assert refusal(lambda: sign_compact(KEY, typ=TYP, header=header, payload=b"")) == "JWS_HEADER"


CHAIN = (b"leaf certificate", b"authority's")


def test_certificates_travel_in_x5c() -> None:
    signed = sign_compact(KEY, typ=TYP, header={"x5c": encode_x5c(CHAIN)}, payload=b"")
    assert x5c_chain(parse_compact(signed).header) == CHAIN


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "JWS_X5C"),
        ("AAAA", "JWS_X5C"),
        ([], "JWS_X5C"),
        (["AAAA"] * 7, "JWS_X5C"),
        ([1], "JWS_X5C"),
        ([["AAAA"]], "JWS_X5C"),
        ([""], "JWS_X5C"),
        (["AAA"], "JWS_X5C"),
        (["AAA\n"], "JWS_X5C"),
        (["AA-_"], "JWS_X5C"),
        (["AB=="], "JWS_X5C"),
        (["AAAA===="], "JWS_X5C"),
        (["é"], "JWS_X5C"),
        ([b64encode(bytes(MAX_CERTIFICATE_BYTES + 3)).decode()], "TOO_LARGE"),
    ],
)
def test_another_form_of_x5c_is_refused(value: object, why: str) -> None:
    assert refusal(lambda: x5c_chain({"x5c": value})) == why


def test_a_header_without_certificates_has_no_chain() -> None:
    assert refusal(lambda: x5c_chain({})) == "JWS_X5C"
