"""What the region's own verifier believes: the state that the region has published.

Kept per process, and read again when another state was published.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, select

from yinxin_proto.error import UnavailableError, VerificationError
from yinxin_proto.repository import Expiry, RepositoryView
from yinxin_proto.repository_metadata import TIMESTAMP, metadata_path
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, USES, signed_head, signed_size
from yinxin_trust.publication import first_root, reader
from yinxin_verifier.assembly import assemble
from yinxin_verifier.evidence import TrustSet

_f = schema.published_file.c
_CONTENT: Final = select(_f.content).where(_f.path == bindparam("path"))
_NEWEST: Final = metadata_path(TIMESTAMP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beliefs:
    """One published state, verified."""

    timestamp: bytes
    """The repository's timestamp: no two states have the same."""
    trust: TrustSet
    is_tied: bool
    """Whether a checkpoint of the log of licences is among it, to hold receipts against."""


class BeliefStore:
    """Keeps the beliefs of one process; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Beliefs | None = None

    def current(self, conn: Connection, now: datetime) -> Beliefs:
        """Return the beliefs of the state that the transaction sees.

        Raises:
            UnavailableError: The root or the trust list has run out
                (``ROOT_EXPIRED``, ``TRUST_EXPIRED``): nobody can be believed.
        """
        timestamp = bytes(conn.execute(_CONTENT, {"path": _NEWEST}).scalar_one())
        held = self._held
        if held is not None and _stands(conn, held, timestamp):
            return held
        with self._lock:
            held = self._held
            if held is None or not _stands(conn, held, timestamp):
                held = self._held = _beliefs(conn, timestamp, now)
            return held


def _stands(conn: Connection, held: Beliefs, timestamp: bytes) -> bool:
    # A region that was just founded has an empty log, which ties nothing down.
    return held.timestamp == timestamp and (held.is_tied or not signed_size(conn, LICENCES))


def _beliefs(conn: Connection, timestamp: bytes, now: datetime) -> Beliefs:
    heads = [signed_head(conn, number) for number in (LICENCES, USES)]
    # A tree without leaves is no checkpoint to compare with.
    checkpoints = {head.origin: head.checkpoint for head in heads if head.size}
    return Beliefs(
        timestamp=timestamp,
        trust=TrustSet(home=assemble(_view(conn, now), checkpoints=checkpoints)),
        is_tied=heads[0].size > 0,
    )


def _view(conn: Connection, now: datetime) -> RepositoryView:
    try:
        # An online role that has run out becomes age, which the policy judges.
        return RepositoryView.load(first_root(conn), reader(conn), now, mode=Expiry.PACK)
    except VerificationError as error:
        raise UnavailableError(
            f"what this region publishes cannot be believed any more: {error.message}",
            reason=error.reason,
        ) from error
