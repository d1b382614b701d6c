"""The endpoint as a server: connections, the order of the checks, errors, start and stop.

aiohttp reads and writes HTTP; finding the view is a walk over one table (``routes``), so that every
answer, also to what no view ever saw, is made here.
"""

import asyncio
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Any, Final

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

from proxy import __version__, build_kind
from proxy.admin import openapi, problem
from proxy.admin.calls import SAFETY, Call, Reply, read_body, reply
from proxy.admin.figures import EVERY, Figures
from proxy.admin.guard import SAFE, Guard, Tokens, check_content, is_local, peer_address
from proxy.admin.live_views import LiveViews
from proxy.admin.problem import Refusal
from proxy.admin.routes import Route, health_routes, make_routes
from proxy.admin.seam import Proxy
from proxy.config import AdminConfig, split_address
from proxy.config.addresses import BOTH
from proxy.metrics.exposition import Exposition, Sources
from proxy.net import sockets
from rules.params import nearest

CONNECTIONS: Final = 64  # at once, for each of the two listeners
HEAD_TIME: Final = 10.0  # seconds that a head may take, or a connection may be idle
GRACE: Final = 0.5  # seconds that calls under way have when the proxy stops

_ASKED: Final = ("/crl", "/ocsp", "/root.pem")  # what ``certs.responder`` answers

_silent: Final = logging.getLogger("misrule.admin")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class AdminError(Exception):
    """The endpoint cannot start; the text says why in one line."""


class AdminServer:
    """The admin endpoint and the health listener, each where it is configured."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._guard: Guard | None = None
        self._doors: list[_Door] = []
        self._listening: list[asyncio.AbstractServer] = []
        self._sockets: list[str] = []
        self._figures = Figures(asyncio.get_running_loop().time())
        self._sampler: asyncio.TimerHandle | None = None
        live = LiveViews(Exposition(self._sources()), self._figures)
        self._routes = make_routes(live, self._openapi)
        self._document: dict[str, Any] = {}

    async def start(self) -> None:
        """Open what is configured; raises AdminError, with nothing left open."""
        config = self._proxy.config
        try:
            if config.admin is not None:
                self._guard = self._make_guard(config.admin)
                door = _Door(self._proxy, self._routes, self._guard)
                await self._open("admin", config.admin.address, door)
            if config.health is not None:
                door = _HealthDoor(self._proxy, health_routes(self._routes), None)
                await self._open("health", config.health.address, door)
        except BaseException:
            await self.stop()
            raise
        self._sample()

    async def stop(self) -> None:
        """Close everything; calls under way have a moment to end, streams of events end at once."""
        if self._sampler is not None:
            self._sampler.cancel()
        for listening in self._listening:
            listening.close()
        for door in self._doors:
            await door.close()
        for path in self._sockets:
            Path(path).unlink(missing_ok=True)
        self._listening, self._doors, self._sockets = [], [], []

    def _make_guard(self, config: AdminConfig) -> Guard:
        log = self._proxy.worker.log
        try:
            tokens = Tokens(config.token_file, log) if config.token_file else None
        except ValueError as error:
            raise AdminError(str(error)) from None
        if tokens is None and not is_local(config.address):
            raise AdminError(
                f"admin.address {config.address} can be reached by other machines: "
                "set admin.token_file, or listen on 127.0.0.1"
            )
        return Guard(config, tokens, log)

    async def _open(self, name: str, address: str, door: "_Door") -> None:
        loop = asyncio.get_running_loop()
        try:
            if address.startswith("unix:"):
                bound = _bind_unix(address.removeprefix("unix:"))
                self._sockets.append(address.removeprefix("unix:"))
                server: asyncio.AbstractServer = await loop.create_unix_server(door.server, sock=bound)
                self._proxy.addresses[name] = address
            else:
                host, port = split_address(address)
                bound = sockets.bind_both(port) if host == BOTH else sockets.bind(host, port)
                server = await loop.create_server(door.server, sock=bound)
                host, port = bound.getsockname()[:2]
                self._proxy.addresses[name] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        except OSError as error:
            raise AdminError(f"{name}: cannot listen on {address}: {error.strerror or error}") from None
        self._doors.append(door)
        self._listening.append(server)

    def _sources(self) -> Sources:
        proxy = self._proxy
        return Sources(
            cells=proxy.worker.cells,
            snapshot=lambda: proxy.changes.store.snapshot,
            stopped=lambda: proxy.worker.live.stopped,
            reloads=proxy.changes.reloads,
            log_dropped=lambda: proxy.worker.log.dropped,
            events_dropped=lambda: proxy.worker.log.events.dropped,
            admin_failures=lambda: self._guard.failures if self._guard is not None else 0,
            admin_refused=lambda: self._guard.refused if self._guard is not None else 0,
            started=proxy.started,
            version=__version__,
            build=build_kind(),
        )

    def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        self._figures.sample(loop.time(), self._proxy.worker.cells, self._proxy.changes.store.snapshot)
        self._sampler = loop.call_later(EVERY, self._sample)

    async def _openapi(self, call: Call) -> Reply:
        """Describe this endpoint (OpenAPI 3.1)."""
        if not self._document:
            self._document = openapi.document(self._routes)
        return reply(self._document)


class _Door:
    """One listener: its routes and, but for the health listener, its guard."""

    def __init__(self, proxy: Proxy, routes: tuple[Route, ...], guard: Guard | None) -> None:
        self._proxy = proxy
        self._routes = routes
        self._guard = guard
        self.server = _Server(self._handle, keepalive_timeout=HEAD_TIME, access_log=None, logger=_silent)

    async def close(self) -> None:
        """Close all connections."""
        self.server.pre_shutdown()
        await self.server.shutdown(GRACE)

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        try:
            answer = await self._answer(request)
        except Refusal as refusal:
            answer = _as_reply(refusal)
        except asyncio.CancelledError:
            raise
        except ConnectionError:  # whoever asked went away
            raise
        except Exception as error:
            self._proxy.worker.cells.internal_errors += 1
            self._proxy.worker.log.event(
                "error", "internal_error", call=f"{request.method} {request.path}", error=repr(error)
            )
            answer = _as_reply(Refusal(500, "internal", "this is a bug; the log has more"))
        if isinstance(answer, StreamResponse):
            return answer
        headers = {**SAFETY, "Content-Type": answer.content_type, **answer.headers}
        response = Response(body=answer.body, status=answer.status, headers=headers)
        if headers.get("Connection") == "close":
            response.force_close()
        return response

    async def _answer(self, request: BaseRequest) -> Reply | StreamResponse:
        """Check, find the view, read the body, call.  The order is that of the dangers."""
        guard = self._guard
        if guard is not None:
            guard.check_site(request)
        route, params = self._find(request)
        who = ""
        if guard is not None and not (route is not None and route.public):
            who = guard.identify(request)
        if route is None:
            raise self._not_found(request)
        body = b""
        _check_parameters(request, route)
        if request.method not in SAFE:
            check_content(request, route.accepts)
            body = await read_body(request)
            if route.body is not None and not body:
                raise Refusal(400, "no-body", f"this call needs a body ({' or '.join(route.accepts)})")
        return await route.view(Call(self._proxy, request, params, body, who, peer_address(request)))

    def _find(self, request: BaseRequest) -> tuple[Route | None, dict[str, str]]:
        method = "GET" if request.method == "HEAD" else request.method
        for route in self._routes:
            if route.method == method:
                params = route.match(request.path)
                if params is not None:
                    return route, params
        return None, {}

    def _not_found(self, request: BaseRequest) -> Refusal:
        allowed = [route.method for route in self._routes if route.match(request.path) is not None]
        if not allowed:
            return Refusal(
                404, "no-such-call", f"there is no {request.path[:200]} here; see /v1/openapi.json"
            )
        if "GET" in allowed:
            allowed.append("HEAD")
        allow = ", ".join(allowed)
        return Refusal(405, "method", f"{request.path} takes {allow}", headers={"Allow": allow})


def _check_parameters(request: BaseRequest, route: Route) -> None:
    """Refuse query parameters that the call does not take: a mistyped ``dry_run`` must not make a change.

    Nor must one that is given twice: nobody could say which is meant.
    """
    if not route.path.startswith("/v1/"):
        return  # probes and scrapers may add what they like
    query = request.rel_url.query
    for name in query:
        if name not in route.parameters:
            near = nearest(name, route.parameters)
            hint = f'did you mean "{near}"?' if near else f"it takes {', '.join(route.parameters) or 'none'}"
            text = f'{request.path[:200]} takes no query parameter "{name[:40]}"; {hint}'
            raise Refusal(400, "invalid-parameter", text)
        if len(query.getall(name)) > 1:
            raise Refusal(400, "invalid-parameter", f"{name} is given more than once")


class _HealthDoor(_Door):
    """The health listener, where clients also ask the local authority (CRL, OCSP, its root)."""

    async def _answer(self, request: BaseRequest) -> Reply | StreamResponse:
        if request.path.startswith(_ASKED):
            body = await read_body(request) if request.method == "POST" else b""
            # In a thread: a long list of revoked certificates takes a while to sign.
            told = await asyncio.to_thread(
                self._proxy.tell_revocation, request.method, request.raw_path, body
            )
            if told is not None:
                headers = {"Allow": told.allow} if told.allow else {}
                return Reply(told.body, told.status, told.content_type, headers)
        return await super()._answer(request)


def _as_reply(refusal: Refusal) -> Reply:
    return Reply(refusal.body, refusal.status, problem.CONTENT_TYPE, refusal.headers)


class _Server(Server):
    """aiohttp's server with a bound on its connections, and our own words for what it cannot read."""

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Count a connection; those beyond the bound are closed."""
        super().connection_made(handler, transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()


class _Connection(RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """Answer what aiohttp could not read; the connection is closed after it."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        detail = (exc.message if isinstance(exc, HttpProcessingError) else message or "").partition("\n")[0]
        refusal = Refusal(status, "malformed" if status < 500 else "internal", detail.rstrip(":")[:200])
        headers = {**SAFETY, "Content-Type": problem.CONTENT_TYPE}
        response = Response(body=refusal.body, status=status, headers=headers)
        response.force_close()
        return response


def _bind_unix(path: str) -> socket.socket:
    """Bind a unix socket that only this user may open, in place of one that nobody listens on."""
    if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) != 0:
                os.unlink(path)
    bound = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)  # from its first moment: chmod would come after somebody's connect
    try:
        bound.bind(path)
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(mask)
    return bound
