"""The real server as processes: started, shared by nobody, broken, stopped, moved."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import update

from support.postgres import temporary_schema
from support.requests import OTHER_AUTHORITY, document
from support.served_region import (
    CONTEXT,
    PASSPHRASE,
    RunningServer,
    ServedRegion,
    issue_request,
    run,
)
from support.small_region import TYPE
from yinxin import (
    Credentials,
    LicenceState,
    UnavailableError,
    Verifier,
    YinxinError,
    connect,
)
from yinxin.proof import prove_licence
from yinxin_edge.tls import channel_credentials
from yinxin_proto.error import ConfigurationError
from yinxin_trust import schema
from yinxin_trust.servercertificate import ServerCertificate
from yinxin_trust.settings import load_settings

PATIENCE = 30.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> ServedRegion:
    return ServedRegion.found(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def server(served: ServedRegion) -> Iterator[RunningServer]:
    with served.serve() as running:
        yield running


@pytest.fixture
def region(tmp_path: Path) -> ServedRegion:
    """A region of the test's own."""
    return ServedRegion.found(tmp_path, workers=1)


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _processes(server: RunningServer) -> list[int]:
    """Process ids of the supervisor's group, itself left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != server.process.pid:
            try:
                if os.getpgid(int(entry.name)) == server.process.pid:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


# --- serving -----------------------------------------------------------------------


def test_a_licence_comes_back_with_its_receipt(
    served: ServedRegion, server: RunningServer, tmp_path: Path
) -> None:
    with served.client(server.address) as client:
        licence = client.issue(issue_request("虚构证字A1"), context=CONTEXT)
        assert licence.state is LicenceState.VALID
        assert licence.file is not None
        proof = prove_licence(licence.file)
        report = client.verify(licence, context=CONTEXT)
        report.require_passed()
        client.export_pack(tmp_path / "pack")
    verifier = Verifier.open(tmp_path / "pack", pin=served.credentials / "root.json")
    log = verifier.trust.home.logs[proof.checkpoint.claimed.origin]
    log.verify(proof.checkpoint, verifier.trust.home.witnesses)
    verifier.verify(licence).require_passed()


def test_it_tells_that_it_is_healthy(served: ServedRegion, server: RunningServer) -> None:
    identity = Credentials.load(served.credentials).identity
    assert identity is not None
    with grpc.secure_channel(server.address, channel_credentials(identity)) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_passphrase_is_in_no_command_line_and_no_workers_environment(
    server: RunningServer,
) -> None:
    workers = _processes(server)
    assert len(workers) >= 3
    for process in workers:
        for name in ("cmdline", "environ"):
            assert PASSPHRASE.encode() not in Path(f"/proc/{process}/{name}").read_bytes()
    supervisor = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
    assert PASSPHRASE.encode() not in supervisor


def test_a_second_server_does_not_share_the_port(server: RunningServer, tmp_path: Path) -> None:
    other = ServedRegion.found(tmp_path, workers=1)
    done = run("serve", str(other.directory), "--listen", server.address)
    assert done.returncode == 69
    assert "PORT_TAKEN" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_second_server_of_the_same_region_is_refused(
    served: ServedRegion, server: RunningServer
) -> None:
    done = run("serve", str(served.directory), "--listen", "127.0.0.1:0")
    assert done.returncode == 69
    assert "REGION_LOCKED" in done.stderr
    assert str(server.process.pid) in done.stderr


def test_a_pack_can_be_exported_beside_the_server(
    served: ServedRegion, server: RunningServer, tmp_path: Path
) -> None:
    done = run("pack", "export", str(served.directory), str(tmp_path / "pack.zip"))
    assert done.returncode == 0, done.stderr
    with served.client(server.address) as client:
        licence = client.issue(issue_request("虚构证字A2"), context=CONTEXT)
    # Exported before the licence was issued: its status list cannot speak for it.
    report = Verifier.open(tmp_path / "pack.zip").verify(licence)
    assert report.code == "STATUS_OLDER_THAN_LICENCE"


def test_an_authority_that_is_added_can_issue_at_once(
    served: ServedRegion, server: RunningServer, tmp_path: Path
) -> None:
    words = ["--code", OTHER_AUTHORITY, "--name", "虚构乙局", "--type", TYPE]
    out = tmp_path / "client"
    done = run("authority", "add", str(served.directory), *words, "--out", str(out))
    assert done.returncode == 0, done.stderr
    credentials = Credentials.load(out)
    with connect(server.address, credentials=credentials) as client:
        content = document(type=TYPE, number="虚构证字乙1", issuer=OTHER_AUTHORITY)
        del content["nonce"]
        licence = client.issue(content, context=CONTEXT)
        client.verify(licence, context=CONTEXT).require_passed()


# --- processes that end ---------------------------------------------------------------


def test_a_killed_worker_comes_back(region: ServedRegion) -> None:
    with region.serve() as server, region.client(server.address) as client:
        client.issue(issue_request("虚构证字B1"), context=CONTEXT)
        before = set(_processes(server))
        for process in before:
            os.kill(process, signal.SIGKILL)
        _eventually(lambda: len(set(_processes(server)) - before) >= 2)
        assert server.process.poll() is None
        _issue_when_it_can(region, server, "虚构证字B2")
        assert server.stop() == 0


def _issue_when_it_can(region: ServedRegion, server: RunningServer, number: str) -> None:
    request = issue_request(number)

    def issued() -> bool:
        try:
            with region.client(server.address) as client:
                licence = client.issue(request, context=CONTEXT, request_id="again")
        except UnavailableError:
            return False
        return licence.file is not None

    _eventually(issued)


def test_calls_in_progress_end_well_when_it_is_stopped(region: ServedRegion) -> None:
    failures: list[YinxinError] = []
    answers: list[str] = []

    def issue(address: str, number: int) -> None:
        try:
            with region.client(address) as client:
                made = client.issue(issue_request(f"虚构证字C{number}"), context=CONTEXT)
        except YinxinError as error:
            failures.append(error)
        else:
            assert made.file is not None
            answers.append(made.identifier)

    with region.serve() as server:
        issue(server.address, 0)
        threads = [
            threading.Thread(target=issue, args=(server.address, number)) for number in range(1, 9)
        ]
        for thread in threads:
            thread.start()
        _eventually(lambda: _stored(region) >= 9)
        status = server.stop()
        for thread in threads:
            thread.join()
    assert status == 0
    assert not failures
    assert len(set(answers)) == 9


def _stored(region: ServedRegion) -> int:
    with region.open() as opened, opened.storage.read() as conn:
        return len(conn.execute(schema.licence_identifier.select()).all())


def test_an_interrupt_from_the_keyboard_stops_it_gently(region: ServedRegion) -> None:
    with region.serve() as server:
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0
        _eventually(lambda: not _processes(server))


def test_workers_do_not_outlive_a_killed_supervisor(region: ServedRegion) -> None:
    with region.serve() as server:
        server.kill_supervisor()
        _eventually(lambda: not _processes(server))


def test_a_server_starts_at_once_after_it_was_killed(region: ServedRegion) -> None:
    with region.serve() as server:
        server.kill()
    with region.serve() as server, region.client(server.address) as client:
        # The lease of the killed sequencer has not run out: it is taken over.
        started = time.monotonic()
        client.issue(issue_request("虚构证字D1"), context=CONTEXT)
        assert time.monotonic() - started < 5


# --- what it refuses to serve ------------------------------------------------------------


def test_data_that_contradicts_itself_is_not_served(region: ServedRegion) -> None:
    with region.open() as opened, opened.storage.write() as conn:
        conn.execute(update(schema.log_head).values(root=b"\0" * 32))
    done = run("serve", str(region.directory), "--listen", "127.0.0.1:0")
    assert done.returncode == 70
    assert "PREFLIGHT" in done.stderr
    assert "HEAD_ROOT" in done.stderr
    assert done.stdout == ""


def test_a_database_restored_from_an_older_state_is_not_served(
    region: ServedRegion, tmp_path: Path
) -> None:
    older = tmp_path / "older.db"
    with region.open() as opened:
        opened.storage.database.checkpoint()
        older.write_bytes((region.directory / "region.db").read_bytes())
    with region.serve() as server:
        with region.client(server.address) as client:
            client.issue(issue_request("虚构证字E1"), context=CONTEXT)
        assert server.stop() == 0
    for name in ("region.db-wal", "region.db-shm"):
        (region.directory / name).unlink(missing_ok=True)
    (region.directory / "region.db").write_bytes(older.read_bytes())
    done = run("serve", str(region.directory), "--listen", "127.0.0.1:0")
    assert done.returncode == 70
    assert "LOG_BEHIND" in done.stderr


# --- its certificate -----------------------------------------------------------------------


def test_the_certificate_is_kept_while_it_will_do(region: ServedRegion) -> None:
    with region.open() as opened:
        certificate = ServerCertificate(region=opened, directory=region.directory)
        assert certificate.not_after() is None
        with pytest.raises(ConfigurationError):
            certificate.identity()
        assert certificate.ensure()
        first = certificate.identity().certificate_chain
        assert not certificate.ensure()
        assert certificate.identity().certificate_chain == first


def test_the_certificate_follows_the_settings(region: ServedRegion) -> None:
    settings = region.directory / "region.toml"
    with region.open() as opened:
        ServerCertificate(region=opened, directory=region.directory).ensure()
    text = settings.read_text().replace('["localhost"]', '["licences.putian.example"]')
    settings.write_text(text)
    with region.open() as opened:
        assert ServerCertificate(region=opened, directory=region.directory).ensure()


def test_a_damaged_certificate_is_issued_again(region: ServedRegion) -> None:
    with region.open() as opened:
        certificate = ServerCertificate(region=opened, directory=region.directory)
        certificate.ensure()
        (region.directory / "tls" / "server.crt").write_text("nonsense")
        assert certificate.ensure()


# --- another database ------------------------------------------------------------------------


@pytest.mark.postgres
def test_a_region_moves_to_another_database_and_goes_on(region: ServedRegion) -> None:
    with temporary_schema() as url:
        with region.serve() as server:
            with region.client(server.address) as client:
                first = client.issue(issue_request("虚构证字F1"), context=CONTEXT)
            assert server.stop() == 0
        with region.serve("--database", url) as server:
            with region.client(server.address) as client:
                assert client.get(first.name, context=CONTEXT).state is LicenceState.VALID
                second = client.issue(issue_request("虚构证字F2"), context=CONTEXT)
            assert server.stop() == 0
        assert load_settings(region.directory).database.url.startswith("postgresql")
        # It is recorded: the next start needs no option, and finds both.
        with region.serve() as server, region.client(server.address) as client:
            assert client.verify(second, context=CONTEXT).exit_status == 0
            client.verify(first, context=CONTEXT).require_passed()
        old = f"sqlite:///{region.directory}/region.db"
        done = run("serve", str(region.directory), "--database", old, "--listen", "127.0.0.1:0")
        assert done.returncode == 70
        assert "DATABASE_NOT_EMPTY" in done.stderr


def test_the_database_that_was_left_is_not_served_again(
    region: ServedRegion, tmp_path: Path
) -> None:
    before = (region.directory / "region.toml").read_text()
    with region.serve("--database", f"sqlite:///{tmp_path}/new.db") as server:
        assert server.stop() == 0
    (region.directory / "region.toml").write_text(before)
    done = run("serve", str(region.directory), "--listen", "127.0.0.1:0")
    assert done.returncode == 70
    assert "DATABASE_MOVED" in done.stderr


def test_other_settings_survive_a_move(region: ServedRegion, tmp_path: Path) -> None:
    settings = region.directory / "region.toml"
    settings.write_text(settings.read_text() + 'sequencing_period = "150ms"\n# a note\n')
    with region.serve("--database", f"sqlite:///{tmp_path}/new.db") as server:
        assert server.stop() == 0
    loaded = load_settings(region.directory)
    assert loaded.server.sequencing_period == timedelta(milliseconds=150)
    assert loaded.database.url == f"sqlite:///{tmp_path}/new.db"
    assert "# a note" in settings.read_text()
