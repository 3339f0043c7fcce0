"""Decoys that their issuer can account for.

A decoy hides which optional fields a licence lacks (RFC 9901 §4.2.7), and a
thief who issues through the service could put the digest of a field of his own
in its place: nobody sees a difference. So each decoy follows from what the
region alone has, and whoever holds the log against the approvals makes them
anew: a digest that is neither shown nor one of these hides something.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from yinxin_proto.concealment import MAX_DECOYS
from yinxin_proto.disclosure import Hash, encode_each

_LABEL: Final = b"yinxin/decoy/v1\0"
# No disclosure begins so: it is base64url. A text that were both could be opened.
_PREFIX: Final = b"."


def decoy_texts(licence_ref: bytes, salt: bytes, count: int) -> tuple[bytes, ...]:
    """Return the secret texts of which a licence's decoys are the hashes.

    Args:
        licence_ref: The licence's reference, which never leaves the region.
        salt: Of the log's leaf, which leaves the licence's holder only with it.
        count: How many.
    """
    secret = sha256(_LABEL + licence_ref + salt)
    texts = []
    for place in range(count):
        one = secret.copy()
        one.update(place.to_bytes(2, "big"))
        texts.append(_PREFIX + one.hexdigest().encode("ascii"))
    return tuple(texts)


def decoy_digests(licence_ref: bytes, salt: bytes, hashing: Hash) -> frozenset[str]:
    """Return every digest that is a decoy of a licence, as its payload spells them."""
    texts = decoy_texts(licence_ref, salt, MAX_DECOYS)
    return frozenset(encode_each([hashing(text).digest() for text in texts]))
