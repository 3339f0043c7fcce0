"""The disk is full, or somebody else holds the database: nothing half-done, and back again.

The disk is a small tmpfs, which takes root to mount; elsewhere the tests are skipped.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from support.served_region import CONTEXT, RunningServer, ServedRegion, issue_request
from yinxin import Client, ResourceExhaustedError, UnavailableError
from yinxin.proof import prove_licence
from yinxin_trust import schema
from yinxin_trust.soundness import Soundness

pytestmark = pytest.mark.faults

SIZE = "24m"
PATIENCE = 30.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr!r}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def region(small_disk: Path, tmp_path: Path) -> ServedRegion:
    """Its database is on the small disk, everything else is not."""
    return ServedRegion.found(
        tmp_path / "here", database=f"sqlite:///{small_disk}/region.db", workers=1
    )


def _fill(disk: Path) -> Path:
    """Take all the space there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


def _issue_until_full(client: Client) -> tuple[int, ResourceExhaustedError]:
    """Issue batches until one is refused; what the write-ahead log still had room for goes well."""
    for number in range(1000):
        requests = [issue_request(f"虚构证字{number:03}{place:03}") for place in range(50)]
        try:
            client.issue_many(requests, context=CONTEXT)
        except ResourceExhaustedError as error:
            return number, error
    raise AssertionError("the disk was never full")


def _licences(region: ServedRegion) -> int:
    with region.open() as opened, opened.storage.read() as conn:
        return conn.execute(select(func.count()).select_from(schema.licence)).scalar_one()


def _require_sound(region: ServedRegion) -> None:
    with region.open() as opened:
        soundness = Soundness(keyring=opened.keyring, directory=region.directory)
        soundness.examine(opened.storage, full=True).require_sound()


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_full_disk_is_told_leaves_nothing_half_done_and_passes(
    region: ServedRegion, small_disk: Path
) -> None:
    with region.serve() as server, region.client(server.address) as client:
        first = client.issue(issue_request("虚构证字甲"), context=CONTEXT)
        ballast = _fill(small_disk)
        whole, refused = _issue_until_full(client)
        assert refused.reason == "STORAGE_FULL"
        with pytest.raises(ResourceExhaustedError):
            # What cannot be put on record is not answered either.
            client.get(first.name, context=CONTEXT)
        ballast.unlink()
        _eventually(lambda: _can_issue(client))
        again = client.issue(issue_request("虚构证字乙"), context=CONTEXT)
        assert again.file is not None
        prove_licence(again.file)
        assert server.stop() == 0
    # The refused batch left nothing: `whole` batches, and three single licences.
    assert _licences(region) == whole * 50 + 3
    _require_sound(region)


def _can_issue(client: Client) -> bool:
    try:
        client.issue(issue_request("虚构证字丙"), context=CONTEXT, request_id="again")
    except (ResourceExhaustedError, UnavailableError):
        return False
    return True


def test_a_server_killed_over_a_full_disk_starts_again(
    region: ServedRegion, small_disk: Path
) -> None:
    with region.serve() as server, region.client(server.address) as client:
        ballast = _fill(small_disk)
        whole, _ = _issue_until_full(client)
        server.kill()
    ballast.unlink()
    with region.serve() as server, region.client(server.address) as client:
        client.issue(issue_request("虚构证字甲"), context=CONTEXT)
        assert server.stop() == 0
    assert _licences(region) == whole * 50 + 1
    _require_sound(region)


def test_a_foreign_writer_is_waited_for_and_then_told(tmp_path: Path) -> None:
    region = ServedRegion.found(tmp_path, workers=1)
    with region.serve() as server:
        foreign = sqlite3.connect(region.directory / "region.db", isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        refused = _refused_call(region, server)
        foreign.execute("ROLLBACK")
        foreign.close()
        assert refused.reason == "DATABASE_LOCKED"
        # Told once: the channel did not repeat a call that had waited already.
        assert server.journal.read_text().count("call_hindered") == 1
        with region.client(server.address) as client:
            _eventually(lambda: _can_issue(client))
        assert server.stop() == 0
    assert _licences(region) == 1
    _require_sound(region)


def _refused_call(region: ServedRegion, server: RunningServer) -> UnavailableError:
    with region.client(server.address) as client, pytest.raises(UnavailableError) as caught:
        client.issue(issue_request("虚构证字甲"), context=CONTEXT)
    return caught.value
