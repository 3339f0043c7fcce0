"""Cosignatures: a witness vouches for a checkpoint (C2SP tlog-cosignature).

It states that the tree extends every tree of this log that it saw before. A
line's signature is a big-endian u64 time and an Ed25519 or ML-DSA-44
signature. Ed25519 covers the time and the whole note text; ML-DSA-44 covers
the cosigner's name, the time, the origin and the tree head, and no extension
lines. ML-DSA signing is hedged, so its bytes differ each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA44PrivateKey,
    MLDSA44PublicKey,
)

from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.clock import Clock
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.merkle import HASH_SIZE
from yinxin_proto.mldsa import ML_DSA_44
from yinxin_proto.note import NoteSignature, ed25519_verify
from yinxin_proto.signature import Signer
from yinxin_proto.vkey import SignatureType, VerifierKey

TIME_BYTES: Final = 8
MAX_TIME: Final = (1 << 63) - 1

_SIGNATURE_BYTES: Final = {64, 2420}
"""Ed25519, ML-DSA-44."""


@dataclass(frozen=True, slots=True)
class Cosignature:
    """The content of a cosignature line."""

    time: int
    """Unix seconds, by the witness's own clock. 0 (ML-DSA-44 alone may) states
    nothing about when; neither does a time in the future."""
    signature: bytes

    def to_bytes(self) -> bytes:
        """Return the u64 time and the signature."""
        return self.time.to_bytes(TIME_BYTES, "big") + self.signature


def read(line: bytes) -> Cosignature:
    """Parse what follows the key ID of a cosignature line.

    Raises:
        MalformedError: Another length, or a time beyond 2^63-1 (``COSIGNATURE``).
    """
    time, signature = int.from_bytes(line[:TIME_BYTES], "big"), line[TIME_BYTES:]
    if len(signature) not in _SIGNATURE_BYTES or time > MAX_TIME:
        raise MalformedError("cosignature: not a time and a signature", reason="COSIGNATURE")
    return Cosignature(time, signature)


def ed25519_message(time: int, text: bytes) -> bytes:
    """Return what type 04 signs: a header, the time, and the checkpoint's text."""
    return b"cosignature/v1\ntime %d\n%b" % (time, text)


def subtree_message(
    *, cosigner: str, time: int, origin: str, start: int, end: int, root: bytes
) -> bytes:
    """Return what type 06 signs over the leaves [start, end) of a log.

    Args:
        cosigner: Key name, 1 … 255 bytes.
        time: Unix seconds; must be 0 unless ``start`` is 0.
        origin: The log's origin, 1 … 255 bytes.
        start: First leaf; 0 for a checkpoint.
        end: Behind the last leaf; a checkpoint's size.
        root: Merkle tree hash of those leaves, 32 bytes.

    Raises:
        InvalidArgumentError: A field that does not fit (``COSIGNATURE``).
    """
    names = [cosigner.encode("utf-8"), origin.encode("utf-8")]
    if (
        not all(1 <= len(name) <= 255 for name in names)
        or not 0 <= start <= end <= MAX_TIME
        or not 0 <= time <= (0 if start else MAX_TIME)
        or len(root) != HASH_SIZE
    ):
        raise InvalidArgumentError("cosignature: a field does not fit", reason="COSIGNATURE")
    name, log = (bytes([len(raw)]) + raw for raw in names)
    numbers = start.to_bytes(8, "big") + end.to_bytes(8, "big")
    return b"subtree/v1\n\x00" + name + time.to_bytes(8, "big") + log + numbers + root


def _checkpoint_message(cosigner: str, time: int, text: bytes) -> bytes:
    # A stray byte becomes a lone surrogate, which no line of a checkpoint may have.
    checkpoint = Checkpoint.parse_text(text.decode("utf-8", "surrogateescape"))
    return subtree_message(
        cosigner=cosigner,
        time=time,
        origin=checkpoint.origin,
        start=0,
        end=checkpoint.size,
        root=checkpoint.root,
    )


class CosignatureSigner:
    """Cosigns checkpoints, by a type-04 or type-06 key.

    Danger: it signs whatever text it is given. A witness checks consistency
    with the newest head it signed, and stores the new one, before it calls.

    Args:
        name: Key name of the witness.
        key: Ed25519 or ML-DSA-44, perhaps out of reach; for Ed25519 one that
            signs nothing else, since that message does not name the cosigner.
        clock: Gives the time stated.

    Raises:
        MalformedError: Not a key name (``KEY_NAME``), or a signer of another
            kind than ML-DSA-44 (``KEY``).
    """

    def __init__(
        self, *, name: str, key: Ed25519PrivateKey | MLDSA44PrivateKey | Signer, clock: Clock
    ) -> None:
        self._key = key
        self._clock = clock
        kind = SignatureType.ML_DSA_44_COSIGNATURE
        match key:
            case Ed25519PrivateKey():
                kind = SignatureType.ED25519_COSIGNATURE
                public = key.public_key().public_bytes_raw()
            case MLDSA44PrivateKey():
                public = key.public_key().public_bytes_raw()
            case _:
                public = ML_DSA_44.raw_public(key.public_key)
        self._vkey = VerifierKey(name, kind, public)

    @property
    def vkey(self) -> VerifierKey:
        """The key under which the lines verify."""
        return self._vkey

    def sign(self, text: bytes) -> NoteSignature:
        """Cosign a checkpoint's text; see `note.LineSigner.sign`."""
        time = int(self._clock.now().timestamp())
        if self._vkey.type is SignatureType.ED25519_COSIGNATURE:
            message = ed25519_message(time, text)
        else:
            message = _checkpoint_message(self._vkey.name, time, text)
        signed = Cosignature(time, self._key.sign(message))
        return NoteSignature(self._vkey.name, self._vkey.key_id, signed.to_bytes())


class CosignatureVerifier:
    """Verifies the lines of one witness, by a type-04 or type-06 key.

    Args:
        vkey: The witness's key, or its vkey text.

    Raises:
        MalformedError: Not a vkey, or of another type (``VKEY_TYPE``).
    """

    def __init__(self, vkey: VerifierKey | str) -> None:
        self._vkey = VerifierKey.parse(vkey) if isinstance(vkey, str) else vkey
        self._key: Ed25519PublicKey | MLDSA44PublicKey
        if self._vkey.type is SignatureType.ED25519_COSIGNATURE:
            self._key = Ed25519PublicKey.from_public_bytes(self._vkey.public_key)
        elif self._vkey.type is SignatureType.ML_DSA_44_COSIGNATURE:
            self._key = MLDSA44PublicKey.from_public_bytes(self._vkey.public_key)
        else:
            raise MalformedError("cosignature: not a witness's key", reason="VKEY_TYPE")

    @property
    def vkey(self) -> VerifierKey:
        """The key whose lines are judged."""
        return self._vkey

    def verify(self, text: bytes, signature: bytes) -> None:
        """Check one line over a checkpoint's text; see `note.LineVerifier.verify`.

        Raises:
            MalformedError: Not a time and a signature (``COSIGNATURE``), or a text
                that is no checkpoint (``CHECKPOINT``).
            VerificationError: Not this key's (``NOTE_SIGNATURE``).
        """
        stated = read(signature)
        if isinstance(self._key, Ed25519PublicKey):
            ed25519_verify(self._key, stated.signature, ed25519_message(stated.time, text))
            return
        message = _checkpoint_message(self._vkey.name, stated.time, text)
        try:
            self._key.verify(stated.signature, message)
        except InvalidSignature:
            raise VerificationError(
                "cosignature: it does not verify under this key", reason="NOTE_SIGNATURE"
            ) from None
