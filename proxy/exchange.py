"""One request and its answer, and the two sides that it runs between.

The exchange is what the phases share: each reads what the ones before left here, and the two
sides are reached through it, never by importing an earlier phase.  It holds no sockets.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from proxy.altered import Altered as Altered
from proxy.altered import Shaping as Shaping
from proxy.altered import Whole as Whole
from proxy.errors import Failure
from proxy.metrics.calls import NO_STATUS
from proxy.metrics.cells import RouteCells
from proxy.net.connection import Connection
from proxy.net.pipe import Conduit
from proxy.net.pool import Endpoint, Upstream, Waiter
from proxy.wire.body import BodyReader
from proxy.wire.h1_head import Head
from proxy.worker import Releasable, Worker
from rules.actions import CANCEL, Answer, Disturb, EndCall, GoAway
from rules.breakers.keeper import Pass
from rules.compiled import CompiledRule
from rules.done import Done
from rules.facts import Facts
from rules.limits import Permit
from rules.plan import Chosen
from rules.snapshot import Plan
from rules.way_actions import Say

# Why reading from a side is paused: any bit pauses it.
BY_PEER: Final = 1  # the other side cannot take more
BY_BUFFER: Final = 2  # we hold as much as we may
BY_END: Final = 4  # nothing more is wanted before something has left
BY_FAULT: Final = 8  # what came waits for a fault

_NO_MORE: Final = BodyReader()  # at the end of a body without trailers


@mypyc_attr(allow_interpreted_subclasses=True)
class Passing:
    """What follows a switch of protocols, as the two connections see it."""

    def __init__(self) -> None:
        self.done: Done = Done()  # what rules have done to it, so that a change of others does not repeat it

    def from_client(self, data: bytes) -> None:
        """Bytes came from the client."""
        raise NotImplementedError

    def from_upstream(self, data: bytes) -> None:
        """Bytes came from the upstream."""
        raise NotImplementedError

    def client_full(self, full: bool) -> None:
        """The client reads slowly, or has caught up."""
        raise NotImplementedError

    def upstream_full(self, full: bool) -> None:
        """The upstream reads slowly, or has caught up."""
        raise NotImplementedError

    def client_ended(self) -> None:
        """The client sends no more; its FIN is passed on."""
        raise NotImplementedError

    def upstream_ended(self) -> None:
        """The upstream sends no more; its FIN is passed on."""
        raise NotImplementedError

    def client_lost(self, reset: bool) -> None:
        """The client's connection is gone; the upstream's ends in the same way."""
        raise NotImplementedError

    def upstream_lost(self, reset: bool) -> None:
        """The upstream's connection is gone; the client's ends in the same way."""
        raise NotImplementedError

    def cut(self, phase: int) -> None:
        """End one direction (``phase``: that of its body) as if its source had; the rest is thrown away."""
        raise NotImplementedError

    def ended(self) -> bool:
        """Tell whether both directions have ended in order."""
        raise NotImplementedError

    def bytes_passed(self) -> tuple[int, int]:
        """Count the bytes that passed, from the client and from the upstream."""
        raise NotImplementedError

    def flow_on(self) -> None:
        """What has held both directions holds them no more."""
        raise NotImplementedError

    def strike(self, plan: Plan, chosen: list[Chosen]) -> None:
        """Carry out these faults at once; while they hold, no byte passes."""
        raise NotImplementedError

    def plan_anew(self, plan: Plan | None) -> None:
        """Replace the plan: the rules have changed."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class ClientSide(Connection):
    """The client's side of an exchange, whatever its protocol."""

    def head(self, ex: "Exchange", head: Head) -> bool:
        """Send the answer's head; True: the body may follow with its framing as it came."""
        raise NotImplementedError

    def head_slowly(self, ex: "Exchange", head: Head, slow: Shaping) -> None:
        """Send the answer's head by way of ``slow``, which gives it back in parts; a bare body may follow."""
        raise NotImplementedError

    def head_part(self, data: bytes, last: bool) -> None:
        """Send a part of such a head."""
        raise NotImplementedError

    def head_cut(self, rest: bytes) -> None:
        """The exchange ends before the rest of such a head was sent."""
        raise NotImplementedError

    def interim(self, ex: "Exchange", head: Head) -> None:
        """Send a 1xx answer."""
        raise NotImplementedError

    def body(self, piece: bytes) -> None:
        """Send a piece of the answer's body."""
        raise NotImplementedError

    def last(self, piece: bytes) -> None:
        """Send the last piece of the answer's body, with no trailers behind it; ``end`` follows."""
        self.body(piece)

    def end(self, reader: BodyReader) -> None:
        """Send what ends the answer: the reader has given END, and has the trailers."""
        raise NotImplementedError

    def answer(self, ex: "Exchange", answer: Answer, extra: bytes) -> None:
        """Send a whole answer of our own; ``extra`` are further header lines."""
        raise NotImplementedError

    def refuse(self, ex: "Exchange") -> bool:
        """Tell a client that nothing was done, if it asks again by itself; False: it is to be answered."""
        return False

    def say(self, ex: "Exchange", say: Say) -> bool:
        """Tell a client whose bytes are passed on unread something; False: it is told when it has spoken."""
        return True

    def bare_body(self) -> None:
        """Give the request's body without its framing; to be said before any of it is read."""
        raise NotImplementedError

    def reopen_body(self) -> None:
        """The request, which was complete, is to have a body: it is asked for as one that has just come."""

    def cut_body(self) -> None:
        """End the answer's body here, though more was announced: FIN, or END_STREAM without trailers."""
        raise NotImplementedError

    def end_call(self, ex: "Exchange", end: EndCall) -> None:
        """End the answer to a gRPC call here, with this status; its head may have been sent."""
        raise NotImplementedError

    def go_on_reading(self) -> None:
        """Read on: the request's body may flow (again)."""
        raise NotImplementedError

    def over(self, ex: "Exchange") -> None:
        """The exchange is done with: go on to the next one, or end the connection."""
        raise NotImplementedError

    def reset(self, code: int = CANCEL, connection: bool = False) -> None:
        """End the connection with RST as soon as what was sent has arrived; HTTP/2: the stream, by its code.

        ``connection``: with RST in HTTP/2 too.
        """
        raise NotImplementedError

    def close(self, goaway: GoAway | None = None) -> None:
        """End the connection with FIN after what was sent; what still comes in is thrown away.

        HTTP/2 says GOAWAY first: ``goaway``, else one by which this exchange was not processed.
        """
        raise NotImplementedError

    def unannounced(self) -> None:
        """Leave out what announces the end of the connection over TLS (close_notify)."""
        raise NotImplementedError

    def dismiss(self, goaway: GoAway) -> None:
        """Let the connection end when what is under way on it is complete, and take nothing new."""
        raise NotImplementedError

    def faulted(self) -> None:
        """Note that a fault acts on this exchange: its client is not to blame for what it does then."""

    def disturb(self, action: Disturb, rule: CompiledRule) -> None:
        """Do to the connection what only HTTP/2 has, until the rule goes away."""
        raise NotImplementedError

    def pause(self, reason: int) -> None:
        """Stop reading from this side."""
        raise NotImplementedError

    def resume(self, reason: int) -> None:
        """Read again, unless another reason holds."""
        raise NotImplementedError

    def tunnel(self, ex: "Exchange", upstream: Conduit) -> Passing:
        """The protocol was switched: pass bytes between this side and the upstream's from now on."""
        raise NotImplementedError

    def end_tunnel(self) -> None:
        """The upstream's end of the tunnel is gone, in order: end this one so, too."""
        self.close()

    def broken(self) -> None:
        """The answer under way cannot be completed: end it so that it cannot pass for a whole one."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class UpstreamSide(Connection):
    """The upstream's side of an exchange, whatever its protocol."""

    def head_part(self, data: bytes, last: bool) -> None:
        """Send a part of a request's head that passes slowly."""
        raise NotImplementedError

    def head_cut(self, rest: bytes) -> None:
        """The exchange ends before the rest of such a head was sent."""
        raise NotImplementedError

    def body(self, piece: bytes) -> None:
        """Send a piece of the request's body, framing included."""
        raise NotImplementedError

    def last(self, piece: bytes) -> None:
        """Send the last piece of the request's body, and what ends it without trailers."""
        self.body(piece)
        self.end(_NO_MORE)

    def end(self, reader: BodyReader) -> None:
        """Send what ends the request: the reader has given END.  The answer is due from now on."""
        raise NotImplementedError

    def cut_body(self) -> None:
        """End the request's body here, though more was announced; the answer is due from now on."""
        raise NotImplementedError

    def go_on_reading(self) -> None:
        """Read on: the answer may flow (again)."""
        raise NotImplementedError

    def body_as(self, raw: bool) -> None:
        """Choose whether the answer's body comes with its framing, see H1Reader.body_as."""
        raise NotImplementedError

    def mark_body(self, content_bytes: int) -> None:
        """Ask for a stop after exactly so many bytes of the answer's content."""
        raise NotImplementedError

    def content(self) -> int:
        """Count the content bytes of the answer so far."""
        raise NotImplementedError

    def release(self, reusable: bool) -> None:
        """The exchange needs this side no more; ``reusable``: its answer is complete."""
        raise NotImplementedError

    def reset(self, code: int = CANCEL, connection: bool = False) -> None:
        """End the connection with RST as soon as what was sent has arrived; HTTP/2: the stream, by its code.

        ``connection``: with RST in HTTP/2 too, which fails all exchanges on it.
        """
        raise NotImplementedError

    def leave(self) -> None:
        """End this side, once it is released, behind what was passed on to it; in bounded time."""

    def close(self) -> None:
        """End the connection with FIN after what was sent; HTTP/2: the stream."""
        raise NotImplementedError

    def pause(self, reason: int) -> None:
        """Stop reading from this side."""
        raise NotImplementedError

    def resume(self, reason: int) -> None:
        """Read again, unless another reason holds."""
        raise NotImplementedError

    def tunnel(self, ex: "Exchange") -> None:
        """The protocol was switched: pass bytes from now on."""
        raise NotImplementedError


class Holder:
    """What a client's connection holds beyond its exchanges."""

    places: list[Permit] | None = None  # of limits on connections


class Exchange:
    """One request and its answer.  Times are seconds of the worker's clock, sizes bytes.

    Slots, all of them set at first: a default that stands in the class costs more to read than two to set.
    """

    __slots__ = (
        "altered", "aside", "attempts", "body_held", "body_open", "bytes_in", "bytes_out", "cells",
        "certificate", "client", "counted_in", "counted_out", "dialled", "endpoint", "facts", "failure",
        "feigned", "forward", "grpc_status", "head", "holder", "holding", "injected", "injected_by",
        "late_plans", "opaque", "over", "passes", "passing", "pending_head", "permits", "plan", "proofs",
        "queued", "request_done", "request_id", "request_shaping", "response", "response_done",
        "response_held", "response_shaping", "scheme", "sent_at", "source", "started", "status", "target",
        "tried", "trusted_hops", "upstream", "worker",
    )  # fmt: skip

    upstream: UpstreamSide | None
    pending_head: Head | None  # the answer's head while faults hold it back
    response: Head | None  # set when the answer's head has been sent on to the client
    forward: bytes  # header lines that every request of this client's connection gets
    opaque: bool  # its bytes are passed on unread: plain TCP, or TLS that does not end here
    scheme: bytes  # by which the client came: https over TLS
    certificate: bytes | None  # for x-forwarded-client-cert; None: that is not ours to say
    trusted_hops: int  # so many proxies in front are believed
    request_id: bytes
    target: Upstream | None
    endpoint: Endpoint | None
    aside: Endpoint | None  # where it goes instead of any address of its upstream, by a fault or
    dialled: str  # because its client has dialled just that address, and was captured
    plan: Plan | None
    late_plans: list[Plan] | None  # of rules that came while this was open (on: open)
    facts: Facts | None
    passes: list[Pass] | None  # of breakers, which are told how this ends
    holder: Holder | None  # its connection, where rules were asked about it
    permits: list[Permit] | None  # of limits, which are given back when this ends
    holding: list[Releasable] | None  # the faults that make this exchange wait
    sent_at: float  # when the request was complete at the upstream; 0: not yet
    injected: float  # seconds that faults have added
    injected_by: list[str] | None  # "rule/fault" of what was done
    feigned: Failure | None  # what a fault that has ended it looks like
    proofs: list[bytes] | None  # header lines for the answer
    body_open: bool  # the upstream takes the request's body
    body_held: int  # how many faults hold the request's body back
    response_held: int  # ... and the answer
    request_done: bool
    response_done: bool
    over: bool
    queued: Waiter | None  # its place in the queue for a connection of the pool
    attempts: int
    tried: int  # addresses that were tried without success
    status: int  # what the client was told, 0: nothing
    grpc_status: int  # with which the client saw its call end, see proxy.metrics.calls
    failure: Failure | None
    request_shaping: Shaping | None
    response_shaping: Shaping | None
    passing: Passing | None  # what follows a switch of protocols
    altered: Altered | None  # what faults on whole messages leave
    bytes_in: int
    bytes_out: int
    counted_in: int  # of these, what the metrics have already
    counted_out: int

    def __init__(
        self, worker: Worker, client: ClientSide, head: Head, started: float, cells: RouteCells, source: str
    ) -> None:
        self.worker: Worker = worker
        self.client: ClientSide = client
        self.head: Head = head
        self.cells: RouteCells = cells
        self.source: str = source  # the client's address as text
        self.started: float = started
        self.upstream = self.pending_head = self.response = self.certificate = self.target = None
        self.endpoint = self.aside = self.plan = self.late_plans = self.facts = self.passes = None
        self.holder = self.permits = self.holding = self.injected_by = self.feigned = self.proofs = None
        self.queued = self.failure = self.request_shaping = self.response_shaping = self.passing = None
        self.altered = None
        self.forward = self.request_id = b""
        self.opaque = self.body_open = self.request_done = self.response_done = self.over = False
        self.scheme = b"http"
        self.trusted_hops = self.body_held = self.response_held = self.attempts = self.tried = 0
        self.status = self.bytes_in = self.bytes_out = self.counted_in = self.counted_out = 0
        self.dialled = ""
        self.sent_at = self.injected = 0.0
        self.grpc_status = NO_STATUS

    def listener_name(self) -> str:
        """Give the name of the listener that this came in by."""
        return self.cells.listener
