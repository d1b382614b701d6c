"""The review that the injector is measured with is one that it patches."""

import json

from benchmarks.load import bars, reviews, workloads
from benchmarks.load.results import Machine, Result, Round, Row
from benchmarks.load.subjects import COMPILED, INTERPRETED
from proxy.injector import review
from proxy.injector.settings import Settings


def test_the_pod_is_patched_without_a_warning() -> None:
    outcome = review.answer(review.read(reviews.document()), Settings())
    assert outcome.verdict.operations
    assert outcome.verdict.warnings == []
    assert 2500 < len(reviews.document()) < 3500
    assert json.loads(outcome.body)["response"]["allowed"] is True


def test_the_bar_is_500_a_second_on_one_core() -> None:
    result = Result("2026-11-21T00:00:00Z", "abc", Machine("Test 9000", 2, 1024, "6.1", "3.11.2"), 4, 3)
    for subject, cpu in ((COMPILED, 1999.0), (INTERPRETED, 2001.0)):
        rounds = [Round(rate=500, p50=1, p99=2, cpu=cpu, rss=1, refused=0, broken=0, foreign=0)]
        result.rows.append(Row(workloads.REVIEWS.name, subject, "", rounds))
    found = [one.word for one in bars.verdicts(result) if one.title == "admission review, CPU"]
    assert found == [bars.OK, bars.MISS]
