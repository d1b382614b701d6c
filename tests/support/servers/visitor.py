"""Calls the services of a pod, all at once: ``python -m tests.support.servers.visitor``, which takes orders.

An order is a line of JSON: ``authority`` (the file of the one that is trusted), ``services`` (names of
``CALLS``) and ``hosts`` (addresses).  The answer is a line too: ``service host`` to what the service has
told, or to the words of an error.
"""

import http.client
import json
import socket
import ssl
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from tests.support.servers import services

PATIENCE: Final = 20.0
NAME: Final = "shop.test"  # that TLS is asked for
MOST: Final = 32


def http1(host: str, port: int = services.HTTP) -> Any:
    """Ask by HTTP/1.1, twice on one connection."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    for _ in range(2):
        connection.request("GET", "/")
        answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def http_too(host: str) -> Any:
    """Ask at the other port."""
    return http1(host, services.HTTP_TOO)


def h2c(host: str) -> Any:
    """Ask by HTTP/2 in clear text."""
    import httpx

    with httpx.Client(http1=False, http2=True, timeout=PATIENCE, trust_env=False) as client:
        return client.get(f"http://{_written(host)}:{services.H2C}/").json()


def grpc(host: str) -> Any:
    """Call by gRPC, with grpcio."""
    import grpc as grpcio

    with grpcio.insecure_channel(f"{_written(host)}:{services.GRPC}") as channel:
        call: Any = channel.unary_unary("/misrule.test.Pod/Whom")
        return json.loads(call(b"", timeout=PATIENCE))


def tls(host: str, authority: str) -> Any:
    """Ask by HTTP/1.1 over TLS."""
    plain = socket.create_connection((host, services.TLS), PATIENCE)
    with _context(authority, "http/1.1").wrap_socket(plain, server_hostname=NAME) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n")
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        return json.loads(answer.read())


def tls_h2(host: str, authority: str) -> Any:
    """Ask by HTTP/2 over TLS."""
    import h2.connection
    import h2.events

    plain = socket.create_connection((host, services.TLS_H2), PATIENCE)
    with _context(authority, "h2").wrap_socket(plain, server_hostname=NAME) as sock:
        assert sock.selected_alpn_protocol() == "h2"
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        pairs = [(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", NAME)]
        connection.send_headers(1, pairs, end_stream=True)
        body = b""
        while True:
            sock.sendall(connection.data_to_send())
            for event in connection.receive_data(sock.recv(65536)):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return json.loads(body)
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    return str(event)


def greeting(host: str) -> Any:
    """Wait for the server's first word, talk, and end one way first."""
    with socket.create_connection((host, services.GREETING), PATIENCE) as sock:
        heard = [sock.recv(100).decode()]
        sock.sendall(b"helo\r\n")
        heard.append(sock.recv(100).decode())
        sock.shutdown(socket.SHUT_WR)
        return [*heard, sock.recv(100).decode()]


def unknown(host: str) -> Any:
    """Say something that no protocol begins with."""
    with socket.create_connection((host, services.BYTES), PATIENCE) as sock:
        sock.sendall(b"\0\1get it\n")
        return sock.recv(100).decode()


CALLS: Final[dict[str, Callable[[str], Any]]] = {
    "http1": http1,
    "http_too": http_too,
    "h2c": h2c,
    "grpc": grpc,
    "greeting": greeting,
    "unknown": unknown,
}
OVER_TLS: Final[dict[str, Callable[[str, str], Any]]] = {"tls": tls, "tls_h2": tls_h2}


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _context(authority: str, protocol: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols([protocol])
    return context


def _call(authority: str, what: tuple[str, str]) -> Any:
    service, host = what
    try:
        return OVER_TLS[service](host, authority) if service in OVER_TLS else CALLS[service](host)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main() -> None:
    """Take orders until there are no more."""
    with ThreadPoolExecutor(MOST) as pool:
        for line in sys.stdin:
            order = json.loads(line)
            todo = [(name, host) for name in order["services"] for host in order["hosts"]]
            answers = pool.map(partial(_call, order["authority"]), todo)
            found = dict(zip((f"{name} {host}" for name, host in todo), answers, strict=True))
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
