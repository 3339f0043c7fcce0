from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from support.clock import EPOCH, SeededEntropy
from support.forge import HOLDER_KEY, ISSUER_KEY, STRANGER_KEY
from yinxin_proto.error import MalformedError, VerificationError, YinxinError
from yinxin_proto.jose import sign_compact
from yinxin_proto.keybinding import bind, confirmation_key, verify_key_binding
from yinxin_proto.sdjwt import SD, SdJwt, issue, parse
from yinxin_proto.strict import Json, canonical_json
from yinxin_proto.suite import ES256

HOLDER = HOLDER_KEY.public_key
AUDIENCE = "https://window.example"
NONCE = "n-1"


def presentation() -> SdJwt:
    claims = {
        "iss": "x",
        "a": SD(1),
        "b": SD(2),
        "cnf": {"jwk": ES256.public_to_jwk(HOLDER)},
    }
    return parse(issue(claims, signer=ISSUER_KEY, entropy=SeededEntropy(1)).to_text())


def bound(issued_at: datetime = EPOCH) -> SdJwt:
    text = bind(
        presentation(), signer=HOLDER_KEY, audience=AUDIENCE, nonce=NONCE, issued_at=issued_at
    )
    return parse(text)


def check(sd_jwt: SdJwt, **changes: Json) -> None:
    expected: dict[str, Any] = {
        "audience": AUDIENCE,
        "nonce": NONCE,
        "now": EPOCH + timedelta(seconds=30),
        "max_age": timedelta(minutes=5),
    }
    verify_key_binding(sd_jwt, changes.pop("key", HOLDER), **{**expected, **changes})


def reason_of(sd_jwt: SdJwt, **changes: Json) -> str:
    with pytest.raises(YinxinError) as caught:
        check(sd_jwt, **changes)
    return caught.value.reason


def forged(typ: str = "kb+jwt", **changes: Json) -> SdJwt:
    """A binding by the holder's own key with other claims; None removes one."""
    token = bound()
    claims = verify_key_binding(
        token, HOLDER, audience=AUDIENCE, nonce=NONCE, now=EPOCH, max_age=timedelta(1)
    ).claims
    changed = {name: v for name, v in {**claims, **changes}.items() if v is not None}
    payload = canonical_json(changed)
    text = token.to_text(key_binding=False)
    return parse(text + sign_compact(HOLDER_KEY, typ=typ, payload=payload))


def test_a_bound_presentation_verifies() -> None:
    token = bound()
    verified = token.verify(ISSUER_KEY.public_key)
    key = confirmation_key(verified.claims)
    assert key == HOLDER
    check(token)


def test_the_issuer_signature_does_not_depend_on_the_binding() -> None:
    assert bound().issuer_jwt == presentation().issuer_jwt


def test_a_presentation_without_binding_is_refused() -> None:
    assert reason_of(presentation()) == "KEY_BINDING_MISSING"


def test_a_binding_by_another_key_is_refused() -> None:
    assert reason_of(bound(), key=STRANGER_KEY.public_key) == "SIGNATURE"


def test_a_binding_for_another_audience_is_refused() -> None:
    assert reason_of(bound(), audience="https://other.example") == "KEY_BINDING_AUDIENCE"


def test_a_binding_for_another_nonce_is_refused() -> None:
    assert reason_of(bound(), nonce="n-2") == "KEY_BINDING_NONCE"


@pytest.mark.parametrize("asked", ["\ud800", "n-1\udcff"])
def test_a_question_that_is_no_unicode_text_is_answered_all_the_same(asked: str) -> None:
    assert reason_of(bound(), nonce=asked) == "KEY_BINDING_NONCE"


def test_a_binding_under_fewer_disclosures_is_refused() -> None:
    whole = bound()
    fewer = whole.select(lambda path: path == ("a",))
    moved = parse(fewer.to_text() + str(whole.key_binding))
    assert reason_of(moved) == "KEY_BINDING_HASH"


def test_binding_again_replaces_the_binding() -> None:
    again = bind(bound(), signer=HOLDER_KEY, audience="other", nonce="n", issued_at=EPOCH)
    check(parse(again), audience="other", nonce="n")


def test_a_binding_that_is_too_old_is_refused() -> None:
    assert reason_of(bound(), now=EPOCH + timedelta(minutes=6)) == "KEY_BINDING_AGE"
    check(bound(), now=EPOCH + timedelta(minutes=5))


def test_a_binding_from_the_future_is_refused_beyond_the_leeway() -> None:
    assert reason_of(bound(), now=EPOCH - timedelta(seconds=61)) == "KEY_BINDING_AGE"
    check(bound(), now=EPOCH - timedelta(seconds=60))


def test_a_binding_of_another_type_is_refused() -> None:
    assert reason_of(forged(typ="JWT")) == "TYP"


@pytest.mark.parametrize("name", ["aud", "nonce", "sd_hash"])
@pytest.mark.parametrize("value", [None, 1, [AUDIENCE]])
def test_a_binding_with_a_claim_of_another_form_is_refused(name: str, value: Json) -> None:
    assert reason_of(forged(**{name: value})) == "KEY_BINDING_FORM"


@pytest.mark.parametrize("value", [None, "1", True, 1e300])
def test_a_binding_without_a_moment_is_refused(value: Json) -> None:
    assert reason_of(forged(iat=value)) == "NUMERIC_DATE"


@pytest.mark.parametrize("text", ["x", "a.b", "a.b.c", "e30.e30.AA", f"{'a' * 5000}.b.c"])
def test_a_binding_that_is_no_jwt_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        check(parse(presentation().to_text() + text))


def test_the_issuer_token_is_no_binding() -> None:
    token = presentation()
    with pytest.raises(VerificationError) as caught:
        check(parse(token.to_text() + token.issuer_jwt), key=ISSUER_KEY.public_key)
    assert caught.value.reason == "TYP"


def test_no_confirmation_is_no_key() -> None:
    assert confirmation_key({"iss": "x"}) is None


@pytest.mark.parametrize(
    "cnf", [None, {}, {"kid": "x"}, {"jwk": 1}, [], {"jwk": {"kty": "oct", "k": "AA"}}]
)
def test_a_confirmation_that_is_no_key_is_refused(cnf: Json) -> None:
    with pytest.raises(MalformedError):
        confirmation_key({"cnf": cnf})
