"""A small program under supervision, run as a process of its own by the tests.

``python -m support.supervised DIRECTORY LISTEN MODE…``: one worker for each
mode. Prints ``ready ADDRESS`` when all are, and ends with status 0, or prints
the error's reason and ends with status 1.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from support import echo
from support.clock import SeededEntropy
from yinxin_edge.clock import SystemClock
from yinxin_edge.directory_lock import lock_directory
from yinxin_edge.journal import Journal
from yinxin_edge.port import reserve_port
from yinxin_edge.principal import Principal
from yinxin_edge.server import Server, ServerSettings
from yinxin_edge.supervisor import Supervisor, SupervisorSettings, WorkerSpec
from yinxin_edge.worker import WorkerLink
from yinxin_proto.error import ConfigurationError, Violation, YinxinError

ANYBODY = Principal(domain="licences.example.cn", identifier="anybody", certificate_hash=b"\0" * 32)


@dataclass(frozen=True)
class Settings:
    address: str
    mode: str
    directory: Path


def serve(settings: Settings, link: WorkerLink) -> None:
    """Serve until told to stop, or misbehave as the mode says."""
    if settings.mode == "refuse":
        raise ConfigurationError(
            "cannot serve", reason="WRONG_SETTING", violations=[Violation("x", "is wrong")]
        )
    if settings.mode == "crash":
        raise KeyError("crash")
    if settings.mode == "hang":
        time.sleep(60)
    if settings.mode == "slow":
        time.sleep(0.7)
    # Started well once, never again.
    marker = settings.directory / "started"
    if settings.mode == "once":
        if marker.exists():
            os._exit(3)
        marker.touch()
    server = Server(
        settings=ServerSettings(listen=settings.address, grace=timedelta(seconds=5)),
        services=[echo.service()],
        credentials=None,
        identify=lambda _context: ANYBODY,
        journal=Journal(clock=SystemClock()),
        entropy=SeededEntropy(),
    )
    server.start()
    link.ready()
    link.wait()
    if settings.mode == "stubborn":
        time.sleep(60)
    server.stop()


def main(directory: str, listen: str, *modes: str) -> int:
    settings = SupervisorSettings(
        start_timeout=timedelta(seconds=20 if "hang" not in modes else 1),
        grace=timedelta(seconds=5),
        first_delay=timedelta(seconds=0.05),
        quick_crashes=3,
    )
    try:
        with lock_directory(Path(directory)), reserve_port(listen) as address:
            Supervisor(
                workers=[
                    WorkerSpec(
                        name=f"{mode}-{number}",
                        target=serve,
                        settings=Settings(address, mode, Path(directory)),
                    )
                    for number, mode in enumerate(modes)
                ],
                journal=Journal(clock=SystemClock()),
                on_ready=lambda: print(f"ready {address}", flush=True),  # noqa: T201
                settings=settings,
            ).run()
    except YinxinError as error:
        fields = ",".join(violation.field for violation in error.violations)
        print(f"{error.code} {error.reason} {fields}", flush=True)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
