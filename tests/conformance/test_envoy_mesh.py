"""Success rates over hosts, and admission control, against Envoy."""

import http.client
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from statistics import fmean, pstdev
from typing import Any

import grpc
import pytest

from rules.breakers import figures as of
from rules.breakers.figures import MILLION, OPEN, Figures
from rules.breakers.keeper import Breakers
from tests.conformance.breakers.mesh import call, listener, see
from tests.conformance.breakers.pipes import HOSTS, Connection, cluster, envoy, pipe, route
from tests.support.need import step_aside
from tests.support.proxy import Proxy, rule

TRACES = 32  # for each of the two
INTERVAL = 2.0  # seconds between Envoy's looks at a cluster
EJECTED = 5.0  # seconds of an ejection
PATIENCE = 20.0
SIMULATED = 60  # of our own, for what is decided by chance
CALLS = 120
_ADMISSION = "type.googleapis.com/envoy.extensions.filters.http.admission_control.v3.AdmissionControl"


def outlier(number: int) -> Figures:
    """Give the figures of cluster ``number``."""
    dice = Random(number)
    made = Figures(of.ENVOY)
    made.interval, made.open_for = int(INTERVAL * MILLION), int(EJECTED * MILLION)
    made.consecutive_failures = 0
    made.minimum_hosts = dice.choice((3, 5, 6, 6))
    made.request_volume = dice.choice((4, 6, 8))
    made.stdev_factor = dice.choice((500, 1000, 1300, 1900, 2200))
    made.max_ejection = dice.choice((MILLION, MILLION, MILLION, 330_000, 340_000, 100_000))
    return made


def as_cluster(number: int, folder: Path) -> dict[str, Any]:
    """Write them as Envoy's."""
    made = outlier(number)
    detection = {
        "interval": f"{INTERVAL}s",
        "base_ejection_time": f"{EJECTED}s",
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "success_rate_minimum_hosts": made.minimum_hosts,
        "success_rate_request_volume": made.request_volume,
        "success_rate_stdev_factor": made.stdev_factor,
        "max_ejection_percent": made.max_ejection // 10_000,
    }
    return cluster(f"t{number}", folder, HOSTS, outlier_detection=detection)


def admission(number: int) -> Figures:
    """Give the figures of the listener ``number``."""
    dice = Random(number)
    made = Figures(of.ADMISSION)
    made.window_buckets = 20
    made.window_time = 20 * MILLION
    made.aggression = dice.choice((1.0, 1.0, 1.5, 3.0))
    made.sr_threshold = dice.choice((950_000, 950_000, 500_000, MILLION, 700_000))
    made.rps_threshold = dice.choice((0, 0, 0, 2, 100))
    made.max_rejection = dice.choice((800_000, 800_000, MILLION, 300_000))
    return made


def as_listener(number: int, folder: Path) -> dict[str, Any]:
    """Write them as Envoy's."""
    made = admission(number)
    filter_config = {
        "@type": _ADMISSION,
        "success_criteria": {},
        "sampling_window": f"{made.window_time // MILLION}s",
        "aggression": {"default_value": made.aggression, "runtime_key": f"a{number}"},
        "sr_threshold": {"default_value": {"value": made.sr_threshold / 10_000}, "runtime_key": f"s{number}"},
        "rps_threshold": {"default_value": made.rps_threshold, "runtime_key": f"r{number}"},
        "max_rejection_probability": {
            "default_value": {"value": made.max_rejection / 10_000},
            "runtime_key": f"m{number}",
        },
    }
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "plain", "metadata_match": _FIRST}}]
    return listener(pipe(folder / f"a{number}"), routes, {"name": "admission", "typed_config": filter_config})


_FIRST = {"filter_metadata": {"envoy.lb": {"host": "0"}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where Envoy's listeners are: ``web``, and ``a0``, ``a1`` … with admission control."""
    here = tmp_path_factory.mktemp("envoy")
    clusters = [cluster("plain", here, 1), *(as_cluster(number, here) for number in range(TRACES))]
    probe = {
        "interval": f"{INTERVAL}s",
        "base_ejection_time": "0.1s",
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "success_rate_request_volume": 1,
        "max_ejection_percent": 100,
    }
    clusters.append(cluster("probe", here, HOSTS, outlier_detection=probe))
    names = ["probe", *(f"t{number}" for number in range(TRACES))]
    routes = [route(f"/{name}/h{host}/", name, host) for name in names for host in range(HOSTS)]
    listeners = [as_listener(number, here) for number in range(TRACES)]
    with envoy(here, [*listeners, listener(pipe(here / "web"), routes)], clusters):
        yield here


def calls_of(number: int) -> list[tuple[int, bool]]:
    """Make the trace of cluster ``number``: which host is asked, and whether it fails."""
    dice = Random(1000 + number)
    bad = [dice.choice((0.0, 0.0, 0.1, 0.3, 0.9)) for _ in range(HOSTS)]
    volume = [dice.choice((8, 8, 8, 5)) for _ in range(HOSTS)]
    made = [(host, dice.random() < bad[host]) for host in range(HOSTS) for _ in range(volume[host])]
    dice.shuffle(made)
    return made


def ours_ejects(number: int) -> tuple[set[int], bool]:
    """Say whom ours ejects, and whether there were more than may be."""
    made = outlier(number)
    all_of_them = outlier(number)
    all_of_them.max_ejection = MILLION
    ejected: list[set[int]] = []
    for figures in (made, all_of_them):
        breakers = Breakers("a", figures)
        for host in range(HOSTS):
            breakers.admit(b"%d" % host, 0)
        for host, fails in calls_of(number):
            passed = breakers.admit(b"%d" % host, 1)
            assert passed is not None
            passed.judge(1, fails, False)
        breakers.admit(b"0", figures.interval)
        ejected.append({host for host in range(HOSTS) if breakers.keys[b"%d" % host].state == OPEN})
    return ejected[0], ejected[0] != ejected[1]


def begin_interval(web: Connection) -> None:
    """Wait for Envoy to look at all clusters: then it ejects the host 0 of the cluster ``probe``."""
    until = time.monotonic() + PATIENCE
    ejected = True
    while True:
        assert time.monotonic() < until, "Envoy does not look at its clusters"
        before, ejected = ejected, web.status("/probe/h0/500") == 503
        if ejected and not before:
            time.sleep(0.2)  # it looks at one after the other
            return
        for host in range(1, HOSTS):
            web.status(f"/probe/h{host}/200")
        time.sleep(0.005)


def envoy_ejects(web: Connection) -> dict[int, set[int]]:
    """Take Envoy through the traces within one interval; gives whom it ejects at its end, {}: too slow."""
    begin_interval(web)
    begun = time.monotonic()
    for number in range(TRACES):
        for host, fails in calls_of(number):
            web.status(f"/t{number}/h{host}/{500 if fails else 200}")
    if time.monotonic() - begun > INTERVAL * 0.7:
        return {}
    time.sleep(begun + INTERVAL * 1.3 - time.monotonic())
    seen = {number: ejected(web, number) for number in range(TRACES)}
    return seen if time.monotonic() - begun < EJECTED else {}


def ejected(web: Connection, number: int) -> set[int]:
    """Name the hosts of a cluster that are not asked."""
    return {host for host in range(HOSTS) if web.status(f"/t{number}/h{host}/200") == 503}


def test_whom_success_rates_eject(folder: Path) -> None:
    wanted = [ours_ejects(number) for number in range(TRACES)]
    assert sum(bool(hosts) for hosts, _ in wanted) > TRACES / 3
    assert any(capped for _, capped in wanted)
    wrong: list[str] | None = None
    with closing(Connection(folder / "web")) as web:
        for _ in range(4):  # on a busy machine one of its looks may cut a trace in two
            seen = envoy_ejects(web)
            if seen:
                wrong = [disagreement(number, seen[number], *hosts) for number, hosts in enumerate(wanted)]
                if not any(wrong):
                    return
            while any(ejected(web, number) for number in range(TRACES)):
                time.sleep(INTERVAL / 2)
    if wrong is None:
        step_aside("this machine is too busy for a thousand calls in a second and a half")
    raise AssertionError("\n".join(filter(None, wrong)))


def disagreement(number: int, seen: set[int], wanted: set[int], capped: bool) -> str:
    """Say what is not as it should be; of too many hosts, which ones is up to the order of a hash map."""
    same = len(seen) == len(wanted) if capped else seen == wanted
    return "" if same else f"cluster {number}: Envoy ejects {seen}, ours {wanted}"


def trace_of(number: int) -> list[bool]:
    """Make the trace of listener ``number``: which calls fail, more of them in its second half."""
    dice = Random(2000 + number)
    first, second = dice.choice((0.0, 0.1, 0.6)), dice.choice((0.3, 0.9, 1.0))
    return [dice.random() < (first if place < CALLS / 2 else second) for place in range(CALLS)]


def ours_sheds(number: int, dice: Random) -> list[int]:
    """Take ours through the trace; gives how many calls it sheds in each half."""
    breakers = Breakers("a", admission(number))
    shed = [0, 0]
    for place, fails in enumerate(trace_of(number)):
        passed = breakers.admit(b"", 0, dice.random())
        if passed is None:
            shed[2 * place // CALLS] += 1
        else:
            passed.judge(0, fails, False)
    return shed


def envoy_sheds(folder: Path, number: int) -> list[int]:
    """Take Envoy through it."""
    shed = [0, 0]
    with closing(Connection(folder / f"a{number}")) as web:
        for place, fails in enumerate(trace_of(number)):
            shed[2 * place // CALLS] += web.status("/500" if fails else "/200") == 503
    return shed


def test_how_much_admission_control_sheds(folder: Path) -> None:
    """In each half of each trace Envoy sheds as many calls as ours does, give or take six deviations."""
    some = none = 0
    for number in range(TRACES):
        runs = [ours_sheds(number, Random(seed)) for seed in range(SIMULATED)]
        for half, seen in enumerate(envoy_sheds(folder, number)):
            mean, deviation = fmean(run[half] for run in runs), pstdev(run[half] for run in runs)
            wide = 6 * deviation + (3.0 if deviation else 0.0)
            assert abs(seen - mean) <= wide, (number, half, seen, mean, deviation)
            some += mean > 5
            none += mean == 0
    assert some > TRACES / 2
    assert none > 5


def test_what_is_shed_is_the_same_answer(folder: Path, tmp_path: Path) -> None:
    number = next(n for n in range(TRACES) if admission(n).max_rejection == MILLION)
    until = time.monotonic() + 20
    with closing(Connection(folder / f"a{number}")) as web:
        while (theirs := see(web, "/500")).status != 503:
            assert time.monotonic() < until
        while (their_call := call(f"unix:{folder / f'a{number}'}"))[0] is not grpc.StatusCode.UNAVAILABLE:
            web.status("/500")
            assert time.monotonic() < until
    running = Proxy(tmp_path, "127.0.0.1:9")
    try:
        shedding = {"profile": "admission_control", "max_rejection_probability": 100}
        running.put(rule("shed", {"breaker": shedding}))
        with closing(http.client.HTTPConnection(running.address, timeout=20)) as connection:
            while (ours := see(connection, "/500")).status != 503:
                assert ours.status == 502
        assert ours == theirs
        while (our_call := call(running.address)) != their_call:
            assert our_call[1], "those that pass are told why there is no upstream"
    finally:
        running.stop()
