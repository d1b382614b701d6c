"""gRPC-Web is HTTP with a body: it passes byte for byte, with the trailers in it, and is no gRPC call."""

import http.client

from tests.e2e.conftest import Launch
from tests.support.h2_peer import Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import rule

MESSAGE = b"\0\0\0\0\5hello"
TRAILERS = b"\x80\0\0\0\x0fgrpc-status:0\r\n"
TEXT = b"AAAAAAVoZWxsbw=="
KINDS = ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"]


def test_it_passes(real: ScriptedH2, launch: Launch) -> None:
    """Over both protocols of a client; no fault of gRPC acts on it, and no call is counted."""
    front = launch(real.address, upstream_options={"protocol": "http2"})
    front.put(rule("end", {"grpc": {"after_messages": 0, "status": "ABORTED"}}))
    for kind in KINDS:
        body = TEXT if kind.endswith("text") else MESSAGE
        real.play = lambda upstream, asked, kind=kind: upstream.answer(  # type: ignore[misc]
            asked, 200, ("content-type", kind), ("x-asked", asked.body.hex()), body=asked.body + TRAILERS
        )
        with Peer.to(front.address) as peer:
            got = peer.fetch("/shop.Cart/Add", ("content-type", kind), method="POST", body=body)
        assert (got.status, got.get("content-type"), got.get("x-asked")) == (200, kind, body.hex())
        assert got.body == body + TRAILERS
        old = http.client.HTTPConnection(front.address, timeout=10)
        old.request("POST", "/shop.Cart/Add", body, {"content-type": kind})
        answer = old.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (200, kind)
        assert (answer.getheader("x-asked"), answer.read()) == (body.hex(), body + TRAILERS)
        old.close()
    assert front.injections() == 0
    assert front.metric("misrule_grpc_calls_total") == 0
    assert front.metric("misrule_requests_total", code="200") == 2 * len(KINDS)
