"""Public keys that nobody should rely on, as far as a public key shows it.

A small private exponent does not show in general, but the smallest ones do:
their points are known to everybody who counts.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from yinxin_proto.error import InvalidArgumentError, MalformedError
from yinxin_proto.es256 import ES256
from yinxin_proto.signature import PublicKey, Suite
from yinxin_proto.sm2 import SM2
from yinxin_proto.sm2provider import provider

MIN_RSA_BITS: Final = 2048
MIN_RSA_EXPONENT: Final = 65_537
GUESSABLE: Final = 256
"""Private scalars up to this one, and their negatives, are tried."""

_X: Final = slice(-64, -32)
"""Where x stands in the SubjectPublicKeyInfo of a 256-bit curve's point."""


def load_strong(spki: bytes, suite: Suite) -> PublicKey:
    """Load a key of ``suite`` that is not known to be weak.

    Raises:
        InvalidArgumentError: An RSA key that is too short or has a small
            exponent, a key on another curve, or one whose private half
            everybody knows (``KEY_WEAK``); a key of another suite, or none at
            all (``KEY_SUITE``).
    """
    try:
        key = suite.load_public(spki)
    except MalformedError as error:
        raise _other(spki, suite) from error
    if suite in (ES256, SM2) and key.spki[_X] in _guessable(suite.name):
        raise _weak("everybody knows the private key of this public key")
    return key


def _other(spki: bytes, suite: Suite) -> InvalidArgumentError:
    """Return what is wrong with a key that is not one of the suite."""
    try:
        key = load_der_public_key(spki)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            return _weak(f"an RSA key of fewer than {MIN_RSA_BITS} bits")
        if key.public_numbers().e < MIN_RSA_EXPONENT:
            return _weak(f"an RSA exponent below {MIN_RSA_EXPONENT}")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name != "secp256r1":
        return _weak(f"a key on the curve {key.curve.name}, which is not accepted")
    return InvalidArgumentError(
        f"the key is not one of {suite.name} in its one encoding; make one of that suite",
        reason="KEY_SUITE",
    )


@cache
def _guessable(name: str) -> frozenset[bytes]:
    scalars = range(1, GUESSABLE + 1)
    if name == ES256.name:
        keys = [ES256.load_deterministic(scalar).public_key for scalar in scalars]
    elif provider().find() is not None:
        keys = [SM2.load_scalar(scalar.to_bytes(32, "big")).public_key for scalar in scalars]
    else:
        # Without a library, no SM2 key is made or used here either.
        keys = []
    return frozenset(key.spki[_X] for key in keys)


def _weak(what: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{what}; generate another key", reason="KEY_WEAK")
