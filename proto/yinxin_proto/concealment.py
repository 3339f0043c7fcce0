"""Concealment: what an issuer hides in an SD-JWT (RFC 9901 §4.2, §5).

Claims are written as a tree in which ``SD(value)`` marks what the holder may
withhold. Each mark becomes a disclosure with a salt of its own and leaves a
digest behind; digests are sorted, which says nothing about the claims' order,
and decoys among them hide how many claims there are.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring
from typing import Final

from yinxin_proto.clock import Entropy
from yinxin_proto.disclosure import (
    DEFAULT_HASH,
    DIGESTS,
    DOTS,
    HASH_NAME,
    RESERVED,
    Hash,
    encode_each,
    hash_function,
)
from yinxin_proto.error import InvalidArgumentError
from yinxin_proto.strict import Json, b64url_encode

TYP: Final = "dc+sd-jwt"
"""Type of an SD-JWT VC (draft-ietf-oauth-sd-jwt-vc §2.2.1)."""
NEVER_CONCEALED: Final = frozenset({"iss", "nbf", "exp", "cnf", "vct", "vct#integrity", "status"})
"""What an SD-JWT VC must not conceal (its §2.2.2.2): a holder who could leave
out ``exp`` or ``status`` would outlive both."""

SALT_BYTES: Final = 16
MAX_DECOYS: Final = 64
_SALTS_AT_ONCE: Final = 16
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_SCALARS: Final = frozenset({str, int, bool, float, type(None)})

ENCODE_JSON: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode
"""Compact JSON in the order given: what is hashed and signed travels as it is."""


class SD:
    """Marks the value of a member, or an element of an array, as disclosable.

    Marks may nest: what an outer mark hides can hold marks of its own, and
    then both disclosures are needed to show the inner value (§6.3).
    """

    __slots__ = ("value",)

    def __init__(self, value: Json) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "SD(…)"


class _Concealment:
    """One tree of claims being concealed."""

    __slots__ = ("_entropy", "_hashing", "_salts", "encoded")

    def __init__(self, entropy: Entropy, hashing: Hash) -> None:
        self.encoded: list[str] = []
        self._entropy = entropy
        self._hashing = hashing
        self._salts: list[str] = []

    def decoys(self, count: int) -> list[bytes]:
        """Return random texts; nothing tells the hash of one from a disclosure's."""
        return [self._salt().encode("ascii") for _ in range(count)]

    def object(self, claims: Mapping[str, Json], decoys: Sequence[bytes] = ()) -> dict[str, Json]:
        concealed: dict[str, Json] = {}
        # §4.2.7: a decoy is the hash of what nobody can guess, so that nothing tells it apart.
        hashes = [self._hashing(text).digest() for text in decoys]
        if not RESERVED.keys().isdisjoint(claims):
            name = next(name for name in claims if name in RESERVED)
            raise InvalidArgumentError(
                f"SD-JWT: no claim may be named {name}", reason=RESERVED[name]
            )
        for name, value in claims.items():
            kind = type(value)
            if kind is SD:
                hashes.append(self._disclosure(f"{encode_basestring(name)},", value.value))
            else:
                concealed[name] = value if kind in _SCALARS else self.value(value)
        if hashes:
            concealed[DIGESTS] = sorted(encode_each(hashes))
        return concealed

    def value(self, value: Json) -> Json:
        kind = type(value)
        if kind is dict:
            return self.object(value)
        if kind is list or kind is tuple:
            return [
                {DOTS: b64url_encode(self._disclosure("", element.value))}
                if type(element) is SD
                else self.value(element)
                for element in value
            ]
        if kind is SD:
            raise InvalidArgumentError("SD-JWT: a mark directly within a mark", reason="CLAIMS")
        return value

    def _disclosure(self, name: str, value: Json) -> bytes:
        """Add a disclosure; return its hash.

        Args:
            name: As JSON, with a comma; empty for an element of an array.
            value: What is withheld.
        """
        text = encode_basestring(value) if type(value) is str else ENCODE_JSON(self.value(value))
        salt = self._salts.pop() if self._salts else self._salt()
        data = f'["{salt}",{name}{text}]'.encode()
        # As `b64url_encode`, but both the bytes and the text are wanted.
        encoded = b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL)
        self.encoded.append(encoded.decode("ascii"))
        return self._hashing(encoded).digest()

    def _salt(self) -> str:
        if not self._salts:
            # Few calls, large pieces: the kernel is asked once for most licences.
            pool = self._entropy.token(SALT_BYTES * _SALTS_AT_ONCE)
            self._salts = encode_each(
                [pool[at : at + SALT_BYTES] for at in range(0, len(pool), SALT_BYTES)]
            )
        return self._salts.pop()


def conceal(
    claims: Mapping[str, Json],
    *,
    entropy: Entropy,
    decoys: int | Sequence[bytes] = 0,
    hash_name: str = DEFAULT_HASH,
) -> tuple[dict[str, Json], tuple[str, ...]]:
    """Replace every ``SD`` mark of ``claims`` by a digest.

    Args:
        claims: The claims; objects as dict, arrays as list or tuple.
        entropy: Source of 128-bit salts.
        decoys: Number of digests at the top level that stand for nothing, or
            the secret texts of which they are the hashes, for an issuer who
            is to show one day that nothing is behind them; at most 64.
        hash_name: What hashes the disclosures; the ``_sd_alg`` of the issuer's suite.

    Returns:
        The payload, with ``_sd_alg`` where it holds digests, and the
        disclosures as they travel, those within others first.

    Raises:
        InvalidArgumentError: A reserved name, a mark directly within a mark,
            or a value that JSON cannot express (``CLAIMS``).
    """
    count = decoys if isinstance(decoys, int) else len(decoys)
    if not 0 <= count <= MAX_DECOYS:
        raise InvalidArgumentError(f"SD-JWT: 0 to {MAX_DECOYS} decoys", reason="DECOYS")
    concealment = _Concealment(entropy, hash_function(hash_name))
    texts = concealment.decoys(decoys) if isinstance(decoys, int) else decoys
    try:
        payload = concealment.object(claims, texts)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(
            "SD-JWT: a claim that JSON cannot express", reason="CLAIMS"
        ) from error
    if count or concealment.encoded:
        payload[HASH_NAME] = hash_name
    return payload, tuple(concealment.encoded)
