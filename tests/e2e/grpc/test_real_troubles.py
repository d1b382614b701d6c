"""The faults grpc and http2 beside servers that really do the same: each client says the same of both."""

import threading
from typing import Any

import pytest
from hyperframe.frame import DataFrame

from tests.e2e.grpc.conftest import Backend, Call, Client
from tests.support.grpc_alike import HEAD, alike, framed
from tests.support.grpc_calls import Outcome, Rpc, ask
from tests.support.h2_peer import CANCEL, INITIAL_WINDOW, Heard, Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import Rule, rule
from tests.support.wait import eventually, pause

OK = [("grpc-status", "0")]
SIZES = (10, 2_000, 30)
WATCH = ask({"sizes": SIZES})


def watch(address: str, **more: Any) -> Rpc:
    return Rpc(address, "StreamingOutputCall", (WATCH,), "server", fresh=True, **more)


def uploading(address: str, **more: Any) -> Rpc:
    messages = tuple(bytes([size]) * size for size in SIZES[::2])
    return Rpc(address, "StreamingInputCall", messages, "client", fresh=True, **more)


def answering(upstream: Peer, asked: Heard) -> None:
    """Answer with the messages, and OK."""
    upstream.head(asked.sid, HEAD)
    upstream.push(asked.sid, framed(*SIZES), trailers=OK)


def nearly_alike(real: Outcome, injected: Outcome) -> None:
    """Messages that came just before an error may be lost in the client; the others are the first."""
    for one in (real, injected):
        assert SIZES[: len(one.messages)] == tuple(len(message) for message in one.messages)
    injected.messages = real.messages
    alike(real, injected)


# Ends


@pytest.mark.parametrize("after", [0, 2])
def test_a_status_behind_answers(shop_of_calls: Backend, call: Call, after: int) -> None:
    """Beside a server that fails there."""
    message = ask({"sizes": SIZES[:after], "status": [14, "gone ☺"]})
    seen = call(Rpc(shop_of_calls.direct, "StreamingOutputCall", (message,), "server", fresh=True))
    assert (seen.code, seen.details, len(seen.messages)) == ("UNAVAILABLE", "gone ☺", after)
    fault = {"after_messages": after, "status": "UNAVAILABLE", "message": "gone ☺"}
    shop_of_calls.proxy.put(rule("end", {"grpc": fault}))
    alike(seen, call(watch(shop_of_calls.address)))


@pytest.mark.parametrize("kind", ["client", "bidi"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_status_behind_requests(
    shop_of_calls: Backend, real: ScriptedH2, call: Call, after: int, kind: str
) -> None:
    """Beside a server that does not want the rest of them."""

    def failing(upstream: Peer, asked: Heard) -> None:
        upstream.answer(asked, 200, *HEAD[1:], ("grpc-status", "10"), ("grpc-message", "enough"))
        upstream.reset(asked.sid, 0)

    real.on_head = failing
    messages = (b"x" * 100,) * 5
    seen = call(Rpc(real.address, "FullDuplexCall", messages, kind, fresh=True))
    assert (seen.code, seen.details) == ("ABORTED", "enough")
    fault = {"after_messages": after, "direction": "request", "status": "ABORTED", "message": "enough"}
    shop_of_calls.proxy.put(rule("end", {"grpc": fault}))
    method = "StreamingInputCall" if kind == "client" else "FullDuplexCall"
    alike(seen, call(Rpc(shop_of_calls.address, method, messages, kind, fresh=True)))
    eventually(lambda: shop_of_calls.proxy.metric("misrule_requests_active") == 0)


@pytest.mark.parametrize("direction", ["request", "response"])
def test_a_reset_behind_messages(
    shop_of_calls: Backend, real: ScriptedH2, call: Call, direction: str
) -> None:
    def cutting(upstream: Peer, asked: Heard) -> None:
        if direction == "response":
            upstream.head(asked.sid, HEAD)
            upstream.push(asked.sid, framed(*SIZES[:2]))
            pause(0.05)
        upstream.reset(asked.sid, CANCEL)

    real.play = cutting
    rpc = watch if direction == "response" else uploading
    seen = call(rpc(real.address))
    fault = {"after_messages": 2, "reset": "CANCEL", "direction": direction}
    shop_of_calls.proxy.put(rule("end", {"grpc": fault}))
    injected = call(rpc(shop_of_calls.address))
    assert len(injected.messages) <= 2
    nearly_alike(seen, injected)


@pytest.mark.parametrize("status", ["missing", "garbled"])
def test_ends_that_no_server_means(shop_of_calls: Backend, real: ScriptedH2, call: Call, status: str) -> None:
    def ending(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, HEAD)
        if status == "missing":
            upstream.push(asked.sid, framed(*SIZES), True)
        else:
            upstream.push(asked.sid, framed(*SIZES), trailers=[("grpc-status", "fourteen")])

    real.play = ending
    seen = call(watch(real.address))
    assert seen.code not in ("OK", "")
    shop_of_calls.proxy.put(rule("end", {"grpc": {"status": status}}))
    nearly_alike(seen, call(watch(shop_of_calls.address)))


def test_a_wrong_length(shop_of_calls: Backend, real: ScriptedH2, call: Call) -> None:
    def lying(upstream: Peer, asked: Heard) -> None:
        sent = framed(*SIZES)
        at = 5 + SIZES[0]
        upstream.head(asked.sid, HEAD)
        upstream.push(asked.sid, sent[: at + 1] + b"\x80" + sent[at + 2 :], trailers=OK)

    real.play = lying
    seen = call(watch(real.address, limit=1_000_000))
    assert seen.code == "RESOURCE_EXHAUSTED"
    shop_of_calls.proxy.put(rule("end", {"grpc": {"corrupt_length_prefix": 2}}))
    nearly_alike(seen, call(watch(shop_of_calls.address, limit=1_000_000)))


# Messages


CHANGES: list[tuple[Rule, tuple[int, ...]]] = [
    ({"drop_message": 1}, SIZES[1:]),
    ({"drop_message": "each"}, ()),
    ({"duplicate_message": 2}, (10, 2_000, 2_000, 30)),
    ({"delay_message": {"message": 2, "delay": "150ms"}}, SIZES),
]


@pytest.mark.parametrize(("change", "sizes"), CHANGES)
def test_other_answers(shop_of_calls: Backend, call: Call, change: Rule, sizes: tuple[int, ...]) -> None:
    """Beside a server that sends just these."""
    message = ask({"sizes": sizes})
    seen = call(Rpc(shop_of_calls.direct, "StreamingOutputCall", (message,), "server", fresh=True))
    shop_of_calls.proxy.put(rule("some", {"grpc": change}))
    injected = call(watch(shop_of_calls.address))
    alike(seen, injected)
    assert injected.code == "OK"
    if "delay_message" in change:
        assert injected.seconds >= 0.15


@pytest.mark.parametrize(
    ("change", "total"),
    [
        ({"drop_message": 2}, 10),
        ({"duplicate_message": 2}, 70),
        ({"delay_message": {"message": 1, "delay": "150ms"}}, 40),
    ],
)
def test_other_requests(shop_of_calls: Backend, call: Call, change: Rule, total: int) -> None:
    """The server adds up what it is sent."""
    shop_of_calls.proxy.put(rule("some", {"grpc": {**change, "direction": "request"}}))
    got = call(uploading(shop_of_calls.address))
    assert (got.code, got.messages) == ("OK", [str(total).encode()])
    if "delay_message" in change:
        assert got.seconds >= 0.15


# Time


def test_time_up_to_the_deadline(shop_of_calls: Backend, real: ScriptedH2, call: Call) -> None:
    shop_of_calls.proxy.put(rule("late", {"grpc": {"delay_to_deadline": "-1500ms"}}))
    got = call(Rpc(shop_of_calls.address, "UnaryCall", timeout=2.0))
    assert got.code == "OK"
    assert got.seconds >= 0.4
    real.play = lambda upstream, asked: None
    seen = call(Rpc(real.address, "UnaryCall", timeout=0.3, fresh=True))
    assert seen.code == "DEADLINE_EXCEEDED"
    shop_of_calls.proxy.put(rule("late", {"grpc": {"delay_to_deadline": "5s"}}))
    injected = call(Rpc(shop_of_calls.address, "UnaryCall", timeout=0.3, fresh=True))
    assert (injected.code, injected.seconds < 3.0) == ("DEADLINE_EXCEEDED", True)


# What only HTTP/2 has


@pytest.mark.parametrize(("code", "number"), [("NO_ERROR", 0), ("ENHANCE_YOUR_CALM", 11)])
def test_goaway(shop_of_calls: Backend, real: ScriptedH2, client: Client, code: str, number: int) -> None:
    """What is under way completes, the next call finds another connection; Node fails all for an error."""

    def leaving(upstream: Peer, asked: Heard) -> None:
        upstream.goaway(asked.sid, number, b"enough")
        answering(upstream, asked)

    real.play = leaving
    seen = client.call(watch(real.address))
    fault = {"goaway": {"code": code, "debug": "enough"}}
    shop_of_calls.proxy.put(rule("leave", {"http2": fault}))
    alike(seen, client.call(watch(shop_of_calls.address)))
    if number:
        return
    assert seen.code == "OK"
    before = shop_of_calls.proxy.metric("misrule_connections_total")
    for _ in range(3):
        assert client.call(Rpc(shop_of_calls.address, "EmptyCall")).code == "OK"
        pause(0.05)
    assert shop_of_calls.proxy.metric("misrule_connections_total") - before >= 2


@pytest.mark.parametrize("scope", ["stream", "connection"])
def test_windows_that_stay_shut(shop_of_calls: Backend, real: ScriptedH2, call: Call, scope: str) -> None:
    """An upload stops; where the rule goes it goes on."""

    def shutting(upstream: Peer, asked: Heard) -> None:
        upstream.credit = lambda sid: False

    real.on_head = shutting
    messages = (bytes(200_000),) * (3 if scope == "stream" else 90)
    seen = call(Rpc(real.address, "StreamingInputCall", messages, "client", fresh=True, timeout=0.4))
    assert seen.code == "DEADLINE_EXCEEDED"
    shut = rule("shut", {"http2": {"withhold_window_updates": scope}})
    shop_of_calls.proxy.put(shut)
    rpc = Rpc(shop_of_calls.address, "StreamingInputCall", messages, "client", fresh=True, timeout=0.4)
    assert call(rpc).code == "DEADLINE_EXCEEDED"
    if scope == "connection":
        return
    got: list[Outcome] = []
    patient = Rpc(shop_of_calls.address, "StreamingInputCall", messages, "client", fresh=True)
    waiting = threading.Thread(target=lambda: got.append(call(patient)))
    waiting.start()
    eventually(lambda: shop_of_calls.proxy.injections(rule="shut") == 2)
    pause(0.3)
    assert not got
    shop_of_calls.proxy.put()
    waiting.join(20)
    assert (got[0].code, got[0].messages) == ("OK", [str(200_000 * len(messages)).encode()])


def test_a_small_window(shop_of_calls: Backend, call: Call) -> None:
    """An upload goes through all the same, in small parts."""
    shop_of_calls.proxy.put(rule("small", {"http2": {"settings": {"initial_window_size": 1_000}}}))
    messages = (bytes(10_000),) * 5
    got = call(Rpc(shop_of_calls.address, "StreamingInputCall", messages, "client", fresh=True))
    assert (got.code, got.messages) == ("OK", [b"50000"])


def test_no_window_at_all(shop_of_calls: Backend, call: Call) -> None:
    """Beside a server that says so from the start."""
    shop = ScriptedH2(settings={INITIAL_WINDOW: 0})
    try:
        seen = call(Rpc(shop.address, "UnaryCall", (b"x",), fresh=True, timeout=0.4))
    finally:
        shop.close()
    assert seen.code == "DEADLINE_EXCEEDED"
    shop_of_calls.proxy.put(rule("small", {"http2": {"settings": {"initial_window_size": 0}}}))
    assert call(Rpc(shop_of_calls.address, "UnaryCall", timeout=5.0)).code == "OK"
    pause(0.1)
    assert call(Rpc(shop_of_calls.address, "UnaryCall", (b"x",), timeout=0.4)).code == seen.code
    shop_of_calls.proxy.put()
    assert call(Rpc(shop_of_calls.address, "UnaryCall", (b"x",))).messages == [b"x"]


def test_unanswered_pings(shop_of_calls: Backend, real: ScriptedH2, call: Call) -> None:
    """Keepalive gives the connection up; beside a server that stands still."""
    real.on_head = lambda upstream, asked: pause(0.8)
    seen = call(Rpc(real.address, "UnaryCall", keepalive=0.2))
    assert seen.code == "UNAVAILABLE"
    shop_of_calls.proxy.put(rule("deaf", {"http2": {"ignore_ping": True}}))
    slow = ask({"sleep": 0.9, "size": 1})
    alike(seen, call(Rpc(shop_of_calls.address, "UnaryCall", (slow,), keepalive=0.2)))
    shop_of_calls.proxy.put()
    assert call(Rpc(shop_of_calls.address, "UnaryCall", (slow,), keepalive=0.4)).code == "OK"


@pytest.mark.parametrize("size", [0, 5])
def test_padding(shop_of_calls: Backend, real: ScriptedH2, call: Call, size: int) -> None:
    """grpcio takes none, grpc-js does; frames of a few bytes each as well."""

    def padding(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, HEAD)
        sent = framed(100, 50)
        step = size or len(sent)
        for at in range(0, len(sent), step):
            upstream.frame(DataFrame(asked.sid, sent[at : at + step], pad_length=255, flags=("PADDED",)))
        upstream.head(asked.sid, OK, True)

    real.play = padding
    seen = call(watch(real.address))
    fault: Rule = {"padding": 255, **({"frame_size": size} if size else {})}
    shop_of_calls.proxy.put(rule("pad", {"http2": fault}))
    message = ask({"sizes": (100, 50)})
    rpc = Rpc(shop_of_calls.address, "StreamingOutputCall", (message,), "server", fresh=True)
    alike(seen, call(rpc))
