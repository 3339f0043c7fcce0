"""What stands before every servicer: identity, bounds, deadline, errors, journal.

A servicer converts, calls one domain function, converts back. Everything that
must hold for all of them is here, once: the caller is identified, the request
is of bounded size, the deadline is known, a `YinxinError` leaves as a rich
status, and anything else as ``INTERNAL`` with a reference to the journal, never
with its text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Timer
from typing import Any, Final, NoReturn, TypeAlias, cast

import grpc
from grpc_status import rpc_status

from yinxin_edge.call import Call, enter, leave
from yinxin_edge.journal import Journal
from yinxin_edge.principal import Principal
from yinxin_edge.status import to_trailer
from yinxin_edge.streampool import StreamPool
from yinxin_proto.clock import Entropy
from yinxin_proto.error import (
    ConfigurationError,
    DeadlineExceededError,
    IntegrityError,
    InternalError,
    KeyStoreError,
    MalformedError,
    ResourceExhaustedError,
    UnavailableError,
    YinxinError,
)

Identify = Callable[[grpc.ServicerContext], Principal]
"""Says who makes a call, or raises; `PeerVerifier` is one."""

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Behaviour = Callable[[Any, grpc.ServicerContext], Any]

_FAR: Final = timedelta(days=365).total_seconds()
_HEALTH: Final = "/grpc.health.v1.Health/"
_OURS: Final = (InternalError, IntegrityError, KeyStoreError, ConfigurationError)
"""Faults on this side: the journal gets them with their traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """Bounds that hold for every call."""

    default_deadline: timedelta = timedelta(seconds=30)
    """For a call that came without one."""
    maximum_deadline: timedelta = timedelta(minutes=5)
    """However long the caller would wait."""
    max_request_bytes: int = 1 << 20
    """Of one request message, before it is parsed."""
    max_request_bytes_of: Mapping[str, int] = field(default_factory=dict)
    """The same for single methods, by full name (``/yinxin.v1.X/BatchY``)."""
    slow: timedelta = timedelta(seconds=2)
    """A call that takes longer is journalled."""
    journal_calls: bool = False
    """Whether every call is."""


_HINDRANCES: Final = frozenset(
    {
        "DATABASE_BUSY",
        "DATABASE_IO",
        "DATABASE_LOCKED",
        "DATABASE_UNREACHABLE",
        "NOT_SEQUENCED",
        "STORAGE_FULL",
        "TOKEN_GONE",
        "SDF_GONE",
        "SIGNER_UNREACHABLE",
    }
)
"""Reasons that an operator must learn of, although nothing is wrong with the service."""
_WAITED: Final = 1.0
_NO_RETRY: Final = ("grpc-retry-pushback-ms", "-1")
"""Trailer that keeps the client's channel from repeating a call by itself."""


class _Ending(grpc.Status):
    """How a call ends."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailing_metadata: tuple[tuple[str, Any], ...]
    ) -> None:
        self.code = code
        self.details = details
        self.trailing_metadata = trailing_metadata


class _Refused:
    """Stands for a request that must not be handled; its deserialiser made it."""

    __slots__ = ("error",)

    def __init__(self, error: YinxinError) -> None:
        self.error = error


class Boundary(grpc.ServerInterceptor):
    """The one interceptor of a server.

    Health checks pass it untouched (TLS has already asked for a certificate).

    Args:
        identify: Says who calls.
        limits: Bounds of every call.
        streams: Threads of their own for streaming calls, so that open streams
            cannot take those of single calls; what it has no place for is refused.
        journal: Where faults and slow calls go.
        entropy: For the references that tie an answer to the journal.
    """

    def __init__(
        self,
        *,
        identify: Identify,
        limits: CallLimits,
        streams: StreamPool,
        journal: Journal,
        entropy: Entropy,
    ) -> None:
        self._identify = identify
        self._limits = limits
        self._streams = streams
        self._journal = journal
        self._entropy = entropy
        self._default = limits.default_deadline.total_seconds()
        self._maximum = limits.maximum_deadline.total_seconds()
        self._slow = limits.slow.total_seconds()
        self._handlers: dict[str, _Handler] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], _Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Return the guarded handler of a method, made once."""
        method = str(handler_call_details.method)
        guarded = self._handlers.get(method)
        if guarded is not None:
            return self._admitted(method, guarded)
        handler = continuation(handler_call_details)
        # A method that does not exist is not remembered: its names are endless.
        if handler is None or method.startswith(_HEALTH):
            return handler
        guarded = self._handlers[method] = self._guard(method, handler)
        return self._admitted(method, guarded)

    def _admitted(self, method: str, guarded: _Handler) -> _Handler:
        """Return the handler itself, or for one stream too many one that says so."""
        is_stream = guarded.request_streaming or guarded.response_streaming
        if not is_stream or not self._streams.is_full:
            return guarded
        error = ResourceExhaustedError(
            "too many streams are open; try again", reason="TOO_MANY_STREAMS"
        )
        # On a thread of single calls: those of streams are what is lacking.
        return grpc.stream_stream_rpc_method_handler(
            lambda _, context: self._fail(error, method, context, time.monotonic())
        )

    def _guard(self, method: str, handler: _Handler) -> _Handler:
        bound = self._limits.max_request_bytes_of.get(method, self._limits.max_request_bytes)
        decode = _bounded(handler.request_deserializer, bound)
        encode = handler.response_serializer
        behaviour = cast(
            "_Behaviour",
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream,
        )
        if not handler.request_streaming and not handler.response_streaming:
            return grpc.unary_unary_rpc_method_handler(
                self._single(method, behaviour), decode, encode
            )
        guarded: Any = (
            self._streaming(method, behaviour, handler.request_streaming)
            if handler.response_streaming
            else self._collecting(method, behaviour)
        )
        guarded.experimental_thread_pool = self._streams
        if not handler.response_streaming:
            return grpc.stream_unary_rpc_method_handler(guarded, decode, encode)
        if not handler.request_streaming:
            return grpc.unary_stream_rpc_method_handler(guarded, decode, encode)
        return grpc.stream_stream_rpc_method_handler(guarded, decode, encode)

    def _single(self, method: str, behaviour: _Behaviour) -> _Behaviour:
        def serve(request: object, context: grpc.ServicerContext) -> object:
            started = time.monotonic()
            try:
                if isinstance(request, _Refused):
                    raise request.error
                call = self._open(method, context)
                token = enter(call)
                try:
                    response: object = behaviour(request, context)
                finally:
                    leave(token)
            except Exception as error:  # noqa: BLE001 - where every error ends
                self._fail(error, method, context, started)
            self._note(method, call, started)
            return response

        return serve

    def _collecting(self, method: str, behaviour: _Behaviour) -> _Behaviour:
        def serve(requests: Iterator[object], context: grpc.ServicerContext) -> object:
            single = self._single(
                method, lambda accepted, inner: self._timed(behaviour, accepted, inner)
            )
            return single(_accepted(requests), context)

        return serve

    def _timed(
        self, behaviour: _Behaviour, requests: object, context: grpc.ServicerContext
    ) -> object:
        timer = self._timer(context)
        try:
            result: object = behaviour(requests, context)
        finally:
            timer.cancel()
        return result

    def _streaming(self, method: str, behaviour: _Behaviour, request_streaming: bool) -> _Behaviour:
        def serve(request: Any, context: grpc.ServicerContext) -> Iterator[object]:  # noqa: ANN401
            started = time.monotonic()
            timer = self._timer(context)
            try:
                if isinstance(request, _Refused):
                    raise request.error
                call = self._open(method, context)
                token = enter(call)
                try:
                    yield from behaviour(
                        _accepted(request) if request_streaming else request, context
                    )
                finally:
                    leave(token)
            except Exception as error:  # noqa: BLE001 - where every error ends
                self._fail(error, method, context, started)
            finally:
                timer.cancel()
            self._note(method, call, started)

        return serve

    def _open(self, method: str, context: grpc.ServicerContext) -> Call:
        allowed = self._allowed(context)
        if allowed <= 0:
            # It waited for a thread until nobody waited for it.
            raise DeadlineExceededError("the caller's deadline passed before the call began")
        principal = self._identify(context)
        return Call(method=method, principal=principal, allowed=timedelta(seconds=allowed))

    def _allowed(self, context: grpc.ServicerContext) -> float:
        remaining = cast("float | None", context.time_remaining())
        # gRPC reports "no deadline" as an instant in the far future.
        if remaining is None or remaining > _FAR:
            return self._default
        return min(remaining, self._maximum)

    def _timer(self, context: grpc.ServicerContext) -> Timer:
        # A stream may wait for its peer for ever; nothing else would end it.
        timer = Timer(self._allowed(context), context.cancel)
        timer.daemon = True
        timer.start()
        return timer

    def _fail(
        self, error: Exception, method: str, context: grpc.ServicerContext, started: float
    ) -> NoReturn:
        if isinstance(error, grpc.RpcError):
            # The peer went away while its stream was read: gRPC knows its own.
            raise error
        told = self._told(error, method)
        status = rpc_status.to_status(to_trailer(told))
        if time.monotonic() - started > _WAITED and isinstance(told, UnavailableError):
            # The caller has waited here already; its channel would make it wait again.
            status = _Ending(
                status.code, status.details, (*(status.trailing_metadata or ()), _NO_RETRY)
            )
        context.abort_with_status(status)

    def _told(self, error: Exception, method: str) -> YinxinError:
        if isinstance(error, YinxinError) and not isinstance(error, _OURS):
            if error.reason in _HINDRANCES:
                self._journal.warning("call_hindered", method=method, reason=error.reason)
            elif self._limits.journal_calls:
                self._journal.info("call_refused", method=method, reason=error.reason)
            return error
        reference = self._entropy.token(8).hex()
        self._journal.error("call_failed", error, method=method, reference=reference)
        if isinstance(error, YinxinError) and not isinstance(error, InternalError):
            return error
        return InternalError(f"an internal fault; reference {reference}")

    def _note(self, method: str, call: Call, started: float) -> None:
        seconds = time.monotonic() - started
        slow = seconds > self._slow
        if slow or self._limits.journal_calls:
            write = self._journal.warning if slow else self._journal.info
            write(
                "call_served",
                method=method,
                principal=call.principal.identifier,
                milliseconds=round(seconds * 1000, 1),
            )


def _bounded(decode: Callable[[bytes], Any] | None, bound: int) -> Callable[[bytes], Any]:
    def read(raw: bytes) -> object:
        if len(raw) > bound:
            return _Refused(
                ResourceExhaustedError(
                    f"the request has {len(raw)} bytes; {bound} are accepted",
                    reason="REQUEST_TOO_LARGE",
                )
            )
        try:
            return raw if decode is None else decode(raw)
        except Exception:  # noqa: BLE001 - gRPC would print a traceback and say INTERNAL
            return _Refused(
                MalformedError("the request is not the message expected", reason="REQUEST")
            )

    return read


def _accepted(requests: Iterable[object]) -> Iterator[object]:
    for request in requests:
        if isinstance(request, _Refused):
            raise request.error
        yield request
