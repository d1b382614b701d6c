"""gRPC's interoperability cases through the proxy: each client against each server, as without it.

https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md names them.
"""

import time
from collections.abc import Callable

import pytest

from tests.e2e.grpc.conftest import Backend, Call, Client
from tests.support.grpc_calls import CLIENTS, Rpc, ask
from tests.support.wait import eventually


@pytest.fixture(params=[*CLIENTS, "grpclib"])
def client(request: pytest.FixtureRequest, clients: Callable[[str], Client]) -> Client:
    """Each client in turn."""
    return clients(request.param)


_SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"


def test_empty_unary(backend: Backend, call: Call) -> None:
    got = call(Rpc(backend.address, "EmptyCall"))
    assert (got.code, got.messages) == ("OK", [b""]), got


def test_large_unary(backend: Backend, call: Call) -> None:
    message = ask({"size": 314_159}).ljust(271_828)
    got = call(Rpc(backend.address, "UnaryCall", (message,)))
    assert (got.code, got.messages) == ("OK", [bytes(314_159)])


def test_very_large_unary(shop_of_calls: Backend, call: Call) -> None:
    """More than any window, in both directions, and byte for byte."""
    message = bytes(range(256)) * 40_000
    got = call(Rpc(shop_of_calls.address, "UnaryCall", (message,)))
    assert got.code == "OK", got.details
    assert got.messages == [message]


def test_client_streaming(backend: Backend, call: Call) -> None:
    messages = tuple(bytes(size) for size in (27_182, 8, 1_828, 45_904))
    got = call(Rpc(backend.address, "StreamingInputCall", messages, "client"))
    assert (got.code, got.messages) == ("OK", [b"74922"])


def test_server_streaming(backend: Backend, call: Call) -> None:
    message = ask({"sizes": [31_415, 9, 2_653, 58_979]})
    got = call(Rpc(backend.address, "StreamingOutputCall", (message,), "server"))
    assert got.code == "OK"
    assert [len(one) for one in got.messages] == [31_415, 9, 2_653, 58_979]


def test_ping_pong(backend: Backend, call: Call) -> None:
    """A message goes only when the one before is answered: nothing may be held back for company."""
    messages = tuple(ask({"size": size}).ljust(size) for size in (31_415, 30, 2_653, 58_979))
    got = call(Rpc(backend.address, "FullDuplexCall", messages, "bidi", ping_pong=True))
    assert got.code == "OK"
    assert [len(one) for one in got.messages] == [31_415, 30, 2_653, 58_979]


def test_empty_stream(backend: Backend, call: Call) -> None:
    got = call(Rpc(backend.address, "FullDuplexCall", (), "bidi"))
    assert (got.code, got.messages) == ("OK", [])


def test_bidi_at_once(backend: Backend, call: Call) -> None:
    """Many messages in both directions without waiting for each other."""
    messages = tuple(ask({"size": 1_000}).ljust(1_000) for _ in range(100))
    got = call(Rpc(backend.address, "FullDuplexCall", messages, "bidi"))
    assert (got.code, len(got.messages)) == ("OK", 100)


def test_cancel_after_begin(backend: Backend, call: Call) -> None:
    got = call(Rpc(backend.address, "StreamingInputCall", (b"x",), "client", cancel_after=0))
    assert (got.code, got.messages) == ("CANCELLED", [])


def test_cancel_after_first_response(backend: Backend, call: Call) -> None:
    """The server learns of it in the middle of its work."""
    told = backend.process.log.count("cancelled")
    message = ask({"sizes": [31_415, *[1] * 50], "sleep": 0.1})
    got = call(
        Rpc(backend.address, "FullDuplexCall", (message, message), "bidi", cancel_after=1, ping_pong=True)
    )
    assert (got.code, len(got.messages)) == ("CANCELLED", 1)
    eventually(lambda: backend.process.log.count("cancelled") > told, 15.0, "the cancellation at the server")
    assert backend.proxy.metric("misrule_requests_active") == 0


def test_timeout_on_sleeping_server(backend: Backend, call: Call) -> None:
    begun = time.monotonic()
    message = ask({"sleep": 5, "size": 1})
    got = call(Rpc(backend.address, "FullDuplexCall", (message,), "bidi", timeout=0.2))
    assert got.code == "DEADLINE_EXCEEDED"
    assert time.monotonic() - begun < 4.5


@pytest.mark.parametrize("kind", ["unary", "bidi"])
def test_status_code_and_message(backend: Backend, call: Call, kind: str) -> None:
    method = "UnaryCall" if kind == "unary" else "FullDuplexCall"
    got = call(Rpc(backend.address, method, (ask({"status": [2, "test status message"]}),), kind))
    assert (got.code, got.details) == ("UNKNOWN", "test status message")


@pytest.mark.parametrize("number", [1, 3, 5, 7, 8, 10, 13, 14, 15, 16])
def test_every_status(backend: Backend, call: Call, number: int) -> None:
    straight = call(Rpc(backend.direct, "UnaryCall", (ask({"status": [number, "why"]}),)))
    got = call(Rpc(backend.address, "UnaryCall", (ask({"status": [number, "why"]}),)))
    assert (got.code, got.details) == (straight.code, straight.details)
    assert got.details == "why"


def test_special_status_message(backend: Backend, call: Call) -> None:
    got = call(Rpc(backend.address, "UnaryCall", (ask({"status": [2, _SPECIAL]}),)))
    straight = call(Rpc(backend.direct, "UnaryCall", (ask({"status": [2, _SPECIAL]}),)))
    assert (got.code, got.details) == (straight.code, straight.details)
    assert got.details == _SPECIAL


def test_status_after_messages(backend: Backend, call: Call) -> None:
    message = ask({"sizes": [10, 20], "status": [9, "enough"]})
    got = call(Rpc(backend.address, "StreamingOutputCall", (message,), "server"))
    assert (got.code, got.details) == ("FAILED_PRECONDITION", "enough")
    assert [len(one) for one in got.messages] == [10, 20]


@pytest.mark.parametrize(
    ("service", "method"), [("misrule.test.TestService", "Unknown"), ("no.Such", "UnaryCall")]
)
def test_unimplemented(backend: Backend, call: Call, service: str, method: str) -> None:
    got = call(Rpc(backend.address, method, service=service))
    straight = call(Rpc(backend.direct, method, service=service))
    assert (got.code, got.details) == (straight.code, straight.details)
    if "content-type" not in straight.details:  # which grpclib's server forgets, and its client misses
        assert got.code == "UNIMPLEMENTED"


@pytest.mark.parametrize("kind", ["unary", "bidi"])
def test_custom_metadata(backend: Backend, call: Call, kind: str) -> None:
    method = "UnaryCall" if kind == "unary" else "FullDuplexCall"
    given = (
        ("x-grpc-test-echo-initial", "test_initial_metadata_value"),
        ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab\x00\xff"),
    )
    got = call(Rpc(backend.address, method, (ask({"size": 3}),), kind, metadata=given))
    assert got.code == "OK"
    assert ("x-grpc-test-echo-initial", b"test_initial_metadata_value") in got.initial
    assert ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab\x00\xff") in got.trailing


def test_calls_are_counted_by_method_and_status(backend: Backend, call: Call) -> None:
    """What each client saw is what the metric says."""
    labels = {"listener": "web", "service": "misrule.test.TestService"}
    wanted = [("EmptyCall", "OK", b""), ("UnaryCall", "NOT_FOUND", ask({"status": [5, "no"]}))]
    wanted.append(("StreamingOutputCall", "ABORTED", ask({"sizes": [1], "status": [10, "no"]})))
    for method, status, message in wanted:

        def counted(method: str = method, status: str = status) -> float:
            return backend.proxy.metric(
                "misrule_grpc_calls_total", **labels, method=method, grpc_status=status
            )

        before = counted()
        kind = "server" if method == "StreamingOutputCall" else "unary"
        assert call(Rpc(backend.address, method, (message,), kind)).code == status
        eventually(lambda before=before: counted() == before + 1)  # type: ignore[misc]
