"""Each part of ``match`` over real traffic: what it means is hit, the nearest other thing is not."""

import pytest

from tests.e2e.conftest import Launch
from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import Scripted
from tests.support.wire import Wire, get, request

_SOCKET = (
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
)

# what the rule asks for, a request that it means, one that it does not
_CASES: list[tuple[Rule, bytes, bytes]] = [
    ({"host": "pay.example"}, get(host="PAY.example:81"), get(host="xpay.example")),
    ({"host": {"suffix": ".example"}}, get(host="a.b.example"), get(host="example")),
    ({"host": {"prefix": "pay."}}, get(host="pay.test"), get(host="repay.test")),
    ({"host": {"regex": "^p[a-z]y"}}, get(host="pay.test"), get(host="p1y.test")),
    ({"path": "/a"}, get("/a?b"), get("/a/")),
    ({"path": {"prefix": "/a/"}}, get("/a/b"), get("/a")),
    ({"path": {"suffix": ".css"}}, get("/x.css"), get("/x.css/y")),
    ({"path": {"regex": "b+$"}}, get("/abbb"), get("/abbbc")),
    ({"path": {"template": "/orders/{id}/pay"}}, get("/orders/7/pay"), get("/orders/7/8/pay")),
    ({"path": {"not": "/a"}}, get("/b"), get("/a")),
    ({"path": "/a%2Fb"}, get("/a%2Fb"), get("/a/b")),
    ({"method": ["POST", "PUT"]}, request("PUT", "/", body=b""), get()),
    ({"query": {"debug": "1"}}, get("/?x=2&debug=1"), get("/?debug=11")),
    ({"query": {"debug": {"present": True}}}, get("/?debug"), get("/?xdebug=1")),
    ({"query": {"tag": "b"}}, get("/?tag=a&tag=b"), get("/?tag=a&tag=c")),
    ({"headers": {"x-tier": "gold"}}, get("/", "X-Tier: gold"), get("/", "x-tier: goldish")),
    ({"headers": {"X-Tier": "gold"}}, get("/", "x-tier: silver", "x-tier: gold"), get()),
    ({"headers": {"x-a": {"present": True}}}, get("/", "x-a: 1"), get()),
    ({"headers": {"x-a": {"present": False}}}, get(), get("/", "x-a: 1")),
    ({"headers": {"x-canary": {"not": "true"}}}, get(), get("/", "x-canary: true")),
    (
        {"headers": {"user-agent": {"regex": "^curl/"}}},
        get("/", "user-agent: curl/8"),
        get("/", "user-agent: x curl/"),
    ),
    ({"protocol": ["websocket"]}, get("/", *_SOCKET), get()),
    ({"protocol": ["http1"]}, get(), b""),
    ({"protocol": ["grpc"]}, b"", request("POST", "/s/m", "content-type: application/grpc", body=b"")),
    ({"attempt": [1]}, get(), get("/", "x-envoy-attempt-count: 2")),
    ({"attempt": [2, 3]}, get("/", "x-envoy-attempt-count: 3"), get("/", "x-envoy-attempt-count: 4")),
    ({"source": ["127.0.0.0/8"]}, get(), b""),
    ({"source": ["10.0.0.0/8", "::1/128"]}, b"", get()),
    ({"listener": ["web"]}, get(), b""),
    ({"listener": ["other"]}, b"", get()),
    ({"upstream": ["shop"]}, get(), b""),
    ({"upstream": ["other"]}, b"", get()),
    ({"path": "/a", "method": ["GET"], "headers": {"x-b": "1"}}, get("/a", "x-b: 1"), get("/a", "x-b: 2")),
]


@pytest.mark.parametrize(
    ("match", "meant", "other"), _CASES, ids=lambda value: str(value) if isinstance(value, dict) else ""
)
def test_match(proxy: Proxy, shop: Scripted, match: Rule, meant: bytes, other: bytes) -> None:
    # 403 is nothing that the upstream says.
    proxy.put(rule("hit", {"abort": {"status": 403, "headers": {"x-hit": "yes"}}}, match=match))
    for asked, hit in [(meant, True), (other, False)]:
        if asked:
            with Wire.to(proxy.address) as wire:
                answer = wire.ask(asked)
                assert (answer.all("x-hit") == ["yes"]) is hit


def test_explain_agrees(proxy: Proxy, shop: Scripted) -> None:
    """What ``/v1/explain`` says would happen is what happens."""
    proxy.put(
        rule("gold", {"abort": 503}, match={"path": {"prefix": "/pay"}, "headers": {"x-tier": "gold"}}),
        rule("slow", {"delay": "1ms"}),
    )
    told = proxy.admin(
        "POST", "/v1/explain", {"method": "GET", "path": "/pay/1", "headers": {"x-tier": "gold"}}
    )
    by_name = {one["rule"]: one for one in told["rules"]}
    assert (by_name["gold"]["outcome"], by_name["slow"]["failed"]) == ("fires", None)
    told = proxy.admin(
        "POST", "/v1/explain", {"method": "GET", "path": "/pay/1", "headers": {"x-tier": "tin"}}
    )
    by_name = {one["rule"]: one for one in told["rules"]}
    assert (by_name["gold"]["outcome"] != "fires", by_name["slow"]["outcome"]) == (True, "fires")
    assert "x-tier" in str(by_name["gold"]["failed"])
    assert proxy.metric("misrule_rule_matches_total") == 0, "explaining counts nothing"


def test_rules_by_listener_and_upstream(launch: Launch, shop: Scripted) -> None:
    proxy = launch(
        config={
            "listeners": [
                {
                    "name": name,
                    "address": "127.0.0.1:0",
                    "routes": [
                        {"match": {"path": {"prefix": "/pay"}}, "upstream": "pay"},
                        {"upstream": "shop"},
                    ],
                }
                for name in ["inside", "outside"]
            ],
            "upstreams": {"shop": {"address": shop.address}, "pay": {"address": shop.address}},
        }
    )
    proxy.put(
        rule("one", {"abort": 501}, match={"listener": ["outside"], "upstream": ["shop"]}),
        rule("two", {"abort": 502}, match={"upstream": ["pay"]}),
    )
    seen = {}
    for name, address in proxy.listeners.items():
        for path in ["/x", "/pay/x"]:
            with Wire.to(address) as wire:
                seen[name, path] = wire.ask(get(path)).status
    assert seen == {
        ("inside", "/x"): 200,
        ("inside", "/pay/x"): 502,
        ("outside", "/x"): 501,
        ("outside", "/pay/x"): 502,
    }


def test_many_rules_and_one_that_matches(proxy: Proxy, shop: Scripted) -> None:
    """Ten rules of every shape among a thousand others: the index finds just the right ones."""
    others = [rule(f"r{number}", {"abort": 500}, match={"path": f"/p/{number}"}) for number in range(500)]
    others += [rule(f"h{number}", {"abort": 500}, match={"host": f"h{number}.test"}) for number in range(500)]
    proxy.put(*others, rule("last", {"abort": 418}, match={"path": {"regex": "z$"}}, priority=1))
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/p/77")).status == 500
        assert wire.ask(get("/p/77z")).status == 418
        assert wire.ask(get("/p/777")).status == 200
        assert wire.ask(get("/", host="h499.test")).status == 500
        assert wire.ask(get("/z", host="h499.test")).status == 418
        assert wire.ask(get("/", host="h500.test")).status == 200
