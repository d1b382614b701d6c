"""The injector as a cluster has it: called over TLS, with the bundle that it has given to API servers."""

import asyncio
import base64
import io
import json
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from certs import generations
from proxy.injector.cluster import Cluster, ClusterError, Conflict
from proxy.injector.identity import KEY, FileIdentity, KeptIdentity
from proxy.injector.server import InjectorServer
from proxy.injector.settings import Settings
from proxy.logs import Log
from proxy.metrics.injecting import InjectorCells
from tests.support import kubernetes
from tests.support.cluster import FakeCluster
from tests.support.process import Process

NAME = "misrule-injector.misrule.svc"
LIFE = 3600.0
SETTLING = generations.settling(LIFE)
POD = {
    "metadata": {"generateName": "shop-", "annotations": {"misrule.dev/ports": "8080:3000"}},
    "spec": {"containers": [{"name": "shop", "image": "shop:1"}]},
}
REVIEW = json.dumps(kubernetes.review(POD)).encode()
JSON = {"Content-Type": "application/json"}


class Silent:
    """Nobody reads the log."""

    def write(self, text: str) -> None:
        pass

    def fileno(self) -> int:
        raise OSError


class Clock:
    """Seconds of the epoch, which the test moves on."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Replica:
    """One injector, in this process, that looks when it is told to."""

    def __init__(self, cluster: FakeCluster, clock: Clock) -> None:
        self.api = Cluster(cluster.address, cluster.account)
        self.log = Log("text", "error", "none", stream=Silent())
        self.cells = InjectorCells()
        self.identity = KeptIdentity(
            self.api, "misrule", "misrule-injector", "misrule-injector", "misrule-injector",
            self.log, self.cells, LIFE, clock,
        )  # fmt: skip
        self.server = InjectorServer(self.identity, Settings(), self.log, self.cells)

    async def start(self) -> None:
        await self.server.start("127.0.0.1:0")

    async def stop(self) -> None:
        await self.server.stop()
        await self.identity.close()
        await self.api.close()
        self.log.close()

    @property
    def url(self) -> str:
        return f"https://{self.server.address}"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[FakeCluster]:
    fake = FakeCluster(tmp_path / "account")
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def replicas(cluster: FakeCluster) -> AsyncIterator[tuple[Clock, Replica, Replica]]:
    clock = Clock()
    both = (Replica(cluster, clock), Replica(cluster, clock))
    for replica in both:
        await replica.start()
    yield clock, *both
    for replica in both:
        await replica.stop()


async def ask(url: str, bundle: str) -> Any:
    """Send a review on a new connection, as an API server does, which trusts the bundle and nothing else."""
    async with aiohttp.ClientSession() as session:
        return await send(url, ssl.create_default_context(cadata=bundle), session)


async def send(url: str, trusting: ssl.SSLContext, session: aiohttp.ClientSession) -> Any:
    """Send a review; the session's connection is used again where the context is the same."""
    async with session.post(
        f"{url}/mutate", data=REVIEW, ssl=trusting, server_hostname=NAME, headers=JSON
    ) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


# --- a process of its own, as the image runs it


@pytest.mark.parametrize(("minor", "kind"), [("28", "containers"), ("31+", "initContainers")])
async def test_a_cluster_calls_it(cluster: FakeCluster, minor: str, kind: str) -> None:
    """From nothing: it makes its certificate, is trusted, and injects as this Kubernetes can."""
    cluster.minor = minor
    command = [sys.executable, "-m", "proxy", "injector", "--listen", "127.0.0.1:0", "--log-format", "text"]
    process = Process(command, cluster.environment)
    try:
        ready = await asyncio.to_thread(process.wait_line, r"misrule injector: (https) ([\d.:]+)")
        await until(lambda: all(cluster.bundles()))
        answer = await ask(f"https://{ready[2]}", cluster.bundle)
        pod = kubernetes.patched(POD, answer)
        assert pod["spec"][kind][0]["name"] == "misrule"
        for version in (kubernetes.versions()[0], kubernetes.versions()[-1]):
            kubernetes.check_pods([pod], version)
        async with aiohttp.ClientSession() as session:
            # A kubelet's probe: no name, no verification.
            async with session.get(f"https://{ready[2]}/readyz", ssl=False) as answer:
                assert (answer.status, await answer.text()) == (200, "ready\n")
            async with session.get(f"https://{ready[2]}/metrics", ssl=False) as answer:
                assert 'misrule_injector_reviews_total{result="injected"} 1.0' in await answer.text()
        process.signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait_line, "misrule injector stops")
    finally:
        await asyncio.to_thread(process.stop)  # a second signal
    assert process.status == 0
    assert not [line for line in process.log if "Traceback" in line]


async def test_it_waits_for_a_cluster_that_does_not_let_it(cluster: FakeCluster) -> None:
    """Its permissions may come after it: until then it says why it is not ready, then goes on by itself."""
    cluster.refuse["POST /api/v1/namespaces/misrule/secrets"] = 403
    command = [sys.executable, "-m", "proxy", "injector", "--listen", "127.0.0.1:0", "--log-format", "text"]
    process = Process(command, cluster.environment)
    try:
        ready = await asyncio.to_thread(process.wait_line, r"misrule injector: (https) ([\d.:]+)")
        said = (
            r"cannot keep the certificate: POST .*/secrets: 403: refused by the test; the service account may"
        )
        await asyncio.to_thread(process.wait_line, said)
        cluster.refuse.clear()
        await until(lambda: all(cluster.bundles()))
        await ask(f"https://{ready[2]}", cluster.bundle)
        process.signal(signal.SIGTERM)
    finally:
        await asyncio.to_thread(process.stop)  # a second signal


async def test_outside_of_a_cluster_it_says_what_to_give() -> None:
    environment = {"KUBERNETES_SERVICE_HOST": ""}
    process = Process([sys.executable, "-m", "proxy", "injector", "--listen", "127.0.0.1:0"], environment)
    try:
        await asyncio.to_thread(
            process.wait_line, r"this is no pod of a cluster: give --certificate and --key, or run it there"
        )
    finally:
        await asyncio.to_thread(process.stop)


# --- what is no review

GOOD = kubernetes.review(POD)


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "says"),
    [
        ("GET", "/mutate", {}, b"", 405, "by POST"),
        ("POST", "/", JSON, REVIEW, 404, "POST /mutate"),
        ("POST", "/metrics", JSON, REVIEW, 405, "POST /mutate"),
        ("GET", "/other", {}, b"", 404, "there is no /other"),
        ("POST", "/mutate", {"Content-Type": "text/plain"}, REVIEW, 415, "not text/plain"),
        ("POST", "/mutate", JSON, b"", 400, "no JSON"),
        ("POST", "/mutate", JSON, b"{", 400, "no JSON"),
        ("POST", "/mutate", JSON, b"[1]", 400, "Expected `object`"),
        ("POST", "/mutate", JSON, b"\xff{}", 400, "no JSON"),
        ("POST", "/mutate", JSON, b'{"request": {"uid": "u", "object": ' + b"[" * 100_000, 400, "no JSON"),
        ("POST", "/mutate", JSON, b"{}", 400, "no apiVersion, no kind"),
        ("POST", "/mutate", JSON, json.dumps({**GOOD, "apiVersion": "v1beta1"}).encode(), 400, "v1beta1"),
        ("POST", "/mutate", JSON, json.dumps({**GOOD, "request": None}).encode(), 400, "has no request"),
        ("POST", "/mutate", JSON, json.dumps({**GOOD, "request": {}}).encode(), 400, "`uid`"),
        ("POST", "/mutate", JSON, json.dumps({**GOOD, "request": {"uid": ""}}).encode(), 400, "uid is empty"),
        ("POST", "/mutate", JSON, json.dumps({**GOOD, "request": {"uid": 5}}).encode(), 400, "request.uid"),
        ("POST", "/mutate", JSON, b" " * ((8 << 20) + 1), 413, "at most 8 MiB"),
    ],
)  # fmt: skip
async def test_what_is_no_review_is_refused_with_a_reason(
    listening: str, method: str, path: str, headers: dict[str, str], body: bytes, status: int, says: str
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, listening + path, data=io.BytesIO(body), headers=headers, ssl=False
        ) as answer,
    ):
        text = await answer.text()
    assert (answer.status, says in text) == (status, True), text


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"kind": {"group": "apps", "version": "v1", "kind": "Deployment"}}, "its webhook is for pods"),
        ({"subResource": "ephemeralcontainers"}, "its webhook is for pods"),
        ({"operation": "UPDATE"}, ""),
        ({"operation": "DELETE", "object": None}, ""),
        ({"object": None}, "misrule left this pod as it is"),
        ({"object": {"spec": {"containers": "many"}}}, "$.spec.containers"),
        ({"object": {"metadata": {"annotations": {"a": 1}}, "spec": {}}}, "$.metadata.annotations"),
    ],
)
async def test_what_is_no_pod_of_ours_is_allowed_as_it_is(
    listening: str, request_: dict[str, Any], says: str
) -> None:
    body = json.dumps(kubernetes.review(POD, **request_)).encode()
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{listening}/mutate", data=body, headers=JSON, ssl=False) as answer,
    ):
        response = (await answer.json())["response"]
    assert response["allowed"] is True
    assert "patch" not in response
    assert says in "; ".join(response.get("warnings", [])), response


@pytest.fixture
async def listening(replicas: tuple[Clock, Replica, Replica]) -> str:
    _, replica, _ = replicas
    await replica.identity.look()
    return replica.url


# --- its certificate

ROTATIONS = 4


async def test_rotation_under_load_fails_no_review(
    cluster: FakeCluster, replicas: tuple[Clock, Replica, Replica]
) -> None:
    """Two replicas, called on new and on kept connections all the while their certificates change."""
    clock, *both = replicas
    await both[0].identity.look()
    await both[1].identity.look()
    answered, over, shown = [0, 0, 0], asyncio.Event(), []

    async def fresh(replica: Replica, number: int) -> None:
        while not over.is_set():
            assert (await ask(replica.url, cluster.bundle))["response"]["allowed"]
            answered[number] += 1

    async def kept(replica: Replica) -> None:
        trusting = ssl.create_default_context(cadata=cluster.bundle)
        async with aiohttp.ClientSession() as session:
            while not over.is_set():
                assert (await send(replica.url, trusting, session))["response"]["allowed"]
                answered[2] += 1

    async def served() -> None:
        """Let each client get some answers."""
        before = list(answered)
        await until(lambda: all(now >= was + 3 for now, was in zip(answered, before, strict=True)))

    async def look() -> None:
        for replica in both:
            await replica.identity.look()
            await served()

    async def rotate() -> None:
        await served()
        clock.now += LIFE / 3
        for _ in range(ROTATIONS):
            clock.now += LIFE / 3 + 1  # due: one replica makes it, the bundle grows, the old one is shown
            await look()
            assert cluster.bundle.count("BEGIN") == 2
            clock.now += SETTLING  # everybody has the bundle: the new one is shown
            await look()
            shown.append(both[0].cells.certificate_end)
            clock.now += LIFE / 3 - SETTLING  # the old one has expired, and its root leaves the bundle
            await look()
            assert cluster.bundle.count("BEGIN") == 1
        over.set()

    async with asyncio.TaskGroup() as group:
        for number, replica in enumerate(both):
            group.create_task(fresh(replica, number))
        group.create_task(kept(both[0]))
        group.create_task(rotate())
    assert len(set(shown)) == ROTATIONS
    assert both[0].cells.certificates == 1 + ROTATIONS
    assert both[1].cells.certificates == 0
    assert sum(one.cells.reviews["injected"] for one in both) == sum(answered)


async def test_two_replicas_that_start_at_once_agree(
    cluster: FakeCluster, replicas: tuple[Clock, Replica, Replica]
) -> None:
    _, *both = replicas
    results = await asyncio.gather(*(one.identity.look() for one in both), return_exceptions=True)
    for replica, result in zip(both, results, strict=True):
        if isinstance(result, Conflict):
            await replica.identity.look()
    for replica in both:
        await ask(replica.url, cluster.bundle)
    assert cluster.bundle.count("BEGIN") == 1
    assert sum(one.cells.certificates for one in both) == 1


@pytest.mark.parametrize(
    ("call", "status", "says"),
    [
        ("GET /api/v1/namespaces/misrule/secrets/misrule-injector", 403, "may not do this"),
        ("POST /api/v1/namespaces/misrule/secrets", 500, "refused by the test"),
        (
            "PATCH /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/misrule-injector",
            403,
            "see deploy/kustomize",
        ),
        (
            "GET /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/misrule-injector",
            404,
            "refused by the test",
        ),
    ],
)
async def test_what_the_cluster_refuses_is_said_and_mended_by_the_next_look(
    cluster: FakeCluster, replicas: tuple[Clock, Replica, Replica], call: str, status: int, says: str
) -> None:
    _, replica, _ = replicas
    cluster.refuse[call] = status
    with pytest.raises(ClusterError, match=says):
        await replica.identity.look()
    cluster.refuse.clear()
    await replica.identity.look()
    await ask(replica.url, cluster.bundle)


async def test_a_bundle_that_was_overwritten_is_mended(
    cluster: FakeCluster, replicas: tuple[Clock, Replica, Replica]
) -> None:
    """Whoever applies the manifests again takes the bundle out."""
    _, replica, _ = replicas
    await replica.identity.look()
    bundle = cluster.bundle
    del cluster.hooks["misrule-injector"]["webhooks"][1]["clientConfig"]["caBundle"]
    await replica.identity.look()
    assert cluster.bundle == bundle


@pytest.mark.parametrize("damage", [b"", b"no JSON", b"[{}]", b'[{"name": 1}]', b"null", b"\xff\x00"])
async def test_a_secret_that_is_damaged_is_made_anew(
    cluster: FakeCluster, replicas: tuple[Clock, Replica, Replica], damage: bytes
) -> None:
    _, replica, _ = replicas
    await replica.identity.look()
    cluster.secrets["misrule-injector"]["data"][KEY] = base64.b64encode(damage).decode()
    await replica.identity.look()
    await ask(replica.url, cluster.bundle)
    assert replica.cells.certificates == 2


async def test_before_there_is_a_certificate_the_handshake_fails(
    replicas: tuple[Clock, Replica, Replica],
) -> None:
    _, replica, _ = replicas
    with pytest.raises(aiohttp.ClientError):
        await ask(replica.url, generations.make(NAME, time.time()).root)


async def test_files_of_somebody_else_are_read_again(tmp_path: Path) -> None:
    """As cert-manager renews them: what is broken changes nothing, what is good is shown at once."""
    log, cells = Log("text", "error", "none", stream=Silent()), InjectorCells()
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def write(one: generations.Generation) -> None:
        certificate.write_text(one.chain)
        key.write_text(one.key)

    first, second = (generations.make(NAME, time.time()) for _ in range(2))
    write(first)
    identity = FileIdentity(certificate, key, log, cells)
    server = InjectorServer(identity, Settings(), log, cells)
    await identity.start()
    await server.start("127.0.0.1:0")
    try:
        url = f"https://{server.address}"
        await ask(url, first.root)
        key.write_text("no key")
        identity.look()
        await ask(url, first.root)
        write(second)
        identity.look()
        await ask(url, second.root)
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(url, first.root)
    finally:
        await server.stop()
        await identity.close()
        log.close()
