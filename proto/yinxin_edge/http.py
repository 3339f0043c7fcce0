"""A small HTTP server for what must be fetched without TLS: lists, certificates, answers.

One loop reads every connection, so that those who send slowly cost a socket
and no thread; a request that has arrived whole is answered in a small pool.
One request to a connection, bounded in bytes and in time. Nothing here is
authenticated and nothing needs to be: what is served is signed.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import Final

from yinxin_edge.journal import Journal
from yinxin_edge.port import split_address
from yinxin_proto.clock import Clock
from yinxin_proto.error import ConfigurationError, MalformedError

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z")
_TARGET: Final = re.compile(rb"/[!-~]{0,4095}\Z")
_VERSION: Final = re.compile(rb"HTTP/1\.[01]\Z")
_MAX_HEADERS: Final = 64
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request that arrived whole."""

    method: str
    path: str
    """The target before ``?``, as it was sent: nothing is decoded."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """What is sent back."""

    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[HttpRequest], HttpResponse]
"""Answers a request; in one of several threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Bounds of a server."""

    listen: str
    """``host:port``."""
    threads: int = 8
    """Requests answered at once."""
    max_connections: int = 512
    """Beyond these, a connection is closed at once."""
    max_connections_of_one: int = 32
    """From one address; who shares one with many is behind a proxy that counts better."""
    max_head_bytes: int = 8_192
    max_body_bytes: int = 8_192
    patience: timedelta = timedelta(seconds=5)
    """For a request to arrive whole, and for its answer to be taken."""


class HttpServer:
    """Serves from a thread of its own, between `start` and `stop`.

    Args:
        settings: Bounds.
        handler: Answers requests.
        journal: Faults go there; requests do not.
        clock: For the Date header.
    """

    def __init__(
        self, *, settings: HttpSettings, handler: Handler, journal: Journal, clock: Clock
    ) -> None:
        self._settings = settings
        self._handler = handler
        self._journal = journal
        self._clock = clock
        self._open: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="http")
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._sockets: Sequence[socket.socket] = ()
        self._server: asyncio.Server | None = None

    def start(self) -> int:
        """Listen, and return the port.

        Raises:
            ConfigurationError: The address cannot be used (``PORT_TAKEN``).
        """
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def stop(self) -> None:
        """Let requests that arrived be answered, and close."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._pool.shutdown()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> int:
        host, port = split_address(self._settings.listen)
        try:
            self._server = await asyncio.start_server(
                self._accept,
                host,
                port,
                limit=self._settings.max_head_bytes,
                reuse_port=True,
                backlog=128,
            )
        except OSError as error:
            raise ConfigurationError(
                f"{self._settings.listen} cannot be used: {error.strerror}; choose another port "
                "under [http] in region.toml",
                reason="PORT_TAKEN",
            ) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        waiting = set(self._tasks)
        if waiting:
            await asyncio.wait(waiting, timeout=self._settings.patience.total_seconds())
        for task in set(self._tasks):
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = str((writer.get_extra_info("peername") or ("",))[0])
        crowded = self._open.total() >= self._settings.max_connections
        if crowded or self._open[peer] >= self._settings.max_connections_of_one:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._open[peer] += 1
        try:
            await self._serve(reader, writer)
        finally:
            self._open[peer] -= 1
            self._open += Counter()  # drops those at zero
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        patience = self._settings.patience.total_seconds()
        try:
            async with asyncio.timeout(patience):
                request = await self._read(reader)
            response = await self._answer(request)
            head_only = request.method == "HEAD"
        except MalformedError as error:
            status = _STATUSES.get(error.reason, HTTPStatus.BAD_REQUEST)
            response, head_only = HttpResponse(status=status), False
        except (OSError, asyncio.IncompleteReadError):
            # Too slow, or gone: whoever it was does not wait for an answer.
            return
        # Not connection errors alone: to shut a socket whose peer is gone is another one.
        with contextlib.suppress(OSError):
            async with asyncio.timeout(patience):
                writer.write(self._encode(response, head_only=head_only))
                await writer.drain()
                writer.write_eof()
                # Until the peer has taken it all and closes; an abort would cut it off.
                while await reader.read(1024):
                    continue

    async def _read(self, reader: asyncio.StreamReader) -> HttpRequest:
        try:
            head = await reader.readuntil(_END)
        except asyncio.LimitOverrunError as error:
            raise MalformedError("HTTP: the head is too long", reason="HTTP_HEAD_SIZE") from error
        method, path, headers = parse_head(head[: -len(_END)])
        size = _content_length(headers, self._settings.max_body_bytes)
        body = await reader.readexactly(size) if size else b""
        return HttpRequest(method=method, path=path, headers=headers, body=body)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        try:
            return await self._loop.run_in_executor(self._pool, self._handler, request)
        except Exception as error:  # noqa: BLE001 - the journal has it; the server goes on
            self._journal.error("http_failed", error, path=request.path)
            return HttpResponse(status=HTTPStatus.INTERNAL_SERVER_ERROR)

    def _encode(self, response: HttpResponse, *, head_only: bool) -> bytes:
        headers = {
            "Date": http_date(self._clock.now()),
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
            **response.headers,
        }
        lines = [f"HTTP/1.1 {response.status.value} {response.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join(lines).encode("ascii") + _END
        return head if head_only else head + response.body


_STATUSES: Final = {
    "HTTP_HEAD_SIZE": HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "HTTP_BODY_SIZE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "HTTP_TRANSFER_ENCODING": HTTPStatus.NOT_IMPLEMENTED,
}


def parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Parse a request line and headers (RFC 9112 §3, §5), strictly.

    Returns:
        Method, path, and headers by lower-case name.

    Raises:
        MalformedError: Anything else (reason ``HTTP``), or a body of unknown
            length (``HTTP_TRANSFER_ENCODING``).
    """
    line, *rest = head.split(b"\r\n")
    parts = line.split(b" ")
    if (
        len(parts) != 3
        or _TOKEN.match(parts[0]) is None
        or _TARGET.match(parts[1]) is None
        or _VERSION.match(parts[2]) is None
        or len(rest) > _MAX_HEADERS
    ):
        raise _malformed()
    headers: dict[str, str] = {}
    for header in rest:
        name, colon, value = header.partition(b":")
        text = value.strip(b" \t")
        # A line that goes on, or a bare CR or NUL, is how requests are smuggled.
        if not colon or _TOKEN.match(name) is None or any(octet < 0x20 for octet in text):
            raise _malformed()
        key = name.decode("ascii").lower()
        if key in headers and key in {"content-length", "host", "transfer-encoding"}:
            raise _malformed()
        headers[key] = text.decode("latin-1")
    if "transfer-encoding" in headers:
        raise MalformedError("HTTP: a body has a Content-Length", reason="HTTP_TRANSFER_ENCODING")
    target = parts[1].decode("ascii")
    return parts[0].decode("ascii"), target.partition("?")[0], headers


def http_date(moment: datetime) -> str:
    """Return a moment as HTTP writes it (RFC 9110 §5.6.7)."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def _content_length(headers: Mapping[str, str], bound: int) -> int:
    text = headers.get("content-length", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise _malformed()
    if int(text) > bound:
        raise MalformedError(f"HTTP: a body of more than {bound} bytes", reason="HTTP_BODY_SIZE")
    return int(text)


def _malformed() -> MalformedError:
    return MalformedError("HTTP: not a request in the form that is read here", reason="HTTP")
