"""Every metric, label and kind of failure is written down, and no other metric is."""

import re

from proxy import errors
from proxy.metrics import catalogue
from tests.house import ROOT


def page() -> str:
    """The page on metrics."""
    return (ROOT / "docs" / "metrics.md").read_text()


def exposed(metric: catalogue.Metric) -> str:
    """The name that a scrape shows."""
    return f"{metric.name}_total" if metric.kind == catalogue.COUNTER else metric.name


def test_the_page_lists_exactly_the_catalogue_with_its_labels() -> None:
    rows = re.findall(r"^\| `(misrule_\w+)` \| (\w+) \| ([^|]*) \|", page(), re.MULTILINE)
    written = {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert written == {
        (exposed(metric), metric.kind, metric.labels)
        for metric in (*catalogue.METRICS, *catalogue.OF_INJECTOR)
    }


def test_every_label_and_every_failure_is_named() -> None:
    names = set(re.findall(r"^\| `(\w+)` \|", page(), re.MULTILINE))
    assert set(catalogue.LABELS) <= names
    assert {failure.kind for failure in errors.ALL} <= names
