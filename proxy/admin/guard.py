"""Who may call the admin endpoint, and how: every check before a view sees anything.

A fault tool's control port is a target.  The dangers, and what stands against them:

* another host or pod: bound to loopback or a unix socket, or else a token is a must;
* a web page in the user's browser, by DNS rebinding: ``Host`` must be one of ours (421);
* a web page by a cross-site form or fetch: ``Origin`` and ``Sec-Fetch-Site`` must be same-origin (403), no
  CORS headers are ever sent, and a body needs a content type that no form can send (415);
* a client of the data path, where a route leads here: calls with our own ``Via`` are refused (403);
* somebody who guesses tokens: constant-time comparison, failures limited in rate (429), counted and logged.
"""

import hmac
import ipaddress
import os
import socket
import time
from collections.abc import Callable
from typing import Final

from aiohttp.web_request import BaseRequest

from proxy.admin.problem import Refusal
from proxy.config import AdminConfig
from proxy.logs import Log

TOKEN_LENGTH: Final = 22  # characters: 128 bits in base64; hex has 32
FAILURES: Final = 10  # failed authentications that an address may make at once ...
REFILL: Final = 1.0  # ... and then so many a second
ADDRESSES: Final = 1024  # remembered at once
SAFE: Final = frozenset({"GET", "HEAD"})
JSON: Final = ("application/json",)
RULES: Final = ("application/json", "application/yaml", "application/x-yaml")
PATCH: Final = ("application/merge-patch+json", "application/json")


class Tokens:
    """The tokens of a file, one on each line (two while one is being replaced); read again when it changes.

    A file that becomes unreadable, empty or too weak changes nothing: the last good tokens stay.
    """

    def __init__(self, path: str, log: Log) -> None:
        self._path = path
        self._log = log
        self._stamp: tuple[int, ...] = ()
        self._tokens: list[bytes] = []
        problem = self._load()
        if problem:
            raise ValueError(problem)

    def holds(self, token: bytes) -> bool:
        """Compare with each token in constant time."""
        self._reload()
        good = False
        for known in self._tokens:
            good |= hmac.compare_digest(known, token)
        return good

    def _reload(self) -> None:
        if self._look() == self._stamp:
            return
        problem = self._load()
        if problem:
            self._log.event("error", "token_file_bad", message=f"{problem}; the last good token stays")
        else:
            self._log.event("info", "token_file_read", path=self._path)

    def _look(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._path)
        except OSError as error:
            return (error.errno or -1,)
        return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def _load(self) -> str:
        """Read the file; gives what is wrong with it, or ""."""
        self._stamp = self._look()
        try:
            with open(self._path, "rb") as file:
                tokens = file.read(64 << 10).split()
        except OSError as error:
            return f"admin.token_file {self._path}: cannot be read: {error.strerror}"
        if not tokens:
            return f"admin.token_file {self._path}: there is no token in it"
        if min(map(len, tokens)) < TOKEN_LENGTH:
            return (
                f"admin.token_file {self._path}: a token needs at least {TOKEN_LENGTH} characters "
                '(128 bits), such as "openssl rand -base64 24" makes'
            )
        self._tokens = tokens
        return ""


class Failures:
    """A bucket for each address: failed authentications beyond it are refused unheard."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # address: what is left, when

    def spend(self, address: str) -> float:
        """Count one failure; gives how many more are heard now, below 0: this one was too much."""
        now = self._clock()
        left, since = self._buckets.pop(address, (float(FAILURES), now))
        left = min(float(FAILURES), left + (now - since) * REFILL)
        too_much = left < 1
        while len(self._buckets) >= ADDRESSES:
            del self._buckets[next(iter(self._buckets))]  # the one that has been quiet longest
        self._buckets[address] = (left if too_much else left - 1, now)
        return -1.0 if too_much else left - 1


class Guard:
    """The checks of one admin endpoint."""

    def __init__(
        self,
        config: AdminConfig,
        tokens: Tokens | None,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures = 0  # failed authentications
        self.refused = 0  # by Host, Origin or Sec-Fetch-Site
        self._tokens = tokens
        self._log = log
        self._buckets = Failures(clock)
        self._hosts = {"localhost", "127.0.0.1", "::1"} | {name.lower() for name in config.hosts}
        host = host_of(config.address)
        if host and not _is_wildcard(host):
            self._hosts.add(host.lower())

    def check_site(self, request: BaseRequest) -> None:
        """Refuse what a browser sends on behalf of somebody else's page.  Raises Refusal."""
        hosts = request.headers.getall("Host", [])
        host = hosts[0] if len(hosts) == 1 else ""
        if not self._knows(_without_port(host), request):
            self.refused += 1
            raise Refusal(
                421,
                "unknown-host",
                "this endpoint does not go by the name in the Host header; admin.hosts can name more",
            )
        if any("misrule" in via.lower() for via in request.headers.getall("Via", [])):
            self.refused += 1
            raise Refusal(403, "through-proxy", "calls that come through the data path are refused")
        sites = request.headers.getall("Sec-Fetch-Site", [])
        origins = request.headers.getall("Origin", [])
        if any(site not in ("same-origin", "none") for site in sites) or any(
            origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}") for origin in origins
        ):
            self.refused += 1
            raise Refusal(403, "cross-site", "calls from pages of other sites are refused")

    def identify(self, request: BaseRequest) -> str:
        """Give who calls, for the audit line.  Raises Refusal 401 or 429."""
        if self._tokens is None:
            return peer_identity(request)
        given = request.headers.getall("Authorization", [])
        scheme, _, token = (given[0] if len(given) == 1 else "").partition(" ")
        # A right token is heard whatever others did before: nobody may lock out the one who wants to press
        # the red button.  The limit is not what makes guessing hopeless, the length of tokens is.
        secret = token.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() == "bearer" and self._tokens.holds(secret):
            return "token"
        self._refuse_token(request)
        raise Refusal(
            401,
            "not-authenticated",
            "send the token as: Authorization: Bearer <token>",
            headers={"WWW-Authenticate": 'Bearer realm="misrule"'},
        )

    def _refuse_token(self, request: BaseRequest) -> None:
        self.failures += 1
        peer = peer_address(request)
        left = self._buckets.spend(peer.rpartition(":")[0] or peer)
        if left < 0:
            raise Refusal(
                429, "too-many-failures", "too many failed authentications", headers={"Retry-After": "1"}
            )
        self._log.event(
            "warning",
            "authentication_failed",
            client=peer,
            call=f"{request.method} {request.path}",
            further="not logged" if left < 1 else "logged",
        )

    def _knows(self, host: str, request: BaseRequest) -> bool:
        if not host:
            return False
        if host in self._hosts:
            return True
        # The very address that the client dialled: no name stands behind it, so nothing can be rebound.
        transport = request.transport
        name = transport.get_extra_info("sockname") if transport is not None else None
        return isinstance(name, tuple) and same_address(str(name[0]), host)


def check_content(request: BaseRequest, accepted: tuple[str, ...]) -> None:
    """Refuse bodies of a type that the call does not take.  Raises Refusal 415.

    A call without a body (``POST /v1/stop``) may come without a type; a form always has one.
    """
    given = request.headers.getall("Content-Type", [])
    has_body = request.body_exists and request.headers.get("Content-Length") != "0"
    if not given and not has_body:
        return
    kind = given[0].partition(";")[0].strip().lower() if len(given) == 1 else ""
    if kind not in accepted:
        raise Refusal(
            415,
            "content-type",
            f"send the body as {' or '.join(accepted)}",
            headers={"Accept": ", ".join(accepted)},
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal(415, "content-encoding", "send the body without compression")


def peer_address(request: BaseRequest) -> str:
    """Give the caller's address with its port; "unix" for a unix socket."""
    transport = request.transport
    peer = transport.get_extra_info("peername") if transport is not None else None
    if isinstance(peer, tuple):
        return f"[{peer[0]}]:{peer[1]}" if ":" in str(peer[0]) else f"{peer[0]}:{peer[1]}"
    return "unix"


def peer_identity(request: BaseRequest) -> str:
    """Say who calls where no token is asked for: the user behind a unix socket, else "local"."""
    transport = request.transport
    peer: socket.socket | None = transport.get_extra_info("socket") if transport is not None else None
    if peer is None or peer.family != socket.AF_UNIX:
        return "local"
    pid, uid, _ = memoryview(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)).cast("i")
    return f"uid {uid} pid {pid}"


def host_of(address: str) -> str:
    """Give the host of ``host:port``, without brackets; "" for a unix socket or every address."""
    if address.startswith("unix:"):
        return ""
    return address.rpartition(":")[0].strip("[]")


def is_local(address: str) -> bool:
    """Tell whether only this machine reaches an address: a unix socket, or nothing but loopback."""
    if address.startswith("unix:"):
        return True
    host = host_of(address)
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return bool(found) and all(
        ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_loopback for one in found
    )


def same_address(one: str, other: str) -> bool:
    """Compare two IP addresses as numbers, however they are written; False where either is none."""
    try:
        return _plain(one) == _plain(other)
    except ValueError:
        return False


def _plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    read = ipaddress.ip_address(text.partition("%")[0])
    mapped = read.ipv4_mapped if isinstance(read, ipaddress.IPv6Address) else None
    return mapped or read


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _without_port(host: str) -> str:
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")
