"""The faults that the specification authors' own library lets pass.

Each token is accepted by ``sd-jwt`` 0.10.4 and refused here, for a reason of
its own: when a release of theirs refuses one too, this test says so.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from jwcrypto.jwk import JWK
from sd_jwt.verifier import SDJWTVerifier

from support.clock import EPOCH
from support.forge import ISSUER_KEY, digest, disclosure, token
from yinxin_proto.error import YinxinError
from yinxin_proto.sdjwt import check_validity, parse
from yinxin_proto.suite import ES256

KEY = ISSUER_KEY.public_key
NAMED_SD = disclosure("salt", "_sd", "x")
NAMED_DOTS = disclosure("salt", "...", "x")
SHARED = disclosure("salt", 1)
PAST = int((EPOCH - timedelta(days=1)).timestamp())
FUTURE = int((EPOCH + timedelta(days=1)).timestamp())

FAULTS = {
    "EXPIRED": token({"exp": PAST}),
    "NOT_YET_VALID": token({"nbf": FUTURE}),
    "UNREFERENCED_DISCLOSURE": token({"iss": "x"}, [disclosure("salt", "a", 1)]),
    "RESERVED_CLAIM_SD": token({"_sd": [digest(NAMED_SD)]}, [NAMED_SD]),
    "RESERVED_CLAIM_DOTS": token({"_sd": [digest(NAMED_DOTS)]}, [NAMED_DOTS]),
    "DUPLICATE_DIGEST": token(
        {"a": [{"...": digest(SHARED)}], "b": [{"...": digest(SHARED)}]}, [SHARED]
    ),
    "TYP": token({"iss": "x"}, typ="JWT"),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_each_fault_that_the_reference_accepts_is_refused_for_its_own_reason(reason: str) -> None:
    jwk = JWK(**ES256.public_to_jwk(KEY))
    SDJWTVerifier(FAULTS[reason], lambda *_: jwk).get_verified_payload()
    with pytest.raises(YinxinError) as caught:
        check_validity(parse(FAULTS[reason]).verify(KEY).claims, EPOCH)
    assert caught.value.reason == reason
