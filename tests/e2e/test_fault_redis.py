"""Each fault on plain TCP, as redis-py sees it: with a real server behind the proxy, with and without TLS."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.databases import Redis, redis_client
from tests.support.pki import the_pki
from tests.support.proxy import Proxy, Rule, rule
from tests.support.wait import eventually, once_within

TCP: Rule = {"match": {"protocol": ["tcp"]}}
NAME = "cache.example"
PAGE = bytes(range(256)) * 40  # 10,240 bytes
HANGS_UP = "Connection closed by server"


@pytest.fixture(scope="module")
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    leaf = the_pki().leaf(NAME)
    shown = {"mode": "terminate", "certificate": str(leaf.chain), "key": str(leaf.key)}
    with ExitStack() as running:
        server = Redis()
        running.callback(server.stop)
        with redis_client(server.address) as one:
            one.set("page", PAGE)
        common: dict[str, Any] = {
            "address": "127.0.0.1:0",
            "protocol": "tcp",
            "routes": [{"upstream": "cache"}],
        }
        common |= {"timeouts": {"drain": "1s"}}
        proxy = Proxy(
            tmp_path_factory.mktemp("redis"),
            config={
                "listeners": [{"name": "clear", **common}, {"name": "tls", "tls": shown, **common}],
                "upstreams": {"cache": {"address": server.address, "protocol": "tcp"}},
            },
        )
        running.callback(proxy.stop)
        yield proxy


@pytest.fixture
def caches(_caches: Proxy) -> Iterator[Proxy]:
    _caches.calm()
    yield _caches
    _caches.calm()


def refused(caches: Proxy) -> str:
    """Give the words with which a client is told that there is no connection for it."""
    import redis

    with redis_client(caches.address, 5.0) as client, pytest.raises(redis.ConnectionError) as caught:
        client.ping()
    return str(caught.value)


SLOW: dict[str, tuple[Rule, float]] = {
    "delay": ({"delay": {"fixed": "150ms", "at": "response_body"}}, 0.15),
    "throttle": ({"throttle": "40KB/s"}, 0.25),
    "drip": ({"drip": {"bytes": 500, "every": "10ms"}}, 0.2),
    "loss": ({"loss": {"percent": 100, "rto": "1ms", "backoff": 1.2}}, 0.2),
}


@pytest.mark.parametrize("fault", SLOW)
def test_a_page_comes_slowly(caches: Proxy, fault: str) -> None:
    """On a connection that was open before the rule came: a delay counts from then."""
    made, least = SLOW[fault]
    with redis_client(caches.address, 20.0) as client:
        assert client.ping()
        begun = time.monotonic()
        caches.put(rule("slow", made, **TCP))
        assert client.get("page") == PAGE
        assert time.monotonic() - begun >= least
    assert caches.injections(rule="slow", fault=fault) == 1


def test_a_page_is_cut(caches: Proxy) -> None:
    import redis

    with redis_client(caches.address, 20.0) as client:
        assert client.ping()
        caches.put(rule("cut", {"truncate": "1000B"}, **TCP))
        with pytest.raises(redis.ConnectionError, match=HANGS_UP):
            client.get("page")
    assert caches.injections(rule="cut", fault="truncate") == 1


def test_a_page_has_wrong_bits(caches: Proxy) -> None:
    """Of 10,240 bytes behind a prefix of eight: nothing but bytes of the page are hit."""
    with redis_client(caches.address, 20.0) as client:
        assert client.ping()
        caches.put(rule("wrong", {"corrupt": {"percent_of_bytes": 0.1}}, sample={"seed": 1}, **TCP))
        got = client.get("page")
    hit = [(one ^ other).bit_count() for one, other in zip(got, PAGE, strict=True) if one != other]
    assert set(hit) == {1}
    assert caches.injections(rule="wrong", fault="corrupt") == 1


@pytest.mark.parametrize(
    "fault", [{"connect": "refused"}, {"dns": "nxdomain"}, {"breaker": {"force": "open"}}], ids=str
)
def test_new_connections_are_hung_up_on(caches: Proxy, fault: Rule) -> None:
    with redis_client(caches.address, 5.0) as client:
        assert client.ping()
        caches.put(rule("end", fault, **TCP))
        assert client.ping(), "what stands already is left alone"
    assert HANGS_UP in refused(caches)
    assert caches.injections(rule="end", fault=next(iter(fault))) == 1


def test_no_connection_is_left(caches: Proxy) -> None:
    """What stands already counts; the next one is told what a full server says, or is reset."""
    limit: dict[str, object] = {"connections": 1, "reply": "redis"}
    with redis_client(caches.address, 5.0) as client:
        assert client.ping()
        caches.put(rule("full", {"limit": limit}, **TCP))
        assert client.ping()
        assert refused(caches) == "max number of clients reached"
        caches.put(rule("full", {"limit": {"connections": 1}}, **TCP))
        assert "reset by peer" in refused(caches)
        assert caches.injections(rule="full", fault="limit") == 2
        caches.put(rule("full", {"limit": {"connections": 2}}, **TCP))
        with redis_client(caches.address, 5.0) as other:
            assert other.ping()


def test_an_answer_has_no_place_here(caches: Proxy) -> None:
    """A rule for everything that aborts ends new connections; one for TCP alone is refused."""
    caches.put(rule("end", {"abort": 503}))
    assert HANGS_UP in refused(caches)


def test_a_breaker_opens_by_connections_that_fail(caches: Proxy) -> None:
    breaker = {"breaker": {"profile": "gobreaker", "consecutive_failures": 2, "open_for": "24h"}}
    guard, gone = rule("guard", breaker, priority=1, **TCP), rule("gone", {"connect": "refused"}, **TCP)
    caches.put(guard, gone)
    for _ in range(2):
        assert HANGS_UP in refused(caches)
    assert (caches.injections(rule="gone"), caches.injections(rule="guard")) == (2, 0)
    caches.put(guard)
    assert HANGS_UP in refused(caches)
    assert caches.injections(rule="guard", fault="breaker") == 1


def test_connections_that_end_well_open_no_breaker(caches: Proxy) -> None:
    """There is no status to tell a success by: it is one where nothing went wrong."""
    breaker = {"breaker": {"profile": "gobreaker", "consecutive_failures": 2, "open_for": "24h"}}
    caches.put(rule("guard", breaker, **TCP))
    for _ in range(4):
        with redis_client(caches.address, 5.0) as client:
            assert client.ping()
        eventually(lambda: _counted(caches) == ("closed", 0, 0), what="its end is counted")


def _counted(caches: Proxy) -> tuple[str, int, int]:
    (shown,) = caches.admin("GET", "/v1/breakers")["breakers"]
    (key,) = shown["keys"]
    return key["state"], key["consecutive_failures"], key["active"]


def test_a_handshake_that_fails(caches: Proxy) -> None:
    import redis

    given = {"ssl": True, "ssl_ca_certs": str(the_pki().root.chain), "ssl_check_hostname": False}
    with redis_client(caches.listeners["tls"], 5.0, **given) as client:
        assert client.get("page") == PAGE
    caches.put(rule("old", {"tls": {"handshake": {"alert": "certificate_revoked"}}}))
    with (
        redis_client(caches.listeners["tls"], 5.0, **given) as client,
        pytest.raises(redis.ConnectionError, match=r"(?i)certificate.revoked"),
    ):
        client.ping()
    assert caches.injections(rule="old", fault="tls") == 1


def test_what_is_stalled_is_let_go_with_its_rule(caches: Proxy) -> None:
    def attempt() -> float:
        caches.put(rule("stuck", {"stall": {"at": "response_body"}}, **TCP))
        client.connection.send_command("PING")
        assert not client.connection.can_read(timeout=0.05)
        caches.put()
        begun = time.monotonic()
        assert client.connection.read_response() in (b"PONG", "PONG")
        return time.monotonic() - begun

    with redis_client(caches.address, 20.0, single_connection_client=True) as client:
        assert client.ping()
        once_within(0.1, attempt)
