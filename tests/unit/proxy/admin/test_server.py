"""Where the endpoint listens: on loopback, or else only with a token; and what the health listener lacks."""

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from proxy.admin.server import AdminError
from proxy.config import AdminConfig, HealthConfig
from tests.unit.proxy.admin.fake_proxy import Endpoint, FakeProxy, token_file

TOKEN = "kT9x0s7Qm2Vb8LrE5uYw3A"


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:9905", "no-such-name.invalid:1"])
async def test_open_to_others_only_with_a_token(address: str) -> None:
    made = Endpoint(FakeProxy(AdminConfig(address)))
    with pytest.raises(AdminError, match=r"set admin\.token_file"):
        await made.server.start()
    assert made.proxy.addresses == {}


async def test_open_to_others_with_a_token(tmp_path: Path) -> None:
    made = Endpoint(FakeProxy(AdminConfig("0.0.0.0:0", str(token_file(tmp_path, TOKEN)))))
    await made.server.start()
    assert (
        await made.call("GET", "/v1/rules", host="127.0.0.1", authorization=f"Bearer {TOKEN}")
    ).status == 200
    assert (
        await made.call("GET", "/v1/rules", host="0.0.0.0", authorization=f"Bearer {TOKEN}")
    ).status == 421
    await made.server.stop()


@pytest.mark.parametrize(
    ("text", "why"), [(None, "cannot be read"), ("", "no token"), ("short\n", "at least 22")]
)
async def test_a_bad_token_file_refuses_to_start(tmp_path: Path, text: str | None, why: str) -> None:
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)
    made = Endpoint(FakeProxy(AdminConfig("127.0.0.1:0", str(path))))
    with pytest.raises(AdminError, match=why):
        await made.server.start()


async def test_a_port_in_use_is_one_clear_line(endpoint: Endpoint) -> None:
    made = Endpoint(FakeProxy(AdminConfig(endpoint.address)))
    with pytest.raises(AdminError) as error:
        await made.server.start()
    assert str(error.value) == f"admin: cannot listen on {endpoint.address}: Address already in use"


async def test_a_unix_socket_is_for_its_user_only(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    made = Endpoint(FakeProxy(AdminConfig(f"unix:{path}")))
    await made.proxy.load()
    await made.server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (await made.call("POST", "/v1/stop")).status == 200
    assert made.proxy.log_lines("audit")[0]["who"] == f"uid {os.getuid()} pid {os.getpid()}"
    again = Endpoint(FakeProxy(AdminConfig(f"unix:{path}")))
    with pytest.raises(AdminError, match="in use"):
        await again.server.start()
    assert (await made.call("GET", "/healthz")).status == 200
    await made.server.stop()
    assert not path.exists()


async def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    made = Endpoint(FakeProxy(AdminConfig(f"unix:{path}")))
    await made.server.start()
    assert (await made.call("GET", "/healthz")).status == 200
    await made.server.stop()


async def test_a_head_that_does_not_come_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.admin.server.HEAD_TIME", 0.05)
    made = Endpoint(FakeProxy(AdminConfig("127.0.0.1:0")))
    await made.server.start()
    for begun in (b"", b"GET /healthz HTTP/1.1\r\nhost: loc"):
        reader, writer = await made.open()
        writer.write(begun)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
    await made.server.stop()


async def test_the_health_listener_has_nothing_else() -> None:
    made = Endpoint(FakeProxy(None, HealthConfig("127.0.0.1:0")))
    await made.proxy.load()
    await made.server.start()
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await made.call("GET", path, to="health", host="10.0.0.7:9906")).status == 200
    for method, path in (
        ("GET", "/v1/rules"),
        ("POST", "/v1/stop"),
        ("GET", "/v1/config"),
        ("GET", "/v1/events"),
    ):
        assert (await made.call(method, path, to="health", host="10.0.0.7:9906")).status == 404
    await made.server.stop()
