"""The client of one region: what a department's own system calls."""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType
from typing import Self

import grpc

from yinxin.approvalarchive import ApprovalArchive
from yinxin.catalogue import CatalogueCalls
from yinxin.credentials import Credentials
from yinxin.issuance import IssuanceCalls
from yinxin.lifecycle import LifecycleCalls
from yinxin.log import LogCalls
from yinxin.renewal import RenewalCalls
from yinxin.repository import RepositoryCalls
from yinxin.session import Session
from yinxin.subject import SubjectCalls
from yinxin.transport import DEADLINE, Transport
from yinxin.verification import VerificationCalls
from yinxin_edge.channel import open_channel
from yinxin_edge.clock import SystemClock, SystemEntropy
from yinxin_edge.tls import channel_credentials
from yinxin_proto.clock import Clock, Entropy
from yinxin_proto.error import ConfigurationError
from yinxin_proto.name import RegionCode, parse_region_code


class Client(
    IssuanceCalls,
    LifecycleCalls,
    VerificationCalls,
    CatalogueCalls,
    SubjectCalls,
    LogCalls,
    RepositoryCalls,
    RenewalCalls,
):
    """Every call that a region answers; made by `connect`.

    Safe to use from several threads. Use it as a context manager, or close it.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)

    @property
    def region(self) -> RegionCode:
        """Code of the region that is called."""
        return self._session.region

    @property
    def credentials(self) -> Credentials | None:
        """With which it calls."""
        return self._session.credentials

    def close(self) -> None:
        """Close the connection; a channel that was handed in stays open."""
        self._session.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def connect(
    target: str | None = None,
    *,
    credentials: Credentials | None = None,
    channel: grpc.Channel | None = None,
    region: str | None = None,
    server_name: str | None = None,
    deadline: timedelta = DEADLINE,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> Client:
    """Return a client of a region; it connects when it first calls.

    Args:
        target: ``host:port`` of the region's server. Without credentials the
            connection is in clear, which a server offers on loopback alone.
        credentials: Who calls, and with which approval key.
        channel: A ready channel instead of a target: another transport, a
            server in this process. It stays the caller's to close.
        region: Code of the region, where no credentials say it.
        server_name: Name to expect in the server's certificate, when it is not
            the target's host.
        deadline: Of each single call.
        clock: For approvals; the machine's when omitted.
        entropy: For nonces and request ids; the machine's when omitted.

    Raises:
        ConfigurationError: Not exactly one of ``target`` and ``channel``
            (``TARGET``), or no region (``REGION``).
    """
    if (target is None) is (channel is None):
        raise ConfigurationError("connect: give a target or a channel", reason="TARGET")
    code = parse_region_code(region) if region is not None else None
    if code is None:
        if credentials is None:
            raise ConfigurationError("connect: say which region is called", reason="REGION")
        code = credentials.region
    identity = None if credentials is None else credentials.identity
    made = channel or open_channel(
        target or "",
        None if identity is None else channel_credentials(identity),
        server_name=server_name,
    )
    clock = clock or SystemClock()
    folder = None if credentials is None else credentials.approvals
    session = Session(
        transport=Transport(made, deadline=deadline, owned=channel is None),
        region=code,
        credentials=credentials,
        clock=clock,
        entropy=entropy or SystemEntropy(),
        archive=None if folder is None else ApprovalArchive(folder, clock=clock),
    )
    return Client(session)
