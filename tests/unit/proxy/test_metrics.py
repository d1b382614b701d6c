"""The exposition: every metric of the catalogue, right figures, bounded labels, both formats."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy.metrics import catalogue
from proxy.metrics.calls import BAD_STATUS, NO_STATUS
from proxy.metrics.catalogue import COUNTER, LABELS, METRICS, OF_INJECTOR, OTHER, RULE_SERIES, code_label
from proxy.metrics.cells import EndpointCells, ListenerCells, UpstreamCells, WorkerCells
from proxy.metrics.exposition import Exposition, Sources
from proxy.metrics.reloads import Reloads
from rules.compile import compile_rules
from rules.http_params import GRPC_CODES
from rules.parse import parse_rule
from rules.phases import NAMES
from rules.snapshot import Snapshot

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def snapshot_of(*names: str, shadow: bool = False) -> Snapshot:
    mode = "shadow" if shadow else "inject"
    faults = [{"delay": "1s"}, {"abort": {"status": 503, "at": "response_head"}}, {"delay": "2s"}]
    rules = [parse_rule({"name": name, "mode": mode, "faults": faults}, "test") for name in names]
    return compile_rules(rules, None, 3, 1.0, "test")


class Scraped:
    """An exposition over cells of our own."""

    def __init__(self) -> None:
        self.cells = WorkerCells()
        self.snapshot = snapshot_of("slow")
        self.reloads = Reloads()
        self.stopped = False
        self.exposition = Exposition(
            Sources(
                cells=self.cells,
                snapshot=lambda: self.snapshot,
                stopped=lambda: self.stopped,
                reloads=self.reloads,
                log_dropped=lambda: 11,
                events_dropped=lambda: 12,
                admin_failures=lambda: 13,
                admin_refused=lambda: 14,
                started=1_700_000_000.0,
                version="0.1.0",
                build="compiled",
            )
        )

    async def samples(self) -> Samples:
        """Scrape as Prometheus does."""
        body, _ = await self.exposition.render("text/plain")
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in parse_text(body.decode())
            for sample in family.samples
        }

    async def value(self, name: str, **labels: str) -> float:
        """Give one sample."""
        return (await self.samples())[name, frozenset(labels.items())]


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


async def test_each_metric_of_the_catalogue_is_there_with_its_type(scraped: Scraped) -> None:
    families = {family.name: family for family in scraped.exposition.collect()}
    for metric in METRICS:
        assert families[metric.name].type == metric.kind
        assert families[metric.name].documentation == metric.text
    ours = {name for name in families if name.startswith("misrule_")}
    assert ours == {metric.name for metric in METRICS}


def test_the_catalogue_is_consistent() -> None:
    constants = [value for value in vars(catalogue).values() if isinstance(value, catalogue.Metric)]
    every = (*METRICS, *OF_INJECTOR)
    assert sorted(metric.name for metric in constants) == sorted(metric.name for metric in every)
    assert len({metric.name for metric in every}) == len(every)
    assert {label for metric in every for label in metric.labels} == set(LABELS)
    assert all(metric.text.endswith(".") and "total" not in metric.name for metric in every)


async def test_requests_by_status_and_the_bytes_they_moved(scraped: Scraped) -> None:
    route = scraped.cells.route("web", "pay")
    for status, count in ((200, 5), (499, 1), (0, 2), (299, 3), (298, 1), (999, 1), (99, 1)):
        route.statuses[status] = count
    route.active, route.bytes_in, route.bytes_out = 4, 100, 2000
    for code, count in (("200", 5), ("499", 1), ("none", 3), ("2xx", 4), ("9xx", 1)):
        assert (
            await scraped.value("misrule_requests_total", listener="web", upstream="pay", code=code) == count
        )
    assert await scraped.value("misrule_requests_active", listener="web", upstream="pay") == 4
    assert await scraped.value("misrule_received_bytes_total", listener="web", upstream="pay") == 100
    assert await scraped.value("misrule_sent_bytes_total", listener="web", upstream="pay") == 2000


def test_labels_of_statuses_are_bounded() -> None:
    assert len({code_label(status) for status in range(1000)}) < 80


async def test_durations_with_and_without_injection(scraped: Scraped) -> None:
    route = scraped.cells.route("web", "pay")
    for seconds in (0.001, 0.004, 0.304):
        route.duration.observe(seconds)
    route.injected_gross.observe(0.304)
    route.injected_net.observe(0.004)

    async def bucket(name: str, le: str) -> float:
        return await scraped.value(f"{name}_bucket", listener="web", upstream="pay", le=le)

    whole, own = catalogue.DURATION.name, catalogue.DURATION_OWN.name
    assert [await bucket(whole, le) for le in ("0.0005", "0.001", "0.005", "0.25", "0.5", "+Inf")] == [
        0,
        1,
        2,
        2,
        3,
        3,
    ]
    assert [await bucket(own, le) for le in ("0.0005", "0.001", "0.005", "0.25", "0.5", "+Inf")] == [
        0,
        1,
        3,
        3,
        3,
        3,
    ]
    assert await scraped.value(f"{whole}_count", listener="web", upstream="pay") == 3
    assert await scraped.value(f"{whole}_sum", listener="web", upstream="pay") == pytest.approx(0.309)
    assert await scraped.value(f"{own}_sum", listener="web", upstream="pay") == pytest.approx(0.009)


async def test_injections_by_rule_fault_and_phase(scraped: Scraped) -> None:
    state = scraped.snapshot.by_name["slow"].state
    state.matches, state.keyless, state.tally.active = 9, 2, 1
    state.injected[:] = [4, 1, 2]
    head, body = NAMES[2], "response_head"
    name = "misrule_injections_total"
    assert await scraped.value(name, rule="slow", fault="delay", phase=head) == 6
    assert await scraped.value(name, rule="slow", fault="abort", phase=body) == 1
    assert await scraped.value("misrule_rule_matches_total", rule="slow") == 9
    assert await scraped.value("misrule_rule_keyless_total", rule="slow") == 2
    assert await scraped.value("misrule_rule_active", rule="slow") == 1
    assert await scraped.value("misrule_rules") == 1
    assert await scraped.value("misrule_rules_version") == 3


async def test_shadow_injections_are_apart(scraped: Scraped) -> None:
    scraped.snapshot = snapshot_of("seen", shadow=True)
    scraped.snapshot.by_name["seen"].state.shadowed[:] = [5, 0, 0]
    samples = await scraped.samples()
    assert not [key for key in samples if key[0] == "misrule_injections_total"]
    assert (
        await scraped.value(
            "misrule_shadow_injections_total", rule="seen", fault="delay", phase="request_head"
        )
        == 5
    )


async def test_rules_beyond_the_bound_share_their_series(scraped: Scraped) -> None:
    scraped.snapshot = snapshot_of(*(f"r{number}" for number in range(RULE_SERIES + 5)))
    for rule in scraped.snapshot.rules:
        rule.state.matches = 2
        rule.state.injected[1] = 1
    samples = await scraped.samples()
    assert len([key for key in samples if key[0] == "misrule_rule_matches_total"]) == RULE_SERIES + 1
    assert await scraped.value("misrule_rule_matches_total", rule=OTHER) == 10
    labels = {"rule": OTHER, "fault": "abort", "phase": "response_head"}
    assert await scraped.value("misrule_injections_total", **labels) == 5


async def test_connections_pools_and_failures(scraped: Scraped) -> None:
    listener, upstream = ListenerCells("web"), UpstreamCells("pay")
    scraped.cells.listeners.append(listener)
    scraped.cells.upstreams.append(upstream)
    listener.accepted, listener.open, listener.refused, listener.upgraded = 9, 3, 1, 2
    upstream.opened, upstream.open, upstream.idle, upstream.reused = 5, 4, 3, 60
    upstream.retries, upstream.queued = 1, 7
    scraped.cells.failed("web", "", "head_timeout")
    scraped.cells.failed("web", "pay", "connect_refused")
    scraped.cells.waiting, scraped.cells.internal_errors, scraped.stopped = 8, 1, True
    found = {
        name: await scraped.value(f"misrule_{name}", **labels)
        for name, labels in {
            "connections_total": {"listener": "web"},
            "connections_open": {"listener": "web"},
            "connections_refused_total": {"listener": "web"},
            "connections_upgraded_total": {"listener": "web"},
            "client_failures_total": {"listener": "web", "kind": "head_timeout"},
            "upstream_connections_total": {"upstream": "pay"},
            "upstream_connections_open": {"upstream": "pay"},
            "upstream_connections_idle": {"upstream": "pay"},
            "upstream_connections_reused_total": {"upstream": "pay"},
            "upstream_retries_total": {"upstream": "pay"},
            "upstream_queued": {"upstream": "pay"},
            "upstream_failures_total": {"upstream": "pay", "kind": "connect_refused", "injected": "false"},
            "exchanges_held": {},
            "faults_stopped": {},
            "internal_errors_total": {},
        }.items()
    }
    assert list(found.values()) == [9, 3, 1, 2, 1, 5, 4, 3, 60, 1, 7, 1, 8, 1, 1]


async def test_calls_by_method_and_status(scraped: Scraped) -> None:
    table = scraped.cells.route("web", "pay").calls
    add, other = table.find(b"/shop.Cart/Add"), table.find(b"/no-name")
    for place in range(17):
        add.statuses[place] = place + 1
    add.statuses[NO_STATUS], add.statuses[BAD_STATUS], other.statuses[12] = 100, 200, 300
    labels = {"listener": "web", "service": "shop.Cart", "method": "Add"}
    found = [await scraped.value("misrule_grpc_calls_total", **labels, grpc_status=one) for one in GRPC_CODES]
    assert found == list(range(1, 18))
    assert await scraped.value("misrule_grpc_calls_total", **labels, grpc_status="none") == 100
    assert await scraped.value("misrule_grpc_calls_total", **labels, grpc_status="invalid") == 200
    labels |= {"service": OTHER, "method": OTHER}
    assert await scraped.value("misrule_grpc_calls_total", **labels, grpc_status="UNIMPLEMENTED") == 300


async def test_reloads_build_and_what_was_lost(scraped: Scraped) -> None:
    scraped.reloads.count("file", True)
    scraped.reloads.files_good(1_700_000_001.5)
    scraped.reloads.count("file", False)
    scraped.reloads.files_bad(["bad"])
    scraped.reloads.count("admin", True)
    assert await scraped.value("misrule_rules_reloads_total", layer="file", result="success") == 1
    assert await scraped.value("misrule_rules_reloads_total", layer="file", result="failure") == 1
    assert await scraped.value("misrule_rules_reloads_total", layer="admin", result="failure") == 0
    assert await scraped.value("misrule_rules_last_reload_success") == 0
    assert await scraped.value("misrule_rules_last_reload_success_timestamp_seconds") == 1_700_000_001.5
    scraped.reloads.files_good(1.0)
    assert await scraped.value("misrule_rules_last_reload_success") == 1
    assert [
        await scraped.value(f"misrule_{name}_total")
        for name in ("log_lines_dropped", "events_dropped", "admin_authentication_failures", "admin_refused")
    ] == [11, 12, 13, 14]
    assert await scraped.value("misrule_start_time_seconds") == 1_700_000_000
    builds = [dict(labels) for name, labels in await scraped.samples() if name == "misrule_build_info"]
    assert [(labels["version"], labels["build"]) for labels in builds] == [("0.1.0", "compiled")]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("*/*", "text/plain; version=0.0.4"),
        ("text/html", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=abc", "text/plain; version=0.0.4"),
        ("text/plain;version=1.x", "text/plain; version=0.0.4"),
        (
            "application/openmetrics-text; version=1.0.0; charset=utf-8, text/plain;q=0.5",
            "application/openmetrics-text",
        ),
        ("application/openmetrics-text", "application/openmetrics-text"),
    ],
)
async def test_both_formats_can_be_parsed(scraped: Scraped, accept: str, content_type: str) -> None:
    scraped.cells.route("web", "pay").duration.observe(0.1)
    body, given = await scraped.exposition.render(accept)
    assert given.startswith(content_type)
    parse = parse_openmetrics if "openmetrics" in content_type else parse_text
    names = {family.name for family in parse(body.decode())}
    assert {metric.name for metric in METRICS if metric.kind != COUNTER} <= names
    assert b"process_resident_memory_bytes" in body


async def test_health_is_shown_for_addresses_that_are_checked(scraped: Scraped) -> None:
    shop, plain = UpstreamCells("shop"), UpstreamCells("plain")
    scraped.cells.upstreams += [shop, plain]
    for port, state in ((80, "unknown"), (81, "healthy"), (82, "unhealthy")):
        shop.endpoints.append(EndpointCells(f"10.0.0.1:{port}", 1.0))
        shop.endpoints[-1].state = state
    shop.endpoints[2].checks = {"passed": 2, "timeout": 3}
    samples = {
        (name, *sorted(dict(labels).values())): value
        for (name, labels), value in (await scraped.samples()).items()
        if "health" in name and not name.endswith("_created")
    }
    assert samples == {
        ("misrule_upstream_healthy", "10.0.0.1:80", "shop"): 1,
        ("misrule_upstream_healthy", "10.0.0.1:81", "shop"): 1,
        ("misrule_upstream_healthy", "10.0.0.1:82", "shop"): 0,
        ("misrule_upstream_health_checks_total", "10.0.0.1:82", "passed", "shop"): 2,
        ("misrule_upstream_health_checks_total", "10.0.0.1:82", "shop", "timeout"): 3,
    }
