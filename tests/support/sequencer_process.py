"""A sequencing process that can be stopped anywhere: a spawned one imports it by name."""

from __future__ import annotations

from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from support.log_region import TERM, note_signer, open_storage
from yinxin_edge.lease import LeaseOffice
from yinxin_proto.error import FailedPreconditionError, UnavailableError
from yinxin_proto.note import NoteSignature
from yinxin_proto.vkey import VerifierKey
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES
from yinxin_trust.sequencer import Sequencer, lease_name


class SharedClock:
    """A clock that another process moves."""

    def __init__(self, seconds: Synchronized[float]) -> None:
        self._seconds = seconds

    def now(self) -> datetime:
        # Unlocked: a stopped process must not hold up the others.
        return datetime.fromtimestamp(self._seconds.value, UTC)


class FileSigner:
    """Signs as the log does; every text it ever signed is in a file first."""

    def __init__(self, path: Path) -> None:
        self._signer = note_signer()
        self._path = path

    @property
    def vkey(self) -> VerifierKey:
        return self._signer.vkey

    def sign(self, text: bytes) -> NoteSignature:
        with self._path.open("ab") as file:
            file.write(text + b"\n")
        return self._signer.sign(text)


def sequence_until_told(
    url: str, holder: str, seconds: Synchronized[float], signed: str, pipe: Pipe
) -> None:
    """Acquire, sequence, lose, acquire again; end with how often the lease was lost."""
    lost = 0
    with open_storage(url) as storage:
        office = LeaseOffice(
            database=storage.database,
            table=schema.lease,
            clock=SharedClock(seconds),
            holder=holder,
            term=TERM,
        )
        sequencer: Sequencer | None = None
        signer = FileSigner(Path(signed))
        pipe.send("ready")
        while not pipe.poll(0.0005):
            try:
                if sequencer is None:
                    lease = office.acquire(lease_name(LICENCES))
                    if lease is None:
                        continue
                    sequencer = Sequencer(
                        storage=storage, log_number=LICENCES, signer=signer, lease=lease
                    )
                sequencer.run_once()
            except FailedPreconditionError:
                lost += 1
                sequencer = None
            except UnavailableError:
                # A stopped process may hold the gate or the lease's row for a while.
                continue
    pipe.send(lost)
