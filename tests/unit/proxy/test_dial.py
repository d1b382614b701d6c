"""Why a connection could not be opened, told apart."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest

from proxy import errors
from proxy.errors import Failure
from proxy.net import dial
from proxy.net.pool import Endpoint
from tests.support.fakes import Stage


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), errors.CONNECT_REFUSED),
        (FileNotFoundError(errno.ENOENT, "no such socket"), errors.CONNECT_REFUSED),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed, refused"), errors.CONNECT_REFUSED),
        (TimeoutError(), errors.CONNECT_TIMEOUT),
        (OSError(errno.ETIMEDOUT, "timed out"), errors.CONNECT_TIMEOUT),
        (socket.gaierror(socket.EAI_NONAME, "unknown name"), errors.DNS_ERROR),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), errors.DNS_ERROR),
        (UnicodeError("label empty or too long"), errors.DNS_ERROR),
        (OSError(errno.ENETUNREACH, "no network"), errors.CONNECT_UNREACHABLE),
        (OSError(errno.EHOSTUNREACH, "no host"), errors.CONNECT_UNREACHABLE),
        (OSError(errno.EADDRNOTAVAIL, "no port"), errors.CONNECT_UNREACHABLE),
        (PermissionError(errno.EACCES, "not allowed"), errors.CONNECT_UNREACHABLE),
        (ConnectionResetError(errno.ECONNRESET, "reset"), errors.UPSTREAM_RESET),
        (OSError(errno.EIO, "something else"), errors.UPSTREAM_RESET),
    ],
)
def test_each_error_has_its_failure(error: BaseException, failure: Failure) -> None:
    assert dial.failure_of(error) is failure


class Loop:
    """Keeps what it was asked for."""

    def __init__(self, hangs: bool = False) -> None:
        self.asked: list[Any] = []
        self.hangs = hangs

    async def create_connection(self, factory: Callable[[], Any], host: str, port: int) -> tuple[Any, Any]:
        protocol = factory()
        self.asked += [protocol, host, port]
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        return None, protocol

    async def create_unix_connection(self, factory: Callable[[], Any], path: str) -> tuple[Any, Any]:
        protocol = factory()
        self.asked += [protocol, path]
        return None, protocol


async def test_it_connects_the_protocol_that_it_was_given() -> None:
    loop, protocol = Loop(), object()
    await dial.reach(loop, protocol, Endpoint(0, "::1", 81, "", 1), 5.0)  # type: ignore[arg-type]
    await dial.reach(loop, protocol, Endpoint(0, "", 0, "/run/app", 1), 5.0)  # type: ignore[arg-type]
    assert loop.asked == [protocol, "::1", 81, protocol, "/run/app"]


async def test_its_patience_ends() -> None:
    with pytest.raises(TimeoutError):
        await dial.reach(Loop(hangs=True), None, Endpoint(0, "a", 1, "", 1), 0.0)  # type: ignore[arg-type]


async def test_a_name_that_idna_cannot_write_fails_its_request_alone() -> None:
    stage = Stage()
    stage.loop.refuse = UnicodeError("encoding with 'idna' codec failed (label too long)")
    client = stage.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    await stage.turn()
    assert b"proxy-status: misrule; error=dns_error\r\n" in client.taken()
    assert (stage.upstream.open, stage.worker.cells.route("web", "app").active) == (0, 0)
