"""Whoever keeps a certificate goes on, whatever one look brings."""

import asyncio
import io
import os
from pathlib import Path

import pytest

from certs import generations
from proxy.injector.cluster import Cluster, Secret
from proxy.injector.identity import FileIdentity, KeptIdentity
from proxy.logs import Log
from proxy.metrics.injecting import InjectorCells

NAME = "injector.misrule.svc"


class Odd(Cluster):
    """An API server that answers once what no API server should."""

    def __init__(self) -> None:
        self.looks = 0
        self.trusted = asyncio.Event()

    async def secret(self, namespace: str, name: str) -> Secret:
        self.looks += 1
        if self.looks == 1:
            raise AttributeError("'list' object has no attribute 'get'")
        return Secret({}, "")

    async def put_secret(self, namespace: str, name: str, data: dict[str, str], version: str) -> None:
        assert (name, version) == ("store", "")

    async def trust(self, name: str, bundle: str) -> bool:
        self.trusted.set()
        return False


async def test_an_answer_of_no_known_form_is_told_and_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.injector.identity._AGAIN", 0.001)
    lines, api = io.StringIO(), Odd()
    log = Log("json", "error", "none", stream=lines)
    kept = KeptIdentity(api, "misrule", "injector", "store", "hook", log, InjectorCells())
    await kept.start()
    async with asyncio.timeout(30):
        await api.trusted.wait()
    while not kept.ready:
        await asyncio.sleep(0)
    await kept.close()
    log.close()
    assert "cannot keep the certificate: AttributeError: 'list' object" in lines.getvalue()


async def test_a_full_disk_leaves_the_old_certificate_and_the_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [generations.make(NAME, 1e9 + number) for number in range(3)]
    chain, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def write(one: generations.Generation) -> None:
        key.write_text(one.key)
        chain.write_text(one.chain)
        os.utime(chain, (one.made, one.made))  # a stamp of its own, however fast this goes

    def full(chain: bytes, key: bytes) -> None:
        raise OSError(28, "No space left on device")

    write(made[0])
    lines = io.StringIO()
    log = Log("json", "error", "none", stream=lines)
    identity = FileIdentity(chain, key, log, InjectorCells())
    await identity.start()
    shown = identity._shown.current
    with monkeypatch.context() as patch:
        patch.setattr("proxy.injector.identity.contexts.server_context", full)
        write(made[1])
        identity._again()
    assert identity._shown.current is shown
    write(made[2])
    identity._again()
    assert identity._shown.current is not shown
    await identity.close()
    log.close()
    assert "the old certificate stays: [Errno 28] No space left on device" in lines.getvalue()
