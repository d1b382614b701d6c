"""What an injection leaves behind: a header for the client, a log line, a metric."""

import json
import re
import time
from dataclasses import dataclass
from typing import Any, Final

from proxy.cli.demo.client import Saw
from proxy.cli.demo.stage import Interrupted, Stage
from proxy.cli.demo.story import DELAY

REQUEST_ID: Final = "demo-proof"
PATIENCE: Final = 5.0  # seconds for the log line; lines are written in batches
HEADER: Final = re.compile(
    r"rule=(?P<rule>[^;]+); fault=(?P<fault>[^;]+); ms=(?P<ms>[0-9.]+); version=(?P<version>\d+)"
)


@dataclass
class Proof:
    """The three pieces as they were found, and what is wrong with them."""

    header: str = ""
    log: str = ""
    metric: str = ""
    wrong: str = ""


def look_for_proof(stage: Stage, drawn: list[Saw]) -> Proof:
    """Send one request that is delayed and find its traces; ``drawn`` are the answers of items-flaky."""
    client = stage.client()
    saw = client.request("GET", "/hello", {"x-request-id": REQUEST_ID})
    client.close()
    proof = Proof(header=saw.proof, log=_log_line(stage), metric=_metric(stage.metrics()))
    proof.wrong = _check(proof, int(stage.running()["version"]), sum(one.status == 503 for one in drawn))
    return proof


def _log_line(stage: Stage) -> str:
    """Find the injection's line in the log; lines come a moment later."""
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        with open(stage.log, encoding="utf-8") as log:
            for line in log:
                if REQUEST_ID in line and json.loads(line).get("event") == "injection":
                    return line.strip()
        if stage.stopping.wait(0.02):
            raise Interrupted
    return ""


def _metric(exposition: str) -> str:
    """Find the count of the rule that was drawn for one request in ten."""
    lines = exposition.splitlines()
    return next(
        (one for one in lines if one.startswith("misrule_injections_total{") and 'rule="items-flaky"' in one),
        "",
    )


def _check(proof: Proof, version: int, drawn: int) -> str:
    """Compare the pieces with each other and with what the client saw; "" where they agree."""
    header = HEADER.search(proof.header)
    if header is None:
        return f"no x-misrule header that says rule, fault, ms and version: {proof.header!r}"
    if (header["rule"], header["fault"], int(header["version"])) != ("slow-hello", "delay", version):
        return f"the header points elsewhere: {proof.header}"
    if float(header["ms"]) < DELAY * 1000:
        return f"the header says less than was asked: {proof.header}"
    line: dict[str, Any] = json.loads(proof.log) if proof.log else {}
    if (line.get("rule"), line.get("fault"), line.get("version")) != ("slow-hello", "delay", version):
        return "no log line that says the same as the header"
    counted = proof.metric.rpartition(" ")[2]
    if not counted or float(counted) != drawn:
        return f"the metric says {counted or 'nothing'}, the client saw {drawn}"
    return ""
