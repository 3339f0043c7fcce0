"""The region's own commands and its server, as processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from yinxin_edge.terminal import Language
from yinxin_proto.error import InternalError, UnavailableError

_PROGRAM: Final = (sys.executable, "-m", "yinxin")
_ADDRESS: Final = re.compile(r"127\.0\.0\.1:\d{1,5}")
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 30
_MAX_SAID: Final = 2000


class ServerProcess:
    """A region's server.

    Args:
        process: With its standard output on a pipe.
        journal: Where its standard error goes.
    """

    def __init__(self, process: subprocess.Popen[bytes], journal: Path) -> None:
        self._process = process
        self._journal = journal
        self.address = ""
        """Where it serves, once it is ready."""

    def wait_until_ready(self) -> None:
        """Wait for the line with which it says where it serves.

        Raises:
            UnavailableError: It ended, or took too long (``SERVER_START``).
        """
        found = _ADDRESS.search(self._first_line())
        if found is None:
            raise UnavailableError(
                f"the server did not start: {self._last_words()}", reason="SERVER_START"
            )
        self.address = found[0]

    def stop(self) -> int:
        """Ask it to stop, let calls in progress end, and return its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return status

    def _first_line(self) -> str:
        output = self._process.stdout
        if output is None:
            return ""
        timer = threading.Timer(_START_SECONDS, self._process.kill)
        timer.start()
        try:
            return output.readline().decode("utf-8", "replace")
        finally:
            timer.cancel()

    def _last_words(self) -> str:
        text = self._journal.read_text(encoding="utf-8", errors="replace").strip()
        return text[-_MAX_SAID:] or "it said nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionCommands:
    """Runs ``yinxin`` commands on one region.

    Args:
        directory: The region's.
        passphrase: Of its key stores; reaches the commands in their environment.
        language: What they speak.
    """

    directory: Path
    passphrase: str = field(repr=False)
    language: Language

    def run(self, *words: str) -> None:
        """Run a command to its end.

        Raises:
            InternalError: It failed (``COMMAND``); the message has what it said.
        """
        done = subprocess.run(  # noqa: S603 - our own program, no shell
            [*_PROGRAM, *words],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()[-_MAX_SAID:]
            raise InternalError(f"yinxin {words[0]} {words[1]}: {said}", reason="COMMAND")

    @contextmanager
    def serve(self, journal: Path, *, workers: int) -> Iterator[ServerProcess]:
        """Start the region's server at a free port of this machine; stop it in the end.

        Args:
            journal: Where the server's journal goes.
            workers: Its worker processes.
        """
        command = [*_PROGRAM, "serve", str(self.directory), "--listen", "127.0.0.1:0"]
        with journal.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [*command, "--workers", str(workers)],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                # A Ctrl-C at this terminal is ours to pass on.
                start_new_session=True,
            )
        server = ServerProcess(process, journal)
        try:
            yield server
        finally:
            server.stop()

    def _environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "YINXIN_PASSPHRASE": self.passphrase,
            "YINXIN_LANG": self.language.value,
            "PYTHONUTF8": "1",
        }
