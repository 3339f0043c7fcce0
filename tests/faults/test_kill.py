"""SIGKILL in the middle of issuing, again and again: nothing acknowledged is lost.

``YINXIN_KILL_ROUNDS`` says how often, on each database (5 unless it says more).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from support.clock import SeededEntropy
from support.postgres import temporary_schema
from support.served_region import CONTEXT, RunningServer, ServedRegion, issue_request
from yinxin import Client, IssuedLicence, YinxinError
from yinxin.proof import prove_licence
from yinxin_proto import checkpoint
from yinxin_proto.checkpoint import VerifiedCheckpoint
from yinxin_proto.issuerequest import IssueRequest
from yinxin_proto.merkle import verify_consistency
from yinxin_trust import schema
from yinxin_trust.ledger import LICENCES, signed_head, tile_reader
from yinxin_trust.region import Region
from yinxin_trust.soundness import Soundness, log_verifiers

ROUNDS = int(os.environ.get("YINXIN_KILL_ROUNDS", "5"))
SEED = int(os.environ.get("YINXIN_KILL_SEED", "1"))
BATCH = 40
SINGLE_CALLERS = 3
MOST_MILLISECONDS = 2000
_LOG = logging.getLogger(__name__)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600 + 60 * ROUNDS)]


@dataclass
class Attempt:
    """One call that was made, and what came back."""

    request_id: str
    requests: Sequence[IssueRequest]
    licences: list[IssuedLicence] = field(default_factory=list)

    def make(self, client: Client) -> list[IssuedLicence]:
        """Call, for the first time or again."""
        if len(self.requests) == 1:
            return [client.issue(self.requests[0], context=CONTEXT, request_id=self.request_id)]
        return client.issue_many(self.requests, context=CONTEXT, request_id=self.request_id)


@dataclass
class Witness:
    """Everything that callers of the region ever saw."""

    region: ServedRegion
    attempts: list[Attempt] = field(default_factory=list)
    checkpoints: dict[int, VerifiedCheckpoint] = field(default_factory=dict)
    """By size: all that receipts were given under."""
    indexes: dict[str, int] = field(default_factory=dict)
    """In the log, by licence name: as their receipts state them."""
    made: int = 0
    examined: int = 0
    """How many of the attempts' receipts were verified."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def attempt(self, count: int) -> Attempt:
        """Prepare a call that was never made before."""
        with self.lock:
            first, self.made = self.made, self.made + count
            made = Attempt(
                f"request-{first}",
                [issue_request(f"虚构证字{number:07}") for number in range(first, first + count)],
            )
            self.attempts.append(made)
        return made

    def call_until_it_breaks(self, client: Client, count: int) -> None:
        """Issue, call after call, until the server is gone."""
        while True:
            attempt = self.attempt(count)
            try:
                attempt.licences = attempt.make(client)
            except YinxinError:
                return

    def load(self, server: RunningServer, seconds: float, *, supervisor_alone: bool) -> None:
        """Call from several threads, and kill the server in the middle."""
        clients = [self.region.client(server.address) for _ in range(SINGLE_CALLERS + 1)]
        counts = [1] * SINGLE_CALLERS + [BATCH]
        threads = [
            threading.Thread(target=self.call_until_it_breaks, args=pair)
            for pair in zip(clients, counts, strict=True)
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        server.kill_supervisor() if supervisor_alone else server.kill()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def region(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServedRegion]:
    if request.param == "sqlite":
        yield ServedRegion.found(tmp_path)
    else:
        with temporary_schema() as url:
            yield ServedRegion.found(tmp_path, database=url)


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(region: ServedRegion) -> None:
    witness = Witness(region)
    chance = SeededEntropy(SEED)
    started, acknowledged = time.monotonic(), 0
    for number in range(ROUNDS):
        with region.serve() as server:
            _check(witness, server)
            before = len(witness.attempts)
            witness.load(
                server,
                0.001 * (100 + chance.below(MOST_MILLISECONDS)),
                supervisor_alone=number % 4 == 3,
            )
            acknowledged += sum(len(a.licences) for a in witness.attempts[before:])
    with region.serve() as server:
        _check(witness, server)
        assert server.stop() == 0
    with region.open() as opened:
        _verify_receipts(witness, opened, witness.attempts)
        assert _stored(opened) == witness.indexes
        assert len(witness.indexes) == witness.made
    assert acknowledged >= ROUNDS
    _LOG.info(
        "%d kills in %.0f s: %d licences acknowledged before a kill, %d more found or made "
        "by repeating the request, %d checkpoints",
        ROUNDS,
        time.monotonic() - started,
        acknowledged,
        witness.made - acknowledged,
        len(witness.checkpoints),
    )


def _check(witness: Witness, server: RunningServer) -> None:
    """After a restart: look at everything that callers saw before."""
    with witness.region.open() as region:
        soundness = Soundness(keyring=region.keyring, directory=witness.region.directory)
        soundness.examine(region.storage, full=True).require_sound()
        _verify_receipts(witness, region, witness.attempts[witness.examined :])
        stored = _stored(region)
        assert len(set(stored.values())) == len(stored)
        assert witness.indexes.items() <= stored.items()
        _check_history(witness, region)
    with witness.region.client(server.address) as client:
        _repeat(witness, client)
    with witness.region.open() as region:
        _verify_receipts(witness, region, witness.attempts[witness.examined :])
    witness.examined = len(witness.attempts)


def _stored(region: Region) -> dict[str, int]:
    """Return the stored licences that have a place in the log."""
    li, e = schema.licence.c, schema.log_entry.c
    placed = (
        select(li.type_code, li.issuer_code, li.serial, e.idx)
        .join_from(schema.licence, schema.log_entry, li.entry == e.entry)
        .where(e.log_number == LICENCES, e.idx.is_not(None))
    )
    prefix = f"{region.namespace.resource}/licences/"
    with region.storage.read() as conn:
        return {
            f"{prefix}{row.type_code}.{row.issuer_code}.{row.serial}": row.idx
            for row in conn.execute(placed)
        }


def _verify_receipts(witness: Witness, region: Region, attempts: Sequence[Attempt]) -> None:
    """Verify the receipts that were handed out; remember what they stand on."""
    verifier = log_verifiers(region.keyring)[LICENCES]
    for licence in (one for attempt in attempts for one in attempt.licences):
        assert licence.file is not None
        proof = prove_licence(licence.file)
        index = witness.indexes.setdefault(licence.name, proof.receipt.index)
        assert proof.receipt.index == index
        stated = proof.checkpoint.claimed.head
        known = witness.checkpoints.get(stated.size)
        if known is None:
            witness.checkpoints[stated.size] = proof.checkpoint.verify(verifier)
        else:
            # Two trees of one size would be two histories.
            assert known.head == stated


def _check_history(witness: Witness, region: Region) -> None:
    """Every tree that a receipt stands on is the beginning of the log that is there now."""
    verifier = log_verifiers(region.keyring)[LICENCES]
    with region.storage.read() as conn:
        now = checkpoint.parse(signed_head(conn, LICENCES).checkpoint).verify(verifier).head
        reader = tile_reader(conn, LICENCES)
        for size, known in witness.checkpoints.items():
            assert size <= now.size
            if size == now.size:
                assert known.head == now
            else:
                verify_consistency(known.head, now, reader.consistency_proof(size, now.size))


def _repeat(witness: Witness, client: Client) -> None:
    """Repeat the last requests: the same licences, whether their answer came or not."""
    for attempt in witness.attempts[witness.examined :]:
        again = attempt.make(client)
        if attempt.licences:
            names = [licence.name for licence in attempt.licences]
            assert [licence.name for licence in again] == names
        attempt.licences = again
