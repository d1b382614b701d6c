"""Names by the hundred, flavours that change 20 times a second: no client meets a certificate of the past."""

import random
import socket
import ssl
import threading
import time
from datetime import UTC, datetime

from cryptography import x509

from tests.e2e.conftest import Launch
from tests.e2e.tls.conftest import listener
from tests.support.proxy import Proxy, Rule
from tests.support.scripted import Scripted
from tests.support.wait import pause

NAMES = 200
SECONDS = 5.0
DIGITS = ("[02468]", "[13579]")


def rule(turn: int) -> Rule:
    """Let the names of this turn have expired certificates: the even ones, or the odd ones."""
    match = {"sni": {"regex": f"^n[0-9]*{DIGITS[turn % 2]}[.]example$"}}
    return {"name": "turns", "match": match, "faults": [{"tls": "expired"}]}


class Switch(threading.Thread):
    """Changes the rules; ``begun`` and ``done`` are the turns that were asked for and are in force."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self.proxy = proxy
        self.begun = self.done = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            self.begun += 1
            self.proxy.put(rule(self.begun))
            self.done = self.begun
            self.stopped.wait(0.05)

    def turn(self) -> int:
        """Give the turn that is surely in force; 0: there is none right now."""
        begun = self.begun
        return begun if begun == self.done else 0


class Client(threading.Thread):
    """Connects to one name after the other, with what sessions it has."""

    def __init__(self, port: int, switch: Switch, seed: int, newest: ssl.TLSVersion) -> None:
        super().__init__()
        self.port = port
        self.switch = switch
        self.dice = random.Random(seed)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.context.maximum_version = newest
        self.sessions: dict[int, ssl.SSLSession | None] = {}
        self.sure = self.resumed = 0
        self.wrong: list[str] = []
        self.trouble: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.switch.stopped.is_set():
                self.call(self.dice.randrange(NAMES))
        except (OSError, ValueError) as trouble:
            self.trouble = trouble

    def call(self, number: int) -> None:
        before = self.switch.turn()
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock,
            self.context.wrap_socket(
                sock, server_hostname=f"n{number}.example", session=self.sessions.get(number)
            ) as tls,
        ):
            after = self.switch.turn()
            shown = tls.getpeercert(True) or b""
            tls.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            while tls.recv(65536):
                pass
            self.resumed += bool(tls.session_reused)
            self.sessions[number] = tls.session
        if before and before == after:
            self.sure += 1
            expired = x509.load_der_x509_certificate(shown).not_valid_after_utc < datetime.now(UTC)
            if expired != (number % 2 == before % 2):
                self.wrong.append(f"n{number} in turn {before}, resumed: {tls.session_reused}")


def test_no_certificate_of_the_past(launch: Launch, shop: Scripted) -> None:
    proxy = launch(
        config={
            "listeners": [listener("web", "app", {})],
            "upstreams": {"app": {"address": shop.address}},
        }
    )
    port = int(proxy.address.rpartition(":")[2])
    switch = Switch(proxy)
    versions = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    clients = [Client(port, switch, seed, versions[seed % 2]) for seed in range(4)]
    switch.start()
    for client in clients:
        client.start()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or sum(client.sure for client in clients) < 50:
        assert time.monotonic() < end + 60
        pause(0.1)
    switch.stopped.set()
    for thread in (switch, *clients):
        thread.join(30)
    assert [client.trouble for client in clients] == [None] * len(clients)
    assert [wrong for client in clients for wrong in client.wrong] == []
    assert sum(client.resumed for client in clients) > 0
    assert proxy.process.files() < 100
