"""A synchronous gRPC server of one process: built whole, started, stopped gently.

Several such processes share a port by ``SO_REUSEPORT`` (``supervisor``). The
thread pool is larger than the calls a worker can compute at once, since a call
that waits for its receipt pins its thread; streams have threads of their own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from yinxin_edge.channel import MAX_MESSAGE_BYTES
from yinxin_edge.interceptor import Boundary, CallLimits, Identify
from yinxin_edge.journal import Journal
from yinxin_edge.streampool import StreamPool
from yinxin_proto.clock import Entropy
from yinxin_proto.error import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How one worker serves.

    Raises:
        ConfigurationError: A number that is not positive.
    """

    listen: str = "127.0.0.1:8443"
    """``host:port``; port 0 takes a free one."""
    threads: int = 64
    """Calls in progress at once."""
    stream_threads: int = 8
    """Streams in progress at once."""
    max_streams: int = 64
    """Streams in progress or waiting for a thread; more are refused."""
    max_waiting: int = 256
    """Calls in progress or waiting for a thread; more are refused."""
    share_port: bool = True
    """Whether other workers listen on the same port (``SO_REUSEPORT``)."""
    grace: timedelta = timedelta(seconds=10)
    """How long calls in progress may take to end once stopping."""
    limits: CallLimits = field(default_factory=CallLimits)

    def __post_init__(self) -> None:
        if min(self.threads, self.stream_threads, self.max_streams, self.max_waiting) < 1:
            raise ConfigurationError(
                "threads, stream_threads, max_streams and max_waiting must be at least 1",
                reason="TOO_FEW",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One gRPC service, ready to be registered."""

    descriptor: ServiceDescriptor
    """From the generated module: ``DESCRIPTOR.services_by_name["…"]``."""
    servicer: object
    register: Callable[[Any, grpc.Server], None]
    """The generated ``add_…Servicer_to_server``."""

    @property
    def name(self) -> str:
        """Full name, as health checks and reflection know it."""
        return str(self.descriptor.full_name)


class Server:
    """One gRPC server, with health and reflection.

    Args:
        settings: How it serves.
        services: What it serves.
        credentials: From ``yinxin_edge.tls``; ``None`` serves in clear, on
            loopback alone.
        identify: Says who calls; a ``PeerVerifier`` wherever there is TLS.
        journal: Where faults go.
        entropy: For references in error answers.

    Raises:
        ConfigurationError: ``PORT_TAKEN``, or the address is not this
            machine's; ``INSECURE_ADDRESS``, in clear beyond loopback.
    """

    def __init__(
        self,
        *,
        settings: ServerSettings,
        services: Sequence[Service],
        credentials: grpc.ServerCredentials | None,
        identify: Identify,
        journal: Journal,
        entropy: Entropy,
    ) -> None:
        self._grace = settings.grace.total_seconds()
        self._calls = ThreadPoolExecutor(settings.threads, thread_name_prefix="call")
        self._streams = StreamPool(threads=settings.stream_threads, places=settings.max_streams)
        boundary = Boundary(
            identify=identify,
            limits=settings.limits,
            streams=self._streams,
            journal=journal,
            entropy=entropy,
        )
        self._server = grpc.server(
            self._calls,
            interceptors=[boundary],
            options=_options(settings),
            maximum_concurrent_rpcs=settings.max_waiting,
        )
        self._health = health.HealthServicer()
        self._register(services)
        self.port = self._bind(settings.listen, credentials)
        """The port it is bound to."""

    def start(self) -> None:
        """Serve from now on."""
        self._server.start()

    def stop(self) -> None:
        """Report not serving, refuse new calls, let those in progress end."""
        self._health.enter_graceful_shutdown()
        self._server.stop(self._grace).wait()
        self._calls.shutdown(wait=False, cancel_futures=True)
        self._streams.shutdown(wait=False, cancel_futures=True)

    def _register(self, services: Sequence[Service]) -> None:
        for service in services:
            service.register(service.servicer, self._server)
            self._health.set(service.name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [service.name for service in services]
        reflection.enable_server_reflection(
            [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )

    def _bind(self, listen: str, credentials: grpc.ServerCredentials | None) -> int:
        if credentials is None and not _is_loopback(listen):
            raise ConfigurationError(
                f"{listen}: without TLS a server listens on loopback alone",
                reason="INSECURE_ADDRESS",
            )
        try:
            if credentials is None:
                return int(self._server.add_insecure_port(listen))
            return int(self._server.add_secure_port(listen, credentials))
        except RuntimeError as error:
            raise ConfigurationError(
                f"cannot listen on {listen}: another process does, or it is not an address "
                "of this machine",
                reason="PORT_TAKEN",
            ) from error


def _options(settings: ServerSettings) -> list[tuple[str, object]]:
    return [
        ("grpc.so_reuseport", int(settings.share_port)),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
    ]


def _is_loopback(listen: str) -> bool:
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
