"""A real server behind real mutual TLS, and what stands before its servicers."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from support import echo
from support.clock import SeededEntropy
from support.connection import client_identity, present_hierarchy, server_identity, tls_anchor
from support.hierarchy import DOMAIN, Hierarchy
from yinxin_edge.channel import open_channel
from yinxin_edge.clock import SystemClock
from yinxin_edge.interceptor import CallLimits
from yinxin_edge.journal import Journal
from yinxin_edge.principal import PeerVerifier
from yinxin_edge.server import Server, ServerSettings
from yinxin_edge.status import from_rpc_error
from yinxin_edge.tls import TlsIdentity, channel_credentials, server_credentials
from yinxin_proto.certificate import Certificate
from yinxin_proto.error import (
    ConfigurationError,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    MalformedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    YinxinError,
)

CITIZEN = "35030218850315001X"
"""Invented."""

LIMITS = CallLimits(max_request_bytes=2000, default_deadline=timedelta(seconds=7))


class Region:
    """One served region and its journal."""

    def __init__(self, hierarchy: Hierarchy, *, foreign: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self.foreign = foreign
        self.all_revoked = False
        self.journal = io.StringIO()
        self.clock = SystemClock()

    def is_revoked(self, certificate: Certificate) -> bool:
        return self.all_revoked

    def server(
        self, *, limits: CallLimits = LIMITS, listen: str = "127.0.0.1:0", max_streams: int = 64
    ) -> Server:
        return Server(
            settings=ServerSettings(
                listen=listen,
                threads=4,
                stream_threads=1,
                max_streams=max_streams,
                limits=limits,
                share_port=False,
            ),
            services=[echo.service()],
            # Both regions' CAs are in the bundle: what gRPC accepts, and we must not.
            credentials=server_credentials(
                server_identity(self.hierarchy, self.foreign.tls.certificate)
            ),
            identify=PeerVerifier(
                anchors={
                    DOMAIN: [tls_anchor(self.hierarchy)],
                    "peer.example.cn": [tls_anchor(self.foreign)],
                },
                clock=self.clock,
                is_revoked=self.is_revoked,
            ),
            journal=Journal(clock=self.clock, stream=self.journal),
            entropy=SeededEntropy(),
        )

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.journal.getvalue().splitlines()]


@pytest.fixture(scope="module")
def hierarchies() -> tuple[Hierarchy, Hierarchy]:
    return present_hierarchy(), present_hierarchy()


@pytest.fixture
def region(hierarchies: tuple[Hierarchy, Hierarchy]) -> Region:
    return Region(hierarchies[0], foreign=hierarchies[1])


@contextmanager
def _serving(server: Server) -> Iterator[int]:
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


@pytest.fixture
def port(region: Region) -> Iterator[int]:
    with _serving(region.server()) as bound:
        yield bound


@contextmanager
def _connected(port: int, identity: TlsIdentity) -> Iterator[grpc.Channel]:
    with open_channel(
        f"localhost:{port}", channel_credentials(identity), own_connection=True
    ) as channel:
        yield channel


@pytest.fixture
def channel(region: Region, port: int) -> Iterator[grpc.Channel]:
    with _connected(port, client_identity(region.hierarchy)) as opened:
        yield opened


def _failure(action: Callable[[], object]) -> YinxinError:
    with pytest.raises(grpc.RpcError) as caught:
        action()
    return from_rpc_error(caught.value)


def _raw(channel: grpc.Channel, method: str, request: bytes) -> bytes:
    call = channel.unary_unary(f"/{echo.NAME}/{method}", bytes, bytes)
    return call(request, timeout=20)


def test_a_certified_principal_is_known_by_its_uri(channel: grpc.Channel) -> None:
    assert echo.single(channel)("who") == f"https://{DOMAIN}/principals/housing-bureau"


def test_a_peer_region_certifies_its_own_principals_only(region: Region, port: int) -> None:
    own = client_identity(
        region.foreign, "bureau", domain="peer.example.cn", server=region.hierarchy
    )
    with _connected(port, own) as channel:
        assert echo.single(channel)("who") == "https://peer.example.cn/principals/bureau"
    forged = client_identity(region.foreign, "housing-bureau", server=region.hierarchy)
    with _connected(port, forged) as channel:
        error = _failure(lambda: echo.single(channel)("who"))
    assert (type(error), error.reason) == (UnauthenticatedError, "PEER_CHAIN")


def test_a_revoked_certificate_is_refused_on_an_open_connection(
    region: Region, channel: grpc.Channel
) -> None:
    ask = echo.single(channel)
    assert ask("hello") == "hello"
    region.all_revoked = True
    error = _failure(lambda: ask("hello"))
    assert (type(error), error.reason) == (UnauthenticatedError, "PEER_REVOKED")


def test_a_client_without_a_certificate_does_not_get_in(region: Region, port: int) -> None:
    credentials = grpc.ssl_channel_credentials(server_identity(region.hierarchy).roots)
    with open_channel(f"localhost:{port}", credentials, own_connection=True) as channel:
        error = _failure(lambda: echo.single(channel)("who"))
    assert isinstance(error, UnavailableError)


def test_an_error_arrives_as_the_class_that_was_raised(channel: grpc.Channel) -> None:
    error = _failure(lambda: echo.single(channel)("refuse"))
    assert (type(error), error.reason) == (InvalidArgumentError, "REFUSED")
    assert [(v.field, v.reason) for v in error.violations] == [("value", "R")]


def test_a_fault_shows_a_reference_and_the_journal_the_rest(
    region: Region, channel: grpc.Channel
) -> None:
    error = _failure(lambda: echo.single(channel)(f"fault of {CITIZEN}"))
    assert (type(error), error.reason) == (InternalError, "INTERNAL")
    assert CITIZEN not in error.message
    (line,) = region.lines()
    assert str(line["reference"]) in error.message
    assert "KeyError" in str(line["error"])
    assert CITIZEN not in region.journal.getvalue()


def test_a_request_beyond_its_bound_is_refused_before_it_is_parsed(channel: grpc.Channel) -> None:
    assert echo.single(channel)("x" * 1900)
    error = _failure(lambda: echo.single(channel)("x" * 2100))
    assert (type(error), error.reason) == (ResourceExhaustedError, "REQUEST_TOO_LARGE")


def test_a_message_beyond_what_the_connection_carries_is_refused(channel: grpc.Channel) -> None:
    error = _failure(lambda: _raw(channel, "Single", b"x" * (17 << 20)))
    assert isinstance(error, ResourceExhaustedError)


def test_bytes_that_are_no_message_are_malformed(region: Region, channel: grpc.Channel) -> None:
    error = _failure(lambda: _raw(channel, "Single", b"\xff\xff"))
    assert (type(error), error.reason) == (MalformedError, "REQUEST")
    assert region.lines() == []


def test_a_call_without_a_deadline_gets_one_and_a_long_one_is_cut(
    region: Region, channel: grpc.Channel
) -> None:
    ask = echo.single(channel)
    assert 5 < float(ask("remaining", timeout=None)) <= 7
    assert 2 < float(ask("remaining", timeout=3)) < 3.5
    assert 299 < float(ask("remaining", timeout=100_000)) <= 300


def test_a_call_whose_deadline_passed_in_the_queue_is_not_begun(region: Region) -> None:
    with (
        _serving(region.server()) as port,
        _connected(port, client_identity(region.hierarchy)) as channel,
        ThreadPoolExecutor(4) as pool,
    ):
        ask = echo.single(channel)
        ask("warm")
        busy = [pool.submit(ask, "sleep 2") for _ in range(4)]
        # Until they have every thread: the late call is to find none free.
        time.sleep(1)
        error = _failure(lambda: ask("late", timeout=0.2))
        assert isinstance(error, DeadlineExceededError)
        assert [done.result() for done in busy] == ["sleep 2"] * 4


def test_what_a_client_cannot_use_is_unimplemented_not_served(channel: grpc.Channel) -> None:
    error = _failure(lambda: _raw(channel, "Absent", b""))
    assert error.reason == "GRPC_UNIMPLEMENTED"


def test_streams_pass_the_same_boundary(region: Region, channel: grpc.Channel) -> None:
    write, read = StringValue.SerializeToString, StringValue.FromString
    down = channel.unary_stream(f"/{echo.NAME}/Down", write, read)
    up = channel.stream_unary(f"/{echo.NAME}/Up", write, read)
    both = channel.stream_stream(f"/{echo.NAME}/Both", write, read)
    who = f"https://{DOMAIN}/principals/housing-bureau"
    asked = StringValue(value="who")
    assert [m.value for m in down(asked, timeout=5)] == ["first", who]
    assert up(iter([asked, asked]), timeout=5).value == f"{who},{who}"
    assert [m.value for m in both(iter([asked]), timeout=5)] == [who]

    refuse, large = StringValue(value="refuse"), StringValue(value="x" * 3000)
    reasons = [
        _failure(lambda: list(down(refuse, timeout=5))).reason,
        _failure(lambda: up(iter([refuse]), timeout=5)).reason,
        _failure(lambda: list(both(iter([refuse]), timeout=5))).reason,
        _failure(lambda: list(down(large, timeout=5))).reason,
        _failure(lambda: up(iter([asked, large]), timeout=5)).reason,
        _failure(lambda: list(both(iter([asked, large]), timeout=5))).reason,
    ]
    assert reasons == ["REFUSED"] * 3 + ["REQUEST_TOO_LARGE"] * 3
    assert region.lines() == []


def test_open_streams_do_not_take_the_threads_of_single_calls(channel: grpc.Channel) -> None:
    stop = threading.Event()

    def waiting() -> Iterator[StringValue]:
        yield StringValue(value="open")
        stop.wait(10)

    both = channel.stream_stream(
        f"/{echo.NAME}/Both", StringValue.SerializeToString, StringValue.FromString
    )
    streams = [both(waiting(), timeout=10)]
    assert next(streams[0]).value == "open"
    streams += [both(waiting(), timeout=10) for _ in range(5)]
    assert echo.single(channel)("hello") == "hello"
    for stream in streams:
        stream.cancel()
    stop.set()


def test_streams_beyond_the_bound_are_refused_until_one_ends(region: Region) -> None:
    stop = threading.Event()

    def waiting() -> Iterator[StringValue]:
        yield StringValue(value="open")
        stop.wait(10)

    with (
        _serving(region.server(max_streams=3)) as port,
        _connected(port, client_identity(region.hierarchy)) as channel,
    ):
        both = channel.stream_stream(
            f"/{echo.NAME}/Both", StringValue.SerializeToString, StringValue.FromString
        )
        first = both(waiting(), timeout=30)
        assert next(first).value == "open"
        # The places are taken in the order in which the server hears of the streams.
        others = [both(waiting(), timeout=30) for _ in range(3)]
        deadline = time.monotonic() + 10
        while all(stream.is_active() for stream in others) and time.monotonic() < deadline:
            time.sleep(0.01)
        (beyond,) = [stream for stream in others if not stream.is_active()]
        refused = _failure(lambda: next(beyond))
        assert echo.single(channel)("hello") == "hello"
        stop.set()
        within = [stream for stream in others if stream is not beyond]
        assert [[value.value for value in stream] for stream in within] == [["open"]] * 2
        assert list(first) == []
        assert [value.value for value in both(iter([StringValue(value="on")]), timeout=10)]

    assert refused.reason == "TOO_MANY_STREAMS"


def test_a_stream_that_nobody_feeds_ends_at_the_default_deadline(region: Region) -> None:
    limits = CallLimits(default_deadline=timedelta(seconds=0.3))
    stop = threading.Event()

    def silent() -> Iterator[StringValue]:
        stop.wait(10)
        yield from ()

    with (
        _serving(region.server(limits=limits)) as port,
        _connected(port, client_identity(region.hierarchy)) as channel,
    ):
        both = channel.stream_stream(
            f"/{echo.NAME}/Both", StringValue.SerializeToString, StringValue.FromString
        )
        _failure(lambda: list(both(silent())))
        stop.set()
    assert region.lines() == []


def test_health_and_reflection_answer(channel: grpc.Channel) -> None:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    for name in ("", echo.NAME):
        answer = check(health_pb2.HealthCheckRequest(service=name), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert echo.NAME in ProtoReflectionDescriptorDatabase(channel).get_services()


def test_stopping_lets_calls_in_flight_succeed_and_refuses_new_ones(region: Region) -> None:
    server = region.server()
    server.start()
    with (
        _connected(server.port, client_identity(region.hierarchy)) as channel,
        ThreadPoolExecutor(3) as pool,
    ):
        ask = echo.single(channel)
        ask("warm")
        flying = [pool.submit(ask, "sleep 0.5") for _ in range(3)]
        threading.Event().wait(0.2)
        server.stop()
        assert [done.result() for done in flying] == ["sleep 0.5"] * 3
        assert isinstance(_failure(lambda: ask("new", timeout=1)), YinxinError)


def test_calls_are_journalled_when_asked(region: Region) -> None:
    limits = CallLimits(journal_calls=True)
    with (
        _serving(region.server(limits=limits)) as port,
        _connected(port, client_identity(region.hierarchy)) as channel,
    ):
        echo.single(channel)("hello")
        _failure(lambda: echo.single(channel)("refuse"))
    served, refused = region.lines()
    assert (served["event"], served["principal"]) == ("call_served", "housing-bureau")
    assert (refused["event"], refused["reason"]) == ("call_refused", "REFUSED")


def test_a_port_that_is_taken_is_refused(region: Region, port: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        region.server(listen=f"127.0.0.1:{port}")
    assert caught.value.reason == "PORT_TAKEN"


def test_a_server_in_clear_is_confined_to_loopback(region: Region) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Server(
            settings=ServerSettings(listen="0.0.0.0:0"),
            services=[],
            credentials=None,
            identify=region.server,  # type: ignore[arg-type]
            journal=Journal(clock=region.clock, stream=region.journal),
            entropy=SeededEntropy(),
        )
    assert caught.value.reason == "INSECURE_ADDRESS"
