"""A server's certificate and its CA change while clients are connected."""

from __future__ import annotations

import io
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from support.running_region import VERIFIER, enrol
from yinxin_ca.keystore import Purpose
from yinxin_edge.clock import SystemClock
from yinxin_edge.journal import Journal
from yinxin_edge.tls import TlsIdentity, channel_credentials
from yinxin_trust.access import Role
from yinxin_trust.region import Region
from yinxin_trust.servercertificate import FILE, FOLDER, ServerCertificate
from yinxin_trust.settings import RotationTable
from yinxin_trust.worker import ProcessSettings, make_server

NO_WAITS = RotationTable(publish_wait=timedelta(0), settle=timedelta(0))


@dataclass
class Served:
    """A region with one server of this process, and a client enrolled at the beginning."""

    region: Region
    certificate: ServerCertificate
    address: str
    client: TlsIdentity
    journal: io.StringIO

    def shown(self) -> x509.Certificate:
        """What the server shows at a new connection."""
        host, _, port = self.address.rpartition(":")
        return x509.load_pem_x509_certificate(
            ssl.get_server_certificate((host, int(port))).encode()
        )

    def rotate(self, purpose: Purpose) -> None:
        """Rotate a key, as the command and the background do."""
        assert self.region.rotation().rotate("350300", purpose).waiting is None
        self.certificate.ensure()

    def connect(self, identity: TlsIdentity) -> grpc.Channel:
        """A connection of its own."""
        return grpc.secure_channel(
            self.address,
            channel_credentials(identity),
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)],
        )


def answers(channel: grpc.Channel) -> bool:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Region.in_memory(rotation=NO_WAITS) as region:
        client = enrol(region, VERIFIER, Role.VERIFIER)
        certificate = ServerCertificate(region=region, directory=tmp_path)
        certificate.ensure()
        journal = io.StringIO()
        settings = ProcessSettings(
            name="test", directory=tmp_path, passphrase="", address="127.0.0.1:0"
        )
        server = make_server(region, settings, Journal(clock=SystemClock(), stream=journal))
        server.start()
        try:
            yield Served(region, certificate, f"127.0.0.1:{server.port}", client, journal)
        finally:
            server.stop()


def test_a_new_key_is_shown_at_the_next_connection_and_breaks_none(served: Served) -> None:
    before = served.shown()
    with served.connect(served.client) as kept:
        assert answers(kept)
        served.rotate(Purpose.TLS_SERVER)
        assert answers(kept)
        assert served.shown().public_key() != before.public_key()
        with served.connect(served.client) as again:
            assert answers(again)
        assert answers(kept)
    assert "tls_reloaded" in served.journal.getvalue()


def test_clients_of_the_old_and_of_the_new_ca_are_served_by_the_new_one(served: Served) -> None:
    with served.connect(served.client) as kept:
        assert answers(kept)
        served.rotate(Purpose.TLS_CA)
        newcomer = enrol(served.region, "newcomer", Role.VERIFIER)
        assert newcomer.roots != served.client.roots
        for identity in (
            served.client,
            newcomer,
            # Each trusts one of the two CAs, and shows a certificate of the other.
            replace(newcomer, roots=served.client.roots),
            replace(served.client, roots=newcomer.roots),
        ):
            with served.connect(identity) as channel:
                assert answers(channel)
        assert answers(kept)


def test_a_certificate_file_that_is_damaged_is_not_taken_up(served: Served, tmp_path: Path) -> None:
    before = served.shown()
    (tmp_path / FOLDER / FILE).write_bytes(b"not a certificate")
    assert served.shown() == before
    with served.connect(served.client) as channel:
        assert answers(channel)
    assert "tls_not_reloaded" in served.journal.getvalue()


def test_who_is_certified_by_no_ca_of_the_region_is_not_served(served: Served) -> None:
    served.rotate(Purpose.TLS_CA)
    with Region.in_memory(rotation=NO_WAITS) as other:
        stranger = enrol(other, VERIFIER, Role.VERIFIER)
    shown = replace(stranger, roots=served.client.roots)
    with served.connect(shown) as channel, pytest.raises(grpc.RpcError):
        answers(channel)
