"""A process that rotates a key is killed; the command that is run again finishes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.requests import AUTHORITY
from support.rotating_region import shorten_waits
from support.served_region import PASSPHRASE, ServedRegion, call
from yinxin_ca.keystore import Purpose
from yinxin_trust.keyinventory import versions
from yinxin_trust.keystage import Stage
from yinxin_trust.soundness import Soundness

POINTS = ("prepare: made", "publish: written", "activate: written", "retire: committed")
_ROTATOR = """
import os, signal, sys, time
from pathlib import Path
from yinxin_ca.keystore import Purpose
from yinxin_trust.region import Region

directory, passphrase, owner, purpose, point = sys.argv[1:]


def killed(name: str) -> None:
    if name == point:
        os.kill(os.getpid(), signal.SIGKILL)


with Region.open(
    Path(directory), passphrase=passphrase, offline_passphrase=passphrase
) as region:
    rotation = region.rotation(killed)
    progress = rotation.rotate(owner, Purpose(purpose))
    while progress.waiting is not None:
        time.sleep(0.05)
        progress = rotation.resume(owner, Purpose(purpose))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> ServedRegion:
    region = ServedRegion.found(tmp_path_factory.mktemp("rotated"), workers=1)
    shorten_waits(region)
    return region


@pytest.mark.parametrize("point", POINTS)
def test_a_rotation_that_was_killed_is_finished_by_the_next_command(
    served: ServedRegion, point: str
) -> None:
    words = [str(served.directory), PASSPHRASE, AUTHORITY, Purpose.LICENCE.value, point]
    done = subprocess.run(
        [sys.executable, "-c", _ROTATOR, *words],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    _check_one_active(served)
    again = ["key", "rotate", str(served.directory), "licence", "--owner", AUTHORITY, "--wait"]
    finished = call(*again)
    assert finished.returncode == 0, finished.stderr
    _check_one_active(served)
    with served.open() as region, region.storage.read() as conn:
        stages = [key.stage for key in versions(conn, AUTHORITY, Purpose.LICENCE)]
    assert stages == [*([Stage.RETIRED] * (len(stages) - 1)), Stage.ACTIVE]


def _check_one_active(served: ServedRegion) -> None:
    with served.open() as region:
        Soundness(keyring=region.keyring, directory=Path(served.directory)).examine(
            region.storage, full=True
        ).require_sound()
        with region.storage.read() as conn:
            keys = versions(conn, AUTHORITY, Purpose.LICENCE)
            active = [key for key in keys if key.stage is Stage.ACTIVE]
            assert len(active) == 1
            assert region.rotation().plan(Purpose.LICENCE).is_public(conn, active[0])
