"""Receipts: proof that an entry is in a log, checked offline (C2SP tlog-proof).

::

    c2sp.org/tlog-proof@v1
    extra <base64>                       (optional, not authenticated)
    index <decimal>
    <base64 hash>                        (one per line, from the leaf's sibling up)
                                         (an empty line)
    <the signed checkpoint, verbatim>
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Final

from yinxin_proto import checkpoint
from yinxin_proto.checkpoint import UnverifiedCheckpoint, VerifiedCheckpoint
from yinxin_proto.error import MalformedError
from yinxin_proto.merkle import (
    HASH_SIZE,
    MAX_PROOF_HASHES,
    MAX_TREE_SIZE,
    leaf_hash,
    verify_inclusion,
)
from yinxin_proto.note import MAX_NOTE_BYTES
from yinxin_proto.vkey import b64_decode, b64_encode

MEDIA_SUFFIX: Final = ".tlog-proof"
MAX_EXTRA_BYTES: Final = 1 << 16
MAX_RECEIPT_BYTES: Final = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES

_HEADER: Final = "c2sp.org/tlog-proof@v1\n"
_HASH_LINE: Final = 45
_HASH_SIZES: Final = {HASH_SIZE}
# One pass over the whole text before the checkpoint. The last character before
# the padding of 32 bytes has two unused bits, which must be zero.
_FORMAT: Final = re.compile(
    rb"c2sp\.org/tlog-proof@v1\n"
    rb"(?:extra (?P<extra>[A-Za-z0-9+/]+={0,2})\n)?"
    rb"index (?P<index>0|[1-9][0-9]{0,18})\n"
    rb"(?P<hashes>(?:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\n){0,%d})"
    rb"\n" % MAX_PROOF_HASHES
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Where an entry is in a log, and the path from it to a signed checkpoint.

    Raises:
        MalformedError: A field that cannot be written (``RECEIPT``).
    """

    index: int
    """Zero-based position in the log."""
    proof: tuple[bytes, ...]
    """Audit path from the leaf's sibling up, 32 bytes each."""
    checkpoint: bytes
    """The signed note, verbatim."""
    extra: bytes = b""
    """Opaque and not authenticated; empty: no such line."""

    def __post_init__(self) -> None:
        if not 0 <= self.index < MAX_TREE_SIZE or len(self.extra) > MAX_EXTRA_BYTES:
            raise MalformedError("receipt: index or extra out of bounds", reason="RECEIPT")
        sizes = set(map(len, self.proof))
        if len(self.proof) > MAX_PROOF_HASHES or not sizes <= _HASH_SIZES:
            raise MalformedError("receipt: at most 64 hashes of 32 bytes", reason="RECEIPT")

    def to_bytes(self) -> bytes:
        """Return the receipt; the exact inverse of `parse`."""
        extra = f"extra {b64_encode(self.extra)}\n" if self.extra else ""
        hashes = "".join([b64_encode(sibling) + "\n" for sibling in self.proof])
        head = f"{_HEADER}{extra}index {self.index}\n{hashes}\n"
        return head.encode("ascii") + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> Receipt:
        """Parse a receipt of at most 384 KiB. The checkpoint is not looked into.

        Raises:
            MalformedError: Not a receipt (``RECEIPT``, ``BASE64``), or over a bound
                (``TOO_LARGE``).
        """
        if len(data) > MAX_RECEIPT_BYTES:
            raise MalformedError("receipt: more than 384 KiB", reason="TOO_LARGE")
        match = _FORMAT.match(data)
        if match is None:
            raise MalformedError(
                "receipt: header, index, hashes and an empty line are expected", reason="RECEIPT"
            )
        lines, extra = match["hashes"], match["extra"]
        decode = binascii.a2b_base64
        return cls(
            index=int(match["index"]),
            proof=tuple([decode(lines[at : at + 44]) for at in range(0, len(lines), _HASH_LINE)]),
            checkpoint=data[match.end() :],
            extra=b"" if extra is None else b64_decode(extra.decode("ascii")),
        )

    def parse_checkpoint(self) -> UnverifiedCheckpoint:
        """Parse the checkpoint. Many receipts carry the same one: verify it once.

        Raises:
            MalformedError: Not a signed checkpoint; see `checkpoint.parse`.
        """
        return checkpoint.parse(self.checkpoint)

    def verify(self, entry: bytes, verified: VerifiedCheckpoint) -> None:
        """Check that the log holds ``entry`` at ``index``.

        Args:
            entry: Exact bytes logged; see `leaf`.
            verified: The receipt's own checkpoint, verified; another one of
                the same tree does as well.

        Raises:
            VerificationError: It is not there; see `merkle.verify_inclusion`.
        """
        verify_inclusion(leaf_hash(entry), self.index, self.proof, verified.head)
