"""Checkpoints: a log's signed statement of its head (C2SP tlog-checkpoint).

The note's text is the log's origin, the tree's size and the root, a line each.
Our logs name their key by their origin, so a checkpoint that another log's key
signed is refused whatever it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from yinxin_proto import note
from yinxin_proto.error import InvalidArgumentError, MalformedError, VerificationError
from yinxin_proto.merkle import HASH_SIZE, MAX_TREE_SIZE, TreeHead
from yinxin_proto.note import LineSigner, LineVerifier, NoteSignature, UnverifiedNote
from yinxin_proto.vkey import MAX_NAME_BYTES, SignatureType, VerifierKey, b64_decode, b64_encode

MAX_EXTENSIONS: Final = 16
MAX_EXTENSION_BYTES: Final = 1024

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_LINE: Final = re.compile(r"[^\x00-\x1f\ud800-\udfff]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a checkpoint says, signed or not.

    Raises:
        MalformedError: A field that cannot be written as its line (``CHECKPOINT``).
    """

    origin: str
    """The log's identity, e.g. ``example.org/log/350300/licences/1``."""
    size: int
    """Number of leaves."""
    root: bytes
    """Merkle tree hash, 32 bytes."""
    extensions: tuple[str, ...] = ()
    """Opaque further lines; our logs write none."""

    def __post_init__(self) -> None:
        if not _is_line(self.origin, MAX_NAME_BYTES):
            raise MalformedError("checkpoint: not an origin", reason="CHECKPOINT")
        if not 0 <= self.size <= MAX_TREE_SIZE:
            raise MalformedError("checkpoint: not a tree size", reason="CHECKPOINT")
        if len(self.root) != HASH_SIZE:
            raise MalformedError("checkpoint: the root is not 32 bytes", reason="CHECKPOINT")
        if len(self.extensions) > MAX_EXTENSIONS or not all(
            _is_line(line, MAX_EXTENSION_BYTES) for line in self.extensions
        ):
            raise MalformedError("checkpoint: not extension lines", reason="CHECKPOINT")

    @property
    def head(self) -> TreeHead:
        """The tree head, for proofs."""
        return TreeHead(self.size, self.root)

    def to_text(self) -> str:
        """Return the note's text."""
        lines = [self.origin, str(self.size), b64_encode(self.root), *self.extensions]
        return "".join([line + "\n" for line in lines])

    @classmethod
    def parse_text(cls, text: str) -> Checkpoint:
        """Parse a note's text; the exact inverse of `to_text`.

        Raises:
            MalformedError: Not a checkpoint (``CHECKPOINT``, ``BASE64``).
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop():
            raise MalformedError("checkpoint: three lines are expected", reason="CHECKPOINT")
        origin, size, root, *extensions = lines
        if _SIZE.fullmatch(size) is None:
            raise MalformedError("checkpoint: not a tree size", reason="CHECKPOINT")
        return cls(
            origin=origin, size=int(size), root=b64_decode(root), extensions=tuple(extensions)
        )

    def sign(self, signers: Sequence[LineSigner]) -> bytes:
        """Return the signed note.

        Danger: a log must never sign two trees of one size. Sign only a head
        that is committed, by whoever holds the lease on it.

        Args:
            signers: The log's own Ed25519 signer, and any cosigners.

        Raises:
            InvalidArgumentError: None of them is the log's own (``LOG_SIGNATURE``).
        """
        own = (self.origin, SignatureType.ED25519)
        if all((signer.vkey.name, signer.vkey.type) != own for signer in signers):
            raise InvalidArgumentError(
                "checkpoint: an Ed25519 signer named as the origin must sign",
                reason="LOG_SIGNATURE",
            )
        return note.sign(self.to_text(), signers)


def _is_line(text: str, max_bytes: int) -> bool:
    return _LINE.fullmatch(text) is not None and len(text.encode("utf-8")) <= max_bytes


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint that its log has signed."""

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...]
    """The verified lines: the log's own first, then the known cosigners'."""

    @property
    def origin(self) -> str:
        """The log's identity."""
        return self.checkpoint.origin

    @property
    def head(self) -> TreeHead:
        """The tree head that the log vouches for."""
        return self.checkpoint.head

    @property
    def cosignatures(self) -> tuple[NoteSignature, ...]:
        """The verified lines of witnesses (`cosignature.read` gives their times).

        A log may cosign its own checkpoints, under its origin as name: that
        witnesses nothing.
        """
        return tuple([line for line in self.signatures if line.name != self.origin])

    def is_signed_by(self, vkey: VerifierKey) -> bool:
        """Tell whether a line of ``vkey`` was verified."""
        wanted = (vkey.name, vkey.key_id)
        return any((line.name, line.key_id) == wanted for line in self.signatures)


@dataclass(frozen=True, slots=True)
class UnverifiedCheckpoint:
    """A well-formed checkpoint that nobody has vouched for yet."""

    claimed: Checkpoint
    """What somebody says that the log says."""
    note: UnverifiedNote

    def verify(
        self, log: LineVerifier, witnesses: Iterable[LineVerifier] = ()
    ) -> VerifiedCheckpoint:
        """Verify the log's own signature, and those of known witnesses.

        Args:
            log: The key that the trust list gives for this log: its Ed25519
                key, or its own ML-DSA-44 cosigner where that alone counts.
            witnesses: Keys whose lines are verified where present; whether
                they are enough is the caller's policy.

        Raises:
            VerificationError: Another log's checkpoint (``CHECKPOINT_ORIGIN``), no
                line by the log (``LOG_SIGNATURE``), or a line of the log or of a
                known witness that does not verify (``NOTE_SIGNATURE``).
        """
        if self.claimed.origin != log.vkey.name:
            raise VerificationError(
                "checkpoint: it is another log's, or of another epoch", reason="CHECKPOINT_ORIGIN"
            )
        own = (log.vkey.name, log.vkey.key_id)
        if all((line.name, line.key_id) != own for line in self.note.signatures):
            raise VerificationError(
                "checkpoint: the log itself has not signed it", reason="LOG_SIGNATURE"
            )
        verified = self.note.verify([log, *witnesses])
        return VerifiedCheckpoint(self.claimed, verified.signatures)


def parse(data: bytes) -> UnverifiedCheckpoint:
    """Parse a signed checkpoint.

    Raises:
        MalformedError: Not a signed note (see `note.parse`), or its text is not
            a checkpoint (``CHECKPOINT``, ``BASE64``).
    """
    parsed = note.parse(data)
    return UnverifiedCheckpoint(Checkpoint.parse_text(parsed.claimed_text), parsed)
