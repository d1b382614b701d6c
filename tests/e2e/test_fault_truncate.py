"""truncate: real clients take a body that ended early as they take a real one."""

import pytest

from tests.support.clients import CLIENTS, CLOSED, Call, ask
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Play, Scripted, filling
from tests.support.upstreams import Corpus
from tests.support.wait import eventually, pause
from tests.support.wire import FIN, Message, Wire, response


def _really(framing: str) -> Play:
    """Do in earnest what the fault pretends."""

    def play(wire: Wire, asked: Message) -> None:
        wire.read_body(asked)
        if framing == "length":
            wire.send(response(200, "content-length: 5000") + filling(1000))
        else:
            wire.send(response(200, "transfer-encoding: chunked") + b"1388\r\n" + filling(1000))
        pause(0.05)
        wire.close()

    return play


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("client", CLIENTS)
def test_each_client(proxy: Proxy, shop: Scripted, client: str, framing: str) -> None:
    shop.play = _really(framing)
    real = ask(client, Call(shop.url))
    assert (real.status, real.trouble) == (200, CLOSED), real.native
    shop.forget()
    proxy.put(rule("cut", {"truncate": "1000B"}))
    path = "bytes" if framing == "length" else "chunked"
    seen = ask(client, Call(f"{proxy.url}/{path}/5000"))
    assert (seen.status, seen.trouble) == (real.status, real.trouble)
    assert seen.native.split(" ")[0] == real.native.split(" ")[0]
    # requests gives no part of a piece that did not come whole.
    assert seen.length == real.length or client == "requests"
    assert any("rule=cut; fault=truncate; at=response_body" in line for line in seen.all("x-misrule"))


@pytest.mark.parametrize("client", ["curl", "node"])
def test_an_upstream_sees_its_request_end_early(
    proxy: Proxy, shop: Scripted, corpus: Corpus, client: str
) -> None:
    """The scripted upstream closes on it, as most do: 502 for the client."""
    proxy.put(rule("cut", {"truncate": {"after_bytes": "1000B", "direction": "request"}}))
    seen = ask(client, Call(f"{proxy.url}/echo", "POST", file=corpus.path(16_384)))
    assert seen.status == 502
    eventually(lambda: shop.ended)
    assert [how for _, how in shop.ended] == [FIN]


def test_what_the_upstream_answers_to_half_a_request_is_passed_on(
    proxy: Proxy, shop: Scripted, corpus: Corpus
) -> None:
    got: list[bytes] = []

    def play(wire: Wire, asked: Message) -> None:
        got.append(wire.take(1000))
        wire.send(response(400, body=b"half"))

    shop.play = play
    proxy.put(rule("cut", {"truncate": {"after_bytes": "1000B", "direction": "request"}}))
    file = corpus.path(16_384)
    seen = ask("curl", Call(proxy.url, "POST", file=file))
    assert (seen.status, seen.body) == (400, b"half")
    assert got == [file.read_bytes()[:1000]]
