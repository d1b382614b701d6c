"""The product as a user runs it: ``python -m proxy run`` in a process of its own."""

import http.client
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.process import Process
from tests.support.wait import eventually

Rule = dict[str, Any]

RUN = [sys.executable, "-m", "proxy", "run"]

_BAD = re.compile(
    r"Traceback \(most recent|internal error|internal_error|was never (retrieved|awaited)"
    r"|Exception in callback|Fatal (Python )?error|Unhandled|SystemError",
    re.IGNORECASE,
)


def rule(name: str, *faults: Rule, **parts: Any) -> Rule:
    """Write a rule: its faults, and other parts (``match``, ``sample``, ...) by name."""
    return {"name": name, "faults": list(faults), **parts}


class Refused(Exception):
    """The admin endpoint answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text


class Proxy:
    """One running proxy.

    ``upstream`` is ``host:port``; or give ``config``, a whole bootstrap configuration in which the
    admin endpoint is added.  ``rules`` are files or folders.  ``around`` makes another command of its own:
    one that runs it elsewhere.
    """

    def __init__(
        self,
        folder: Path,
        upstream: str | Sequence[object] = "",
        rules: Sequence[Path] = (),
        config: Mapping[str, Any] | None = None,
        listener: Mapping[str, Any] | None = None,
        upstream_options: Mapping[str, Any] | None = None,
        access: str = "injected",
        env: Mapping[str, str] | None = None,
        around: Callable[[list[str]], list[str]] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = dict(config or _simple(upstream, listener or {}, upstream_options or {}))
        document.setdefault("version", 1)
        document.setdefault("admin", {"address": "127.0.0.1:0"})
        document.setdefault("log", {"format": "json", "level": "info", "access": access})
        self.config = folder / "misrule.yaml"
        self.config.write_text(json.dumps(document))
        command = [*RUN, "--config", str(self.config)]
        for path in rules:
            command += ["--rules", str(path)]
        self.process = Process(around(command) if around is not None else command, env)
        try:
            ready = str(self.process.wait_line(r"misrule ready: ([^\"]*)")[1])
        except BaseException:
            self.process.stop()
            raise
        self.listeners = dict(re.findall(r"listener (\S+) ([\w.\[\]:]+:\d+)", ready))
        admin = re.search(r"admin ([\w.\[\]:]+:\d+)", ready)
        self.admin_address = admin[1] if admin else ""
        self._seen = 0

    @property
    def address(self) -> str:
        """The first listener's ``host:port``."""
        return str(next(iter(self.listeners.values())))

    @property
    def url(self) -> str:
        """The first listener's URL."""
        return f"http://{self.address}"

    # The admin endpoint

    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], str]:
        """Call the admin endpoint: status, headers (lower-case), text."""
        connection = http.client.HTTPConnection(self.admin_address, timeout=20)
        try:
            data = None if body is None else json.dumps(body).encode()
            given = {"content-type": "application/json"} if data is not None else {}
            connection.request(method, path, data, {**given, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, text
        finally:
            connection.close()

    def admin(self, method: str, path: str, body: object = None) -> Any:
        """Call the admin endpoint; return the JSON, raise ``Refused`` on an error."""
        status, _, text = self.call(method, path, body)
        if status >= 300:
            raise Refused(status, text)
        return json.loads(text) if text else None

    def put(self, *rules: Rule) -> None:
        """Make these the admin layer's rules; in force when this returns."""
        self.admin("PUT", "/v1/rules", {"version": 1, "rules": list(rules)})

    def rule(self, name: str) -> dict[str, Any]:
        """Return what the endpoint says of one rule."""
        answer: dict[str, Any] = self.admin("GET", f"/v1/rules/{name}")
        return answer

    @property
    def version(self) -> int:
        """The number of the rule set in force."""
        return int(self.admin("GET", "/v1/rules")["version"])

    def metrics(self) -> dict[str, float]:
        """Scrape ``/metrics``: the sample as written (name and labels) to its value."""
        _, _, text = self.call("GET", "/metrics")
        found = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def metric(self, name: str, **labels: str) -> float:
        """Add up the samples of a metric that carry at least these labels."""
        total = 0.0
        for sample, value in self.metrics().items():
            base, _, rest = sample.partition("{")
            if base == name and all(f'{key}="{wanted}"' in rest for key, wanted in labels.items()):
                total += value
        return total

    def injections(self, **labels: str) -> float:
        """Count the faults that acted: of a rule (``rule``), of a kind (``fault``), at a phase."""
        return self.metric("misrule_injections_total", **labels)

    def failures(self, kind: str) -> float:
        """Count real failures of a kind, on either side."""
        upstream = self.metric("misrule_upstream_failures_total", kind=kind, injected="false")
        return upstream + self.metric("misrule_client_failures_total", kind=kind)

    # The log

    def records(self, **wanted: object) -> list[dict[str, Any]]:
        """Return the JSON lines of the log that hold these values."""
        found = []
        for line in list(self.process.log):
            if line.startswith("{"):
                record = json.loads(line)
                if all(record.get(key) == value for key, value in wanted.items()):
                    found.append(record)
        return found

    def wait_record(self, **wanted: object) -> dict[str, Any]:
        """Wait for a JSON line of the log that holds these values."""
        return eventually(lambda: self.records(**wanted), 15.0, f"a log line with {wanted}")[-1]

    def check_log(self) -> None:
        """Fail where the log, since the last check, tells of trouble within the proxy itself."""
        lines = self.process.log[self._seen :]
        self._seen += len(lines)
        for number, line in enumerate(lines):
            if _BAD.search(line):
                raise AssertionError(
                    "the proxy's log tells of an internal error:\n" + "\n".join(lines[number : number + 40])
                )

    def calm(self, clean: bool = True) -> None:
        """Make it as new for the next test: no rules, faults on; fails on what the log says."""
        self.check_log()
        assert self.process.status is None, "the proxy has died:\n" + self.process.text()[-4000:]
        if clean:
            self.put()
            self.admin("POST", "/v1/resume")

    def stop(self) -> None:
        """Stop it; fails on internal errors in the log and on an exit status other than 0."""
        died = self.process.status is not None
        status = self.process.stop(15.0)
        self.check_log()
        assert status == 0, f"exit status {status} (died before: {died}):\n{self.process.text()[-4000:]}"


def _simple(
    upstream: str | Sequence[object], listener: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "listeners": [
            {
                "name": "web",
                "address": "127.0.0.1:0",
                # Short enough that stopping a proxy with something half-open does not take long.
                "timeouts": {"drain": "1s"},
                **listener,
                "routes": [{"upstream": "shop"}],
            }
        ],
        "upstreams": {"shop": {"address": upstream, **options}},
    }
