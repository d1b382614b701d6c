"""The configurations of all proxies are valid, by the judgement of the proxies themselves."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.load import certificate, places, rulesets, upstream
from benchmarks.load.client import request_bytes
from benchmarks.load.procs import free_port
from benchmarks.load.rulesets import RuleSet
from benchmarks.load.subjects import SUBJECTS, envoy, haproxy, misrule, nginx, toxiproxy
from benchmarks.load.subjects.base import fulfilling
from benchmarks.load.upstream import HTTP1, HTTP2, HTTPS, Upstream
from rules.parse import parse_rules
from tests.support.need import need

SETS = [
    rulesets.TWENTY,
    rulesets.ZERO_PERCENT,
    rulesets.ABORT_TENTH,
    rulesets.DELAY_TENTH,
    rulesets.DELAYS,
]


def judge(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def test_the_rules_are_of_three_kinds_and_none_fits_what_is_measured() -> None:
    kinds = [condition.kind for condition in rulesets.TWENTY.conditions]
    assert {kind: kinds.count(kind) for kind in kinds} == {"path": 12, "host": 4, "tier": 4}
    measured = (rulesets.SMALL_PATH, rulesets.LARGE_PATH, rulesets.UPLOAD_PATH)
    for condition in rulesets.TEN_THOUSAND.conditions:
        path, headers = fulfilling(condition)
        assert not any(one.startswith(condition.value) for one in measured)
        assert path != rulesets.LARGE_PATH or headers
        assert headers.get(rulesets.TIER_HEADER) != rulesets.REQUEST_HEADERS[rulesets.TIER_HEADER]


def test_the_measured_head_has_the_size_that_the_readme_gives() -> None:
    assert 360 <= len(request_bytes(rulesets.SMALL_PATH)) <= 400


@pytest.mark.parametrize("rules", [*SETS, rulesets.TEN_THOUSAND], ids=lambda rules: rules.name)
def test_our_rules_are_read_without_a_complaint(rules: RuleSet) -> None:
    read = parse_rules(misrule.document(rules).encode(), "rules.json")
    assert len(read) == len(rules.conditions) + len(rules.faults)
    shares = [rule.sample.percent for rule in read[len(rules.conditions) :]]
    assert shares == [fault.percent * 10_000 for fault in rules.faults]


@pytest.mark.parametrize("rules", [rulesets.TWENTY, rulesets.ABORT_TENTH], ids=lambda rules: rules.name)
def test_haproxy_takes_its_configuration(rules: RuleSet, tmp_path: Path) -> None:
    program = need("haproxy")
    written = tmp_path / "haproxy.cfg"
    written.write_text(haproxy.config(8080, 8081, rules))
    judge(program, "-c", "-f", str(written))


def test_nginx_takes_its_configurations(tmp_path: Path) -> None:
    # Its test binds the addresses, too.
    program = need("nginx")
    for name, text in {
        "proxy": nginx.config(tmp_path, free_port(), 8081, rulesets.TWENTY),
        "upstream": upstream.config(tmp_path, free_port()),
    }.items():
        written = tmp_path / f"{name}.conf"
        written.write_text(text)
        judge(program, "-e", str(tmp_path / "log"), "-p", str(tmp_path), "-t", "-c", str(written))


@pytest.mark.parametrize("protocol", [HTTP1, HTTP2])
@pytest.mark.parametrize("rules", SETS, ids=lambda rules: rules.name)
def test_envoy_takes_its_configuration(rules: RuleSet, protocol: str, tmp_path: Path) -> None:
    program = envoy.find() or need("envoy")
    written = tmp_path / "envoy.json"
    written.write_text(envoy.config(8080, Upstream(8081, protocol), rules))
    judge(program, "--mode", "validate", "-l", "error", "-c", str(written))


def test_envoys_routes_come_in_order_and_end_with_the_one_for_all() -> None:
    made = envoy.routes(rulesets.ZERO_PERCENT)
    assert len(made) == 22
    assert made[-1] == {"match": {"prefix": "/"}, "route": {"cluster": "one", "timeout": "0s"}}
    setting = made[-2]["typed_per_filter_config"]["envoy.filters.http.fault"]
    assert setting["abort"]["percentage"] == {"numerator": 0, "denominator": "HUNDRED"}


def test_toxiproxy_gets_one_proxy() -> None:
    (one,) = json.loads(toxiproxy.config(8080, 8081))
    assert (one["listen"], one["upstream"], one["enabled"]) == ("127.0.0.1:8080", "127.0.0.1:8081", True)


def test_each_subject_carries_the_twenty_rules_or_has_none() -> None:
    assert len({subject.name for subject in SUBJECTS}) == len(SUBJECTS)
    assert [subject.skips(rulesets.TWENTY) for subject in SUBJECTS] == [""] * len(SUBJECTS)


def test_a_compiled_tree_that_lags_behind_its_sources_is_named(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    for root, text in ((source, "new"), (copy, "old")):
        (root / "rules").mkdir(parents=True)
        (root / "rules" / "draw.py").write_text(text)
    assert places.stale(copy, source) == "rules/draw.py"
    (copy / "rules" / "draw.py").write_text("new")
    assert places.stale(copy, source) == ""


def test_the_peers_take_their_configurations_over_tls(tmp_path: Path) -> None:
    need("openssl")
    shown = str(certificate.make(tmp_path))
    written = tmp_path / "haproxy.cfg"
    written.write_text(haproxy.config(free_port(), 8081, rulesets.TWENTY, shown))
    judge(need("haproxy"), "-c", "-f", str(written))
    written = tmp_path / "nginx.conf"
    written.write_text(nginx.config(tmp_path, free_port(), 8081, rulesets.TWENTY, shown))
    judge(need("nginx"), "-t", "-e", str(tmp_path / "log"), "-p", str(tmp_path), "-c", str(written))
    chain = json.loads(envoy.config(8080, Upstream(8081, HTTPS), rulesets.TWENTY, shown))
    (listener,) = chain["static_resources"]["listeners"]
    assert listener["filter_chains"][0]["transport_socket"]["name"] == "envoy.transport_sockets.tls"
