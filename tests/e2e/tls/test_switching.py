"""Flavours that change all the time: each handshake shows what was in force when its ClientHello came."""

import os
import random
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field

from cryptography import x509

from tests.e2e.conftest import Launch
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted
from tests.support.wait import eventually, pause

NAMES = 1_000
RELOADS = 20  # a second
SECONDS = 3.0
CLIENTS = 3
FLAVOURS = ("", "expired", "self_signed")


@dataclass
class Change:
    """One change of the rules: when it was begun, and when it was in force for sure."""

    flavour: str
    begun: float
    done: float = float("inf")


@dataclass
class History:
    changes: list[Change] = field(default_factory=lambda: [Change("", 0.0, 0.0)])
    wrong: list[str] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    resumed: int = 0

    def allowed(self, begin: float, end: float) -> set[str]:
        """Give what may have been in force at some time between: at worst one more than there was."""
        changes = list(self.changes)
        settled = [number for number, one in enumerate(changes) if one.done <= begin]
        return {one.flavour for one in changes[settled[-1] :] if one.begun <= end}


def flavour_of(der: bytes) -> str:
    """Tell by the certificate itself which flavour it is."""
    shown = x509.load_der_x509_certificate(der)
    if shown.not_valid_after_utc.timestamp() < time.time():
        return "expired"
    return "self_signed" if shown.issuer == shown.subject else ""


def change_rules(proxy: Proxy, history: History, until: float) -> None:
    for number in range(int(SECONDS * RELOADS) * 2):
        if time.monotonic() > until:
            break
        flavour = FLAVOURS[(number + 1) % len(FLAVOURS)]
        made = Change(flavour, time.monotonic())
        history.changes.append(made)
        proxy.put(
            *([rule("sick", {"tls": flavour}, match={"sni": {"suffix": ".example"}})] if flavour else [])
        )
        made.done = time.monotonic()
        pause(max(0.0, 1 / RELOADS - (made.done - made.begun)))


def shake_hands(address: str, history: History, seed: int, until: float) -> None:
    """Go through handshakes, every other one with what a sound one under that name left."""
    chosen = random.Random(seed)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # where the session is there with the handshake
    kept: dict[str, ssl.SSLSession] = {}
    host, _, port = address.rpartition(":")
    while time.monotonic() < until:
        name = f"n{chosen.randrange(NAMES)}.example"
        if kept and chosen.random() < 0.5:
            name = chosen.choice(list(kept))
        begin = time.monotonic()
        with (
            socket.create_connection((host, int(port)), 10) as raw,
            context.wrap_socket(raw, server_hostname=name, session=kept.get(name)) as side,
        ):
            end = time.monotonic()
            der = side.getpeercert(True)
            assert der is not None
            met = "" if side.session_reused else flavour_of(der)
            history.resumed += bool(side.session_reused)
            if not met and side.session is not None:
                kept[name] = side.session
        history.seen[met] = history.seen.get(met, 0) + 1
        if met not in history.allowed(begin, end):
            history.wrong.append(f"{name}: {met or 'sound'}, resumed: {side.session_reused}")


def descriptors(proxy: Proxy) -> int:
    return len(os.listdir(f"/proc/{proxy.process.pid}/fd"))


def test_no_certificate_is_from_before_or_after(launch: Launch, shop: Scripted) -> None:
    proxy = launch(shop.address, listener={"tls": {"mode": "terminate"}})
    history = History()
    shake_hands(proxy.address, history, 0, time.monotonic() + 0.3)
    before = descriptors(proxy)
    until = time.monotonic() + SECONDS
    threads = [threading.Thread(target=change_rules, args=(proxy, history, until))]
    for number in range(CLIENTS):
        threads.append(threading.Thread(target=shake_hands, args=(proxy.address, history, number + 1, until)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert history.wrong == []
    assert set(history.seen) == set(FLAVOURS), history.seen
    assert history.resumed > 0
    assert len(history.changes) > 10
    eventually(lambda: descriptors(proxy) <= before + 2, 20.0, "descriptors that are given back")
