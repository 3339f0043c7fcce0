"""SD-JWT under arbitrary claims, against the specification authors' own library."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jwcrypto.jwk import JWK
from sd_jwt.common import SDObj
from sd_jwt.issuer import SDJWTIssuer
from sd_jwt.verifier import SDJWTVerifier

from support.clock import SeededEntropy
from support.forge import ISSUER_KEY, digest, disclosure, token
from yinxin_proto.error import YinxinError
from yinxin_proto.sdjwt import SD, Path, issue, parse
from yinxin_proto.sdjwt_json import parse_json_serialisation
from yinxin_proto.strict import Json
from yinxin_proto.suite import ES256

KEY = ISSUER_KEY.public_key
TYP = "example+sd-jwt"
REFERENCE_KEY = JWK.generate(kty="EC", crv="P-256")
REFERENCE_PUBLIC = ES256.public_from_jwk(REFERENCE_KEY.export_public(as_dict=True))

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
    lambda name: name not in {"_sd", "...", "_sd_alg"}
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)


def marked(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    maybe = children | children.filter(lambda value: type(value) is not SD).map(SD)
    return st.lists(maybe, max_size=4) | st.dictionaries(names, maybe, max_size=4)


trees = st.dictionaries(
    names,
    st.recursive(scalars, marked, max_leaves=12).flatmap(
        lambda value: st.sampled_from([value, SD(value)])
    ),
    max_size=5,
)


def plain(value: Json) -> Json:
    """The claims as they are when all is disclosed."""
    if type(value) is SD:
        return plain(value.value)
    if type(value) is dict:
        return {name: plain(member) for name, member in value.items()}
    return [plain(element) for element in value] if type(value) is list else value


def for_reference(value: Json) -> Json:
    """The same tree in the reference library's marks: on names, and on elements."""
    if type(value) is dict:
        return {
            SDObj(name) if type(member) is SD else name: for_reference(
                member.value if type(member) is SD else member
            )
            for name, member in value.items()
        }
    if type(value) is list:
        return [
            SDObj(for_reference(element.value)) if type(element) is SD else for_reference(element)
            for element in value
        ]
    return value


def reference_claims(presentation: str) -> Json:
    jwk = JWK(**ES256.public_to_jwk(KEY))
    return SDJWTVerifier(presentation, lambda *_: jwk).get_verified_payload()


@settings(max_examples=60, deadline=None)
@given(trees, st.integers(0, 5))
def test_what_is_issued_here_verifies_here_and_there(claims: dict[str, Json], decoys: int) -> None:
    made = issue(claims, signer=ISSUER_KEY, entropy=SeededEntropy(1), typ=TYP, decoys=decoys)
    text = made.to_text()
    assert parse(text).verify(KEY, typ=TYP).claims == plain(claims)
    assert reference_claims(text) == plain(claims)


@settings(max_examples=60, deadline=None)
@given(trees)
def test_what_is_issued_there_verifies_here(claims: dict[str, Json]) -> None:
    made = SDJWTIssuer(for_reference(claims), REFERENCE_KEY, add_decoy_claims=True)
    verified = parse(made.sd_jwt_issuance).verify(REFERENCE_PUBLIC, typ=TYP)
    assert verified.claims == plain(claims)


@settings(max_examples=60, deadline=None)
@given(trees, st.data())
def test_every_selection_verifies_here_and_there(
    claims: dict[str, Json], data: st.DataObject
) -> None:
    made = issue(claims, signer=ISSUER_KEY, entropy=SeededEntropy(1), typ=TYP)
    wanted: set[Path] = set()

    def keep(path: Path) -> bool:
        if data.draw(st.booleans()):
            wanted.add(path)
            return True
        return False

    chosen = parse(made.to_text()).select(keep)
    verified = chosen.verify(KEY, typ=TYP)
    assert wanted <= verified.disclosed_paths
    assert reference_claims(chosen.to_text()) == verified.claims


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_one_changed_character_never_verifies(data: st.DataObject) -> None:
    claims = {"iss": "x", "a": SD([1, SD("二")]), "b": SD(None)}
    text = issue(claims, signer=ISSUER_KEY, entropy=SeededEntropy(1)).to_text()
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("Aa0_-~.=+/é ").filter(lambda c: c != text[at]))
    with pytest.raises(YinxinError):
        parse(text[:at] + other + text[at + 1 :]).verify(KEY)


@given(st.text(max_size=200) | st.text("ab.~_-", max_size=60))
def test_any_text_parses_or_is_refused_by_a_typed_error(text: str) -> None:
    with suppress(YinxinError):
        parse(text).unverified_claims()


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused_by_a_typed_error(data: bytes) -> None:
    for read in (parse, parse_json_serialisation):
        with suppress(YinxinError):
            read(data).unverified_claims()


documents = st.recursive(
    scalars | st.sampled_from(["A", "B"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(names | st.sampled_from(["_sd", "...", "_sd_alg"]), children, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names | st.sampled_from(["_sd", "...", "_sd_alg"]), documents), documents)
def test_any_signed_payload_verifies_or_is_refused_by_a_typed_error(
    payload: dict[str, Json], value: Json
) -> None:
    encoded = disclosure("salt", "name", value)
    payload = {**payload, "_sd": [digest(encoded)]} if len(payload) % 2 else payload
    with suppress(YinxinError):
        claims = parse(token(payload, [encoded])).verify(KEY).claims
        assert member_names(claims).isdisjoint({"_sd", "...", "_sd_alg"})


def member_names(value: Json) -> set[str]:
    inner = value.values() if type(value) is dict else value if type(value) is list else ()
    return set(value if type(value) is dict else ()).union(*map(member_names, inner))
