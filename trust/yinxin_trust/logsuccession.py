"""One log under successive keys: the tree goes on, the origin's last part counts up.

A receipt shows the origin under which its checkpoint was signed. The trust list
names every epoch's key, and at which size an epoch was closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection, update

from yinxin_ca.keystore import KeyRef
from yinxin_proto import checkpoint as checkpoint_format
from yinxin_proto.checkpoint import Checkpoint
from yinxin_proto.error import FailedPreconditionError, IntegrityError
from yinxin_proto.merkle import TreeHead
from yinxin_proto.note import LineSigner
from yinxin_proto.vkey import VerifierKey
from yinxin_trust import log_statement as statement
from yinxin_trust import schema
from yinxin_trust.keyinventory import KeyVersion
from yinxin_trust.keystage import Stage
from yinxin_trust.ledger import no_such_log

SUITE: Final = "Ed25519"


def series_of(origin: str) -> str:
    """Return what the origins of all epochs of one log have in common."""
    return origin.rpartition("/")[0]


def epoch_of(origin: str) -> int:
    """Return the epoch that an origin of ours names.

    Raises:
        IntegrityError: It names none (``ORIGIN``).
    """
    text = origin.rpartition("/")[2]
    if not (text.isascii() and text.isdigit()):
        raise IntegrityError(f"the log {origin} names no epoch", reason="ORIGIN")
    return int(text)


def log_key_version(ref: KeyRef, vkey: VerifierKey, certificate: bytes | None = None) -> KeyVersion:
    """Return what is recorded of a log's key.

    Args:
        ref: Its name.
        vkey: Its public half.
        certificate: Of the epoch's cosigner, DER; see `logcosigner`.
    """
    key = Ed25519PublicKey.from_public_bytes(vkey.public_key)
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return KeyVersion(
        ref=ref,
        suite=SUITE,
        stage=Stage.ACTIVE,
        thumbprint=sha256(spki).digest(),
        public=vkey.to_text().encode("ascii"),
        chain=() if certificate is None else (certificate,),
    )


def succeed(
    conn: Connection,
    log_number: int,
    origin: str,
    signer: LineSigner,
    cosigners: Sequence[LineSigner] = (),
) -> TreeHead:
    """Let a log go on under another origin and key, from the head that is committed.

    Must run inside a write transaction, of whoever holds the log's lease: that
    nobody else signs meanwhile is what keeps two epochs one history.

    Returns:
        The head at which the epoch before is closed.

    Raises:
        FailedPreconditionError: The head is not signed yet: the epoch before
            must have signed all that is its own (``LOG_UNSIGNED``).
        IntegrityError: The head and its checkpoint contradict each other
            (``CHECKPOINT_HEAD``), or the origin is another log's (``ORIGIN``).
    """
    row = conn.execute(statement.LOCK_HEAD, {"log": log_number}).one_or_none()
    if row is None:
        raise no_such_log(log_number)
    head = TreeHead(row.size, bytes(row.root))
    if row.signed_size != row.size:
        raise FailedPreconditionError(
            "the log's head waits for its signature; try again in a moment", reason="LOG_UNSIGNED"
        )
    if checkpoint_format.parse(bytes(row.checkpoint)).claimed.head != head:
        raise IntegrityError(
            "the log's head and its stored checkpoint contradict each other",
            reason="CHECKPOINT_HEAD",
        )
    if series_of(origin) != series_of(row.origin) or epoch_of(origin) <= epoch_of(row.origin):
        raise IntegrityError(f"{origin} does not succeed {row.origin}", reason="ORIGIN")
    note = Checkpoint(origin=origin, size=head.size, root=head.root).sign([signer, *cosigners])
    h = schema.log_head
    conn.execute(
        update(h)
        .where(h.c.log_number == log_number, h.c.size == head.size, h.c.origin == row.origin)
        .values(origin=origin, checkpoint=note)
    )
    return head
