"""Where a request goes: the first route that matches, targets by exact shares."""

from collections import Counter

import pytest

from proxy.listener import Listener, Route, Target
from proxy.metrics.cells import ListenerCells, RouteCells, UpstreamCells
from proxy.net.pool import ROUND_ROBIN, Endpoint, Upstream
from proxy.wire.h1_head import Head
from rules.matchers import Matcher, compile_text
from rules.model import Text


def target(name: str, weight: int = 1) -> Target:
    pool = Upstream(
        name, [Endpoint(0, "h", 1, "", 1)], ROUND_ROBIN, UpstreamCells(name), 1, 1, 1, 1, 1, True, 0
    )
    return Target(pool, weight, RouteCells("web", name))


def head(host: bytes = b"a", path: bytes = b"/", **fields: list[bytes]) -> Head:
    made = Head(b"")
    made.host, made.path = host, path
    made.fields = {name.replace("_", "-").encode(): values for name, values in fields.items()} or None
    return made


def exactly(value: str) -> Matcher:
    return compile_text(Text("exact", value))


def listener(*routes: Route) -> Listener:
    cells = RouteCells("web", "")
    return Listener("web", ListenerCells("web"), cells, list(routes), 0, 1, 1, 1, 1, 1.0, 1.0, 1.0)


ABSENT = compile_text(Text("present", wanted=False))
BOTH = [(b"a", exactly("1")), (b"b", exactly("2"))]
NOT_1 = compile_text(Text("not", negated=Text("exact", "1")))


@pytest.mark.parametrize(
    ("route", "asked", "matches"),
    [
        (Route(None, None, [], []), head(), True),
        (Route(exactly("a"), None, [], []), head(), True),
        (Route(exactly("b"), None, [], []), head(), False),
        (Route(None, exactly("/"), [], []), head(), True),
        (Route(None, exactly("/x"), [], []), head(), False),
        (Route(exactly("a"), exactly("/x"), [], []), head(), False),
        (Route(None, None, [(b"x-a", exactly("1"))], []), head(x_a=[b"1"]), True),
        (Route(None, None, [(b"x-a", exactly("1"))], []), head(x_a=[b"2", b"1"]), True),
        (Route(None, None, [(b"x-a", exactly("1"))], []), head(x_a=[b"2"]), False),
        (Route(None, None, [(b"x-a", exactly("1"))], []), head(), False),
        (Route(None, None, [(b"x-a", exactly("1"))], []), head(x_b=[b"1"]), False),
        (Route(None, None, [(b"x-a", ABSENT)], []), head(), True),
        (Route(None, None, [(b"x-a", ABSENT)], []), head(x_a=[b""]), False),
        (Route(None, None, [(b"x-a", NOT_1)], []), head(), True),
        (Route(None, None, BOTH, []), head(a=[b"1"], b=[b"2"]), True),
        (
            Route(None, None, BOTH, []),
            head(a=[b"1"], b=[b"3"]),
            False,
        ),
    ],
)
def test_a_route_matches_when_all_its_conditions_hold(route: Route, asked: Head, matches: bool) -> None:
    assert route.matches(asked) == matches


def test_the_first_route_that_matches_is_taken() -> None:
    narrow, wide = target("narrow"), target("wide")
    web = listener(Route(None, exactly("/x"), [], [narrow]), Route(None, None, [], [wide]))
    assert web.route(head(path=b"/x")) is narrow
    assert web.route(head()) is wide
    assert listener(Route(exactly("b"), None, [], [wide])).route(head()) is None


@pytest.mark.parametrize("weights", [[95, 5], [1, 1, 1], [3, 1], [1, 0]])
def test_targets_get_exact_shares(weights: list[int]) -> None:
    route = Route(None, None, [], [target(str(number), weight) for number, weight in enumerate(weights)])
    seen = Counter(route.choose().upstream.name for _ in range(10 * sum(weights)))
    assert [seen[str(number)] for number in range(len(weights))] == [10 * weight for weight in weights]


def test_shares_are_spread_evenly() -> None:
    route = Route(None, None, [], [target("a", 3), target("b", 1)])
    assert "".join(route.choose().upstream.name for _ in range(8)) == "aabaaaba"


def test_where_there_is_one_place_it_is_known_at_once() -> None:
    one = target("one")
    assert listener(Route(None, None, [], [one])).only is one
    assert listener(Route(exactly("a"), None, [], [one])).only is None
    assert listener(Route(None, None, [], [one, target("two")])).only is None
    assert listener(Route(None, exactly("/"), [], [one]), Route(None, None, [], [one])).only is None
    assert listener().only is None
