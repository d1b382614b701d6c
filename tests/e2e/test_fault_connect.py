"""connect: the client gets what it gets where the upstream really is so, and the upstream is not touched."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.clients import HTTP2_CLIENTS, Call, ask
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted
from tests.support.wire import FIN, RESET, Message, Wire, get, meet

CASES = ["refused", "timeout", "unreachable", "reset"]
KINDS = {
    "refused": "connect_refused",
    "timeout": "connect_timeout",
    "unreachable": "connect_unreachable",
    "reset": "upstream_reset",
}
_PATIENCE = 0.4


def _deaf(running: ExitStack) -> str:
    """Give an address that takes no connection: its queue is full, so the kernel drops what comes."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=0)
    running.callback(listening.close)
    host, port = listening.getsockname()
    for _ in range(4):
        one = socket.socket()
        running.callback(one.close)
        one.setblocking(False)
        one.connect_ex((host, port))
    return f"{host}:{port}"


def _really(running: ExitStack) -> dict[str, str]:
    gone = Scripted()
    gone.close()
    sick = Scripted(on_open=lambda wire: wire.reset())
    running.callback(sick.close)
    return {
        "refused": gone.address,
        "timeout": _deaf(running),
        "unreachable": "255.255.255.255:9",
        "reset": sick.address,
    }


class Stage:
    """For each trouble a listener before an upstream that has it, and one before a good one with a rule."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.well = Scripted()
        running.callback(self.well.close)
        upstreams: dict[str, Any] = {"well": {"address": self.well.address}}
        upstreams |= {f"is-{case}": {"address": at} for case, at in _really(running).items()}
        for one in upstreams.values():
            one["timeouts"] = {"connect": f"{_PATIENCE * 1000:.0f}ms"}
        listeners = [
            {
                "name": f"{kind}-{protocol}-{case}",
                "address": "127.0.0.1:0",
                "protocol": protocol,
                "routes": [{"upstream": f"is-{case}" if kind == "real" else "well"}],
            }
            for kind in ("real", "ours")
            for protocol in ("auto", "tcp")
            for case in CASES
        ]
        self.proxy = Proxy(folder, config={"listeners": listeners, "upstreams": upstreams}, access="all")
        running.callback(self.proxy.stop)
        self.proxy.put(
            *(
                rule(case, {"connect": case}, match={"listener": [f"ours-auto-{case}", f"ours-tcp-{case}"]})
                for case in CASES
            )
        )

    def answer(self, which: str) -> tuple[Message, float]:
        with Wire.to(self.proxy.listeners[which]) as wire:
            begun = time.monotonic()
            return wire.ask(get("/")), time.monotonic() - begun

    def counted(self, upstream: str, kind: str, injected: str) -> float:
        labels = {"upstream": upstream, "kind": kind, "injected": injected}
        return self.proxy.metric("misrule_upstream_failures_total", **labels)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as running:
        yield Stage(tmp_path_factory.mktemp("sick"), running)


def _bare(answer: Message) -> tuple[int, bytes, list[str]]:
    """Give what must be the same: not the proof."""
    lines = [f"{name}: {value}" for name, value in answer.headers if name.lower() != "x-misrule"]
    return answer.status, answer.body, lines


@pytest.mark.parametrize("case", CASES)
def test_the_answer_is_that_of_an_upstream_that_is_so(stage: Stage, case: str) -> None:
    kind = KINDS[case]
    before = stage.counted("well", kind, "true")
    (real, real_time), (ours, our_time) = stage.answer(f"real-auto-{case}"), stage.answer(f"ours-auto-{case}")
    assert _bare(ours) == _bare(real)
    assert real.status == (504 if case == "timeout" else 502)
    assert real.all("x-misrule") == []
    (proof,) = ours.all("x-misrule")
    assert re.fullmatch(rf"rule={case}; fault=connect; ms=\d+; version=\d+", proof)
    if case == "timeout":
        assert min(real_time, our_time) >= _PATIENCE
    assert stage.counted(f"is-{case}", kind, "false") >= 1
    assert stage.counted("well", kind, "true") == before + 1
    assert stage.counted("well", kind, "false") == 0
    assert stage.well.wires == []


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_each_client(stage: Stage, client: str, http2: bool) -> None:
    """A refused connection, by HTTP/1.1 and HTTP/2."""
    seen = []
    for which in ("real-auto-refused", "ours-auto-refused"):
        answer = ask(client, Call(f"http://{stage.proxy.listeners[which]}/", http2=http2))
        seen.append((answer.status, answer.body, answer.all("proxy-status"), answer.trouble))
    assert seen == [(502, seen[0][1], ["misrule; error=connection_refused"], "")] * 2
    assert stage.well.wires == []


@pytest.mark.parametrize("case", ["refused", "timeout"])
def test_a_grpc_call_fails_alike(stage: Stage, case: str) -> None:
    said: list[tuple[grpc.StatusCode, str | None]] = []
    for which in (f"real-auto-{case}", f"ours-auto-{case}"):
        with grpc.insecure_channel(stage.proxy.listeners[which]) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/shop.Cart/Add", bytes, bytes)(b"", timeout=10)
            said.append((caught.value.code(), caught.value.details()))
    assert said[0] == said[1]
    assert said[0][0] is grpc.StatusCode.UNAVAILABLE
    assert stage.well.wires == []


@pytest.mark.parametrize("case", CASES)
def test_a_tcp_client_sees_the_same_end(stage: Stage, case: str) -> None:
    seen = []
    for kind in ("real", "ours"):
        begun = time.monotonic()
        seen.append(meet(stage.proxy.listeners[f"{kind}-tcp-{case}"]))
        if case == "timeout":
            assert time.monotonic() - begun >= _PATIENCE
    assert seen == [(b"", RESET if case == "reset" else FIN)] * 2
    assert stage.well.wires == []
    record = stage.proxy.wait_record(event="access", listener=f"real-tcp-{case}")
    assert (record["status"], record["outcome"]) == (0, KINDS[case])
    record = stage.proxy.wait_record(event="access", listener=f"ours-tcp-{case}")
    assert (record["status"], record["outcome"]) == (0, "injected")
