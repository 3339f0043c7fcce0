"""A log of a region as a verifier knows it: by which keys, until where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from yinxin_proto.checkpoint import UnverifiedCheckpoint, VerifiedCheckpoint
from yinxin_proto.cosignature import CosignatureVerifier
from yinxin_proto.error import VerificationError
from yinxin_proto.logkey import FrozenHead, LogKey
from yinxin_proto.merkle import TreeHead
from yinxin_proto.note import NoteVerifier
from yinxin_proto.vkey import SignatureType

_QUANTUM_SAFE: Final = SignatureType.ML_DSA_44_COSIGNATURE


class KnownLog:
    """A log of the region: its keys, its end if it has one, its head if we hold it.

    Args:
        log: What the trust list says of it.
        distrusts_ed25519: Whether the verifier itself counts ML-DSA alone.
    """

    __slots__ = (
        "_own",
        "closed_at",
        "cosigner",
        "frozen_at",
        "head",
        "is_broken",
        "kind",
        "origin",
    )

    def __init__(self, log: LogKey, *, distrusts_ed25519: bool = False) -> None:
        self.origin = log.origin
        self.kind = log.kind
        self.closed_at = _head(log.closed_at)
        self.frozen_at = _head(log.frozen_at)
        self.is_broken = log.ed25519_broken or distrusts_ed25519
        """Whether its Ed25519 key proves nothing."""
        self.cosigner = None if log.cosigner is None else CosignatureVerifier(log.cosigner.vkey)
        self.head: TreeHead | None = None
        """Of the checkpoint that we hold."""
        self._own = NoteVerifier(log.vkey)

    @property
    def anchor(self) -> TreeHead | None:
        """The largest of its trees that may be compared with: its end, or its newest head.

        Of a frozen log the trust list's word counts alone, whatever its key
        has signed since.
        """
        return self.frozen_at or self.closed_at or self.head

    def verify(
        self, claimed: UnverifiedCheckpoint, witnesses: Sequence[CosignatureVerifier]
    ) -> VerifiedCheckpoint:
        """Verify a checkpoint by the keys that count.

        Raises:
            VerificationError: As `UnverifiedCheckpoint.verify`; ``LOG_SIGNATURE``
                also where the log's Ed25519 key has signed and counts no more.
        """
        if not self.is_broken:
            others = witnesses if self.cosigner is None else (self.cosigner, *witnesses)
            return claimed.verify(self._own, others)
        if self.cosigner is None:
            raise VerificationError(
                "checkpoint: the log has no key that still counts", reason="LOG_SIGNATURE"
            )
        # What breaks the log's Ed25519 breaks its witnesses'.
        safe = [one for one in witnesses if one.vkey.type is _QUANTUM_SAFE]
        return claimed.verify(self.cosigner, safe)

    def is_cosigned(self, checkpoint: VerifiedCheckpoint) -> bool:
        """Tell whether the log's ML-DSA-44 key has signed a checkpoint."""
        return self.cosigner is not None and checkpoint.is_signed_by(self.cosigner.vkey)


def _head(end: FrozenHead | None) -> TreeHead | None:
    return None if end is None else TreeHead(end.size, end.root)
