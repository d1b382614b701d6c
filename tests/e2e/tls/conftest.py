"""A proxy that ends TLS, and one in front of it that begins TLS anew: both legs, both roles."""

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.pki import Pki, the_pki
from tests.support.proxy import Proxy
from tests.support.upstreams import Upstream

NAME = "shop.example"


@dataclass(frozen=True)
class Chain:
    """``front`` takes clients over TLS and goes over TLS to ``back``, which goes to the upstream."""

    front: Proxy
    back: Proxy
    upstream: Upstream
    pki: Pki

    def port(self, listener: str = "web") -> int:
        return int(self.front.listeners[listener].rpartition(":")[2])

    def client(self, *alpn: str, name: str = "") -> ssl.SSLContext:
        """A client's context; ``name``: of the certificate that it shows."""
        context = self.pki.client(*alpn)
        if name:
            pair = self.pki.leaf(name)
            context.load_cert_chain(pair.chain, pair.key)
        return context


def own(pki: Pki, *names: str) -> dict[str, str]:
    """Write the options of a certificate of the test's authority."""
    pair = pki.leaf(names[0], *names)
    return {"certificate": str(pair.chain), "key": str(pair.key)}


def listener(name: str, upstream: str, tls: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "address": "127.0.0.1:0",
        "timeouts": {"drain": "1s"},
        "tls": tls,
        "routes": [{"upstream": upstream}],
    }


@pytest.fixture(scope="package")
def pki() -> Pki:
    return the_pki()


@pytest.fixture(scope="package")
def chain_of_package(
    upstreams: Callable[[str], Upstream], tmp_path_factory: pytest.TempPathFactory, pki: Pki
) -> Iterator[Chain]:
    upstream = upstreams("node")
    shown = own(pki, NAME, NAME, "127.0.0.1")
    root = str(pki.root.chain)
    back = Proxy(
        tmp_path_factory.mktemp("back"),
        config={
            "listeners": [
                listener("web", "app", {**shown, "client_auth": "required", "client_ca": root}),
            ],
            "upstreams": {"app": {"address": upstream.address}},
        },
    )
    to_back = {
        "address": back.address,
        "tls": {"ca": root, "server_name": NAME, **own(pki, "front.example")},
    }
    front = Proxy(
        tmp_path_factory.mktemp("front"),
        config={
            "listeners": [
                listener("web", "back", shown),
                listener("auto", "back", {**shown, "mode": "auto"}),
                listener("minted", "back", {}),
                listener(
                    "mutual",
                    "back",
                    {
                        **shown,
                        "client_auth": "optional",
                        "client_ca": root,
                        "forward_client_certificate": True,
                    },
                ),
                listener("clear", "http1", {"mode": "none"}),
            ],
            "upstreams": {"back": to_back, "http1": {**to_back, "protocol": "http1"}},
            "certs": {"dir": "certs"},
        },
    )
    yield Chain(front, back, upstream, pki)
    front.stop()
    back.stop()


@pytest.fixture
def chain(chain_of_package: Chain) -> Iterator[Chain]:
    """Both proxies, without rules; their logs are searched afterwards."""
    chain_of_package.front.calm()
    yield chain_of_package
    chain_of_package.front.calm()
    chain_of_package.back.check_log()


@pytest.fixture
def trusted(tmp_path: Path, chain: Chain) -> Path:
    """The root of the front's own authority."""
    return Path(chain.front.config).parent / "certs" / "root.pem"
