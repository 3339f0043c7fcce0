"""Batch issue of 1,000 licences under one approval, against signing plus one bulk insert.

The reference signs the signing inputs of 1,000 licences with `cryptography`,
and inserts 1,000 rows of 1.6 kB into a table with four indexes, in one
transaction of the same kind of database. The subject is `Issuance.issue`:
approval verified, requests checked, licences minted, rows of seven tables
sealed and committed. A database on disk, ``synchronous=FULL``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from city import City
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pairs import Pairs, Ratio, Timed, one_core, stopwatch
from raw import create_table, insert, make_rows

from support.postgres import temporary_schema
from yinxin_edge.database import Database
from yinxin_proto import sdjwt

BATCH: Final = 1000
BAR: Final = 0.25

Compare = Callable[[Pairs], Ratio]


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    """The engine's name, and the URLs of two databases of its kind: for ours and for the raw."""
    if request.param == "SQLite":
        yield request.param, f"sqlite:///{tmp_path}/region.db", f"sqlite:///{tmp_path}/raw.db"
        return
    with temporary_schema() as ours, temporary_schema() as raw:
        yield request.param, ours, raw


@pytest.mark.timeout(900)
@pytest.mark.parametrize("sequenced", [False, True], ids=["issue", "issue and sequence"])
def test_batch_issue(databases: tuple[str, str, str], compare: Compare, sequenced: bool) -> None:
    engine, url, raw_url = databases
    city, database = City.found(url), Database.open(raw_url)
    create_table(database)
    with city.region, one_core():
        reference = _reference(city, database)
        # The first batch registers the holders; the next hundred find them.
        _subject(city, sequenced=sequenced)()
        what = "batch of 1,000 issued" if not sequenced else "  the same, sequenced too"
        compare(
            Pairs(
                name=f"{what}, {engine} / 1,000 signatures + one bulk insert",
                reference=reference,
                subject=_subject(city, sequenced=sequenced),
                bar=None if sequenced else BAR,
            )
        )
    database.close()


def _reference(city: City, database: Database) -> Timed:
    algorithm = ec.ECDSA(hashes.SHA256())
    key = ec.generate_private_key(ec.SECP256R1())
    messages = [sdjwt.parse(record.sd_jwt).jws.signing_input for record in city.issue(BATCH)]
    batches = count()

    def run() -> float:
        rows = make_rows(BATCH, first=next(batches) * BATCH)
        with stopwatch() as elapsed:
            for message in messages:
                key.sign(message, algorithm)
            insert(database, rows)
        return elapsed() / BATCH

    return run


def _subject(city: City, *, sequenced: bool) -> Timed:
    def run() -> float:
        command = city.command(BATCH)
        with stopwatch() as elapsed:
            records = city.region.issuance.issue(command)
            if sequenced:
                city.region.sequence()
        assert len(records) == BATCH
        if not sequenced:
            city.region.sequence()
        return elapsed() / BATCH

    return run
