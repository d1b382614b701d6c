"""The upstreams of all proxies: a small answer, a 64 KiB file, and uploads that are read whole.

HTTP/1.1: nginx, which has a file of 1 MiB, too.  HTTP/2 in clear text: nghttpd, which gives an upload back,
and for gRPC ``echo``.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import certificate, client, h2_client
from benchmarks.load.places import ROOT, program
from benchmarks.load.procs import free_port, running, wait_until
from benchmarks.load.rulesets import (
    LARGE_PATH,
    MEBIBYTE_PATH,
    ORDERS,
    SMALL_PATH,
    UPLOAD_PATH,
    order_path,
)

SMALL_BODY: bytes = (
    b'{"order":4711,"state":"packed","items":[{"sku":"tea-green","n":2},{"sku":"cup-blue","n":1}]}'
)
LARGE_BODY: bytes = hashlib.shake_128(b"large").digest(64 * 1024)
MEBIBYTE_BODY: bytes = hashlib.shake_128(b"mebibyte").digest(1_048_576)
UPLOAD_BODY: bytes = b"stored"
UPLOADED: bytes = b"x" * 1_048_576

HTTP1, HTTP2, GRPC, HTTPS = "HTTP/1.1", "HTTP/2", "gRPC", "HTTPS"  # HTTPS: TLS ends at the proxy
PROTOCOLS: tuple[str, ...] = (HTTP1, HTTP2, GRPC, HTTPS)


@dataclass(frozen=True)
class Upstream:
    """Where proxies send what they are asked, and what is spoken on both of their sides."""

    port: int
    protocol: str = HTTP1

    @property
    def http2(self) -> bool:
        """Tell whether that is a form of HTTP/2."""
        return self.protocol in (HTTP2, GRPC)

    @property
    def tls(self) -> bool:
        """Tell whether proxies are spoken to over TLS; the upstream itself never is."""
        return self.protocol == HTTPS

    @property
    def ask(self) -> client.Ask:
        """Give the client that speaks this."""
        if self.http2:
            return h2_client.ask
        return client.ask_over_tls if self.tls else client.ask

    def ready(self, port: int) -> bool:
        """Tell whether this, or a proxy before it, answers at ``port``."""
        if not self.http2:
            return client.answers(port, SMALL_PATH, self.ask)
        if self.protocol == HTTP2:
            return h2_client.answers(port, SMALL_PATH)
        try:
            h2_client.expect_echo(port)
        except client.WrongAnswer:
            return False
        return True

    def prove(self, port: int) -> None:
        """Raise WrongAnswer unless bodies pass whole both ways at ``port``."""
        if self.protocol == GRPC:
            h2_client.expect_echo(port)
            return
        client.expect(port, LARGE_PATH, 200, LARGE_BODY, ask=self.ask)
        if not self.http2:
            client.expect(port, MEBIBYTE_PATH, 200, MEBIBYTE_BODY, ask=self.ask)
        back = UPLOADED if self.http2 else UPLOAD_BODY
        client.expect(port, UPLOAD_PATH, 200, back, body=UPLOADED, ask=self.ask)


# Uploads: nginx answers a plain `return` before it has read the body.  Passing the request on without its
# body, request buffering on, makes it read the whole of it first, in memory, without a file.
CONFIG = """\
daemon off;
worker_processes 1;
pid {work}/upstream.pid;
error_log {work}/upstream.error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type application/json;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16 inactive=1h;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_max_body_size 16m;
    client_body_buffer_size 2m;
{temporary}
    upstream stored {{ server unix:{work}/stored.sock; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 '{small}'; }}
        location = /static/large {{ default_type application/octet-stream; alias {work}/large; }}
        location = /static/mebibyte {{ default_type application/octet-stream; alias {work}/mebibyte; }}
        location /upload/ {{
            proxy_pass http://stored;
            proxy_http_version 1.1;
            proxy_set_header connection "";
            proxy_set_header content-length "";
            proxy_pass_request_body off;
        }}
    }}
    server {{
        listen unix:{work}/stored.sock backlog=4096;
        location / {{ return 200 '{stored}'; }}
    }}
}}
"""


def temporary_paths(work: Path, name: str) -> str:
    """Give the lines that keep nginx's scratch files inside ``work``."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "\n".join(f"    {kind}_temp_path {work}/{name}.{kind};" for kind in kinds)


def config(work: Path, port: int) -> str:
    """Give nginx's configuration for the upstream."""
    return CONFIG.format(
        work=work,
        port=port,
        temporary=temporary_paths(work, "upstream"),
        small=SMALL_BODY.decode(),
        stored=UPLOAD_BODY.decode(),
    )


def missing(protocol: str) -> str:
    """Say what is missing to run the upstream of a protocol; empty when nothing is."""
    if protocol == HTTPS and certificate.missing():
        return certificate.missing()
    if protocol in (HTTP1, HTTPS) and not program("nginx"):
        return "nginx is not installed (Debian: apt-get install nginx-light)"
    if protocol == HTTP2 and not program("nghttpd"):
        return "nghttpd is not installed (Debian: apt-get install nghttp2-server)"
    return ""


def orders(root: Path) -> None:
    """Make the files that nghttpd serves: all orders are one file, under many names."""
    for path, content in ((SMALL_PATH.partition("?")[0], SMALL_BODY), (LARGE_PATH, LARGE_BODY)):
        file = root / path[1:]
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    for number in range(1, ORDERS):
        os.link(root / order_path(0)[1:], root / order_path(number)[1:])


def _command(work: Path, port: int, protocol: str, log: Path) -> list[str]:
    """Write what the server of a protocol needs into ``work``, and say how to start it."""
    if protocol == GRPC:
        return [sys.executable, "-m", "benchmarks.load.echo", str(port)]
    if protocol == HTTP2:
        root = work / "orders"
        orders(root)
        return [
            program("nghttpd"),
            "--no-tls",
            "--echo-upload",
            "-a",
            "127.0.0.1",
            "-d",
            str(root),
            str(port),
        ]
    (work / "large").write_bytes(LARGE_BODY)
    (work / "mebibyte").write_bytes(MEBIBYTE_BODY)
    written = work / "upstream.conf"
    written.write_text(config(work, port))
    return [program("nginx"), "-e", str(log), "-p", str(work), "-c", str(written)]


@contextmanager
def upstream(work: Path, cores: frozenset[int], protocol: str) -> Iterator[Upstream]:
    """Run the upstream of a protocol, once it has proved that it serves each of its answers."""
    if protocol == HTTPS:
        work = work / "https"  # beside the one of HTTP/1.1, which has the same files
        work.mkdir()
        work.chmod(0o755)
    made = Upstream(free_port(), HTTP1 if protocol == HTTPS else protocol)
    log = work / f"upstream.{PROTOCOLS.index(protocol)}.log"
    with running(_command(work, made.port, protocol, log), cores, log, ROOT) as pid:
        wait_until(lambda: made.ready(made.port), pid, log)
        if protocol != GRPC:
            client.expect(made.port, SMALL_PATH, 200, SMALL_BODY, ask=made.ask)
        made.prove(made.port)
        yield Upstream(made.port, protocol)
