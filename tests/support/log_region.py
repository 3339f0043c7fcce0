"""A database with one log in it, its keys, and whoever sequences it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import select

from support.clock import FixedClock
from yinxin_edge.database import Database
from yinxin_edge.lease import Lease, LeaseOffice
from yinxin_proto import checkpoint
from yinxin_proto.checkpoint import VerifiedCheckpoint
from yinxin_proto.clock import Clock
from yinxin_proto.merkle import TreeHead, root
from yinxin_proto.note import LineSigner, NoteSignature, NoteSigner, NoteVerifier
from yinxin_proto.vkey import VerifierKey
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, queue
from yinxin_trust.rows import RowBatch
from yinxin_trust.sequencer import MAX_BATCH, Sequencer, create_log, lease_name
from yinxin_trust.storage import Storage

ORIGIN = "example.org/log/350300/licences/1"
TERM = timedelta(seconds=10)
PATIENCE = timedelta(seconds=0.5)
LOG_TABLES = (schema.log_head, schema.log_entry, schema.log_tile, schema.lease)


def note_signer() -> NoteSigner:
    """The log's own key."""
    return NoteSigner(name=ORIGIN, key=hashlib.sha256(b"log").digest())


def note_verifier() -> NoteVerifier:
    """What verifies the log's checkpoints."""
    return NoteVerifier(note_signer().vkey)


class RecordingSigner:
    """Signs as the log does, and remembers every text it ever signed."""

    def __init__(self) -> None:
        self._signer = note_signer()
        self.texts: list[str] = []

    @property
    def vkey(self) -> VerifierKey:
        return self._signer.vkey

    def sign(self, text: bytes) -> NoteSignature:
        self.texts.append(text.decode())
        return self._signer.sign(text)

    @property
    def heads(self) -> list[TreeHead]:
        """Every head that was signed, in order."""
        return [checkpoint.Checkpoint.parse_text(text).head for text in self.texts]


def entry(number: int) -> bytes:
    """The ``number``-th of the entries that tests log."""
    return hashlib.sha256(b"entry %d" % number).digest()


def entries(count: int, start: int = 0) -> list[bytes]:
    return [entry(number) for number in range(start, start + count)]


class LogRegion:
    """One log in an open database.

    Args:
        storage: Empty; its tables are made here.
        whole: Make every table of a region; otherwise those of the log alone.
    """

    def __init__(self, storage: Storage, *, whole: bool = False) -> None:
        self.storage = storage
        self.clock = FixedClock()
        self.signer = RecordingSigner()
        if whole:
            storage.create()
        with storage.write() as conn:
            schema.metadata.create_all(conn, tables=LOG_TABLES)
            create_log(conn, log_number=LICENCES, origin=ORIGIN, signer=note_signer())

    def office(self, holder: str, clock: Clock | None = None) -> LeaseOffice:
        return LeaseOffice(
            database=self.storage.database,
            table=schema.lease,
            clock=clock or self.clock,
            holder=holder,
            term=TERM,
        )

    def lease(self, holder: str = "a") -> Lease:
        """Acquire the lease, past any other holder's term if need be."""
        lease = self.office(holder).acquire(lease_name(LICENCES))
        if lease is None:
            self.clock.advance(TERM)
            lease = self.office(holder).acquire(lease_name(LICENCES))
        if lease is None:
            raise RuntimeError("the lease could not be had")
        return lease

    def sequencer(
        self,
        holder: str = "a",
        *,
        storage: Storage | None = None,
        signer: LineSigner | None = None,
        max_batch: int = MAX_BATCH,
    ) -> Sequencer:
        """A sequencer with a fresh lease, signing with the recording signer."""
        return Sequencer(
            storage=storage or self.storage,
            log_number=LICENCES,
            signer=signer or self.signer,
            lease=self.lease(holder),
            max_batch=max_batch,
        )

    def queue(self, wanted: Iterable[bytes], *, now_ms: int = 0) -> None:
        """Commit entries that wait for their index."""
        queue_entries(self.storage, wanted, now_ms=now_ms)

    def placed(self) -> list[bytes]:
        """The log's entries in the order of their indexes, which have no gap."""
        e = schema.log_entry.c
        with self.storage.read() as conn:
            rows = conn.execute(select(e.idx, e.entry).where(e.idx.is_not(None)).order_by(e.idx))
            found = [(idx, bytes(entry)) for idx, entry in rows]
        assert [idx for idx, _ in found] == list(range(len(found)))
        return [entry for _, entry in found]

    def signed(self) -> VerifiedCheckpoint:
        """The newest checkpoint, verified."""
        h = schema.log_head.c
        with self.storage.read() as conn:
            note = conn.execute(select(h.checkpoint)).scalar_one()
        return checkpoint.parse(bytes(note)).verify(note_verifier())


def queue_entries(storage: Storage, wanted: Iterable[bytes], *, now_ms: int = 0) -> None:
    """Commit entries that wait for their index."""
    batch = RowBatch()
    for one in wanted:
        queue(batch, LICENCES, one, now_ms=now_ms)
    with storage.write() as conn:
        for table, rows in batch.tables():
            storage.insert(conn, table, rows)


def assert_one_history(heads: Iterable[TreeHead], placed: Sequence[bytes]) -> None:
    """Every head ever signed is a prefix of the one log that there is.

    That makes any two of them consistent, and no size has two roots.
    """
    for head in set(heads):
        assert head.size <= len(placed)
        assert head.root == root(placed[: head.size])


@contextmanager
def open_storage(url: str, *, patience: timedelta = PATIENCE) -> Iterator[Storage]:
    storage = Storage(Database.open(url, patience=patience))
    try:
        yield storage
    finally:
        storage.close()
