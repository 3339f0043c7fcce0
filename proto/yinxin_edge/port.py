"""One server to a port, although its workers share it.

With ``SO_REUSEPORT`` a second server on the same port *starts*, and takes half
of the connections. So the supervisor first tries the port without that option,
then holds it bound (never listening) while its workers share it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Final

from yinxin_proto.error import ConfigurationError

_PATIENCE: Final = timedelta(seconds=2)
_POLL_SECONDS: Final = 0.1


@contextmanager
def reserve_port(listen: str, *, patience: timedelta = _PATIENCE) -> Iterator[str]:
    """Hold an address for this process's workers and nobody else's.

    Args:
        listen: ``host:port`` (``[::1]:8443`` for IPv6); port 0 takes a free one.
        patience: How long to wait for the port: workers whose supervisor was
            killed hold it until they notice.

    Yields:
        The address with the port that was taken, for each worker to bind.

    Raises:
        ConfigurationError: ``ADDRESS``, not an address of this machine;
            ``PORT_TAKEN``, another process listens there.
    """
    host, port = split_address(listen)
    with ExitStack() as held:
        # A name such as localhost has several addresses, and workers bind them all.
        for family, address in _resolve(host, port, listen):
            at = (address[0], port, *address[2:])
            if port != 0:
                _probe(family, at, listen, patience)
            port = _hold(held, family, at, listen)
        yield f"{listen.rpartition(':')[0]}:{port}"


def _hold(
    held: ExitStack, family: socket.AddressFamily, address: tuple[object, ...], listen: str
) -> int:
    # Bound, not listening: it receives nothing, but nobody without SO_REUSEPORT
    # can have the port, and no other user can.
    endpoint = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6 and address[0] != "::":
        endpoint.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    _bind(endpoint, address, listen)
    return int(endpoint.getsockname()[1])


def _probe(
    family: socket.AddressFamily, address: tuple[object, ...], listen: str, patience: timedelta
) -> None:
    deadline = time.monotonic() + patience.total_seconds()
    while True:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # Over connections that are closing (TIME_WAIT), not over a listener.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                _bind(probe, address, listen)
                return
        except ConfigurationError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_SECONDS)


def _bind(endpoint: socket.socket, address: tuple[object, ...], listen: str) -> None:
    try:
        endpoint.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"{listen} cannot be used: {error.strerror}; choose another port, or stop the "
            "process that listens there",
            reason="PORT_TAKEN",
        ) from error


def split_address(listen: str) -> tuple[str, int]:
    """Return host and port of an address such as ``127.0.0.1:8443`` or ``[::1]:8443``.

    Raises:
        ConfigurationError: ``ADDRESS``, it is not one.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(f"{listen!r} is not host:port", reason="ADDRESS")
    return host.strip("[]"), int(port)


def _resolve(
    host: str, port: int, listen: str
) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"{listen}: no such host on this machine", reason="ADDRESS"
        ) from error
    return [(family, address) for family, _, _, _, address in found]
