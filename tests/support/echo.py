"""A service without a domain, to try the machinery around one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.wrappers_pb2 import StringValue

from yinxin_edge.call import current_call
from yinxin_edge.server import Service
from yinxin_proto.error import InvalidArgumentError, UnavailableError, Violation

NAME = "test.yinxin.Echo"


def _descriptor() -> ServiceDescriptor:
    file = descriptor_pb2.FileDescriptorProto(
        name="test/yinxin/echo.proto", package="test.yinxin", syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    service = file.service.add(name="Echo")
    kind = ".google.protobuf.StringValue"
    for method, up, down in (
        ("Single", False, False),
        ("Down", False, True),
        ("Up", True, False),
        ("Both", True, True),
    ):
        service.method.add(
            name=method,
            input_type=kind,
            output_type=kind,
            client_streaming=up,
            server_streaming=down,
        )
    pool = descriptor_pool.Default()
    pool.Add(file)  # type: ignore[no-untyped-call,unused-ignore]
    return pool.FindServiceByName(NAME)


DESCRIPTOR = _descriptor()


class EchoServicer:
    """Answers with what it was sent; some words make it do something else."""

    def single(self, request: StringValue, context: grpc.ServicerContext) -> StringValue:
        return StringValue(value=self._answer(request.value))

    def down(self, request: StringValue, context: grpc.ServicerContext) -> Iterator[StringValue]:
        yield StringValue(value="first")
        yield StringValue(value=self._answer(request.value))

    def up(self, requests: Iterator[StringValue], context: grpc.ServicerContext) -> StringValue:
        return StringValue(value=",".join([self._answer(request.value) for request in requests]))

    def both(
        self, requests: Iterator[StringValue], context: grpc.ServicerContext
    ) -> Iterator[StringValue]:
        for request in requests:
            yield StringValue(value=self._answer(request.value))

    @staticmethod
    def _answer(text: str) -> str:
        word, _, argument = text.partition(" ")
        if word == "fault":
            raise KeyError(argument)
        if word == "refuse":
            raise InvalidArgumentError(
                "no", reason="REFUSED", violations=[Violation("value", "is refused", "R")]
            )
        if word == "unavailable":
            raise UnavailableError("later", reason="LATER")
        if word == "sleep":
            time.sleep(float(argument))
        if word == "pid":
            return str(os.getpid())
        if word == "who":
            return current_call().principal.uri
        if word == "remaining":
            return str(current_call().remaining.total_seconds())
        return text


def service(servicer: EchoServicer | None = None) -> Service:
    return Service(descriptor=DESCRIPTOR, servicer=servicer or EchoServicer(), register=_register)


def _register(servicer: EchoServicer, server: grpc.Server) -> None:
    read, write = StringValue.FromString, StringValue.SerializeToString
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Single": grpc.unary_unary_rpc_method_handler(servicer.single, read, write),
        "Down": grpc.unary_stream_rpc_method_handler(servicer.down, read, write),
        "Up": grpc.stream_unary_rpc_method_handler(servicer.up, read, write),
        "Both": grpc.stream_stream_rpc_method_handler(servicer.both, read, write),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))


def single(channel: grpc.Channel) -> Callable[..., str]:
    """Return a function that makes one call."""
    call = channel.unary_unary(
        f"/{NAME}/Single", StringValue.SerializeToString, StringValue.FromString
    )

    def ask(text: str, *, timeout: float | None = 10, **options: Any) -> str:  # noqa: ANN401
        return str(call(StringValue(value=text), timeout=timeout, **options).value)

    return ask
