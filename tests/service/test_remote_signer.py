"""A region whose keys are behind a signer on another machine: real processes, mutual TLS."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from support.served_region import ServedRegion, call, environment, yinxin
from yinxin_ca.keystore import KeyInfo, KeyRef, KeyStore, Purpose
from yinxin_ca.signer_journal import read_journal
from yinxin_ca.software import in_memory_key_store
from yinxin_edge.clock import SystemClock, SystemEntropy
from yinxin_edge.port import reserve_port
from yinxin_proto.error import PermissionDeniedError, UnavailableError
from yinxin_proto.suite import ES256
from yinxin_trust.keysettings import KeysTable, RemoteTable
from yinxin_trust.keystores import StoreMaker
from yinxin_trust.signerhouse import JOURNAL

_ADDRESS = re.compile(r"127\.0\.0\.1:\d+")
REGION = "region-fujian"
WORKER = "worker-fujian"
LICENCE = KeyRef("350399", Purpose.LICENCE)
CA = KeyRef("350399", Purpose.LICENCE_CA)


@dataclass(frozen=True)
class House:
    directory: Path
    address: str

    @contextmanager
    def serve(self) -> Iterator[subprocess.Popen[str]]:
        words = ["signer", "serve", str(self.directory), "--listen", self.address]
        process = subprocess.Popen(
            yinxin(words),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        assert process.stdout is not None
        said = process.stdout.readline()
        assert _ADDRESS.search(said), said + process.stdout.read()
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)
            process.stdout.close()

    def table(self, folder: str, *purposes: Purpose) -> KeysTable:
        remote = RemoteTable(
            purposes=purposes,
            address=self.address,
            credentials=str(self.directory.parent / folder),
            timeout=timedelta(seconds=20),
        )
        return KeysTable(remote=remote)

    def store(self, folder: str, directory: Path, *purposes: Purpose) -> KeyStore:
        maker = StoreMaker(directory=directory, clock=SystemClock(), entropy=SystemEntropy())
        files = in_memory_key_store(clock=SystemClock(), entropy=SystemEntropy())
        return maker.online(self.table(folder, *purposes), files).routes[1].store


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    root = tmp_path_factory.mktemp("signer")
    directory = root / "signer"
    done = call("signer", "init", str(directory), "--domain", "signer.example")
    assert done.returncode == 0, done.stderr
    enrolments = {
        REGION: ("licence", "licence-ca", "status", "status-ca", "tls-ca", "--manage"),
        WORKER: ("licence",),
    }
    for name, purposes in enrolments.items():
        words = [part for word in purposes if word != "--manage" for part in ("--purpose", word)]
        words += ["--manage"] if "--manage" in purposes else []
        out = ("--out", str(root / name))
        done = call("signer", "client", str(directory), "--id", name, *words, *out)
        assert done.returncode == 0, done.stderr
    with reserve_port("127.0.0.1:0") as address:
        return House(directory, address)


def test_a_signer_killed_in_mid_signature_comes_back_and_its_journal_is_whole(
    house: House, tmp_path: Path
) -> None:
    store = house.store(REGION, tmp_path, Purpose.LICENCE, Purpose.LICENCE_CA)
    signed, stop = [0], threading.Event()
    reasons: set[str] = set()

    def sign() -> None:
        while not stop.is_set():
            try:
                signature = signer.sign(b"message")
            except UnavailableError as error:
                reasons.add(error.reason)
                continue
            signer.public_key.verify(signature, b"message")
            signed[0] += 1

    with house.serve() as process:
        signer = store.generate(LICENCE, ES256)
        store.generate(CA, ES256)
        threads = [threading.Thread(target=sign) for _ in range(3)]
        for thread in threads:
            thread.start()
        _until(lambda: signed[0] > 50)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    before = signed[0]
    with house.serve() as process:
        _until(lambda: signed[0] > before + 50)
        stop.set()
        for thread in threads:
            thread.join(30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert reasons <= {"SIGNER_UNREACHABLE"}
    acts = [line["act"] for line in read_journal(house.directory / JOURNAL)]
    # A line is on disk before its signature leaves: there may be more lines.
    assert acts.count("sign") >= signed[0]
    done = call("signer", "journal", str(house.directory))
    assert f"{len(acts)} lines" in done.stdout


def test_a_worker_s_certificate_reaches_no_other_purpose(house: House, tmp_path: Path) -> None:
    with house.serve():
        manager = house.store(REGION, tmp_path, Purpose.LICENCE_CA)
        key = KeyRef("350398", Purpose.LICENCE_CA)
        manager.generate(key, ES256)
        worker = house.store(WORKER, tmp_path, Purpose.LICENCE_CA)
        with pytest.raises(PermissionDeniedError) as caught:
            worker.signer(key)
        assert caught.value.reason == "SIGNER_PURPOSE"


def test_a_region_is_founded_and_opened_with_its_authorities_behind_the_signer(
    house: House, tmp_path: Path
) -> None:
    purposes = (
        Purpose.LICENCE,
        Purpose.LICENCE_CA,
        Purpose.STATUS,
        Purpose.STATUS_CA,
        Purpose.TLS_CA,
    )
    with house.serve():
        served = ServedRegion.found(tmp_path, keys=house.table(REGION, *purposes))
        held = {info.ref.purpose for info in served_keys(served)}
        assert held >= set(purposes)
        done = call("doctor", str(served.directory))
        assert "remote answers and holds" in " ".join(done.stdout.split())
    # The signer is down: the region opens, and says what it cannot do.
    done = call("doctor", str(served.directory))
    assert done.returncode == 1
    assert "SIGNER_UNREACHABLE" in done.stdout


def served_keys(served: ServedRegion) -> tuple[KeyInfo, ...]:
    with served.open() as region:
        return region.keyring.online.list()


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
