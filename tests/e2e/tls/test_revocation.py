"""Clients that ask whether a certificate was revoked are told, and a rotated authority comes into force."""

import http.client
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.authority import Authority
from tests.support.process import free_port
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted
from tests.support.tls_clients import OK, TIMEOUT, Target, python_ssl, s_client
from tests.support.wait import eventually

HOST = "shop.example"


@pytest.fixture
def minting(tmp_path: Path) -> Iterator[Proxy]:
    """A proxy that mints, with leaves that say where to ask."""
    shop, port = Scripted(), free_port()
    web = {"name": "web", "address": "127.0.0.1:0", "tls": {"mode": "terminate"}}
    config = {
        "listeners": [{**web, "routes": [{"upstream": "shop"}]}],
        "upstreams": {"shop": {"address": shop.address}},
        "health": {"address": f"127.0.0.1:{port}"},
        "certs": {"dir": "certs", "url": f"http://127.0.0.1:{port}"},
    }
    made = Proxy(tmp_path, config=config)
    yield made
    made.stop()
    shop.close()


def where(proxy: Proxy) -> tuple[Target, Path]:
    """Say where the proxy is, and the file with its root."""
    return Target(int(proxy.address.rpartition(":")[2]), HOST), proxy.config.parent / "certs" / "root.pem"


def test_a_client_that_loads_the_list_sees_the_revocation(minting: Proxy) -> None:
    target, root = where(minting)
    look = ("-crl_check", "-crl_download")
    assert s_client(target, root, TIMEOUT, *look) == OK
    minting.put(rule("gone", {"tls": {"certificate": "revoked"}}))
    assert s_client(target, root, TIMEOUT, *look).code == "23 certificate revoked"
    minting.put()
    assert s_client(target, root, TIMEOUT, *look) == OK


def test_the_health_listener_has_the_root_and_no_keys(minting: Proxy) -> None:
    _, root = where(minting)
    for path, body in (("/root.pem", root.read_bytes()), ("/authority.pem", None)):
        connection = http.client.HTTPConnection(
            str(minting.process.wait_line(r"health (127\.0\.0\.1:\d+)")[1])
        )
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, answer.read() if body else None) == (200 if body else 404, body)
        connection.close()


def test_an_authority_that_was_rotated_comes_into_force(minting: Proxy) -> None:
    target, root = where(minting)
    before = root.with_name("before.pem")
    before.write_bytes(root.read_bytes())
    assert python_ssl(target, before) == OK
    Authority.create(root.parent, replace=True)
    os.kill(minting.process.pid, signal.SIGHUP)
    eventually(lambda: python_ssl(target, root) == OK, 20, "a leaf of the new authority")
    assert python_ssl(target, before).kind in ("unknown_issuer", "untrusted")
