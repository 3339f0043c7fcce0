"""Appends, sequencer rounds, takeovers and crashes, in any order, against a naive tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import Connection

from support.log_region import LogRegion, assert_one_history, entries, note_verifier
from yinxin_edge.database import Database
from yinxin_proto.error import FailedPreconditionError
from yinxin_proto.merkle import TreeHead, root
from yinxin_trust import ledger
from yinxin_trust.ledger import LICENCES, ReceiptMaker
from yinxin_trust.log_check import LogCheck
from yinxin_trust.sequencer import Sequencer
from yinxin_trust.storage import Storage

MAX_BATCH = 7
Moment = Literal["before", "inside", "after"]


class CrashError(Exception):
    """Stands for the end of a process."""


class CrashingStorage(Storage):
    """Crashes at its ``countdown``-th write: before it begins, inside, or once committed."""

    def __init__(self, database: Database, *, countdown: int, moment: Moment) -> None:
        super().__init__(database)
        self._countdown = countdown
        self._moment = moment

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self._countdown -= 1
        now = self._countdown == 0
        if now and self._moment == "before":
            raise CrashError
        with super().write() as conn:
            yield conn
            if now and self._moment == "inside":
                raise CrashError
        if now:
            raise CrashError


class SequencerMachine(RuleBasedStateMachine):
    """Any interleaving leaves one history, which every signature agrees with."""

    def __init__(self) -> None:
        super().__init__()
        self.region = LogRegion(Storage(Database.open("sqlite://")))
        self.maker = ReceiptMaker(LICENCES)
        self.queued = 0
        self.holders = 0
        self.current: Sequencer = self._acquire(self.region.storage)
        self.fenced: list[Sequencer] = []

    def teardown(self) -> None:
        self.region.storage.close()

    def _acquire(self, storage: Storage) -> Sequencer:
        self.holders += 1
        return self.region.sequencer(f"holder-{self.holders}", storage=storage, max_batch=MAX_BATCH)

    @rule(count=st.integers(1, 20))
    def append(self, count: int) -> None:
        self.region.queue(entries(count, start=self.queued))
        self.queued += count

    @rule(count=st.integers(250, 300))
    def append_a_tile(self, count: int) -> None:
        if self.queued < 1000:
            self.append(count)

    @rule()
    def sequence(self) -> None:
        waiting = self.queued - len(self.region.placed())
        assert self.current.run_once() == waiting
        assert self.region.signed().head.size == self.queued

    @rule()
    def take_over(self) -> None:
        self.fenced.append(self.current)
        self.current = self._acquire(self.region.storage)

    @rule(countdown=st.integers(1, 5), moment=st.sampled_from(["before", "inside", "after"]))
    def crash(self, countdown: int, moment: Moment) -> None:
        database = self.region.storage.database
        self.fenced.append(self.current)
        doomed = self._acquire(CrashingStorage(database, countdown=countdown, moment=moment))
        with suppress(CrashError):
            doomed.run_once()
        self.fenced.append(doomed)
        self.current = self._acquire(self.region.storage)

    @rule(data=st.data())
    def a_fenced_one_wakes(self, data: st.DataObject) -> None:
        if not self.fenced:
            return
        sleeper = data.draw(st.sampled_from(self.fenced))
        before = (self.region.placed(), len(self.region.signer.texts))
        # With nothing to do it does nothing; otherwise it must notice, or crash first.
        with suppress(CrashError, FailedPreconditionError):
            assert sleeper.run_once() == 0
        assert (self.region.placed(), len(self.region.signer.texts)) == before

    @rule(data=st.data())
    def ask_for_receipts(self, data: st.DataObject) -> None:
        signed = self.region.signed()
        if not self.queued:
            return
        numbers = data.draw(st.lists(st.integers(0, self.queued - 1), max_size=5))
        wanted = [entries(1, start=number)[0] for number in numbers]
        with self.region.storage.read() as conn:
            indexes = ledger.indexes(conn, LICENCES, wanted)
            receipts = self.maker.receipts(conn, wanted)
        covered = {one for one, idx in indexes.items() if idx < signed.head.size}
        assert receipts.keys() == covered
        for one, receipt in receipts.items():
            receipt.verify(one, signed)

    @invariant()
    def there_is_one_history(self) -> None:
        placed = self.region.placed()
        assert set(placed) <= set(entries(self.queued))
        with self.region.storage.read() as conn:
            committed = ledger.committed_head(conn, LICENCES)
        assert committed == TreeHead(len(placed), root(placed))
        assert self.region.signed().head.size <= committed.size
        assert_one_history([*self.region.signer.heads, self.region.signed().head], placed)

    @invariant()
    def it_is_sound(self) -> None:
        with self.region.storage.read() as conn:
            log = LogCheck(conn=conn, number=LICENCES, verifier=note_verifier(), tail=None)
            assert [*log.findings()] == []


TestSequencer = SequencerMachine.TestCase
TestSequencer.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
