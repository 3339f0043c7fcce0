"""Suites: a hash, a signature and a key codec under one name.

A key belongs to exactly one suite. A verifier takes the suite from the key's
trust record and never from the message (that is how algorithm confusion
starts). A suite lives in a module of its own and adds one line to the table
here, so what a build can verify is read in one place.
"""

from __future__ import annotations

from typing import Final

from yinxin_proto.error import ConfigurationError, MalformedError
from yinxin_proto.es256 import ES256
from yinxin_proto.mldsa import ML_DSA_65
from yinxin_proto.signature import PublicKey, Signer, SigningKey, Suite
from yinxin_proto.sm2 import SM2

__all__ = [
    "ES256",
    "ML_DSA_65",
    "SM2",
    "PublicKey",
    "Signer",
    "SigningKey",
    "Suite",
    "names",
    "suite",
    "suite_of",
]

_REGISTRY: Final[dict[str, Suite]] = {entry.name: entry for entry in (ES256, SM2, ML_DSA_65)}
_JWKS: Final[dict[str, Suite]] = {
    "EC/P-256": ES256,
    "EC/SM2": SM2,
    "AKP/ML-DSA-65": ML_DSA_65,
}
"""By kty and crv, or alg where there is no curve."""


def suite(name: str) -> Suite:
    """Return the suite registered under ``name``.

    Raises:
        ConfigurationError: No such suite; the message lists those there are.
    """
    found = _REGISTRY.get(name)
    if found is None:
        raise ConfigurationError(
            f"unknown signature suite; this build has {', '.join(names())}",
            reason="UNKNOWN_SUITE",
        )
    return found


def names() -> tuple[str, ...]:
    """Return the names of the registered suites."""
    return tuple(_REGISTRY)


def suite_of(spki: bytes) -> Suite | None:
    """Return the suite of a key that is trusted as a whole, its kind included.

    For an anchor that an officer pinned; a message never says what its key is.
    """
    for entry in _REGISTRY.values():
        try:
            entry.load_public(spki)
        except MalformedError:
            continue
        return entry
    return None


def load_private(pkcs8: bytes) -> SigningKey:
    """Load a DER PKCS#8 private key of whichever suite it belongs to.

    For one's own key files alone: a private key says what it is, a message never may.

    Raises:
        MalformedError: A key of no suite of this build (``KEY``).
        ConfigurationError: An SM2 key, where the machine cannot use one.
    """
    for entry in _REGISTRY.values():
        try:
            return entry.load_private(pkcs8)
        except MalformedError:
            continue
    raise MalformedError("a private key of no suite of this build", reason="KEY")


def public_from_jwk(jwk: dict[str, object]) -> PublicKey:
    """Load a public JWK of whichever suite its ``kty``, ``crv`` and ``alg`` name.

    For a JWK that is itself the key's record, such as a ``cnf`` that an issuer signed.

    Raises:
        MalformedError: A key of no suite of this build, or a malformed one.
    """
    found = _JWKS.get(f"{jwk.get('kty')}/{jwk.get('crv', jwk.get('alg'))}")
    if found is None:
        raise MalformedError("the JWK is of no suite of this build", reason="KEY")
    return found.public_from_jwk(jwk)
