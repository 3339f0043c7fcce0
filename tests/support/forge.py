"""SD-JWTs put together by hand: what no honest issuer would sign."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256

from yinxin_proto.jose import sign_compact
from yinxin_proto.strict import Json, b64url_encode
from yinxin_proto.suite import ES256, Signer

ISSUER_KEY = ES256.load_deterministic(0x1001)
HOLDER_KEY = ES256.load_deterministic(0x1002)
STRANGER_KEY = ES256.load_deterministic(0x1003)


def disclosure(*members: Json) -> str:
    """Encode a disclosure, whatever its members."""
    return b64url_encode(json.dumps(list(members), ensure_ascii=False).encode())


def digest(encoded: str) -> str:
    """The digest of a disclosure."""
    return b64url_encode(sha256(encoded.encode()).digest())


def token(
    payload: Mapping[str, Json],
    disclosures: Sequence[str] = (),
    *,
    signer: Signer = ISSUER_KEY,
    typ: str = "dc+sd-jwt",
) -> str:
    """Sign any payload and append any disclosures."""
    jwt = sign_compact(signer, typ=typ, payload=json.dumps(payload).encode())
    return "~".join([jwt, *disclosures, ""])
