"""A founded region in a directory, its real server as processes, and who calls it.

The people and bodies are invented.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from support.requests import AUTHORITY, REGION, document
from support.small_region import TYPE, type_bytes
from yinxin import Client, Context, Credentials, connect
from yinxin.command import main
from yinxin_edge.clock import SystemEntropy
from yinxin_proto.issuerequest import IssueRequest
from yinxin_proto.strict import b64url_encode
from yinxin_trust.access import Role
from yinxin_trust.catalogue import add_type, parse_type
from yinxin_trust.command.clientfolder import Client as EnrolledClient
from yinxin_trust.command.clientfolder import ClientFolder
from yinxin_trust.command.enrolment import enrol
from yinxin_trust.directory import touch
from yinxin_trust.keysettings import KeysTable
from yinxin_trust.region import Region
from yinxin_trust.registration import NewAuthority
from yinxin_trust.settings import DatabaseTable, RegionTable, ServerTable, Settings

PASSPHRASE = "an invented passphrase"
CONTEXT = Context("虚构事项审批", operator="经办甲")
ISSUER = "issuer"
_ADDRESS = re.compile(r"127\.0\.0\.1:\d+")
_START_SECONDS = 60.0
_ENTROPY = SystemEntropy()


def issue_request(number: str) -> IssueRequest:
    """An acceptable request with a licence number of its own."""
    members = document(type=TYPE, number=number, nonce=b64url_encode(_ENTROPY.token(32)))
    return IssueRequest.from_document(members)


@dataclass(frozen=True)
class RunningServer:
    """A server's supervisor, whose process group its workers share."""

    process: subprocess.Popen[str]
    address: str
    journal: Path

    def kill(self) -> None:
        """SIGKILL the supervisor and every worker at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def kill_supervisor(self) -> None:
        """SIGKILL the supervisor alone; its workers notice by themselves."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM the supervisor; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@dataclass(frozen=True)
class ServedRegion:
    """A region's directory, and the credentials of one authority."""

    directory: Path
    credentials: Path

    @classmethod
    def found(
        cls,
        root: Path,
        *,
        database: str = "",
        workers: int = 2,
        suite: str = "ES256",
        root_suite: str = "",
        keys: KeysTable | None = None,
    ) -> Self:
        """Found it below ``root``, with one authority and one type."""
        directory, credentials = root / "region", root / "client"
        settings = Settings(
            region=RegionTable(
                code=REGION,
                domain="putian.example",
                name="莆田市（示例）",
                suite=suite,
                root_suite=root_suite,
            ),
            database=DatabaseTable(url=database),
            server=ServerTable(workers=workers),
            keys=keys or KeysTable(),
        )
        Region.create(directory, settings, passphrase=PASSPHRASE)
        with Region.open(directory, passphrase=PASSPHRASE, offline_passphrase=PASSPHRASE) as region:
            with region.storage.write() as conn:
                add_type(conn, parse_type(type_bytes()), now_ms=0)
                touch(conn)
            key = region.foundation.suite.generate()
            region.registrar.add_authority(
                NewAuthority(
                    code=AUTHORITY, name="虚构局", types=(TYPE,), approval_key=key.public_key
                )
            )
            folder = ClientFolder(credentials)
            folder.make()
            folder.put_key("approval.key", key)
            client = EnrolledClient(
                principal_id=ISSUER, display_name="虚构局", authority_code=AUTHORITY
            )
            enrol(region, client, roles=(Role.ISSUER, Role.VERIFIER), folder=folder)
        return cls(directory, credentials)

    def open(self) -> Region:
        """Open it in this process."""
        return Region.open(self.directory, passphrase=PASSPHRASE)

    def client(self, address: str) -> Client:
        """A client of the authority."""
        return connect(address, credentials=Credentials.load(self.credentials))

    @contextmanager
    def serve(self, *options: str) -> Iterator[RunningServer]:
        """Run its server at a free port; whatever is left of it is killed in the end."""
        server = start_server(self.directory, *options)
        try:
            yield server
        finally:
            reap(server.process)


def start_server(directory: Path, *options: str) -> RunningServer:
    """Start a region's server and wait until it is ready."""
    journal = directory.parent / "server.log"
    words = ["serve", str(directory), "--listen", "127.0.0.1:0", *options]
    with journal.open("a") as log:
        process = subprocess.Popen(
            yinxin(words),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
    timer = threading.Timer(_START_SECONDS, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
    finally:
        timer.cancel()
    found = _ADDRESS.search(ready)
    if found is None:
        reap(process)
        raise AssertionError(f"the server did not start: {ready}{journal.read_text()[-4000:]}")
    return RunningServer(process, found[0], journal)


def reap(process: subprocess.Popen[str]) -> None:
    """Kill what is left of a server, and close its pipe."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    if process.stdout is not None:
        process.stdout.close()


def yinxin(words: Sequence[str]) -> list[str]:
    """The command line with arguments."""
    return [sys.executable, "-m", "yinxin", *words]


def environment(**changes: str) -> Mapping[str, str]:
    """The environment of a command that is given the passphrase."""
    return {
        **os.environ,
        "YINXIN_PASSPHRASE": PASSPHRASE,
        "YINXIN_LANG": "en",
        "PYTHONUTF8": "1",
        **changes,
    }


def run(*words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without a terminal."""
    return subprocess.run(
        yinxin(words),
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def call(*words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this process: as `run`, but for the interpreter's start."""
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    os.environ.update(environment(**changes))
    try:
        with redirect_stdout(out), redirect_stderr(err):
            status = main(list(words))
    finally:
        os.environ.clear()
        os.environ.update(before)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())
