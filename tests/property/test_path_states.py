"""Whatever clients, upstreams, rules and time do, in whatever order: every exchange ends once, and well."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.world import REQUEST, TALK, Socket, World

ASKS: dict[str, tuple[bytes, bytes, bytes]] = {
    "get": (b"GET", b"1.1", b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n"),
    "other": (b"GET", b"1.1", b"GET /b?x=1 HTTP/1.1\r\nhost: b\r\nx-k: 1\r\n\r\n"),
    "head": (b"HEAD", b"1.1", b"HEAD /a HTTP/1.1\r\nhost: a\r\n\r\n"),
    "post": (b"POST", b"1.1", b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"),
    "empty": (b"POST", b"1.1", b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"),
    "chunks": (
        b"PUT",
        b"1.1",
        b"PUT /b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nt: 1\r\n\r\n",
    ),
    "expect": (
        b"POST",
        b"1.1",
        b"POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
    ),
    "old": (b"GET", b"1.0", b"GET /a HTTP/1.0\r\n\r\n"),
    "kept": (b"GET", b"1.0", b"GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"),
    "last": (b"GET", b"1.1", b"GET /b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
    "chat": (b"CHAT", b"1.1", b"GET /c HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n"),
}
BAD = b"GET /a HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 2\r\n\r\n"

ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n%b",
    "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n%b\r\n0\r\n\r\n",
    "rest": b"HTTP/1.1 200 OK\r\n\r\n%b",
    "old": b"HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\n%b",
    "last": b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\n%b",
    "hints": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n%b",
    "empty": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "none": b"HTTP/1.1 204 No Content\r\n\r\n",
    "wrong": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    "short": b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n%b",
}
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n"

SELDOM = st.sampled_from([False, False, False, True])

BODIES = ["request_body", "response_body"]
PHASES = ["accept", "request_head", "resolve", "connect", "response_head", "end", *BODIES]
LATE = ["connect", "response_head", "end", *BODIES]


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    """Any limit, mostly with few places."""
    names = st.sampled_from(["connections", "requests", "rate"])
    values: dict[str, Any] = {}
    for name in draw(st.lists(names, min_size=1, max_size=2, unique=True)):
        few = st.sampled_from([0, 1, 1, 2])
        values[name] = draw(st.sampled_from(["1/s", "20/s"]) if name == "rate" else few)
    if "rate" in values:
        values["burst"] = draw(st.sampled_from([1, 2]))
    if draw(st.booleans()):
        values["queue"] = draw(st.sampled_from([1, 5]))
        if draw(st.booleans()):
            values["queue_timeout"] = draw(st.sampled_from(["100ms", "2s"]))
    over = draw(st.sampled_from(["", 429, "wait", "refuse"]))
    if over:
        values["over"] = over
    values["on"] = draw(st.sampled_from(["next", "next", "new", "open"]))
    return values


@st.composite
def faults(draw: st.DrawFn) -> dict[str, Any]:
    """Any fault at any phase where it makes sense."""
    kind = draw(st.sampled_from(["delay", "abort", "reset", "close", "stall", "limit"]))
    if kind == "limit":
        return {kind: draw(limits())}
    if kind == "delay":
        at = draw(st.sampled_from([phase for phase in PHASES if phase not in ("resolve", "end")]))
        return {kind: {"fixed": draw(st.sampled_from(["0ms", "100ms", "2s"])), "at": at}}
    if kind == "abort":
        return {kind: {"status": 418, "at": draw(st.sampled_from(["request_head", "response_head"]))}}
    values: dict[str, Any] = {"at": draw(st.sampled_from([*PHASES, *BODIES, *BODIES]))}
    if values["at"] in BODIES and draw(st.booleans()):
        values["after_bytes"] = draw(st.sampled_from(["0B", "1B", "3B", "5B", "9B"]))
    if values["at"] in LATE:
        values["side"] = draw(st.sampled_from(["client", "upstream", "both"]))
    values["on"] = draw(st.sampled_from(["next", "next", "new", "open"]))
    if kind == "stall" and not draw(SELDOM):
        values["for"] = draw(st.sampled_from(["100ms", "2s"]))
        ends = ["continue", "continue", "reset", "close"]
        if values["at"] in PHASES[1:5] or values["at"] == "request_body":
            ends.append("abort")
        values["then"] = draw(st.sampled_from(ends))
    return {kind: values}


@st.composite
def rule_sets(draw: st.DrawFn) -> str:
    """Up to three rules with up to three faults each, written as a document's list."""
    lines = ""
    for name in draw(st.lists(st.sampled_from("pqrs"), unique=True, max_size=2)):
        made: dict[str, Any] = {"name": name, "faults": draw(st.lists(faults(), min_size=1, max_size=2))}
        early = any(next(iter(fault.values())).get("at") == "accept" for fault in made["faults"])
        if not early and not draw(SELDOM):
            made["match"] = draw(st.sampled_from([{"path": "/a"}, {"host": "a"}, {"method": ["GET", "PUT"]}]))
        sample = draw(st.sampled_from([{}, {"percent": 50}, {"first": 2}, {"max_active": 1}, {"every": 2}]))
        if sample:
            made["sample"] = sample
        if draw(st.integers(0, 5)) == 0:
            made["mode"] = "shadow"
        if draw(st.integers(0, 5)) == 0:
            made["final"] = True
        if draw(st.integers(0, 5)) == 0:
            made["schedule"] = draw(
                st.sampled_from([{"start_after": "100ms", "duration": "2s"}, {"duration": "100ms"}])
            )
        lines += f"  - {json.dumps(made)}\n"
    return lines


SIZES = st.sampled_from([1000, 1000, 1000, 1000, 1000, 1, 7, 60])
WHICH = st.integers(0, 7)


class Traffic:
    """Steps that anybody may take at any time; each does nothing where it makes no sense."""

    def __init__(self, rules: str, few: bool, endpoints: int) -> None:
        self.world = World(
            rules, max_connections=2 if few else 10, max_idle=1 if few else 10, endpoints=endpoints
        )
        self.answers = 0
        self.world.connect()

    def pick(self, which: int, client: bool) -> Socket | None:
        sockets = self.world.clients if client else self.world.net.sockets
        there = [socket for socket in sockets if not socket.gone]
        return there[which % len(there)] if there else None

    # --- clients

    def connect(self) -> None:
        if sum(not client.gone for client in self.world.clients) < 4:
            self.world.connect()

    def ask(self, which: int, kind: str, size: int) -> None:
        client = self.pick(which, True)
        if client is None or client.closing:
            self.world.connect()
            client = self.world.clients[-1]
        if client.tunnel:
            return
        method, version, data = ASKS[kind]
        client.asked.append((method, version))
        client.todo += data
        client.tunnel = kind == "chat"  # whatever comes of it, nothing else is asked
        self.send(client, size)

    def ask_nonsense(self, which: int) -> None:
        client = self.pick(which, True)
        if client is not None and not client.tunnel:
            client.todo += BAD
            client.tunnel = True
            self.send(client, 1000)

    def send(self, socket: Socket, size: int) -> None:
        if socket.readable:
            self.world.do(lambda: socket.send(size))

    def send_more(self, which: int, client: bool, size: int) -> None:
        socket = self.pick(which, client)
        if socket is None:
            return
        talks = socket.tunnel and (not client or b"HTTP/1.1 101 " in socket.got)
        if talks and socket.talked < 500:
            socket.todo += TALK[socket.talked : socket.talked + size]
            socket.talked += size
        self.send(socket, size)

    # --- upstreams

    def answer(self, which: int, kind: str, size: int) -> None:
        upstream = self.pick(which, False)
        if upstream is None:
            return
        asked = REQUEST.findall(upstream.got)
        if upstream.answered < len(asked) and not upstream.tunnel:
            method = asked[upstream.answered]
            upstream.answered += 1
            upstream.tunnel = b"upgrade: chat" in upstream.got and kind != "wrong"
            upstream.todo += SWITCH if upstream.tunnel else self.made(kind, method)
            upstream.endless = kind in ("rest", "short", "wrong")
        self.send(upstream, size)

    def made(self, kind: str, method: bytes) -> bytes:
        """Make an answer whose body is like no other."""
        whole = ANSWERS[kind]
        if method == b"HEAD":
            return ANSWERS["none"] if kind == "hints" else whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        if b"%b" not in whole:
            return whole
        self.answers += 1
        body = b"<%07d>" % self.answers
        if kind != "short":
            self.world.bodies.add(body)
        return whole % body

    def serve(self) -> None:
        """Clients send all that they want, and upstreams answer all that was asked."""
        for client in list(self.world.clients):
            self.send(client, 1000)
        for which in range(len(self.world.net.sockets)):
            self.answer(which, "length", 1000)

    def send_unasked(self, which: int) -> None:
        upstream = self.pick(which, False)
        if upstream is not None and not upstream.tunnel and not upstream.endless:
            if upstream.answered == len(REQUEST.findall(upstream.got)) and not upstream.todo:
                upstream.todo += ANSWERS["empty"]
                self.send(upstream, 1000)

    def reach(self, slow: bool, refuse: bool) -> None:
        net = self.world.net
        net.slow = slow
        net.refuse = ConnectionRefusedError(111, "refused") if refuse else None

    def reached(self, fails: bool) -> None:
        pending = self.world.net.pending
        if pending:
            future = pending.pop(0)
            error = OSError(113, "no route")
            self.world.do(lambda: future.set_exception(error) if fails else future.set_result(None))

    # --- connections

    def fin(self, which: int, client: bool) -> None:
        socket = self.pick(which, client)
        if socket is not None and socket.readable and not socket.todo:
            self.world.do(socket.fin)

    def lose(self, which: int, client: bool, error: bool) -> None:
        socket = self.pick(which, client)
        if socket is not None:
            self.world.do(lambda: socket.lose(ConnectionResetError() if error else None))

    def tell_ends(self) -> None:
        self.world.tell_ends()

    def read_slowly(self, which: int, client: bool) -> None:
        socket = self.pick(which, client)
        if socket is not None and not socket.closing:
            socket.full = not socket.full
            protocol = socket.protocol
            self.world.do(protocol.pause_writing if socket.full else protocol.resume_writing)

    # --- the proxy

    def time_passes(self, seconds: float) -> None:
        self.world.do(lambda: self.world.stage.timers.advance(seconds))

    def time_is_up(self, seconds: float) -> None:
        self.world.do(lambda: self.world.stage.sweep(seconds))

    def change_rules(self, rules: str, stopped: bool) -> None:
        self.world.change(rules, stopped)

    def press_and_resume(self) -> None:
        stage = self.world.stage
        self.world.do(lambda: stage.worker.install(stage.snapshot, True))
        self.world.do(lambda: stage.worker.install(stage.snapshot, False))


def step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just(name), *arguments)


ASK = step("ask", WHICH, st.sampled_from(list(ASKS)), SIZES)
ANSWER = step("answer", WHICH, st.sampled_from(list(ANSWERS)), SIZES)
SEND = step("send_more", WHICH, st.booleans(), SIZES)
OFTEN = [ASK, ASK, ASK, ANSWER, ANSWER, ANSWER, SEND, SEND, step("serve")]
STEPS = st.one_of(
    *OFTEN,
    step("connect"),
    step("ask_nonsense", WHICH),
    step("send_unasked", WHICH),
    step("reach", st.booleans(), SELDOM),
    step("reached", SELDOM),
    step("fin", WHICH, st.booleans()),
    step("lose", WHICH, st.booleans(), st.booleans()),
    step("tell_ends"),
    step("read_slowly", WHICH, st.booleans()),
    step("time_passes", st.sampled_from([0.001, 0.05, 0.3, 1.0, 2.5, 11.0])),
    step("time_passes", st.sampled_from([0.001, 0.05, 0.3, 1.0, 2.5, 11.0])),
    step("time_is_up", st.sampled_from([0.25, 4.0, 70.0])),
    step("change_rules", rule_sets(), SELDOM),
    step("press_and_resume"),
)


@settings(max_examples=200, deadline=None)
@given(rule_sets(), st.booleans(), st.sampled_from([1, 1, 2]), st.lists(STEPS, min_size=30, max_size=90))
def test_every_exchange_ends_once_and_well(
    rules: str, few: bool, endpoints: int, steps: list[tuple[Any, ...]]
) -> None:
    traffic = Traffic(rules, few, endpoints)
    try:
        for name, *arguments in steps:
            getattr(traffic, name)(*arguments)
            traffic.world.check()
        traffic.world.end()
    finally:
        traffic.world.close()
