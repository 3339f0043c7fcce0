"""What runs in a region's spawned processes: those that serve, and the one behind them.

The passphrase reaches a process through the pipe that it is spawned with: it
is on no command line, in no environment and in no file.
"""

from __future__ import annotations

import gc
import logging
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from yinxin_ca.timestampbook import FileTimestampBook
from yinxin_edge.clock import SystemClock
from yinxin_edge.http import HttpServer, HttpSettings
from yinxin_edge.journal import Journal, JournalHandler
from yinxin_edge.principal import PeerVerifier
from yinxin_edge.server import Server, ServerSettings
from yinxin_edge.supervisor import WorkerSpec
from yinxin_edge.tls import reloading_server_credentials
from yinxin_edge.worker import WorkerLink
from yinxin_proto.suite import ES256
from yinxin_trust.answering import Answering
from yinxin_trust.background import Background
from yinxin_trust.liveidentity import LiveIdentity, peer_anchors
from yinxin_trust.peerrevocation import PeerRevocation
from yinxin_trust.publicservice import PublicService
from yinxin_trust.region import REGISTERS, Region
from yinxin_trust.servercertificate import ServerCertificate
from yinxin_trust.service import CALL_LIMITS, services

BACKGROUND: Final = "background"
HTTP: Final = "http"
TIMESTAMP_BOOK: Final = "timestamps.book"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """What a process needs to open the region and serve it."""

    name: str
    """For the journal."""
    directory: Path
    passphrase: str = field(repr=False)
    """Opens the online key store."""
    address: str
    """``host:port`` that the supervisor holds."""
    http_address: str = ""
    """``host:port`` for plain HTTP, held too; empty: not served."""


def process_specs(settings: ProcessSettings, *, workers: int) -> list[WorkerSpec]:
    """Return what the supervisor of a region runs."""
    names = [f"worker-{number}" for number in range(1, workers + 1)]
    serving = [
        WorkerSpec(name=name, target=run_worker, settings=replace(settings, name=name))
        for name in names
    ]
    # Calls in progress wait for the sequencer: it stops when they have ended.
    behind = WorkerSpec(
        name=BACKGROUND,
        target=run_background,
        settings=replace(settings, name=BACKGROUND),
        outlasts=True,
    )
    if not settings.http_address:
        return [behind, *serving]
    public = WorkerSpec(name=HTTP, target=run_http, settings=replace(settings, name=HTTP))
    return [behind, public, *serving]


def run_worker(settings: ProcessSettings, link: WorkerLink) -> None:
    """Serve calls until told to stop: a supervisor's target."""
    journal = _journal(settings)
    with Region.open(settings.directory, passphrase=settings.passphrase) as region:
        server = make_server(region, settings, journal)
        server.start()
        # What is here now stays: the collector need not look through it again and again.
        gc.freeze()
        link.ready()
        link.wait()
        server.stop()


def run_http(settings: ProcessSettings, link: WorkerLink) -> None:
    """Serve lists, certificates, OCSP and time-stamps until told to stop: a supervisor's target."""
    journal = _journal(settings)
    with Region.open(settings.directory, passphrase=settings.passphrase) as region:
        book = FileTimestampBook(
            settings.directory / REGISTERS / TIMESTAMP_BOOK, entropy=region.entropy
        )
        answering = Answering(region=region, book=book)
        for error in answering.prepare():
            journal.error("answering_waits", error)
        server = HttpServer(
            settings=HttpSettings(
                listen=settings.http_address, threads=region.settings.http.threads
            ),
            handler=PublicService(region=region, answering=answering, journal=journal),
            journal=journal,
            clock=region.clock,
        )
        server.start()
        link.ready()
        link.wait()
        server.stop()
        book.close()


def run_background(settings: ProcessSettings, link: WorkerLink) -> None:
    """Sequence and publish until told to stop: a supervisor's target."""
    # Whoever signals the whole group means the supervisor, which keeps the order.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    journal = _journal(settings)
    with Region.open(settings.directory, passphrase=settings.passphrase) as region:
        background = Background(region=region, directory=settings.directory, journal=journal)
        link.ready()
        background.run(link.wait)


def make_server(region: Region, settings: ProcessSettings, journal: Journal) -> Server:
    """Return one worker's server over an opened region, not yet started."""
    table = region.settings.server
    certificate = ServerCertificate(region=region, directory=settings.directory)
    peers = peer_verifier(region)
    shown = LiveIdentity(certificate=certificate, peers=peers, journal=journal)
    return Server(
        settings=ServerSettings(listen=settings.address, threads=table.threads, limits=CALL_LIMITS),
        services=services(region),
        credentials=reloading_server_credentials(certificate.identity(), shown.renewed),
        identify=peers,
        journal=journal,
        entropy=region.entropy,
    )


def peer_verifier(region: Region) -> PeerVerifier:
    """Return what verifies the region's clients, by the CAs of this moment."""
    return PeerVerifier(
        anchors=peer_anchors(region),
        clock=region.clock,
        is_revoked=PeerRevocation(storage=region.storage, suite=ES256, clock=region.clock),
        suite=ES256,
    )


def _journal(settings: ProcessSettings) -> Journal:
    journal = Journal(clock=SystemClock(), context={"process": settings.name})
    logging.getLogger().addHandler(JournalHandler(journal))
    return journal
