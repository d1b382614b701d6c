"""Captured traffic: a pod and the world outside of it, each a network namespace, real clients and real rules.

The proxy runs in the pod as uid 1337 without any capability, once for all tests; the tools that put rules in
force take turns.  Each service tells for whom it was forwarded, so that a proxy which read the request shows;
the access lines tell of the others.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy import build_kind
from tests.support.namespaces import POD, USER, WORLD, Cable, Namespace, need_cable
from tests.support.need import find, step_aside
from tests.support.pki import Pki
from tests.support.proxy import Proxy
from tests.support.servers import services
from tests.support.servers.visitor import NAME
from tests.support.wait import eventually

TOOLS = ["nft", "iptables-nft", "iptables-legacy"]
PORTS = {
    "http1": services.HTTP,
    "http_too": services.HTTP_TOO,
    "h2c": services.H2C,
    "grpc": services.GRPC,
    "tls": services.TLS,
    "tls_h2": services.TLS_H2,
    "greeting": services.GREETING,
    "unknown": services.BYTES,
}
READ = ("http1", "h2c", "grpc")  # what the proxy reads
PASSED = ("tls", "tls_h2", "greeting", "unknown")  # what it passes on unread
SPOKEN = {"http1": "1.1", "http_too": "1.1", "h2c": "2", "grpc": "2", "tls": "1.1", "tls_h2": "2"}

UNREAD = {"protocol": "1.1", "for": ""}  # what a service over TLS tells, when nobody has read the request


class PodProxy(Proxy):
    """The proxy in the pod; its admin endpoint is there too."""

    def __init__(self, folder: Path, pod: Namespace, config: dict[str, Any]) -> None:
        self.pod = pod
        super().__init__(
            folder,
            config=config,
            around=lambda command: pod.command(command, user=USER, powerless=True),
        )

    def call(
        self, method: str, path: str, body: object = None, headers: Any = None
    ) -> tuple[int, dict[str, str], str]:
        """Call the admin endpoint from within the pod."""
        given = [] if body is None else ["--data", json.dumps(body), "-H", "content-type: application/json"]
        url = f"http://{self.admin_address}{path}"
        done = self.pod.run(["curl", "-sS", "-m", "20", "-X", method, "-w", "\n%{http_code}", *given, url])
        text, _, status = done.stdout.rpartition("\n")
        return int(status), {}, text

    def dialled(self, since: int = 0) -> list[tuple[str, str]]:
        """Give listener and dialled address of each exchange that has ended."""
        return [(one["listener"], one["dialled"]) for one in self.records(event="access")[since:]]


class Pod:
    """The pod with its proxy and services, and the world with services."""

    def __init__(self, cable: Cable, folder: Path) -> None:
        self.cable, self.folder = cable, folder
        self.pod, self.world = cable.pod, cable.world
        self.from_pod, self.from_world = cable.visitor(self.pod), cable.visitor(self.world)
        self.from_proxy_user = cable.visitor(self.pod, USER)
        pki = Pki(folder / "pki")
        self.real = pki.root.chain
        leaf = pki.leaf(NAME)
        serving = [
            cable.start(one, "tests.support.servers.services", str(leaf.chain), str(leaf.key))
            for one in (self.pod, self.world)
        ]
        ours = folder / "certs"
        ours.mkdir()
        ours.chmod(0o777)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o777 if path.is_dir() else 0o644)
        self.proxy = PodProxy(folder, self.pod, _config(pki, ours))
        self.minted = ours / "root.pem"
        for process in serving:
            process.wait_line("serving")

    def capture(self, *words: str) -> str:
        """Run ``misrule capture`` in the pod."""
        return self.pod.run(self.pod.python("proxy", "capture", *words)).stdout

    def visit(self, authority: Path, *names: str) -> dict[str, dict[str, Any]]:
        """Call from the pod into the world, and from the world into the pod, at the same time."""
        self.from_pod.begin(authority, names, WORLD)
        self.from_world.begin(authority, names, POD)
        return {"out": self.from_pod.result(), "in": self.from_world.result()}

    def wait_dialled(self, since: int, wanted: set[tuple[str, str]]) -> None:
        """Wait until exchanges have ended that were dialled so."""

        def all_there() -> bool:
            return wanted <= set(self.proxy.dialled(since))

        try:
            eventually(all_there, 10.0)
        except AssertionError:
            raise AssertionError(f"not captured: {wanted - set(self.proxy.dialled(since))}") from None

    def rules(self) -> str:
        """Give all rules of the kernel in the pod.

        The old iptables cannot take its table away again once it was there: its rules are what counts.
        """
        text = self.pod.run(["nft", "list", "ruleset"]).stdout
        for tool in ("iptables-legacy-save", "ip6tables-legacy-save"):
            if find(tool) is not None:
                lines = self.pod.run([tool], ok=False).stdout.splitlines()
                text += "".join(f"{line}\n" for line in lines if line.startswith("-A") or "MISRULE" in line)
        return text


def _config(pki: Pki, certs: Path) -> dict[str, Any]:
    listeners: list[dict[str, Any]] = [
        {"name": "out", "address": ":15101"},
        {"name": "in", "address": ":15106"},
        {"name": "out-tls", "address": ":15201", "tls": {"mode": "auto"}},
        {"name": "in-tls", "address": ":15206", "tls": {"mode": "auto"}},
    ]
    # Long enough for a client on a busy machine to say its first word.
    common: dict[str, Any] = {"capture": "redirect", "timeouts": {"sniff": "2s"}}
    return {
        "listeners": [{**one, **common} for one in listeners],
        "upstreams": {"original_dst": {"address": "original_dst", "tls": {"ca": str(pki.root.chain)}}},
        "admin": {"address": "127.0.0.1:9905"},
        "certs": {"dir": str(certs)},
        "log": {"format": "json", "access": "all"},
    }


@pytest.fixture(scope="module")
def pod() -> Iterator[Pod]:
    """One pod for all tests; what the kernel cannot do is said in one line."""
    cable = need_cable()
    try:
        with tempfile.TemporaryDirectory(prefix="misrule-capture-") as folder:
            made = Pod(cable, Path(folder))
            yield made
            made.proxy.stop()
    finally:
        cable.close()


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest, pod: Pod) -> Iterator[str]:
    """Each tool that works here; what it has put in force is removed afterwards."""
    name: str = request.param
    for one in ("nft",) if name == "nft" else (name, name.replace("iptables", "ip6tables")):
        if find(one) is None:
            step_aside(f"{one} is not installed")
    if name != "nft":
        for one in (name, name.replace("iptables", "ip6tables")):
            asked = pod.pod.run([one, "-t", "nat", "-S"], ok=False)
            if asked.returncode != 0:
                step_aside(f"{one} does not work with this kernel: {asked.stderr.strip()[:200]}")
    yield name
    pod.capture("remove")
    pod.proxy.calm(clean=False)


def at(host: str, service: str) -> str:
    """Write the address of a service."""
    return f"[{host}]:{PORTS[service]}" if ":" in host else f"{host}:{PORTS[service]}"


def everywhere(services_called: tuple[str, ...], listeners: tuple[str, str]) -> set[tuple[str, str]]:
    """Give what access lines say when these services were called, by both listeners and versions of IP."""
    pairs = zip(listeners, (WORLD, POD), strict=True)
    return {
        (listener, at(host, one)) for listener, hosts in pairs for host in hosts for one in services_called
    }


def check(found: dict[str, dict[str, Any]], forwarded: set[str]) -> None:
    """Fail unless each service was reached, and told of a proxy just where one has read the request."""
    hosts = {"out": (WORLD, POD), "in": (POD, WORLD)}
    for direction, answers in found.items():
        there, here = hosts[direction]
        for called, answer in answers.items():
            service, host = called.split()
            if service == "greeting":
                assert answer == ["220 ready\r\n", "HELO\r\n", ""], (direction, called)
            elif service == "unknown":
                assert answer == "\0\1GET IT\n", (direction, called)
            else:
                source = here[there.index(host)] if service in forwarded else ""
                assert answer == {"protocol": SPOKEN[service], "for": source}, (direction, called)


def test_all_that_is_spoken_arrives_both_ways(pod: Pod, tool: str) -> None:
    before = len(pod.proxy.dialled())
    connections = pod.proxy.metric("misrule_connections_total")
    refused = pod.proxy.failures("not_redirected")
    pod.capture("apply", "--tool", tool, "--direction", "both")
    found = pod.visit(pod.real, *READ, *PASSED)
    check(found, set(READ))
    pod.wait_dialled(before, everywhere((*READ, *PASSED), ("out", "in")))
    # Each client was accepted once: nothing of ours came back to us.  (grpcio may connect more than once.)
    assert pod.proxy.metric("misrule_connections_total") - connections >= 28
    others = [one for one in pod.proxy.dialled(before) if one not in everywhere(tuple(PORTS), ("out", "in"))]
    assert others == []
    assert pod.proxy.failures("not_redirected") == refused

    # The other listeners, in the place of the first ones: there TLS ends, and begins anew to the upstream.
    before = len(pod.proxy.dialled())
    ports = ["--outbound-port", "15201", "--inbound-port", "15206"]
    pod.capture("apply", "--tool", tool, "--direction", "both", *ports)
    check(pod.visit(pod.minted, "http1", "tls", "tls_h2"), {"http1", "tls", "tls_h2"})
    pod.wait_dialled(before, everywhere(("http1", "tls", "tls_h2"), ("out-tls", "in-tls")))
    assert {listener for listener, _ in pod.proxy.dialled(before)} == {"out-tls", "in-tls"}


def test_what_is_excluded_is_left_alone_and_removal_leaves_nothing(pod: Pod, tool: str) -> None:
    rules = pod.rules()
    before = len(pod.proxy.dialled())
    excluded = ["--exclude-inbound-ports", f"{services.HTTP_TOO},9000-9010"]
    excluded += ["--exclude-outbound-ports", str(services.HTTP_TOO), "--exclude-outbound-cidrs", "fd77::/64"]
    pod.capture("apply", "--tool", tool, "--direction", "both", *excluded)
    assert tool in pod.capture("show")
    assert pod.rules() != rules
    pod.from_proxy_user.begin(pod.real, ["http1"], WORLD)
    found = pod.visit(pod.real, "http1", "http_too")
    assert {told["for"] for told in pod.from_proxy_user.result().values()} == {""}  # the proxy's own user
    outbound = {called: answer["for"] for called, answer in found["out"].items()}
    assert outbound == {
        f"http1 {WORLD[0]}": POD[0],
        f"http1 {WORLD[1]}": "",
        f"http_too {WORLD[0]}": "",
        f"http_too {WORLD[1]}": "",
    }
    inbound = {called: answer["for"] for called, answer in found["in"].items()}
    assert inbound == {
        f"http1 {POD[0]}": WORLD[0],
        f"http1 {POD[1]}": WORLD[1],
        f"http_too {POD[0]}": "",
        f"http_too {POD[1]}": "",
    }
    pod.wait_dialled(before, {("out", at(WORLD[0], "http1")), *((("in", at(host, "http1"))) for host in POD)})

    assert "removed" in pod.capture("remove")
    assert pod.rules() == rules
    assert "nothing" in pod.capture("show")
    before = len(pod.proxy.dialled())
    check(pod.visit(pod.real, "http1"), set())
    assert pod.proxy.dialled(before) == []


def test_what_is_included_is_all_that_is_captured(pod: Pod, tool: str) -> None:
    included = ["--loopback", "--ipv4-only", "--include-outbound-ports", f"{services.HTTP},9000-9999"]
    included += ["--include-outbound-cidrs", "127.0.0.0/8,10.77.0.2"]
    pod.capture("apply", "--tool", tool, "--direction", "outbound", *included)
    pod.from_pod.begin(pod.real, ["http1", "http_too"], ["127.0.0.1", "::1", *WORLD, POD[0]])
    found = {called: answer["for"] for called, answer in pod.from_pod.result().items()}
    captured = {called: source for called, source in found.items() if source}
    assert captured == {"http1 127.0.0.1": "127.0.0.1", f"http1 {WORLD[0]}": POD[0]}
    assert len(found) == 10
    assert pod.proxy.call("GET", "/healthz")[0] == 200  # our own ports are left alone, also on the loopback


def test_the_proxy_has_no_right_whatever(pod: Pod) -> None:
    status = Path(f"/proc/{pod.proxy.process.pid}/status").read_text()
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert found["Uid"].split() == [str(USER)] * 4
    assert {found[f"Cap{kind}"].strip() for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert found["NoNewPrivs"].strip() == "1"
    assert pod.proxy.metric("misrule_build_info", build=build_kind()) == 1  # it is the build under test
    done = pod.pod.run(pod.pod.python("proxy", "capture", "apply", user=USER, powerless=True), ok=False)
    assert done.returncode == 1
    assert "NET_ADMIN" in done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", POD[0], f"[{POD[1]}]"])
def test_who_calls_the_listener_itself_is_refused(pod: Pod, host: str) -> None:
    refused = pod.proxy.failures("not_redirected")
    connections = pod.proxy.metric("misrule_connections_total")
    where = pod.pod if host in ("127.0.0.1", "[::1]") else pod.world
    done = where.run(["curl", "-sS", "-m", "20", f"http://{host}:15101/"], ok=False)
    # Reset, wherever curl was by then: connecting, sending its request, waiting for an answer.
    assert done.returncode in (7, 55, 56), done.stderr
    eventually(lambda: pod.proxy.failures("not_redirected") == refused + 1)
    assert pod.proxy.metric("misrule_connections_total") == connections + 1
    line = pod.proxy.wait_record(event="capture_refused", address=f"{host}:15101")
    assert line["kind"] == "not_redirected"
    assert line["level"] == "warning"


def test_rules_know_captured_traffic_by_its_upstream(pod: Pod) -> None:
    pod.capture("apply", "--direction", "both")
    pod.proxy.put(
        {
            "name": "elsewhere-is-down",
            "match": {"upstream": ["original_dst"], "listener": ["out"]},
            "faults": [{"abort": {"status": 503}}],
        }
    )
    try:
        outward = pod.pod.run(["curl", "-sS", "-m", "20", "-i", f"http://{WORLD[0]}:{services.HTTP}/"]).stdout
        assert outward.startswith("HTTP/1.1 503")
        assert "x-misrule: rule=elsewhere-is-down" in outward
        inward = pod.world.run(["curl", "-sS", "-m", "20", "-i", f"http://{POD[0]}:{services.HTTP}/"]).stdout
        assert inward.startswith("HTTP/1.1 200")
        for name, hits in (("other.test", 0), (NAME, 2)):  # of TLS that passes on unread, the name is known
            reset = {
                "name": "by-name",
                "match": {"listener": ["out"], "sni": name},
                "faults": [{"reset": {}}],
            }
            pod.proxy.put(reset)
            pod.from_pod.begin(pod.real, ["tls"], WORLD)
            answers = pod.from_pod.result().values()
            assert [answer for answer in answers if "Error" not in answer] == [UNREAD] * (2 - hits)
            assert pod.proxy.injections(rule="by-name") == hits
    finally:
        pod.proxy.calm()
        pod.capture("remove")


def test_a_proxy_that_is_not_exempt_does_not_go_round_in_circles(pod: Pod) -> None:
    pod.capture("apply", "--direction", "outbound", "--uid", "7", "--gid", "7")
    connections = pod.proxy.metric("misrule_connections_total")
    try:
        done = pod.pod.run(["curl", "-sS", "-m", "20", "-i", f"http://[{WORLD[1]}]:{services.HTTP_TOO}/"])
        assert done.stdout.startswith("HTTP/1.1 502")
        assert "proxy_loop_detected" in done.stdout
        pod.from_pod.begin(pod.real, ["greeting", "unknown"], WORLD)
        for answer in pod.from_pod.result().values():  # an end, or a reset where it came first
            assert answer in ("", ["", "", ""]) or "Error" in answer
    finally:
        pod.capture("remove")
    assert pod.proxy.failures("capture_loop") >= 5
    assert pod.proxy.metric("misrule_connections_total") <= connections + 2 * 5
