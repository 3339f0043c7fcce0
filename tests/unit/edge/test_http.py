from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import EPOCH, FixedClock
from yinxin_edge.http import (
    HttpRequest,
    HttpResponse,
    HttpServer,
    HttpSettings,
    http_date,
    parse_head,
)
from yinxin_edge.journal import Journal
from yinxin_proto.error import ConfigurationError, MalformedError

PATIENCE = timedelta(seconds=0.5)


def _echo(request: HttpRequest) -> HttpResponse:
    if request.path == "/fault":
        raise RuntimeError("a fault of ours")
    said = {"method": request.method, "path": request.path, "body": request.body.decode("latin-1")}
    return HttpResponse(content_type="application/json", body=json.dumps(said).encode())


class Served:
    def __init__(self, **bounds: object) -> None:
        self.journal = io.StringIO()
        clock = FixedClock()
        settings: dict[str, object] = {"listen": "127.0.0.1:0", "patience": PATIENCE, "threads": 2}
        self.server = HttpServer(
            settings=HttpSettings(**settings | bounds),  # type: ignore[arg-type]
            handler=_echo,
            journal=Journal(clock=clock, stream=self.journal),
            clock=clock,
        )
        self.port = self.server.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def send(self, data: bytes) -> bytes:
        """Send what may be no request at all; return everything that comes back."""
        with self.connect() as connection:
            connection.sendall(data)
            return _rest(connection)


def _rest(connection: socket.socket) -> bytes:
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@contextmanager
def _served(**bounds: object) -> Iterator[Served]:
    served = Served(**bounds)
    try:
        yield served
    finally:
        served.server.stop()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with _served() as running:
        yield running


def _status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def test_a_request_is_answered_once_and_the_connection_closed(served: Served) -> None:
    answer = served.send(b"GET /crl/a.crl?x=1 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body) == {"method": "GET", "path": "/crl/a.crl", "body": ""}
    assert b"Connection: close" in head
    assert f"Date: {http_date(EPOCH)}".encode() in head


def test_a_body_arrives_whole_however_it_was_cut(served: Served) -> None:
    with served.connect() as connection:
        for part in (b"POST /ocsp HT", b"TP/1.1\r\nContent-Len", b"gth: 6\r\n\r\nab", b"cdef"):
            connection.sendall(part)
            time.sleep(0.01)
        answer = _rest(connection)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["body"] == "abcdef"


def test_head_has_the_headers_and_no_body(served: Served) -> None:
    head, _, body = served.send(b"HEAD / HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Content-Length: " in head
    assert b"Content-Length: 0" not in head
    assert body == b""


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xe8\xaf\x81 HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\nc: d\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 65 + b"\r\n", 400),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 10_000 + b"\r\n\r\n", 431),
        (b"GET /fault HTTP/1.1\r\n\r\n", 500),
    ],
)
def test_what_is_no_request_is_refused(served: Served, data: bytes, status: int) -> None:
    assert _status(served.send(data)) == status


def test_a_fault_is_in_the_journal_and_not_in_the_answer(served: Served) -> None:
    answer = served.send(b"GET /fault HTTP/1.1\r\n\r\n")
    assert b"ours" not in answer
    assert "http_failed" in served.journal.getvalue()


def test_who_sends_slowly_costs_no_thread_and_is_dropped() -> None:
    # More slow ones than threads, each sending a byte now and then for ever.
    with _served() as served:
        slow = [served.connect() for _ in range(20)]
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.05):
                for connection in slow:
                    try:
                        connection.sendall(b"A")
                    except OSError:
                        continue

        dripping = threading.Thread(target=drip)
        dripping.start()
        started = time.monotonic()
        assert _status(served.send(b"GET / HTTP/1.1\r\n\r\n")) == 200
        assert time.monotonic() - started < PATIENCE.total_seconds()
        for connection in slow:
            assert _rest(connection) == b""
            connection.close()
        assert time.monotonic() - started < 10 * PATIENCE.total_seconds()
        stop.set()
        dripping.join()


def test_who_takes_no_answer_is_dropped() -> None:
    with _served() as served, served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        time.sleep(2 * PATIENCE.total_seconds())
        assert _status(_rest(connection)) == 200


def test_one_address_has_a_bounded_number_of_connections() -> None:
    with _served(max_connections_of_one=3, patience=timedelta(seconds=5)) as served:
        held = [served.connect() for _ in range(3)]
        for connection in held:
            connection.sendall(b"GET")
        time.sleep(0.1)
        assert served.send(b"GET / HTTP/1.1\r\n\r\n") == b""
        for connection in held:
            connection.close()
        time.sleep(0.1)
        assert _status(served.send(b"GET / HTTP/1.1\r\n\r\n")) == 200


def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = HttpServer(
            settings=HttpSettings(listen=f"127.0.0.1:{taken.getsockname()[1]}"),
            handler=_echo,
            journal=Journal(clock=FixedClock(), stream=io.StringIO()),
            clock=FixedClock(),
        )
        with pytest.raises(ConfigurationError) as refused:
            server.start()
        server.stop()
    assert refused.value.reason == "PORT_TAKEN"


@given(st.binary(max_size=300))
def test_a_head_parses_or_is_refused(head: bytes) -> None:
    try:
        method, path, headers = parse_head(head)
    except MalformedError:
        return
    assert method
    assert path.startswith("/")
    assert all(name == name.lower() for name in headers)
