"""A gRPC server that does nothing: the least that a call can cost.

Run as a process; it reads its settings as one line of JSON from its standard
input, writes its port, and serves until the input ends.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc

from yinxin_edge.tls import TlsIdentity, server_credentials

METHOD: Final = "/benchmark.Echo/Echo"


def main() -> None:
    """Serve."""
    settings = json.loads(sys.stdin.readline())
    response = bytes(settings["response_bytes"])
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
        lambda _request, _context: response
    )
    server = grpc.server(ThreadPoolExecutor(settings["threads"]))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("benchmark.Echo", {"Echo": handler}),)
    )
    shown = TlsIdentity(**{name: text.encode() for name, text in settings["identity"].items()})
    port = server.add_secure_port("127.0.0.1:0", server_credentials(shown))
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None).wait()


if __name__ == "__main__":
    main()
