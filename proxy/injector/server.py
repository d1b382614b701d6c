"""The webhook as a server: HTTPS only, one listener for reviews, probes and metrics.

API servers keep connections open and send one review after the other.  What is no review gets a 4xx with a
reason in one line; what goes wrong here never keeps a pod from being made.
"""

import asyncio
import logging
from typing import Final

import msgspec
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response
from aiohttp.web_server import Server

from proxy.config import split_address
from proxy.config.addresses import BOTH
from proxy.injector import review
from proxy.injector.identity import Identity
from proxy.injector.pods import API, KIND, Metadata, Request
from proxy.injector.settings import Settings
from proxy.logs import Log
from proxy.metrics.injecting import FAILED, INJECTED, LEFT, REFUSED, InjectorCells, exposition
from proxy.net import sockets

LARGEST: Final = 8 << 20  # bytes of a review: an object of 1.5 MiB in etcd, twice, and room
BODY_TIME: Final = 10.0  # seconds that a body may take
IDLE: Final = 120.0  # seconds that a connection may be idle; Go's clients keep it for 90
GRACE: Final = 5.0  # seconds that reviews under way have at the end

MUTATE: Final = "/mutate"
JSON: Final = "application/json"

_silent: Final = logging.getLogger("misrule.injector")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class Refusal(Exception):
    """An answer of 4xx; the message is its body."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class InjectorServer:
    """One listening injector."""

    def __init__(self, identity: Identity, settings: Settings, log: Log, cells: InjectorCells) -> None:
        self.settings = settings
        self.address = ""  # as bound
        self.draining = False  # not ready any more: the Service is to send nothing new
        self._identity = identity
        self._log = log
        self._cells = cells
        self._server = Server(self._serve, keepalive_timeout=IDLE, access_log=None, logger=_silent)
        self._listening: asyncio.AbstractServer | None = None

    async def start(self, address: str) -> None:
        """Listen on ``host:port``; raises OSError."""
        host, port = split_address(address)
        bound = sockets.bind_both(port) if host == BOTH else sockets.bind(host, port)
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._server, sock=bound, ssl=self._identity.context)
        self.address = sockets.address_of(bound)

    async def stop(self) -> None:
        """Take nothing new, finish the reviews under way, close."""
        if self._listening is not None:
            self._listening.close()
        self._server.pre_shutdown()
        await self._server.shutdown(GRACE)

    async def _serve(self, request: BaseRequest) -> Response:
        try:
            return await self._answer(request)
        except Refusal as refusal:
            if request.path == MUTATE:
                self._cells.reviews[REFUSED] += 1
                self._log.event("warning", "refused", status=refusal.status, message=str(refusal))
            answer = Response(text=f"{refusal}\n", status=refusal.status, headers=refusal.headers)
            if "Connection" in refusal.headers:
                answer.force_close()
            return answer

    async def _answer(self, request: BaseRequest) -> Response:
        if request.path == MUTATE:
            return await self._mutate(request)
        if request.method not in ("GET", "HEAD"):
            raise Refusal(404 if request.path not in _PAGES else 405, f"reviews are sent to POST {MUTATE}")
        if request.path == "/healthz":
            return Response(text="ok\n")
        if request.path == "/readyz":
            ready = self._identity.ready and not self.draining
            return Response(text="ready\n" if ready else "not ready\n", status=200 if ready else 503)
        if request.path == "/metrics":
            body, content_type = await exposition(self._cells, request.headers.get("Accept", ""))
            return Response(body=body, headers={"Content-Type": content_type})
        raise Refusal(404, f"there is no {request.path[:200]} here; reviews are sent to POST {MUTATE}")

    async def _mutate(self, request: BaseRequest) -> Response:
        if request.method != "POST":
            raise Refusal(405, f"a review is sent by POST, not by {request.method[:20]}", Allow="POST")
        if request.content_type != JSON:
            raise Refusal(415, f"a review is {JSON}, not {request.content_type[:80]}")
        data = await _read(request)
        try:
            asked = review.read(data)
        except review.NoReview as error:
            raise Refusal(400, str(error)) from None
        try:
            outcome = review.answer(asked, self.settings)
        except Exception as error:  # a bug, but the pod is made
            self._cells.reviews[FAILED] += 1
            self._log.event("error", "internal_error", error=repr(error), **_who(asked))
            return Response(body=_allowed(asked), content_type=JSON)
        self._account(outcome)
        return Response(body=outcome.body, content_type=JSON)

    def _account(self, outcome: review.Outcome) -> None:
        """Count a review and log it: what was done to which pod, and why not."""
        verdict = outcome.verdict
        self._cells.reviews[INJECTED if verdict.operations else LEFT] += 1
        self._cells.warnings += len(verdict.warnings)
        told: dict[str, object] = _who(outcome.request)
        if verdict.reason:
            told["reason"] = verdict.reason
        if verdict.warnings:
            told["warnings"] = verdict.warnings
        self._log.event("info", INJECTED if verdict.operations else LEFT, **told)


_PAGES: Final = ("/healthz", "/readyz", "/metrics")


async def _read(request: BaseRequest) -> bytes:
    """Read the body of a review; raises Refusal."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_TIME):
            async for part in request.content.iter_any():
                size += len(part)
                if size > LARGEST:
                    raise Refusal(413, f"a review has at most {LARGEST >> 20} MiB", Connection="close")
                parts.append(part)
    except TimeoutError:
        raise Refusal(408, f"the review did not come within {BODY_TIME:g} s", Connection="close") from None
    return b"".join(parts)


def _allowed(request: Request) -> bytes:
    response = {
        "uid": request.uid,
        "allowed": True,
        "warnings": ["misrule left this pod as it is: a bug, the injector's log has more"],
    }
    return msgspec.json.encode({"apiVersion": API, "kind": KIND, "response": response})


def _who(request: Request) -> dict[str, object]:
    """Name the pod of a review for the log; one that a controller makes has only the beginning of a name."""
    try:
        metadata = msgspec.convert(request.object.get("metadata"), Metadata)
        name = metadata.name or metadata.generateName
    except (AttributeError, msgspec.ValidationError):
        name = None
    return {"namespace": request.namespace or "", "pod": name or request.name or "", "uid": request.uid}
