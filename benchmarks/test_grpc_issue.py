"""Issue over gRPC, 32 in flight: CPU of all server processes, sequencing included.

The reference is what the parts would cost by themselves: an echo of as many
bytes on the same mutual TLS, by a plain gRPC server with as many threads; one
P-256 signature over a licence's signing input; one row of 1.6 kB with four
indexes in a transaction of its own (SQLite, WAL, ``synchronous=FULL``). The
subject is ``yinxin serve``: supervisor, workers and the sequencing process,
each call waiting for its receipt. Servers are kept on one core, the client on
another; what is compared is CPU time, so waiting costs nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Final

import grpc
import pytest
from city import DESK, City
from cputime import cpu_of
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from echo_server import METHOD
from pairs import Pairs, Ratio, Timed
from raw import make_rows

from support.running_region import identity
from support.served_region import PASSPHRASE, reap, start_server
from yinxin_edge.channel import open_channel
from yinxin_edge.tls import TlsIdentity, channel_credentials
from yinxin_proto import sdjwt
from yinxin_proto.suite import ES256
from yinxin_proto.v1.common_pb2 import CallContext
from yinxin_proto.v1.issuance_pb2 import IssueLicenceRequest
from yinxin_proto.v1.licence_pb2 import Licence
from yinxin_trust.region import Region
from yinxin_trust.servercertificate import ServerCertificate
from yinxin_trust.settings import RegionTable, ServerTable, Settings

IN_FLIGHT: Final = 32
CALLS: Final = 320
"""In one round; ten times as many as are in flight."""
CHANNELS: Final = 4
"""Two for each worker."""
BAR: Final = 2.5

Call = Callable[..., "grpc.Future[bytes]"]
Compare = Callable[..., Ratio]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A region that serves, and a client of it."""

    city: City
    pid: int
    channels: Sequence[grpc.Channel]
    shown: TlsIdentity
    """What its server shows."""
    client: TlsIdentity
    threads: int


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("grpc") / "region"
    settings = Settings(
        region=RegionTable(code="350300", domain="putian.example", name="莆田市（示例）"),
        server=ServerTable(),
    )
    Region.create(directory, settings, passphrase=PASSPHRASE)
    with ExitStack() as undo:
        region = undo.enter_context(
            Region.open(directory, passphrase=PASSPHRASE, offline_passphrase=PASSPHRASE)
        )
        city = City.settle(region)
        key = ES256.generate()
        client = identity(region, key, region.registrar.certify_principal(DESK, key.public_key))
        with _on_core(min):
            server = start_server(directory)
        undo.callback(reap, server.process)
        credentials = channel_credentials(client)
        yield Served(
            city=city,
            pid=server.process.pid,
            channels=[
                undo.enter_context(open_channel(server.address, credentials, own_connection=True))
                for _ in range(CHANNELS)
            ],
            shown=ServerCertificate(region=region, directory=directory).identity(),
            client=client,
            threads=settings.server.threads,
        )


@pytest.mark.timeout(900)
def test_issue_over_grpc(served: Served, compare: Compare, tmp_path: Path) -> None:
    with ExitStack() as undo:
        undo.enter_context(_on_core(max))
        messages = [_message(served.city) for _ in range(IN_FLIGHT)]
        first, answers = _issue(served, messages)
        assert first > 0
        echo = undo.enter_context(_echo(served, response_bytes=len(answers[0])))
        rows = undo.enter_context(closing(RawTable(tmp_path / "raw.db")))
        compare(
            Pairs(
                name=f"issue over gRPC, {IN_FLIGHT} in flight, server CPU / echo + sign + row",
                reference=_reference(echo, messages[0], rows, answers),
                subject=_subject(served),
                bar=BAR,
                higher_is_better=False,
            )
        )


def _subject(served: Served) -> Timed:
    def run() -> float:
        messages = [_message(served.city) for _ in range(CALLS)]
        seconds, _ = _issue(served, messages)
        return seconds / CALLS

    return run


def _message(city: City) -> bytes:
    command = city.command(1)
    return IssueLicenceRequest(
        context=CallContext(purpose=command.context.purpose),
        parent=city.region.namespace.resource,
        request_id=command.request_id,
        request=command.requests[0],
        approval=command.approval,
    ).SerializeToString()


def _issue(served: Served, messages: Sequence[bytes]) -> tuple[float, list[bytes]]:
    """Issue, and return the servers' CPU time and the answers, undecoded."""
    calls: list[Call] = [
        channel.unary_unary("/yinxin.v1.IssuanceService/IssueLicence").future
        for channel in served.channels
    ]
    with cpu_of(served.pid) as taken:
        answers = _in_flight(calls, messages)
    licence = Licence.FromString(answers[0])
    assert licence.licence_file
    return taken(), answers


def _in_flight(calls: Sequence[Call], messages: Sequence[bytes]) -> list[bytes]:
    """Make the calls, `IN_FLIGHT` at a time."""
    slots = threading.Semaphore(IN_FLIGHT)
    futures = []
    for call, message in zip(cycle(calls), messages, strict=False):
        slots.acquire()
        future = call(message, timeout=60)
        future.add_done_callback(lambda _: slots.release())
        futures.append(future)
    return [future.result() for future in futures]


def _reference(
    echo: Callable[[Sequence[bytes]], float],
    message: bytes,
    rows: RawTable,
    answers: Sequence[bytes],
) -> Timed:
    file = json.loads(Licence.FromString(answers[0]).licence_file)
    signing_input = sdjwt.parse(file["sd_jwt"]).jws.signing_input
    key, algorithm = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())

    def run() -> float:
        prepared = [tuple(row.values()) for row in make_rows(CALLS, first=0)]
        seconds = echo([message] * CALLS)
        start = time.thread_time()
        for row in prepared:
            key.sign(signing_input, algorithm)
            rows.insert(row)
        return (seconds + time.thread_time() - start) / CALLS

    return run


@contextmanager
def _echo(served: Served, *, response_bytes: int) -> Iterator[Callable[[Sequence[bytes]], float]]:
    """Run the plain server; yield what makes calls and returns its CPU time."""
    settings = {
        "identity": {
            name: getattr(served.shown, name).decode()
            for name in ("private_key", "certificate_chain", "roots")
        },
        "response_bytes": response_bytes,
        "threads": served.threads,
    }
    with _on_core(min):
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("echo_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, ExitStack() as undo:
        undo.callback(process.kill)
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        address = f"localhost:{process.stdout.readline().strip()}"
        credentials = channel_credentials(served.client)
        calls: list[Call] = [
            undo.enter_context(open_channel(address, credentials, own_connection=True))
            .unary_unary(METHOD)
            .future
            for _ in range(CHANNELS)
        ]

        def run(messages: Sequence[bytes]) -> float:
            with cpu_of(process.pid) as taken:
                _in_flight(calls, messages)
            return taken()

        run([b""] * IN_FLIGHT)
        yield run


class RawTable:
    """A table with a primary key and four indexes, under SQLite's driver alone."""

    def __init__(self, path: Path) -> None:
        connection = self._connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE raw_licence (id BLOB PRIMARY KEY, owner BLOB, digest BLOB, issuer TEXT,"
            " created_ms INTEGER, until_ms INTEGER, payload BLOB)"
        )
        for columns in ("owner", "digest", "issuer, created_ms", "until_ms"):
            name = columns.partition(",")[0]
            connection.execute(f"CREATE INDEX ix_{name} ON raw_licence ({columns})")

    def insert(self, row: tuple[object, ...]) -> None:
        """Insert one row in a transaction of its own."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("INSERT INTO raw_licence VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


@contextmanager
def _on_core(choose: Callable[[set[int]], int]) -> Iterator[None]:
    """Keep this process, and what it starts, on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {choose(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
