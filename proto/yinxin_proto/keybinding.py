"""Key binding: the holder's own signature under a presentation (RFC 9901 §4.3, §7.3).

A key-binding JWT (``typ: kb+jwt``) says that whoever presents the token holds
the key that the issuer confirmed in it (``cnf``), for this audience, this
nonce and exactly these disclosures.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from yinxin_proto.error import MalformedError, VerificationError
from yinxin_proto.jose import parse_compact, sign_compact
from yinxin_proto.numericdate import read_moment, to_seconds
from yinxin_proto.sdjwt import SdJwt
from yinxin_proto.signature import PublicKey, Signer
from yinxin_proto.strict import Json, b64url_encode, canonical_json, parse_json_object
from yinxin_proto.suite import public_from_jwk

TYP: Final = "kb+jwt"
MAX_BYTES: Final = 4096
"""Bound on a key-binding JWT."""
DEFAULT_LEEWAY: Final = timedelta(seconds=60)
"""How far ahead of ours a holder's clock may be."""


@dataclass(frozen=True, slots=True)
class KeyBinding:
    """What a key-binding JWT that held has said."""

    issued_at: datetime
    """When the holder signed, by the holder's clock, in UTC."""
    claims: dict[str, Json]
    """All its claims."""


def confirmation_key(claims: Mapping[str, Json]) -> PublicKey | None:
    """Return the holder's key that the issuer confirmed (RFC 7800 §3.2).

    Args:
        claims: Claims of a verified token.

    Returns:
        The key of ``cnf.jwk``, or None where the token confirms none.

    Raises:
        MalformedError: ``cnf`` is there but is not such a key.
    """
    confirmation = claims.get("cnf")
    if confirmation is None and "cnf" not in claims:
        return None
    jwk = confirmation.get("jwk") if isinstance(confirmation, dict) else None
    if not isinstance(jwk, dict):
        raise MalformedError("SD-JWT: cnf holds no jwk", reason="CONFIRMATION_KEY")
    return public_from_jwk(jwk)


def bind(sd_jwt: SdJwt, *, signer: Signer, audience: str, nonce: str, issued_at: datetime) -> str:
    """Return the presentation with a key binding appended.

    Args:
        sd_jwt: What is presented; a binding that it had is replaced.
        signer: The holder's key, the one in ``cnf``.
        audience: Whom it is for, as the verifier calls itself.
        nonce: The verifier's own, fresh for this presentation.
        issued_at: Now, timezone-aware.
    """
    text = sd_jwt.to_text(key_binding=False)
    payload = {
        "iat": to_seconds(issued_at),
        "aud": audience,
        "nonce": nonce,
        "sd_hash": _sd_hash(sd_jwt, text),
    }
    return text + sign_compact(signer, typ=TYP, payload=canonical_json(payload))


def verify_key_binding(
    sd_jwt: SdJwt,
    key: PublicKey,
    *,
    audience: str,
    nonce: str,
    now: datetime,
    max_age: timedelta,
    leeway: timedelta = DEFAULT_LEEWAY,
) -> KeyBinding:
    """Check the key binding of a presentation (§7.3 steps 3 to 5).

    Args:
        sd_jwt: The presentation.
        key: The holder's key, from the ``cnf`` of the *verified* token.
        audience: How this verifier calls itself.
        nonce: The one that this verifier gave out for this presentation.
        now: The moment of verification, timezone-aware.
        max_age: How long ago it may have been signed.
        leeway: How far in the future ``iat`` may lie.

    Raises:
        MalformedError: Not a JWT, or a claim of another type
            (``KEY_BINDING_FORM``).
        VerificationError: ``KEY_BINDING_MISSING``, another type (``TYP``),
            another algorithm, a signature that does not hold, or
            ``KEY_BINDING_AUDIENCE``, ``_NONCE``, ``_HASH``, ``_AGE``.
    """
    if sd_jwt.key_binding is None:
        raise VerificationError("SD-JWT: no key binding", reason="KEY_BINDING_MISSING")
    jws = parse_compact(sd_jwt.key_binding, max_bytes=MAX_BYTES)
    jws.verify(key, typ=TYP)
    claims = parse_json_object(jws.payload, max_bytes=MAX_BYTES)
    expected = {
        "aud": (audience, "KEY_BINDING_AUDIENCE"),
        "nonce": (nonce, "KEY_BINDING_NONCE"),
        "sd_hash": (_sd_hash(sd_jwt, sd_jwt.to_text(key_binding=False)), "KEY_BINDING_HASH"),
    }
    for name, (value, reason) in expected.items():
        found = claims.get(name)
        if type(found) is not str:
            raise MalformedError(f"key binding: {name} is no string", reason="KEY_BINDING_FORM")
        # What the verifier asked may hold half a surrogate pair; no claim does.
        if not hmac.compare_digest(found.encode(), value.encode("utf-8", "surrogatepass")):
            raise VerificationError(f"key binding: another {name}", reason=reason)
    issued_at = read_moment(claims, "iat")
    if not -leeway <= now - issued_at <= max_age:
        raise VerificationError("key binding: too old or not yet", reason="KEY_BINDING_AGE")
    return KeyBinding(issued_at, claims)


def _sd_hash(sd_jwt: SdJwt, text: str) -> str:
    return b64url_encode(sd_jwt.hashing(text.encode("ascii")).digest())
