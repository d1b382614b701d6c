"""Upstreams and proxies for tests over real sockets."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.proxy import Proxy
from tests.support.scripted import Scripted
from tests.support.upstreams import START, Corpus, Upstream

Launch = Callable[..., Proxy]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Files to send, by size, with their hashes."""
    return Corpus(tmp_path_factory.mktemp("corpus") / "files")


@pytest.fixture(scope="session")
def upstreams(
    corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Upstream]]:
    """Real upstreams by name (nginx, uvicorn, node), each started when first asked for."""
    running: dict[str, Upstream] = {}

    def named(name: str) -> Upstream:
        if name not in running:
            running[name] = START[name](corpus, tmp_path_factory.mktemp(name))
        return running[name]

    yield named
    for upstream in running.values():
        upstream.stop()


@pytest.fixture(scope="session")
def fronts(
    upstreams: Callable[[str], Upstream], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Proxy]]:
    """A proxy in front of each real upstream, by the upstream's name."""
    running: dict[str, Proxy] = {}

    def before(name: str) -> Proxy:
        if name not in running:
            running[name] = Proxy(tmp_path_factory.mktemp("front"), upstreams(name).address)
        running[name].calm(clean=False)
        return running[name]

    yield before
    _stop_all(list(running.values()))


@pytest.fixture(scope="session")
def _shop_of_session() -> Iterator[Scripted]:
    shop = Scripted()
    yield shop
    shop.close()


@pytest.fixture
def shop(_shop_of_session: Scripted) -> Iterator[Scripted]:
    """The scripted upstream behind ``proxy``; each test finds it with plain answers and no memory."""
    _shop_of_session.forget()
    yield _shop_of_session
    _shop_of_session.forget()


@pytest.fixture(scope="session")
def _proxy_of_session(
    _shop_of_session: Scripted, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path_factory.mktemp("proxy"), _shop_of_session.address)
    yield proxy
    proxy.stop()


@pytest.fixture
def proxy(_proxy_of_session: Proxy, shop: Scripted) -> Iterator[Proxy]:
    """One proxy for all tests that need nothing special; each finds it without rules.

    Afterwards its log is searched: an internal error fails the test that caused it.
    """
    _proxy_of_session.calm()
    yield _proxy_of_session
    _proxy_of_session.calm()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start proxies with options of their own; they are stopped and their logs searched at the end."""
    running: list[Proxy] = []
    numbers = itertools.count()

    def start(*args: Any, **options: Any) -> Proxy:
        running.append(Proxy(tmp_path / f"proxy{next(numbers)}", *args, **options))
        return running[-1]

    yield start
    _stop_all(running)


@pytest.fixture
def upstream() -> Iterator[Callable[[], Scripted]]:
    """Make scripted upstreams of the test's own."""
    running: list[Scripted] = []

    def start(**options: Any) -> Scripted:
        running.append(Scripted(**options))
        return running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture(params=["direct", "proxied"])
def door(request: pytest.FixtureRequest, shop: Scripted) -> str:
    """The address to talk to: the scripted upstream itself (is the test right?) or the proxy before it."""
    if request.param == "direct":
        return shop.address
    proxy: Proxy = request.getfixturevalue("proxy")
    return proxy.address


def _stop_all(running: list[Proxy]) -> None:
    failures: list[BaseException] = []
    for proxy in running:
        try:
            proxy.stop()
        except AssertionError as error:
            failures.append(error)
    if failures:
        raise failures[0]
