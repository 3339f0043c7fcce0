"""Calls over a channel: a deadline on each, and errors of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Final, TypeVar

import grpc

from yinxin_edge.status import from_rpc_error
from yinxin_proto.error import FailedPreconditionError, MalformedError

Q = TypeVar("Q")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")

DEADLINE: Final = timedelta(seconds=30)
"""Of a call, unless the caller says otherwise."""
BATCH_DEADLINE: Final = timedelta(minutes=5)
"""Of a call that carries many requests, and of a download."""


class Transport:
    """A channel to a region.

    ``UNAVAILABLE`` is retried by the channel (`yinxin_edge.channel`), which is
    safe for writes too: each carries its request id.

    Args:
        channel: Where calls go.
        deadline: Of a call that is not given another.
        owned: Whether closing this closes the channel.
    """

    def __init__(
        self, channel: grpc.Channel, *, deadline: timedelta = DEADLINE, owned: bool = False
    ) -> None:
        self._channel = channel
        self._deadline = deadline.total_seconds()
        self._owned = owned
        self._closed = False
        self._stubs: dict[object, object] = {}

    def stub(self, kind: Callable[[grpc.Channel], S]) -> S:
        """Return the stub of a service, made once.

        Raises:
            FailedPreconditionError: This was closed (``CLIENT_CLOSED``).
        """
        if self._closed:
            # gRPC would crash the process: a stub registers with its channel.
            raise _closed()
        found = self._stubs.get(kind)
        if found is None:
            found = self._stubs[kind] = kind(self._channel)
        return found  # type: ignore[return-value]  # what ``kind`` made, by its own key

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Q, R],
        request: Q,
        *,
        deadline: timedelta | None = None,
    ) -> R:
        """Call a method and return its answer.

        Raises:
            YinxinError: The class that the server raised; `UnavailableError`
                when it could not be reached, `DeadlineExceededError` when it
                did not answer in time.
        """
        try:
            return method(request, timeout=self._seconds(deadline))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        except ValueError as error:
            raise _closed() from error

    def stream(
        self, method: grpc.UnaryStreamMultiCallable[Q, R], request: Q, *, deadline: timedelta
    ) -> Iterator[R]:
        """Call a method that answers with a stream; errors as `call`."""
        try:
            answers: Any = method(request, timeout=self._seconds(deadline))
            yield from answers
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        except ValueError as error:
            raise _closed() from error

    def close(self) -> None:
        """Close the channel, if it is ours; either way this is not used again."""
        self._closed = True
        self._stubs.clear()
        if self._owned:
            self._channel.close()

    def _seconds(self, deadline: timedelta | None) -> float:
        return self._deadline if deadline is None else deadline.total_seconds()


def pages(fetch: Callable[[str], tuple[Iterable[T], str]]) -> Iterator[T]:
    """Yield the items of every page, fetching each page when it is needed.

    Args:
        fetch: Takes a page token, returns the page's items and the next token.

    Raises:
        MalformedError: The server names the same page again (``PAGE_TOKEN``).
    """
    token = ""
    while True:
        items, following = fetch(token)
        yield from items
        if not following:
            return
        if following == token:
            raise MalformedError("the server's pages do not end", reason="PAGE_TOKEN")
        token = following


def _closed() -> FailedPreconditionError:
    return FailedPreconditionError("the client was closed; connect again", reason="CLIENT_CLOSED")
