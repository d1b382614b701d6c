"""TLS to upstreams: what can be wrong with a certificate is told apart; gRPC and files that change."""

import contextlib
import shutil
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.e2e.conftest import Launch
from tests.e2e.tls.conftest import NAME, listener, own
from tests.support.pki import Pki
from tests.support.process import Process
from tests.support.proxy import RUN
from tests.support.scripted import Scripted
from tests.support.tls_servers import TlsServer
from tests.support.wait import eventually
from tests.support.wire import Wire

Serve = Callable[[ssl.SSLContext], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[TlsServer] = []

    def start(context: ssl.SSLContext) -> int:
        running.append(TlsServer(context))
        return running[-1].port

    yield start
    for server in running:
        server.close()


def demands_a_certificate(pki: Pki) -> ssl.SSLContext:
    context = pki.leaf(NAME).server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 RST may overtake the alert
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(pki.root.chain)
    return context


def _clear_text(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


def test_each_error_of_a_certificate_has_its_name(
    launch: Launch, serve: Serve, pki: Pki, tmp_path: Path, upstream: Callable[..., Scripted]
) -> None:
    stranger = Pki(tmp_path / "stranger", "Stranger")
    ports = {
        "ok": serve(pki.leaf(NAME).server()),
        "expired": serve(pki.leaf(NAME, days=-1).server()),
        "name": serve(pki.leaf("other.example").server()),
        "unknown_ca": serve(stranger.leaf(NAME).server()),
        "self_signed": serve(pki.leaf(NAME, self_signed=True).server()),
        "alert": serve(demands_a_certificate(pki)),
        "protocol": int(upstream(on_open=_clear_text).address.rpartition(":")[2]),
    }
    tls = {"ca": str(pki.root.chain), "server_name": NAME}
    proxy = launch(
        config={
            "listeners": [{**listener(name.replace("_", "-"), name, {"mode": "none"})} for name in ports],
            "upstreams": {
                name: {"address": f"127.0.0.1:{port}", "tls": tls, "protocol": "http1"}
                for name, port in ports.items()
            },
        }
    )
    seen: dict[str, tuple[int, str | None]] = {}
    for name in ports:
        with Wire.to(proxy.listeners[name.replace("_", "-")]) as wire:
            answer = wire.ask(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            seen[name] = (answer.status, answer.get("proxy-status"))
    certificate = (502, "misrule; error=tls_certificate_error")
    assert seen == {
        "ok": (200, None),
        "expired": certificate,
        "name": certificate,
        "unknown_ca": certificate,
        "self_signed": certificate,
        "alert": (502, "misrule; error=tls_alert_received"),
        "protocol": (502, "misrule; error=tls_protocol_error"),
    }
    kinds = {"alert": "upstream_tls_alert", "protocol": "upstream_tls_protocol"}
    for name in set(ports) - {"ok"}:
        kind = kinds.get(name, f"upstream_certificate_{name}")
        assert proxy.metric("misrule_upstream_failures_total", upstream=name, kind=kind) == 1
    line = proxy.wait_record(event="upstream_tls", upstream="name")
    assert line["message"] == f"Hostname mismatch, certificate is not valid for '{NAME}'."


def test_what_is_not_verified_is_taken(launch: Launch, serve: Serve, pki: Pki) -> None:
    port = serve(pki.leaf("other.example", days=-1).server())
    proxy = launch(f"127.0.0.1:{port}", upstream_options={"tls": {"verify": False}})
    with Wire.to(proxy.address) as wire:
        assert wire.ask(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").body == b"ok"


def test_an_end_that_was_not_announced_ends_no_body(launch: Launch, pki: Pki) -> None:
    """RFC 9112, section 9.8: without close_notify, a body that goes on to the end may have been cut."""
    context = pki.leaf(NAME).server()
    server = socket.create_server(("127.0.0.1", 0))

    def answer(announced: bool) -> None:
        sock, _ = server.accept()
        with sock, context.wrap_socket(sock, server_side=True) as tls:
            tls.recv(65536)
            tls.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            if announced:
                with contextlib.suppress(OSError):
                    tls.unwrap()
            else:
                sock2 = tls.detach()
                socket.socket(fileno=sock2).close()

    tls = {"ca": str(pki.root.chain), "server_name": NAME}
    proxy = launch(f"127.0.0.1:{server.getsockname()[1]}", upstream_options={"tls": tls})
    for announced in (True, False):
        thread = threading.Thread(target=answer, args=(announced,))
        thread.start()
        with Wire.to(proxy.address) as wire:
            wire.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            data, _ = wire.rest(3.0) if not announced else (wire.until(b"0\r\n\r\n"), "")
        assert data.endswith(b"0\r\n\r\n") is announced
        thread.join()
    server.close()
    assert proxy.failures("upstream_truncated") == 1


# --- gRPC


def _echo(request: bytes, context: grpc.ServicerContext) -> bytes:
    auth: Any = context.auth_context()
    return request + b"/" + b",".join(auth.get("x509_common_name", []))


@pytest.mark.parametrize("mutual", [False, True])
def test_grpc_over_tls_on_both_sides(launch: Launch, pki: Pki, mutual: bool) -> None:
    pair, root = pki.leaf(NAME), pki.root.chain.read_bytes()
    server = grpc.server(ThreadPoolExecutor(2))
    handler: Any = grpc.unary_unary_rpc_method_handler(_echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Cart", {"Add": handler}),))
    keys = [(pair.key.read_bytes(), pair.chain.read_bytes())]
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(keys, root, mutual))
    server.start()
    client = pki.leaf("buyer.example")
    mine: dict[str, Any] = own(pki, "front.example") if mutual else {}
    ends: dict[str, Any] = {"client_auth": "required", "client_ca": str(pki.root.chain)} if mutual else {}
    proxy = launch(
        config={
            "listeners": [listener("web", "cart", {**own(pki, NAME), **ends})],
            "upstreams": {
                "cart": {
                    "address": f"127.0.0.1:{port}",
                    "tls": {"ca": str(pki.root.chain), "server_name": NAME, **mine},
                }
            },
        }
    )
    shown = (client.key.read_bytes(), client.chain.read_bytes()) if mutual else (None, None)
    credentials = grpc.ssl_channel_credentials(root, *shown)
    options = [("grpc.ssl_target_name_override", NAME)]
    with grpc.secure_channel(proxy.address, credentials, options) as channel:
        call: Any = channel.unary_unary("/shop.Cart/Add")
        for number in range(5):
            got = call(b"%d" % number, timeout=10)
            assert got == b"%d/" % number + (b"front.example" if mutual else b"")
    server.stop(None)


# --- files


def test_a_certificate_that_changes_comes_into_force(
    launch: Launch, pki: Pki, tmp_path: Path, upstream: Callable[[], Scripted]
) -> None:
    chain, key = tmp_path / "web.pem", tmp_path / "web.key"

    def put(name: str) -> None:
        pair = pki.leaf(name)
        shutil.copy(pair.key, key)
        shutil.copy(pair.chain, chain)

    def shown() -> str:
        context = pki.client()
        context.check_hostname = False
        with (
            socket.create_connection(
                ("127.0.0.1", int(proxy.address.rpartition(":")[2])), timeout=10
            ) as sock,
            context.wrap_socket(sock, server_hostname=NAME) as tls,
        ):
            found: Any = tls.getpeercert()
            return str(found["subjectAltName"][0][1])

    put("first.example")
    files = {"certificate": str(chain), "key": str(key)}
    proxy = launch(
        config={
            "listeners": [listener("web", "app", files)],
            "upstreams": {"app": {"address": upstream().address}},
        }
    )
    assert shown() == "first.example"
    put("second.example")
    proxy.process.signal(signal.SIGHUP)
    eventually(lambda: shown() == "second.example", 15.0, "the new certificate")
    chain.write_text("nonsense")
    eventually(lambda: proxy.records(event="certificates_refused"), 10.0, "a complaint")
    assert shown() == "second.example"
    put("third.example")
    eventually(lambda: shown() == "third.example", 10.0, "the file to be looked at without a signal")


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({"certificate": "none.pem"}, "listener web: .*none.pem"),
        ({"certificate": "A", "key": "B"}, "this key does not belong to the certificate"),
    ],
)
def test_files_that_cannot_be_used_keep_it_from_starting(
    pki: Pki, tmp_path: Path, tls: dict[str, str], words: str
) -> None:
    swaps = {"A": str(pki.leaf("a.example").chain), "B": str(pki.leaf("b.example").key)}
    given = {key: swaps.get(value, value) for key, value in tls.items()}
    file = tmp_path / "misrule.yaml"
    text = f"version: 1\nlisteners: [{{name: web, address: '127.0.0.1:0', tls: {given}, "
    file.write_text(text + "routes: [{upstream: u}]}]\nupstreams: {u: {address: '127.0.0.1:1'}}\n")
    process = Process([*RUN, "--config", str(file)])
    try:
        process.wait_line(words)
        assert process.wait() == 1
    finally:
        process.stop()


# --- passed on unread


def test_tls_is_passed_on_by_the_name_in_it(launch: Launch, serve: Serve, pki: Pki) -> None:
    names = ("one.example", "two.example")
    ports = {name: serve(pki.leaf(name).server()) for name in names}
    routes = [{"match": {"host": name}, "upstream": name.partition(".")[0]} for name in names]
    proxy = launch(
        config={
            "listeners": [{**listener("web", "one", {"mode": "passthrough"}), "routes": routes}],
            "upstreams": {name.partition(".")[0]: {"address": f"127.0.0.1:{ports[name]}"} for name in names},
        }
    )
    address = ("127.0.0.1", int(proxy.address.rpartition(":")[2]))
    for name in names:
        with (
            socket.create_connection(address, timeout=10) as sock,
            pki.client().wrap_socket(sock, server_hostname=name) as tls,
        ):
            tls.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert tls.recv(1000).startswith(b"HTTP/1.1 200 OK")
    with (
        socket.create_connection(address, timeout=10) as sock,
        pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"),
    ):
        pki.client().wrap_socket(sock, server_hostname="three.example")
