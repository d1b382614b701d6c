"""Proxies and upstreams that speak HTTP/2 in clear text."""

from collections.abc import Iterator

import pytest

from tests.support.h2_peer import Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import Proxy

HTTP2 = {"protocol": "http2"}


@pytest.fixture(scope="session")
def _h2_shop_of_session() -> Iterator[ScriptedH2]:
    shop = ScriptedH2()
    yield shop
    shop.close()


@pytest.fixture
def h2_shop(_h2_shop_of_session: ScriptedH2) -> Iterator[ScriptedH2]:
    """The scripted HTTP/2 upstream behind ``h2_proxy``; each test finds it with plain answers."""
    _h2_shop_of_session.forget()
    yield _h2_shop_of_session
    _h2_shop_of_session.forget()


@pytest.fixture(scope="session")
def _h2_proxy_of_session(
    _h2_shop_of_session: ScriptedH2, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    proxy = Proxy(
        tmp_path_factory.mktemp("h2proxy"),
        _h2_shop_of_session.address,
        upstream_options=HTTP2,
        listener={"limits": {"streams": 2000}},
    )
    yield proxy
    proxy.stop()


@pytest.fixture
def h2_proxy(_h2_proxy_of_session: Proxy, h2_shop: ScriptedH2) -> Iterator[Proxy]:
    """One proxy for all tests that need nothing special; its upstream speaks HTTP/2."""
    _h2_proxy_of_session.calm()
    yield _h2_proxy_of_session
    _h2_proxy_of_session.calm()


@pytest.fixture
def peer(h2_proxy: Proxy) -> Iterator[Peer]:
    """A client of ``h2_proxy``."""
    with Peer.to(h2_proxy.address) as made:
        yield made
