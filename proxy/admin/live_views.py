"""Views of the proxy itself: the red button, figures, events, connections, configuration, health."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp.web_response import StreamResponse

from proxy.admin.calls import SAFETY, Call, Reply, reply
from proxy.admin.figures import Figures
from proxy.admin.problem import Refusal
from proxy.admin.types import Alive, Connections, Draining, Faulting, Ready
from proxy.events import Subscription, TooManySubscribers
from proxy.metrics.exposition import Exposition

HEARTBEAT: Final = 15.0  # seconds after which a silent stream of events says that it lives
SECRET_WORDS: Final = ("token", "password", "passwd", "secret", "credential", "private_key", "api_key")
MASK: Final = "***"
_encode = msgspec.json.Encoder().encode


class LiveViews:
    """Views that need more than the proxy: the exposition and the figures of a minute."""

    def __init__(self, exposition: Exposition, figures: Figures) -> None:
        self._exposition = exposition
        self._figures = figures

    async def metrics(self, call: Call) -> Reply:
        """Give all metrics, as Prometheus text or OpenMetrics."""
        body, content_type = await self._exposition.render(call.request.headers.get("Accept", ""))
        return Reply(body, content_type=content_type)

    async def stats(self, call: Call) -> Reply:
        """Give rates and percentiles, with and without injected time."""
        worker = call.proxy.worker
        limit = call.number("limit", 1000, 1, 100_000)
        now = asyncio.get_running_loop().time()
        snapshot = call.proxy.changes.store.snapshot
        return reply(self._figures.stats(now, worker.cells, snapshot, worker.live.stopped, limit))


async def stop(call: Call) -> Reply:
    """Press the red button: nothing is injected, what is held goes on."""
    call.proxy.stop_faults()
    return _pressed(call)


async def resume(call: Call) -> Reply:
    """Inject again."""
    call.proxy.resume_faults()
    return _pressed(call)


def _pressed(call: Call) -> Reply:
    version = call.proxy.changes.store.version
    stopped = call.proxy.worker.live.stopped
    call.audit(version, version, stopped=stopped)
    return reply(Faulting(stopped, version))


async def drain(call: Call) -> Reply:
    """End in order, as at SIGTERM: take nothing new, finish what is under way, exit."""
    grace = call.proxy.drain()
    version = call.proxy.changes.store.version
    call.audit(version, version, draining=True)
    clients = sum(view.get("side") == "client" for view in call.proxy.connections())
    return reply(Draining(True, grace, clients), 202)


async def connections(call: Call) -> Reply:
    """Show what is open."""
    limit = call.number("limit", 1000, 1, 100_000)
    found = call.proxy.connections()
    return reply(Connections(len(found), found[:limit]))


async def config(call: Call) -> Reply:
    """Show the configuration in force, without its secrets."""
    return reply(masked(msgspec.to_builtins(call.proxy.config)))


def masked(value: Any, of_headers: bool = False) -> Any:
    """Put a mask over whatever is secret by the name of its key; a path of a file with secrets is none.

    ``of_headers``: lists are of pairs, of a name and what a route wants that header to be.
    """
    if isinstance(value, Mapping):
        return {
            key: MASK if _is_secret(str(key), item) else masked(item, key == "headers")
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        pair = of_headers and len(value) == 2 and isinstance(value[0], str)
        if pair and _is_secret(value[0], str(value[1])):
            return [value[0], MASK]
        return [masked(item, of_headers) for item in value]
    return value


def _is_secret(key: str, value: object) -> bool:
    key = key.lower().replace("-", "_")
    if not value or isinstance(value, (bool, Mapping)) or key.endswith("_file"):
        return False
    return any(word in key for word in SECRET_WORDS) or key in ("authorization", "cookie")


async def healthz(call: Call) -> Reply:
    """Say that the process answers."""
    return reply(Alive("alive"))


async def readyz(call: Call) -> Reply:
    """Say whether traffic should be sent here: listeners open, rules loaded, not draining.

    Bad rule files do not make it unready (the last good set is in force); they show as ``reload: failed``.
    """
    proxy = call.proxy
    version = proxy.changes.store.version
    listening, draining = proxy.listening, proxy.worker.draining
    ready = listening and version > 0 and not draining
    reloads = proxy.changes.reloads
    state = "ok" if reloads.last_good else "failed: the last good rules are in force"
    return reply(Ready(ready, listening, version > 0, draining, version, state), 200 if ready else 503)


async def events(call: Call) -> StreamResponse:
    """Stream what happens, as server-sent events, until the reader goes away."""
    feed = call.proxy.worker.log.events
    try:
        subscription = feed.subscribe()
    except TooManySubscribers as error:
        raise Refusal(503, "too-many-readers", str(error), headers={"Retry-After": "5"}) from None
    try:
        response = StreamResponse(headers={**SAFETY, "Content-Type": "text/event-stream"})
        await response.prepare(call.request)
        if call.request.method != "HEAD":
            await response.write(b": misrule events\n\n")
            await _stream(subscription, response)
    finally:
        feed.unsubscribe(subscription)
    return response


async def _stream(subscription: Subscription, response: StreamResponse) -> None:
    told = 0
    while True:
        try:
            async with asyncio.timeout(HEARTBEAT):
                number, kind, fields = await subscription.next()
        except TimeoutError:
            await response.write(b": still here\n\n")
            continue
        lines = b"id: %d\nevent: %s\ndata: %s\n\n" % (number, kind.encode(), _json(fields))
        if subscription.dropped > told:
            told = subscription.dropped
            lines += b'event: dropped\ndata: {"dropped":%d}\n\n' % told
        await response.write(lines)


def _json(fields: dict[str, Any]) -> bytes:
    try:
        return _encode(fields)
    except (TypeError, ValueError):  # what only a log line can say, such as lone surrogates
        return _encode({"unprintable": repr(fields)})
