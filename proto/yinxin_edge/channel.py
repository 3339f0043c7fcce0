"""The client's end of a connection: limits, and which failures are retried.

``UNAVAILABLE`` alone is retried, by gRPC itself: a write that carries its
``request_id`` may be sent twice, and every write does, but for a signer's keys:
whether one was made or destroyed is for whoever asked to find out.
"""

from __future__ import annotations

import json
from typing import Final

import grpc

MAX_MESSAGE_BYTES: Final = 16 << 20
"""Of one message, either way, on both ends."""

_SERVICE_CONFIG: Final = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            },
            {
                "name": [
                    {"service": "yinxin.v1.SignerService", "method": "CreateSigningKey"},
                    {"service": "yinxin.v1.SignerService", "method": "DeleteSigningKey"},
                ]
            },
        ]
    }
)


def open_channel(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    *,
    server_name: str | None = None,
    own_connection: bool = False,
) -> grpc.Channel:
    """Open a channel; it connects when first used.

    Args:
        target: ``host:port``.
        credentials: From ``yinxin_edge.tls``; ``None`` for a plain connection,
            which a server offers on loopback alone.
        server_name: The name to expect in the server's certificate, when it is
            not the target's host.
        own_connection: Do not share a connection with other channels to the
            same target (one connection is served by one worker).
    """
    options: list[tuple[str, object]] = [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.keepalive_time_ms", 60_000),
    ]
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    if own_connection:
        options.append(("grpc.use_local_subchannel_pool", 1))
    if credentials is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, credentials, options=options)
