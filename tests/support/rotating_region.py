"""A served region whose keys are rotated one after the other, while clients work.

The driver of every story in which keys change under load: it founds a region
with short waits, keeps clients issuing and verifying in threads, rotates by the
command line, and counts what failed. Nothing may.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.served_region import (
    CONTEXT,
    RunningServer,
    ServedRegion,
    call,
    issue_request,
)
from yinxin import IssuedLicence
from yinxin_ca.keystore import Purpose

KEYS = """
[rotation]
publish_wait = "150ms"
settle = "150ms"
"""
"""Waits so short that a rotation takes a moment."""
OWN = (
    Purpose.STATUS,
    Purpose.LICENCE_CA,
    Purpose.STATUS_CA,
    Purpose.TLS_CA,
    Purpose.TLS_SERVER,
    Purpose.KEK,
    Purpose.INDEX_HMAC,
    Purpose.TUF_ROOT,
    Purpose.TUF_TARGETS,
    Purpose.TUF_SNAPSHOT,
    Purpose.TUF_TIMESTAMP,
    Purpose.TUF_STATUS,
    Purpose.TUF_CRL,
    Purpose.TUF_CATALOGUE,
)
"""The region's own keys, but for its logs'."""


def shorten_waits(served: ServedRegion) -> None:
    """Let rotations of a founded region wait for moments instead of days."""
    path = served.directory / "region.toml"
    text = path.read_text(encoding="utf-8")
    text = text.replace("[server]\n", '[server]\npublication_period = "250ms"\n')
    path.write_text(text + KEYS, encoding="utf-8")


def every_key(authority: str) -> list[tuple[Purpose, str]]:
    """Every key of a small region that rotates by itself, with its owner."""
    return [
        (Purpose.LICENCE, authority),
        (Purpose.LOG, "licences"),
        (Purpose.LOG, "uses"),
        *((purpose, "") for purpose in OWN),
    ]


def rotate(served: ServedRegion, purpose: Purpose, owner: str = "") -> None:
    """Rotate one key to the end by the command line."""
    words = ["key", "rotate", str(served.directory), purpose.value, "--wait"]
    done = call(*words, *(["--owner", owner] if owner else []))
    assert done.returncode == 0, (purpose, done.stdout, done.stderr)


_SERIALS = itertools.count()
"""Licence numbers are unique in a region, whoever asks for them."""


@dataclass
class Work:
    """Clients at work; what they made and what failed."""

    issued: list[IssuedLicence] = field(default_factory=list)
    verified: int = 0
    failures: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @classmethod
    @contextmanager
    def going_on(cls, served: ServedRegion, server: RunningServer) -> Iterator[Work]:
        """Keep clients at work for as long as a block runs.

        One client keeps its connection throughout, one connects for each call.
        """
        work = cls()
        kept = threading.Thread(target=work._keep_connected, args=(served, server.address))
        anew = threading.Thread(target=work._connect_anew, args=(served, server.address))
        for thread in (kept, anew):
            thread.start()
        try:
            yield work
        finally:
            work._stop.set()
            for thread in (kept, anew):
                thread.join()

    def pause(self) -> None:
        """Let every client do some calls."""
        before = self.verified, len(self.issued)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not self.failures:
            if self.verified >= before[0] + 2 and len(self.issued) >= before[1] + 2:
                return
            time.sleep(0.02)

    def _keep_connected(self, served: ServedRegion, address: str) -> None:
        try:
            with served.client(address) as client:
                while not self._stop.is_set():
                    number = f"虚构证字K{next(_SERIALS)}"
                    licence = client.issue(issue_request(number), context=CONTEXT)
                    client.verify(licence, context=CONTEXT).require_passed()
                    self.issued.append(licence)
                    self.verified += 1
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.failures.append(error)

    def _connect_anew(self, served: ServedRegion, address: str) -> None:
        try:
            while not self._stop.is_set():
                if not self.issued:
                    time.sleep(0.02)
                    continue
                with served.client(address) as client:
                    some: Sequence[IssuedLicence] = [self.issued[0], self.issued[-1]]
                    for licence in some:
                        client.verify(licence, context=CONTEXT).require_passed()
                        self.verified += 1
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.failures.append(error)


def fresh_pack(served: ServedRegion, target: Path) -> Path:
    """Export a pack by the command line."""
    done = call("pack", "export", str(served.directory), str(target))
    assert done.returncode == 0, done.stderr
    return target
