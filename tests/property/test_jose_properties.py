"""The JOSE parser on any input, with python-jose as the oracle."""

from __future__ import annotations

import json
import warnings
from base64 import urlsafe_b64encode
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from yinxin_proto.error import MalformedError, VerificationError, YinxinError
from yinxin_proto.jose import parse_compact, sign_compact, x5c_chain
from yinxin_proto.suite import ES256

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from jose import jws as oracle
    from jose.exceptions import JOSEError

KEY = ES256.load_deterministic(0xA11CE)
JWK = ES256.public_to_jwk(KEY.public_key) | {"alg": "ES256"}
TYP = "yinxin-approval+jwt"
TOKEN = sign_compact(KEY, typ=TYP, payload=b'{"count":1}')
CHARACTERS = st.sampled_from("ABCxyz019-_+/=. \n\x00é\ud800")
MEMBERS: st.SearchStrategy[dict[str, object]] = st.dictionaries(
    st.sampled_from(["alg", "typ", "kid", "cty", "crit", "b64", "zip", "enc", "jwk", "jku", "x"]),
    st.none() | st.booleans() | st.sampled_from(["ES256", "none", "HS256", TYP]) | st.just([]),
)


def accepts(token: str) -> bool:
    try:
        parse_compact(token).verify(KEY.public_key, typ=None)
    except (MalformedError, VerificationError):
        return False
    return True


def oracle_accepts(token: str) -> bool:
    try:
        oracle.verify(token, JWK, ["ES256"])
    except JOSEError:
        return False
    return True


@given(st.binary(max_size=100), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_what_is_signed_is_parsed(payload: bytes, kid: str) -> None:
    token = sign_compact(KEY, typ=TYP, header={"kid": kid}, payload=payload)
    found = parse_compact(token)
    found.verify(KEY.public_key, typ=TYP)
    assert (found.payload, found.header["kid"], found.token) == (payload, kid, token)


@given(st.integers(0, len(TOKEN) - 1), CHARACTERS)
def test_no_changed_character_verifies(place: int, character: str) -> None:
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    assert accepts(changed) == (changed == TOKEN)


@given(st.integers(0, len(TOKEN)), CHARACTERS)
def test_no_inserted_character_verifies(place: int, character: str) -> None:
    assert not accepts(TOKEN[:place] + character + TOKEN[place:])


@given(MEMBERS)
def test_whatever_header_is_accepted_here_the_oracle_accepts(header: dict[str, object]) -> None:
    def part(data: bytes) -> str:
        return urlsafe_b64encode(data).rstrip(b"=").decode()

    signing_input = f"{part(json.dumps(header).encode())}.{part(b'{}')}"
    token = f"{signing_input}.{part(KEY.sign(signing_input.encode()))}"
    assert accepts(token) <= oracle_accepts(token)


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_anything_is_parsed_or_refused_as_malformed(token: str | bytes) -> None:
    with suppress(MalformedError):
        parse_compact(token)


@given(st.lists(st.text(max_size=12) | st.integers() | st.none(), max_size=8))
def test_any_chain_is_decoded_or_refused_as_malformed(chain: list[object]) -> None:
    with suppress(MalformedError):
        assert len(x5c_chain({"x5c": chain})) == len(chain)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.floats() | st.binary()))
def test_any_header_is_signed_or_refused_with_a_type(header: dict[str, object]) -> None:
    with suppress(YinxinError):
        parse_compact(sign_compact(KEY, typ=TYP, header=header, payload=b""))
