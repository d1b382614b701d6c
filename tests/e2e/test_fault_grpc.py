"""The faults of gRPC as grpcio sees them on both ends: what was delivered, and with which status it ends."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.proxy import Proxy

MESSAGES = [b"message %d" % number for number in range(10)]
PRESETS = Path(__file__).parents[2] / "rules" / "presets"
Codes = grpc.StatusCode


class Shop(grpc.GenericRpcHandler):
    """Methods by their last word; messages are bytes.  ``received`` keeps what the last upload brought."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def service(self, details: Any) -> Any:
        method = details.method.rpartition("/")[2]
        if method == "Watch":
            return grpc.unary_stream_rpc_method_handler(self.watch)
        if method == "Upload":
            return grpc.stream_unary_rpc_method_handler(self.upload)
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)

    def watch(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield from MESSAGES

    def upload(self, requests: Iterator[bytes], context: Any) -> bytes:
        self.received = []
        for request in requests:
            self.received.append(request)
        return b"%d" % len(self.received)


@pytest.fixture(scope="module")
def grpc_shop() -> Iterator[tuple[Shop, str]]:
    """A grpcio server, and where it listens."""
    shop = Shop()
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((shop,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield shop, f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture(scope="module")
def front(grpc_shop: tuple[Shop, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy in front of it."""
    proxy = Proxy(tmp_path_factory.mktemp("grpc"), grpc_shop[1], upstream_options={"protocol": "http2"})
    yield proxy
    proxy.stop()


@pytest.fixture
def channel(front: Proxy) -> Iterator[Callable[[], grpc.Channel]]:
    """Make channels to the proxy that share no connection."""
    made: list[grpc.Channel] = []

    def make() -> grpc.Channel:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        made.append(grpc.insecure_channel(front.address, options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    front.calm()


def get(channel: grpc.Channel) -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
    return channel.unary_unary("/shop.Cart/Get")


def watch(channel: grpc.Channel) -> "grpc.UnaryStreamMultiCallable[bytes, bytes]":
    return channel.unary_stream("/shop.Cart/Watch")


def upload(channel: grpc.Channel) -> "grpc.StreamUnaryMultiCallable[bytes, bytes]":
    return channel.stream_unary("/shop.Cart/Upload")


def put(front: Proxy, *faults: dict[str, Any]) -> None:
    front.put({"name": "r", "faults": list(faults)})


def watched(channel: grpc.Channel) -> tuple[list[bytes], grpc.StatusCode, str]:
    """Watch until the end: what came, and the status."""
    call = watch(channel)(b"go", timeout=10)
    came = []
    try:
        for one in call:
            came.append(one)
    except grpc.RpcError:
        pass
    return came, call.code(), call.details()


Make = Callable[[], grpc.Channel]


@pytest.mark.parametrize("after", [0, 1, 3, 10])
def test_a_status_behind_exactly_so_many(front: Proxy, channel: Make, after: int) -> None:
    put(front, {"grpc": {"after_messages": after, "status": "DATA_LOSS", "message": "broken é"}})
    one = channel()
    for _ in range(20):
        assert watched(one) == (MESSAGES[:after], Codes.DATA_LOSS, "broken é")


def test_a_reset_behind_at_most_so_many(front: Proxy, channel: Make) -> None:
    put(front, {"grpc": {"after_messages": 3, "reset": "INTERNAL_ERROR"}})
    came, code, _ = watched(channel())
    assert came == MESSAGES[: len(came)]
    assert len(came) <= 3
    assert code == Codes.INTERNAL


CHANGES: list[tuple[dict[str, Any], list[bytes]]] = [
    ({"drop_message": 2}, [MESSAGES[0], *MESSAGES[2:]]),
    ({"duplicate_message": 1}, [MESSAGES[0], *MESSAGES]),
    ({"delay_message": {"message": 3, "delay": "50ms"}}, MESSAGES),
]


@pytest.mark.parametrize(("change", "seen"), CHANGES)
def test_messages_both_ways(
    front: Proxy, grpc_shop: tuple[Shop, str], channel: Make, change: dict[str, Any], seen: list[bytes]
) -> None:
    put(front, {"grpc": change})
    assert watched(channel()) == (seen, Codes.OK, "")
    put(front, {"grpc": {**change, "direction": "request"}})
    answer = upload(channel())(iter(MESSAGES), timeout=10)
    assert answer == b"%d" % len(seen)
    assert grpc_shop[0].received == seen


def test_a_request_that_breaks(front: Proxy, grpc_shop: tuple[Shop, str], channel: Make) -> None:
    put(front, {"grpc": {"after_messages": 2, "direction": "request", "status": "ABORTED"}})
    grpc_shop[0].received = []  # the server may hear of the end before it begins
    with pytest.raises(grpc.RpcError) as caught:
        upload(channel())(iter(MESSAGES), timeout=10)
    assert caught.value.code() == Codes.ABORTED
    assert grpc_shop[0].received == MESSAGES[:2][: len(grpc_shop[0].received)]


@pytest.mark.parametrize(
    ("trouble", "codes"),
    [
        ({"status": "missing"}, {Codes.UNKNOWN, Codes.INTERNAL}),
        ({"status": "garbled"}, {Codes.UNKNOWN, Codes.INTERNAL}),
        ({"status": "UNAUTHENTICATED"}, {Codes.UNAUTHENTICATED}),
        ({"corrupt_length_prefix": 1}, {Codes.RESOURCE_EXHAUSTED, Codes.INTERNAL}),
    ],
)
def test_ends_that_no_server_means(
    front: Proxy, channel: Make, trouble: dict[str, Any], codes: set[grpc.StatusCode]
) -> None:
    put(front, {"grpc": trouble})
    assert watched(channel())[1] in codes


def test_time_up_to_the_deadline(front: Proxy, channel: Make) -> None:
    one = get(channel())
    put(front, {"grpc": {"delay_to_deadline": "-1s"}})
    begun = time.monotonic()
    assert one(b"x", timeout=2.0) == b"x"
    assert 0.9 <= time.monotonic() - begun < 2.0
    put(front, {"grpc": {"delay_to_deadline": "200ms"}})
    with pytest.raises(grpc.RpcError) as caught:
        one(b"x", timeout=0.3)
    assert caught.value.code() == Codes.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("fault", "code", "details"),
    [
        ({"reset": {"code": "REFUSED_STREAM"}}, Codes.UNAVAILABLE, ".*"),
        ({"reset": {"code": "CANCEL"}}, Codes.CANCELLED, ".*"),
        ({"reset": {"code": "ENHANCE_YOUR_CALM"}}, Codes.RESOURCE_EXHAUSTED, ".*"),
        ({"reset": {"scope": "connection"}}, Codes.UNAVAILABLE, ".*(reset|Socket closed).*"),
        (
            {"abort": {"status": 404, "grpc_status": 5, "trailers_only": False, "trailers": {"x": "y"}}},
            Codes.NOT_FOUND,
            "",
        ),
    ],
)
def test_ends_of_http2(front: Proxy, channel: Make, fault: Any, code: grpc.StatusCode, details: str) -> None:
    put(front, fault)
    came, found, said = watched(channel())
    assert (came, found) == ([], code)
    assert re.fullmatch(details, said, re.DOTALL)


GOOD = ["goaway", "ping", "max-streams", "no-df-padding-sanity"]


@pytest.mark.parametrize("name", GOOD)
def test_presets_that_a_good_client_passes(
    grpc_shop: tuple[Shop, str], launch: Callable[..., Proxy], name: str
) -> None:
    rules = [PRESETS / f"http2-{name}.yaml"]
    proxy = launch(grpc_shop[1], rules=rules, upstream_options={"protocol": "http2"})
    with grpc.insecure_channel(proxy.address) as one:
        for _ in range(3):
            assert watched(one) == (MESSAGES, Codes.OK, "")
        calls = [get(one).future(b"%d" % n, timeout=10) for n in range(15)]
        assert [call.result() for call in calls] == [b"%d" % n for n in range(15)]


@pytest.mark.parametrize("name", ["rst-after-header", "rst-after-data"])
def test_presets_that_fail_the_call(
    grpc_shop: tuple[Shop, str], launch: Callable[..., Proxy], name: str
) -> None:
    rules = [PRESETS / f"http2-{name}.yaml"]
    proxy = launch(grpc_shop[1], rules=rules, upstream_options={"protocol": "http2"})
    with grpc.insecure_channel(proxy.address) as one:
        came, code, _ = watched(one)
        assert (len(came) <= 1, code) == (True, Codes.INTERNAL)


def test_padding_is_what_this_client_cannot_read(front: Proxy, channel: Make) -> None:
    """grpcio refuses padded DATA frames, which RFC 9113 allows: that is what the preset is there to find."""
    put(front, {"http2": {"padding": 255}})
    came, code, said = watched(channel())
    assert came == []
    assert code in {Codes.INTERNAL, Codes.UNKNOWN, Codes.UNAVAILABLE}
    assert "data flags" in said
