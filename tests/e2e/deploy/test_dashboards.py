"""Dashboard and alerts ask for metrics, and for labels, that exist."""

import json
import re
from collections.abc import Iterator

import promql_parser
import pytest
import yaml

from proxy.injector import containers
from proxy.metrics import catalogue
from proxy.metrics.catalogue import COUNTER, HISTOGRAM
from tests.support.manifests import DEPLOY, kustomize, of_kind

FOLDER = DEPLOY / "dashboards"
BOARD = json.loads((FOLDER / "misrule.json").read_text())
ALERTS = yaml.safe_load((FOLDER / "alerts.yaml").read_text())

# Of prometheus-client's ProcessCollector, and what Prometheus adds to each target.
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
TARGET = {"namespace", "pod", "le"}


def exposed() -> dict[str, set[str]]:
    """Every name that a scrape shows, with its labels."""
    found = {name: set[str]() for name in PROCESS}
    for metric in (*catalogue.METRICS, *catalogue.OF_INJECTOR):
        suffixes = {COUNTER: ["_total"], HISTOGRAM: ["_bucket", "_sum", "_count"]}.get(metric.kind, [""])
        found |= {metric.name + suffix: set(metric.labels) for suffix in suffixes}
    return found


KNOWN = exposed()


def expressions() -> Iterator[tuple[str, str]]:
    """Every query, with where it stands."""
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in BOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"].removeprefix("label_values(").rpartition(",")[0]
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


ALL = list(expressions())


@pytest.mark.parametrize(("place", "query"), ALL, ids=[place for place, _ in ALL])
def test_prometheus_can_read_it(place: str, query: str) -> None:
    filled = query.replace("$__rate_interval", "1m")  # Grafana fills in what begins with a dollar
    promql_parser.parse(re.sub(r"\$\w+", "any", filled))


def test_the_reader_of_queries_sees_a_mistake() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        promql_parser.parse("sum by (rule) (rate(misrule_injections_total[5m])")


@pytest.mark.parametrize(("place", "query"), ALL, ids=[place for place, _ in ALL])
def test_what_is_asked_for_exists(place: str, query: str) -> None:
    bare = re.sub(r'"[^"]*"', "", query)
    names = re.findall(r"\b(?:misrule|process)_\w+", bare)
    assert names
    assert set(names) <= KNOWN.keys()
    labels = {label for name in names for label in KNOWN[name]} | TARGET
    grouped = {
        one.strip() for part in re.findall(r"\b(?:by|on) \(([^)]*)\)", bare) for one in part.split(",")
    }
    matched = {one for part in re.findall(r"\{([^}]*)\}", bare) for one in re.findall(r"(\w+)\s*=~?", part)}
    assert (grouped | matched) <= labels


@pytest.mark.parametrize("panel", BOARD["panels"], ids=lambda panel: str(panel["title"]))
def test_legends_name_labels_that_the_query_gives(panel: dict[str, list[dict[str, str]]]) -> None:
    for target in panel["targets"]:
        by = {
            one.strip() for part in re.findall(r"by \(([^)]*)\)", target["expr"]) for one in part.split(",")
        }
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= by | {"pod"}


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in BOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_every_alert_says_what_and_what_next() -> None:
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
            assert rule["labels"]["severity"] in {"info", "warning"}


def test_alerts_name_labels_that_their_query_gives() -> None:
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            names = re.findall(r"misrule_\w+", rule["expr"])
            by = {
                one.strip() for part in re.findall(r"by \(([^)]*)\)", rule["expr"]) for one in part.split(",")
            }
            given = by or {label for name in names for label in KNOWN[name]} | TARGET
            told = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
            assert told <= given, rule["alert"]


def test_the_operator_gets_the_same_alerts() -> None:
    rule = yaml.safe_load((FOLDER / "prometheusrule.yaml").read_text())
    assert rule["spec"] == ALERTS


def test_every_metric_that_tells_of_trouble_is_looked_at() -> None:
    """Metrics of failures that neither an alert nor a panel asks for would never be seen."""
    asked = {name for _, query in ALL for name in re.findall(r"misrule_\w+", query)}
    for wanted in (
        catalogue.INTERNAL_ERRORS, catalogue.LOG_DROPPED, catalogue.UPSTREAM_FAILURES, catalogue.LAST_RELOAD,
        catalogue.ADMIN_FAILURES, catalogue.CONNECTIONS_REFUSED, catalogue.INJECTOR_CERTIFICATE_END,
    ):  # fmt: skip
        assert asked & {wanted.name, f"{wanted.name}_total"}, wanted.name


def test_what_is_scraped_is_there() -> None:
    """The ports that PodMonitors name are those of the injected container and of the injector."""
    sidecars, injector = of_kind(kustomize("overlays/monitored"), "PodMonitor")
    names = {one["spec"]["podMetricsEndpoints"][0]["port"] for one in (sidecars, injector)}
    (deployment,) = of_kind(kustomize("overlays/monitored"), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ours = {containers.HEALTH_PORT, *(port["name"] for port in container["ports"])}
    assert names == ours
