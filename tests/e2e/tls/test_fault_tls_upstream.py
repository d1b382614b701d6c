"""tls with side: upstream: the answer is that of an upstream that really is so, which nobody asks."""

import re
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.e2e.tls.conftest import NAME, listener
from tests.support import tls_real
from tests.support.pki import Pki
from tests.support.proxy import Proxy, rule
from tests.support.tls_real import Played, SServer
from tests.support.tls_servers import TlsServer
from tests.support.wire import Message, Wire, get

# The fault's fields, and how the upstream is that really has this trouble.
CASES: dict[str, dict[str, Any]] = {
    "expired": {"certificate": "expired"},
    "wrong-host": {"certificate": "wrong_host"},
    "untrusted-root": {"certificate": "incomplete_chain"},
    "self-signed": {"certificate": "self_signed"},
    "old": {"max_version": 1.1},
    "rejects": {"client_certificate": "reject"},
    "alert": {"handshake": {"alert": "handshake_failure"}},
    "reset": {"handshake": "reset"},
    "reset-server": {"handshake": "reset", "at": "server_hello"},
    "close": {"handshake": "close"},
    "stall": {"handshake": "stall"},
}


def _rejecting(pki: Pki) -> ssl.SSLContext:
    context = pki.leaf(NAME).server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(pki.root.chain)
    return context


def _really(pki: Pki, stranger: Pki) -> dict[str, TlsServer | SServer | Played]:
    leaf = pki.leaf(NAME)
    return {
        "expired": TlsServer(pki.leaf(NAME, days=-1).server()),
        "wrong-host": TlsServer(pki.leaf("other.example").server()),
        "untrusted-root": TlsServer(stranger.leaf(NAME).server()),
        "self-signed": TlsServer(pki.leaf(NAME, self_signed=True).server()),
        "old": SServer(leaf, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
        "rejects": TlsServer(_rejecting(pki)),
        "alert": SServer(leaf, "-tls1_2", "-cipher", "AES128-SHA"),
        "reset": Played(leaf, tls_real.at_client_hello(tls_real.reset)),
        "reset-server": Played(leaf, tls_real.at_server_hello(tls_real.reset)),
        "close": Played(leaf, tls_real.at_client_hello(tls_real.close)),
        "stall": Played(leaf, tls_real.at_client_hello(tls_real.hold)),
    }


class Stage:
    """A listener for each upstream that is sick, and for each rule that pretends it of one that is well."""

    def __init__(self, folder: Path, pki: Pki, running: ExitStack) -> None:
        sick = _really(pki, Pki(folder / "stranger", "Stranger"))
        for one in sick.values():
            running.callback(one.close if isinstance(one, TlsServer) else one.stop)
        self.well = TlsServer(pki.leaf(NAME).server())
        running.callback(self.well.close)
        common = {
            "tls": {"ca": str(pki.root.chain), "server_name": NAME},
            "timeouts": {"connect": "400ms"},
        }
        self.proxy = Proxy(
            folder / "proxy",
            config={
                "listeners": [
                    *(listener(f"real-{case}", case, {"mode": "none"}) for case in CASES),
                    *(listener(f"ours-{case}", "well", {"mode": "none"}) for case in CASES),
                ],
                "upstreams": {
                    "well": {"address": f"127.0.0.1:{self.well.port}", **common},
                    **{case: {"address": f"127.0.0.1:{sick[case].port}", **common} for case in CASES},
                },
            },
        )
        running.callback(self.proxy.stop)
        self.proxy.put(
            *(
                rule(case, {"tls": {**fault, "side": "upstream"}}, match={"listener": f"ours-{case}"})
                for case, fault in CASES.items()
            )
        )

    def answer(self, which: str) -> Message:
        with Wire.to(self.proxy.listeners[which]) as wire:
            return wire.ask(get("/"))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Stage]:
    with ExitStack() as running:
        yield Stage(tmp_path_factory.mktemp("sick"), pki, running)


def _bare(answer: Message) -> tuple[int, bytes, list[str]]:
    """Give what must be the same: not the proof, and not what differs with time."""
    lines = [
        f"{name}: {value}" for name, value in answer.headers if name.lower() not in ("x-misrule", "date")
    ]
    return answer.status, answer.body, lines


@pytest.mark.parametrize("case", CASES)
def test_the_answer_is_that_of_an_upstream_that_is_so(stage: Stage, case: str) -> None:
    real, ours = stage.answer(f"real-{case}"), stage.answer(f"ours-{case}")
    assert _bare(ours) == _bare(real)
    assert real.status in (502, 504)
    assert real.all("x-misrule") == []
    (proof,) = ours.all("x-misrule")
    assert re.fullmatch(rf"rule={case}; fault=tls; ms=\d+; version=\d+", proof)
    assert stage.proxy.injections(rule=case, fault="tls", phase="connect") == 1
    assert stage.proxy.metric("misrule_upstream_failures_total", upstream="well", injected="false") == 0
    assert stage.well.names == []


@pytest.mark.parametrize("case", ["expired", "old", "stall"])
def test_a_grpc_call_fails_alike(stage: Stage, case: str) -> None:
    said: list[tuple[grpc.StatusCode, str | None]] = []
    for which in (f"real-{case}", f"ours-{case}"):
        with grpc.insecure_channel(stage.proxy.listeners[which]) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/shop.Cart/Add", bytes, bytes)(b"", timeout=10)
            said.append((caught.value.code(), caught.value.details()))
    assert said[0] == said[1]
    assert said[0][0] is grpc.StatusCode.UNAVAILABLE
    assert stage.well.names == []
