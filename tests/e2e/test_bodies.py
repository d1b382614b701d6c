"""Bodies pass unchanged: real clients, real upstreams, both framings, both directions, by SHA-256."""

import itertools
from collections.abc import Callable

import pytest

from tests.support.clients import Call, ask
from tests.support.proxy import Proxy
from tests.support.upstreams import HUGE, SIZES, Corpus, Upstream

_CLIENTS = ["curl", "httpx", "node", "h11", "aiohttp"]
_UPSTREAMS = ["nginx", "uvicorn", "node"]
_FRAMINGS = ["length", "chunked"]
_names = (f"upload-{number}" for number in itertools.count())

Named = Callable[[str], Upstream]
Fronts = Callable[[str], Proxy]


def _download(client: str, url: str, framing: str, size: int, corpus: Corpus) -> None:
    path = "files" if framing == "length" else "chunked"
    seen = ask(client, Call(f"{url}/{path}/{corpus.path(size).name}", timeout=60))
    assert (seen.trouble, seen.status) == ("", 200), seen.native
    if size:  # nginx chunks nothing where there is nothing
        assert seen.all("content-length") == ([str(size)] if framing == "length" else [])
        assert seen.all("transfer-encoding") == (["chunked"] if framing == "chunked" else [])
    assert (seen.length, seen.sha256) == (size, corpus.sha256(size))


def _upload(client: str, url: str, framing: str, size: int, corpus: Corpus, upstream: Upstream) -> None:
    name = next(_names)
    call = Call(
        f"{url}/upload/{name}", "PUT", file=corpus.path(size), chunked=framing == "chunked", timeout=60
    )
    seen = ask(client, call)
    assert (seen.trouble, seen.status) == ("", 201), seen.native
    received = upstream.received(name)
    assert received is not None
    assert (received.length, received.sha256) == (size, corpus.sha256(size))
    if size:  # Node's fetch sends a length of 0 for a stream that ends at once
        assert received.framing in ("", framing)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", _FRAMINGS)
@pytest.mark.parametrize("upstream", _UPSTREAMS)
@pytest.mark.parametrize("client", _CLIENTS)
def test_download(
    client: str, upstream: str, framing: str, size: int, corpus: Corpus, fronts: Fronts
) -> None:
    _download(client, fronts(upstream).url, framing, size, corpus)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("framing", _FRAMINGS)
@pytest.mark.parametrize("upstream", _UPSTREAMS)
@pytest.mark.parametrize("client", _CLIENTS)
def test_upload(
    client: str, upstream: str, framing: str, size: int, corpus: Corpus, fronts: Fronts, upstreams: Named
) -> None:
    _upload(client, fronts(upstream).url, framing, size, corpus, upstreams(upstream))


@pytest.mark.parametrize("framing", _FRAMINGS)
@pytest.mark.parametrize("upstream", _UPSTREAMS)
@pytest.mark.parametrize("client", _CLIENTS)
def test_without_the_proxy(
    client: str, upstream: str, framing: str, corpus: Corpus, upstreams: Named
) -> None:
    """The same calls straight to the upstream: what the tests above compare with is what these peers do."""
    server = upstreams(upstream)
    _download(client, server.url, framing, 65_536, corpus)
    _upload(client, server.url, framing, 65_536, corpus, server)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("client", "upstream", "framing"), [("curl", "nginx", "length"), ("h11", "node", "chunked")]
)
def test_huge_bodies(
    client: str, upstream: str, framing: str, corpus: Corpus, fronts: Fronts, upstreams: Named
) -> None:
    """100 MiB each way, at bounded memory."""
    front = fronts(upstream)
    _download(client, front.url, framing, HUGE, corpus)
    _upload(client, front.url, framing, HUGE, corpus, upstreams(upstream))
    assert front.process.peak() < 128 * 1024, f"{front.process.peak()} KiB"
