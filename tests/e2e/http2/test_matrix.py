"""Real clients against real upstreams, in every pairing with HTTP/2 on at least one side."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.http2.conftest import HTTP2
from tests.support.clients import HTTP2_CLIENTS, Call, ask
from tests.support.need import need
from tests.support.proxy import Proxy
from tests.support.upstreams import SIZES, Corpus, Upstream

Named = Callable[[str], Proxy]

_OLD = ("nginx", "uvicorn", "node")
_NEW = ("node2", "nghttpd")
_PAIRS = [(client, upstream) for client in HTTP2_CLIENTS for upstream in (*_OLD, *_NEW)]
_FROM_HTTP1 = [(client, upstream) for client in ("curl", "aiohttp", "h11") for upstream in _NEW]


@pytest.fixture(scope="session")
def fronts2(
    upstreams: Callable[[str], Upstream], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Named]:
    """A proxy in front of each real upstream, by the upstream's name; it speaks what that does."""
    running: dict[str, Proxy] = {}

    def before(name: str) -> Proxy:
        if name not in running:
            options = HTTP2 if name in _NEW else {}
            folder = tmp_path_factory.mktemp("front2")
            running[name] = Proxy(folder, upstreams(name).address, upstream_options=options)
        running[name].calm(clean=False)
        return running[name]

    yield before
    for proxy in running.values():
        proxy.stop()


def both_ways(url: str, upstream: Upstream, corpus: Corpus, client: str, name: str, http2: bool) -> None:
    """Get and put bodies of all sizes at ``url``, and compare what arrives."""
    for size in SIZES:
        seen = ask(client, Call(f"{url}/files/{size}", http2=http2))
        assert (seen.status, seen.trouble) == (200, ""), seen.native
        assert (seen.length, seen.sha256) == (size, corpus.sha256(size))
        for chunked in (False, True):
            if name == "nghttpd":
                continue  # keeps nothing of an upload; what it sends back: see test_echo
            what = f"{client}-{size}-{chunked}-{http2}"
            call = Call(f"{url}/upload/{what}", "PUT", (), corpus.path(size), chunked, http2=http2)
            seen = ask(client, call)
            assert seen.trouble == "", seen.native
            assert seen.status in (201, 204), seen.native
            got = upstream.received(what)
            assert got is not None
            assert (got.length, got.sha256) == (size, corpus.sha256(size))


@pytest.mark.parametrize(("client", "name"), _PAIRS)
def test_bodies(
    fronts2: Named, upstreams: Callable[[str], Upstream], corpus: Corpus, client: str, name: str
) -> None:
    """0 B to 10 MiB in both directions, compared by SHA-256."""
    both_ways(fronts2(name).url, upstreams(name), corpus, client, name, True)


@pytest.mark.parametrize(("client", "name"), _FROM_HTTP1)
def test_bodies_from_http1(
    fronts2: Named, upstreams: Callable[[str], Upstream], corpus: Corpus, client: str, name: str
) -> None:
    both_ways(fronts2(name).url, upstreams(name), corpus, client, name, False)


@pytest.mark.parametrize("http2", [True, False])
def test_echo(fronts2: Named, corpus: Corpus, http2: bool) -> None:
    """nghttpd sends back what it gets while it gets it: both directions at once."""
    size = SIZES[-1]
    call = Call(f"{fronts2('nghttpd').url}/echo", "POST", (), corpus.path(size), http2=http2)
    seen = ask("curl", call)
    assert (seen.status, seen.trouble, seen.sha256) == (200, "", corpus.sha256(size)), seen.native


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_heads(fronts2: Named, client: str) -> None:
    """Each client's own fields arrive; none of a connection does."""
    seen = ask(client, Call(f"{fronts2('node').url}/seen?a=b", headers=(("x-own", "Yes"), ("cookie", "a=1"))))
    told = json.loads(seen.body)
    names = [name.lower() for name in told["headers"][::2]]
    assert told["url"] == "/seen?a=b"
    assert "x-own" in names
    assert names.count("cookie") == names.count("host") == 1
    assert "http2-settings" not in names
    assert not [name for name in names if name.startswith(":")]


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
@pytest.mark.parametrize("name", ["node", "node2"])
def test_head_requests(fronts2: Named, client: str, name: str) -> None:
    seen = ask(client, Call(f"{fronts2(name).url}/files/65536", "HEAD", http2=True))
    assert (seen.status, seen.trouble, seen.length) == (200, "", 0), seen.native


def test_client_that_pads(fronts2: Named, corpus: Corpus) -> None:
    """nghttp pads each frame it sends."""
    file = corpus.path(65_536)
    command = [need("nghttp"), "--padding=200", "-d", str(file), f"{fronts2('nghttpd').url}/echo"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=30)
    assert done.stdout == file.read_bytes()


def test_trailers_of_real_peers(corpus: Corpus, upstreams: Callable[[str], Upstream], fronts2: Named) -> None:
    """nghttp sends trailers; they do not disturb what is echoed."""
    file = corpus.path(65_536)
    command = [
        need("nghttp"),
        "-v",
        "--trailer",
        "x-sum: 1",
        "-d",
        str(file),
        f"{fronts2('nghttpd').url}/echo",
    ]
    done = subprocess.run(command, capture_output=True, check=True, timeout=30)
    assert b":status: 200" in done.stdout


def load(url: str, *options: str) -> dict[str, int]:
    """Run h2load; give its counts."""
    command = [need("h2load"), *options, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    found = re.search(
        r"requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored",
        done.stdout,
    )
    assert found is not None, done.stdout
    names = ("total", "started", "done", "succeeded", "failed", "errored")
    return {name: int(figure) for name, figure in zip(names, found.groups(), strict=True)}


@pytest.mark.parametrize("name", ["nginx", "nghttpd", "node2"])
def test_load(fronts2: Named, name: str) -> None:
    """Ten thousand requests, no error."""
    told = load(f"{fronts2(name).url}/files/1", "-n", "10000", "-c", "4", "-m", "32")
    assert (told["succeeded"], told["failed"], told["errored"]) == (10_000, 0, 0)


def test_load_of_larger_bodies(fronts2: Named) -> None:
    told = load(f"{fronts2('nghttpd').url}/files/65536", "-n", "400", "-c", "4", "-m", "20")
    assert (told["succeeded"], told["failed"], told["errored"]) == (400, 0, 0)
