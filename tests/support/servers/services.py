"""What a pod may serve, each on a port of its own: ``… -m tests.support.servers.services CERTIFICATE KEY``.

Every service answers with what it was told of the client, so that a test sees whether a proxy was between.
It listens on all addresses of both versions of IP, in a network namespace of its own.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
import h2.config
import h2.connection
import h2.events

HTTP: Final = 8001
HTTP_TOO: Final = 8002
H2C: Final = 8003
GRPC: Final = 8004
TLS: Final = 8005  # HTTP/1.1 within
TLS_H2: Final = 8006  # HTTP/2 within
GREETING: Final = 8007  # the server speaks first
BYTES: Final = 8008  # the client does, and it is no protocol that anybody knows

WELCOME: Final = b"220 ready\r\n"


def told(headers: dict[str, str], protocol: str) -> bytes:
    """Write what came: which protocol was spoken, and for whom a proxy has forwarded."""
    return json.dumps({"protocol": protocol, "for": headers.get("x-forwarded-for", "")}).encode()


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests of HTTP/1.1."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = [line.partition(":") for line in head[1:] if line]
            body = told({name.lower(): value.strip() for name, _, value in pairs}, "1.1")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()


async def http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests of HTTP/2, with the library h2."""
    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    )
    connection.initiate_connection()
    with contextlib.suppress(OSError):
        while True:
            writer.write(connection.data_to_send())
            data = await reader.read(65536)
            if not data:
                break
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    headers = {str(name): str(value) for name, value in event.headers}
                    connection.send_headers(event.stream_id, [(":status", "200")])
                    connection.send_data(event.stream_id, told(headers, "2"), end_stream=True)
    writer.close()


async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak first, then say everything in capitals; a FIN is answered by what is left, and FIN."""
    writer.write(WELCOME)
    await _capitals(reader, writer)


async def _capitals(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data.upper())
    writer.close()


def serve_grpc() -> grpc.Server:
    """Serve one call: its answer tells for whom it was forwarded."""

    def whom(message: bytes, context: grpc.ServicerContext) -> bytes:
        return told({name: str(value) for name, value in context.invocation_metadata()}, "2")

    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Whom": grpc.unary_unary_rpc_method_handler(whom)
    }
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("misrule.test.Pod", methods),))
    server.add_insecure_port(f"[::]:{GRPC}")
    server.start()
    return server


async def main(certificate: str, key: str) -> None:
    """Serve until killed."""
    kept = serve_grpc()
    contexts = {}
    for protocol in ("http/1.1", "h2"):
        contexts[protocol] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[protocol].load_cert_chain(certificate, key)
        contexts[protocol].set_alpn_protocols([protocol])
    for serve, port, context in (
        (http, HTTP, None),
        (http, HTTP_TOO, None),
        (http2, H2C, None),
        (http, TLS, contexts["http/1.1"]),
        (http2, TLS_H2, contexts["h2"]),
        (greeting, GREETING, None),
        (_capitals, BYTES, None),
    ):
        sock = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        await asyncio.start_server(serve, sock=sock, ssl=context)
    print("serving", flush=True)
    await asyncio.to_thread(threading.Event().wait)
    del kept


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
