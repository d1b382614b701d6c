"""The demo: what it shows is what its client saw, and it fails when a step did not show what it should."""

import asyncio
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.demo import change, proof, story
from proxy.cli.demo.change import judge
from proxy.cli.demo.client import Client, Saw
from proxy.cli.demo.proof import Proof
from proxy.cli.demo.stage import Interrupted, Stage
from proxy.cli.demo.story import EDITED, NEW, OLD, RULES, STEPS, Step, check_step
from proxy.cli.demo.tour import Tour
from proxy.cli.demo.upstream import BIG, PAGES, Upstream
from rules.parse import parse_rules
from tests.support.need import need

DEMO = [sys.executable, "-m", "proxy", "demo"]


# ---- the whole of it, as a user runs it


AT_LEAST_200 = r"(?:[2-9]\d\d|\d{4,})"


def test_the_demo_plays_and_ends_where_no_person_is() -> None:
    found = subprocess.run(
        DEMO, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    assert (found.returncode, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert sum(line.endswith("  ok") for line in lines) == len(STEPS)
    for words in (
        rf"delay 200ms +GET /hello +200 in \d+\.\d ms, 24 bytes +200 in {AT_LEAST_200}\.\d ms, 24 bytes",
        r"reset after 256 KiB .*1048576 bytes +200, then connection reset \(ECONNRESET\) after 262144 bytes",
        r"close after 1 KiB .* 200, then early end after 1024 bytes",
        rf"header  x-misrule: rule=slow-hello; fault=delay; ms={AT_LEAST_200}; version=\d+",
        r'log     \{.*"rule":"slow-hello"',
        r'metric  misrule_injections_total\{.*rule="items-flaky".*\} \d+',
        r"first answer by the new rules \d+ ms after the file was replaced",
    ):
        assert re.search(words, found.stdout), words
    assert "WRONG" not in found.stdout
    assert "It keeps serving" not in found.stdout


def test_machines_get_the_same_as_json() -> None:
    found = subprocess.run([*DEMO, "--json"], capture_output=True, text=True, timeout=60, check=True)
    tour = json.loads(found.stdout)
    assert tour["ok"]
    assert [step["fault"] for step in tour["steps"]] == [step.fault for step in STEPS]
    assert tour["change"]["answers"]["old"] >= change.STEADY
    assert tour["change"]["answers"]["new"] >= change.STEADY
    assert tour["proof"]["header"].startswith("rule=slow-hello; ")


class Person:
    """Somebody at a terminal who runs the demo."""

    def __init__(self) -> None:
        self.seen = ""
        self._screen, terminal = pty.openpty()
        env = {**os.environ, "COLUMNS": "150", "TERM": "xterm", "NO_COLOR": "1"}
        self._child = subprocess.Popen(
            DEMO, stdin=terminal, stdout=terminal, stderr=terminal, env=env, start_new_session=True
        )
        os.close(terminal)

    def read_until(self, words: str) -> None:
        """Read until these words are on the screen."""
        deadline = time.monotonic() + 60
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self._screen], [], [], 1)[0]:
                self.seen += os.read(self._screen, 65536).decode().replace("\r", "")

    def interrupt(self) -> int:
        """Do as Ctrl-C does, and give the exit status."""
        self._child.send_signal(signal.SIGINT)
        return self._child.wait(20)

    def leave(self) -> None:
        """Close the terminal; nothing is left behind."""
        self._child.kill()
        self._child.wait(20)
        os.close(self._screen)


@pytest.fixture
def person() -> Iterator[Person]:
    """Somebody at a terminal."""
    somebody = Person()
    yield somebody
    somebody.leave()


def test_for_a_person_it_keeps_serving_and_its_hints_work(person: Person) -> None:
    need("curl")
    person.read_until("misrule.log\n")
    home = re.search(r"/\S*misrule-demo-\w+", person.seen)
    assert home is not None
    hints = re.findall(
        r"^  (curl .*|sed .*|\S+ -m proxy .*|\S*misrule .*)$", person.seen.split("keeps serving")[1], re.M
    )
    assert len(hints) == 9
    codes = {}
    for hint in hints:
        found = subprocess.run(hint, shell=True, capture_output=True, text=True, timeout=20, check=False)
        codes[hint.split("#")[0].strip()] = found.returncode
    assert [code for hint, code in codes.items() if "/big" not in hint] == [0] * 8
    assert next(code for hint, code in codes.items() if "/big" in hint) == 56  # curl: failure in receiving
    assert person.interrupt() == 0
    assert not Path(home[0]).exists()


def test_it_can_be_interrupted_in_the_middle(person: Person) -> None:
    person.read_until("first without any rule")
    assert person.interrupt() == 130


def test_taken_ports_are_no_obstacle() -> None:
    taken = []
    try:
        for port in (8080, 9905):
            sock = socket.socket()
            taken.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
                sock.listen()
            except OSError:
                continue  # somebody else has it, which serves as well
        assert subprocess.run([*DEMO, "--once"], capture_output=True, timeout=60, check=False).returncode == 0
    finally:
        for sock in taken:
            sock.close()


# ---- the parts, with what a client might see


def test_the_rules_and_their_edit_are_valid_and_the_steps_name_them() -> None:
    names = [rule.name for rule in parse_rules(RULES.encode(), "demo")]
    assert names == [step.rule for step in STEPS]
    before, after = parse_rules(RULES.encode(), "demo"), parse_rules(EDITED.encode(), "demo")
    assert [old.name for old, new in zip(before, after, strict=True) if old.written != new.written] == [
        "orders-down"
    ]


def step_of(rule: str) -> Step:
    """The step that shows a rule."""
    return next(step for step in STEPS if step.rule == rule)


FINE = Saw(0.001, 200, {}, b"body" * 100_000)


def hit(rule: str, status: int, **more: Any) -> Saw:
    """An answer that a rule made."""
    headers = {"x-misrule": f"rule={rule}; fault=abort; ms=0; version=2"}
    return replace(Saw(0.001, status, headers), **more)


def draws(count: int) -> list[Saw]:
    """A thousand answers, so many of them hit."""
    return [hit("items-flaky", 503)] * count + [FINE] * (story.DRAWS - count)


def visits(*users: set[int]) -> list[Saw]:
    """Answers to each user at each visit; those hit at each visit are given."""
    return [
        hit("cart-for-some", 500) if user in hits else FINE for hits in users for user in range(story.USERS)
    ]


ORDERS = hit("orders-down", 503, body=b'{"error": "orders are down"}')
ORDERS.headers["retry-after"] = "1"
CUT = FINE.body[: story.RESET_AFTER]

SHOWN: list[tuple[str, list[Saw]]] = [
    ("slow-hello", [replace(FINE, seconds=0.2)]),
    ("orders-down", [ORDERS]),
    ("big-breaks", [replace(FINE, trouble="reset", body=CUT)]),
    ("report-ends-early", [replace(FINE, trouble="early end", body=FINE.body[: story.CLOSE_AFTER])]),
    ("inventory-hangs", [Saw(0.5, trouble="time-out")]),
    ("items-flaky", draws(100)),
    ("items-flaky", draws(53)),
    ("gold-only", [hit("gold-only", 429), FINE, FINE]),
    ("cart-for-some", visits(*[{1, 2}] * story.VISITS)),
]
NOT_SHOWN: list[tuple[str, list[Saw], str]] = [
    ("slow-hello", [replace(FINE, seconds=0.199)], "shorter than asked"),
    ("slow-hello", [replace(FINE, seconds=0.9)], "much longer than asked"),
    ("slow-hello", [replace(FINE, seconds=0.2, body=b"")], "the answer itself changed"),
    ("orders-down", [FINE], "wanted a whole 503"),
    ("orders-down", [replace(ORDERS, body=b"")], "header or body is missing"),
    ("orders-down", [replace(ORDERS, headers={"retry-after": "1"})], "no x-misrule header"),
    ("big-breaks", [FINE], "wanted 200, then reset"),
    ("big-breaks", [replace(FINE, trouble="early end", body=CUT)], "wanted 200, then reset"),
    ("big-breaks", [replace(FINE, trouble="reset", body=CUT[:-1])], "wanted exactly the first 262144 bytes"),
    ("inventory-hangs", [FINE], "wanted silence"),
    ("inventory-hangs", [Saw(0.5, 200, trouble="time-out")], "wanted silence"),
    ("items-flaky", draws(52), "wanted 100 ± 47, saw 52"),
    ("items-flaky", draws(148), "wanted 100 ± 47, saw 148"),
    ("items-flaky", [*draws(100)[1:], Saw(0.1, trouble="reset")], "neither whole nor the fault"),
    ("gold-only", [hit("gold-only", 429), hit("gold-only", 429), FINE], "wanted 429 for gold only"),
    ("gold-only", [FINE, FINE, FINE], "wanted 429 for gold only"),
    ("cart-for-some", visits(*[{1}] * (story.VISITS - 1), {2}), "verdict changed"),
    ("cart-for-some", visits(*[set[int]()] * story.VISITS), "0 of 40 users were hit"),
]


def without(seen: list[Saw]) -> list[Saw]:
    """As many healthy answers."""
    return [FINE] * len(seen)


@pytest.mark.parametrize(("rule", "seen"), SHOWN)
def test_a_step_that_shows_what_it_should_is_right(rule: str, seen: list[Saw]) -> None:
    assert check_step(step_of(rule), without(seen), seen) == ""


@pytest.mark.parametrize(("rule", "seen", "words"), NOT_SHOWN)
def test_a_step_that_does_not_is_wrong(rule: str, seen: list[Saw], words: str) -> None:
    assert words in check_step(step_of(rule), without(seen), seen)


@pytest.mark.parametrize(
    "ill", [replace(FINE, status=502), replace(FINE, trouble="reset"), hit("slow-hello", 200)]
)
def test_a_step_is_wrong_if_the_request_fails_without_the_rule(ill: Saw) -> None:
    assert check_step(step_of("slow-hello"), [ill], [replace(FINE, seconds=0.2)]).startswith(
        "without the rule: "
    )


@pytest.mark.parametrize(
    ("callers", "wrong"),
    [
        ([[(OLD, 1.0), (NEW, 3.0)], [(OLD, 2.5), (NEW, 2.75)]], ""),
        ([[(OLD, 1.0), (NEW, 3.0), (OLD, 4.0)]], "a client saw the old rules after the new ones"),
        ([[(OLD, 1.0), ("reset", 2.0), (NEW, 3.0)]], "clients saw {'reset': 1} beside 503 and 429"),
    ],
)
def test_a_change_is_judged_by_what_clients_saw(callers: list[list[tuple[str, float]]], wrong: str) -> None:
    assert judge(callers, 2.0).wrong == wrong


def test_the_time_of_a_change_is_that_of_the_answers() -> None:
    found = judge([[(OLD, 1.0), (NEW, 3.0)], [(OLD, 2.5), (NEW, 2.75)]], 2.0)
    assert (found.first_new, found.last_old, found.answers) == (0.75, 0.5, Counter({OLD: 2, NEW: 2}))


HEADER = "rule=slow-hello; fault=delay; ms=201; version=4"
LINE = '{"rule":"slow-hello","fault":"delay","version":4}'
METRIC = 'misrule_injections_total{rule="items-flaky"} 97.0'


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Proof(HEADER, LINE, METRIC), ""),
        (Proof("", LINE, METRIC), "no x-misrule header"),
        (Proof(HEADER.replace("slow", "fast"), LINE, METRIC), "the header points elsewhere"),
        (Proof(HEADER.replace("version=4", "version=3"), LINE, METRIC), "the header points elsewhere"),
        (Proof(HEADER.replace("201", "199"), LINE, METRIC), "less than was asked"),
        (Proof(HEADER, "", METRIC), "no log line"),
        (Proof(HEADER, LINE.replace("4", "5"), METRIC), "no log line"),
        (Proof(HEADER, LINE, ""), "the metric says nothing, the client saw 97"),
        (Proof(HEADER, LINE, METRIC.replace("97", "98")), "the metric says 98.0, the client saw 97"),
    ],
)
def test_proof_must_agree_with_itself_and_with_the_client(found: Proof, words: str) -> None:
    wrong = proof._check(found, 4, 97)
    assert wrong == "" if not words else words in wrong


def test_a_tour_with_one_wrong_step_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.cli.demo.tour.STEPS", (replace(STEPS[0], look=lambda _: [FINE]),))
    monkeypatch.setattr(Stage, "put_in_force", lambda *_: 1)
    tour = Tour(Stage("", "", "", ""), lambda _: None)
    tour.compare()
    tour.change.wrong = tour.proof.wrong = ""
    assert tour.wrong == ["delay 200ms: shorter than asked: 1.0 ms"]
    assert not tour.plain()["ok"]


# ---- the client and the upstream


class Peer(threading.Thread):
    """A server that answers one request with these bytes, and then does as told."""

    def __init__(self, answer: bytes, reset: bool = False, wait: bool = False) -> None:
        super().__init__(daemon=True)
        self._answer, self._reset = answer, reset
        self._wait = wait
        self.done = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.start()

    def run(self) -> None:
        """Serve once."""
        with self._socket, self._socket.accept()[0] as peer:
            peer.recv(65536)
            peer.sendall(self._answer)
            if self._wait or self._reset:
                self.done.wait(5)
            if self._reset:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\nX-A: 1\r\nx-a: 2\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "more", "status", "body", "trouble", "words"),
    [
        (HEAD + b"0123456789", {}, 200, b"0123456789", "", "200 in "),
        (HEAD + b"0123", {}, 200, b"0123", "early end", "200, then early end after 4 bytes"),
        (HEAD + b"0123", {"wait": True}, 200, b"0123", "time-out", "200, then nothing, gave up after "),
        (b"", {}, 0, b"", "early end", "early end after 0 bytes"),
        (b"", {"wait": True}, 0, b"", "time-out", "nothing, gave up after "),
    ],
)
def test_the_client_is_exact_about_what_it_saw(
    answer: bytes, more: dict[str, bool], status: int, body: bytes, trouble: str, words: str
) -> None:
    peer = Peer(answer, **more)
    client = Client(peer.address, 0.2)
    saw = client.request("GET", "/")
    client.close()
    peer.done.set()
    peer.join(5)
    assert (saw.status, saw.body, saw.trouble) == (status, body, trouble)
    assert saw.headers == ({"content-length": "10", "x-a": "1, 2"} if status else {})
    assert str(saw).startswith(words)


def test_the_client_tells_a_reset_from_an_end() -> None:
    peer = Peer(HEAD, reset=True)
    client = Client(peer.address, 5.0)
    threading.Timer(0.05, peer.done.set).start()
    saw = client.request("GET", "/")
    assert (saw.status, saw.trouble) == (200, "reset")
    assert str(saw) == "200, then connection reset (ECONNRESET) after 0 bytes"


def test_the_client_tells_that_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        saw = Client(f"127.0.0.1:{taken.getsockname()[1]}").request("GET", "/")
    assert saw.trouble == "refused"


def test_a_stage_that_is_stopping_plays_no_further() -> None:
    stage = Stage("127.0.0.1:1", "", "", "")
    stage.stopping.set()
    with pytest.raises(Interrupted):
        stage.client()


async def ask(address: str, *requests: tuple[str, str, bytes | None]) -> list[Saw]:
    """Send requests over one connection, from a thread."""

    def talk() -> list[Saw]:
        client = Client(address, 5.0)
        seen = [client.request(method, path, {"x-a": "1"}, body) for method, path, body in requests]
        client.close()
        return seen

    return await asyncio.to_thread(talk)


async def test_the_upstream_serves_its_pages_and_keeps_the_connection() -> None:
    upstream = Upstream()
    await upstream.start()
    pages = list(PAGES)
    seen = await ask(upstream.address, *(("GET", page, None) for page in pages))
    assert [(saw.status, saw.body) for saw in seen] == [(200, content) for _, content in PAGES.values()]
    assert upstream.requests == len(pages)
    assert len(BIG) == 1 << 20
    head, missing = await ask(upstream.address, ("HEAD", "/big", None), ("GET", "/none", None))
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "1048576")
    assert (missing.status, b"/hello" in missing.body) == (404, True)
    await upstream.stop()


async def test_the_upstream_echoes_what_it_was_sent() -> None:
    upstream = Upstream()
    await upstream.start()
    (saw,) = await ask(upstream.address, ("POST", "/echo?x=1", b"content"))
    echo = json.loads(saw.body)
    assert (echo["method"], echo["target"], echo["body"], echo["headers"]["x-a"]) == (
        "POST",
        "/echo?x=1",
        "content",
        "1",
    )
    reader, writer = await asyncio.open_connection(*upstream.address.split(":"))
    writer.write(
        b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        b"4;x=y\r\nwith\r\n3\r\nout\r\n0\r\nt: 1\r\n\r\n"
    )
    answer = await reader.read()
    assert b'"body": "without"' in answer
    assert b"connection: close" in answer
    writer.close()
    await upstream.stop()


async def test_the_upstream_closes_on_nonsense() -> None:
    upstream = Upstream()
    await upstream.start()
    reader, writer = await asyncio.open_connection(*upstream.address.split(":"))
    writer.write(b"nonsense\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    await upstream.stop()
