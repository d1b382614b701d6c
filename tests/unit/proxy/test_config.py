"""The configuration: what is read, what is refused and where, and that one table says it all."""

from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from proxy.config import Config, OptionsError, from_options, load, options, parse, with_options
from proxy.config.addresses import Address, collide, is_loopback, split_address
from proxy.config.command_line import upstream_address
from proxy.config.kinds import KINDS
from proxy.config.schema import config_schema
from proxy.config.tables import described, param_of, written
from rules.model import Text
from rules.params import BadValue
from rules.text import Problem, RulesError

SMALL = """\
version: 1
listeners:
  - {name: web, address: ":8080", routes: [{upstream: default}]}
upstreams: {default: {address: "127.0.0.1:3000"}}
"""

FULL = """\
version: 1
listeners:
  - name: web
    address: "[::1]:8080"
    protocol: http
    trusted_hops: 2
    limits: {head_size: 16KiB, headers: 50, connections: 200, drain: 1MiB}
    timeouts: {head: 2s, handshake: 3s, idle: 1m, drain: 500ms}
    tls: {mode: auto, certificate: a.pem, key: a.key, client_auth: required, client_ca: ca.pem,
          min_version: 1.3}
    routes:
      - match: {host: {suffix: .example}, path: {prefix: /pay}, headers: {X-Canary: "true"}}
        upstreams: [{upstream: stable, weight: 95}, {upstream: canary, weight: 5}]
      - {upstream: stable}
  - {name: local, address: "unix:/run/misrule.sock", routes: [{upstream: canary}]}
upstreams:
  stable:
    address: [a.example:80, {address: "b.example:80", weight: 3}]
    protocol: http1
    balance: least_requests
    timeouts: {connect: 1s, response_head: 2s, idle: 3s}
    pool: {max_connections: 10, max_idle: 0}
    retry: {reused_connection: false, attempts: 2}
    tls: {ca: up.pem, crl: up.crl, server_name: up.example, certificate: me.pem}
    health:
      {http: /healthz, host: h, expect: [200, 300-399], interval: 2s, timeout: 500ms, healthy_after: 1,
       unhealthy_after: 5, when_all_unhealthy: fail}
  canary: {address: "unix:/run/canary.sock"}
rules: [rules.yaml, rules.d]
certs: {dir: certs}
admin: {address: "0.0.0.0:9905", token_file: token, hosts: [misrule.example]}
health: {}
workers: 1
log: {format: text, level: warning, access: all}
drain: {grace: 2m}
"""


def problems(text: str) -> list[str]:
    """Every problem of a configuration, without the file's name."""
    with pytest.raises(RulesError) as raised:
        parse(text.encode(), "m.yaml")
    return [str(problem).removeprefix("m.yaml:") for problem in raised.value.problems]


def warnings(text: str) -> list[str]:
    """Every warning of a configuration that is right."""
    found: list[Problem] = []
    parse(text.encode(), "m.yaml", found)
    return [str(problem).removeprefix("m.yaml:") for problem in found]


def test_a_small_file_gets_the_documented_defaults() -> None:
    config = parse(SMALL.encode(), "m.yaml")
    listener, upstream = config.listeners[0], config.upstreams["default"]
    assert listener.address == "0.0.0.0:8080"
    assert listener.limits == options.Limits(65536, 100, 10_000, 16 * 1024 * 1024)
    assert listener.timeouts == options.ListenerTimeouts(10.0, 10.0, 300.0, 30.0)
    assert listener.routes[0].targets == (("default", 1),)
    assert listener.routes[0].match.catches_all
    assert (upstream.name, upstream.addresses, upstream.weights) == ("default", ["127.0.0.1:3000"], [1])
    assert upstream.timeouts == options.UpstreamTimeouts(5.0, 60.0, 300.0)
    assert upstream.pool == options.PoolConfig(1024, 64)
    assert upstream.retry == options.RetryConfig(True, 0)
    assert upstream.health is None
    assert (config.admin, config.health, config.workers, config.rules) == (None, None, 1, [])
    assert config.log == options.LogConfig("json", "info", "injected")
    assert config.drain.grace == 10.0


@pytest.mark.parametrize(
    ("written", "kind"),
    [("http: /x", ("/x", None, False)), ('grpc: ""', (None, "", False)), ("tcp: true", (None, None, True))],
)
def test_a_health_check_gets_the_documented_defaults(
    written: str, kind: tuple[str | None, str | None, bool]
) -> None:
    text = SMALL.replace("{address:", f"{{health: {{{written}}}, address:")
    check = parse(text.encode(), "m.yaml").upstreams["default"].health
    assert check == options.HealthCheck(*kind, "", ((200, 299),), 10.0, 1.0, 2, 3, "use_all")


def test_a_full_file_is_read_to_the_last_option() -> None:
    config = parse(FULL.encode(), "m.yaml")
    web, local = config.listeners
    assert (web.address, web.protocol, web.trusted_hops) == ("[::1]:8080", "http", 2)
    assert web.limits == options.Limits(16384, 50, 200, 1 << 20)
    assert web.timeouts == options.ListenerTimeouts(2.0, 3.0, 60.0, 0.5)
    assert web.tls == options.ListenerTls("auto", "a.pem", "a.key", "required", "ca.pem", False, "1.3")
    assert local.tls.mode == "none"
    assert web.routes[0].targets == (("stable", 95), ("canary", 5))
    assert web.routes[0].match.host == Text("suffix", ".example")
    assert web.routes[0].match.path == Text("prefix", "/pay")
    assert web.routes[0].match.headers == (("x-canary", Text("exact", "true")),)
    assert not web.routes[0].match.catches_all
    assert local.address == "unix:/run/misrule.sock"
    stable = config.upstreams["stable"]
    assert (stable.addresses, stable.weights) == (["a.example:80", "b.example:80"], [1, 3])
    assert (stable.protocol, stable.balance) == ("http1", "least_requests")
    assert stable.timeouts == options.UpstreamTimeouts(1.0, 2.0, 3.0)
    assert stable.tls == options.UpstreamTls(True, "up.pem", "up.crl", "up.example", "me.pem")
    assert config.upstreams["canary"].tls is None
    assert config.certs == options.CertsConfig("certs")
    assert stable.pool == options.PoolConfig(10, 0)
    assert stable.retry == options.RetryConfig(False, 2)
    expect = ((200, 200), (300, 399))
    assert stable.health == options.HealthCheck("/healthz", None, False, "h", expect, 2.0, 0.5, 1, 5, "fail")
    assert config.rules == ["rules.yaml", "rules.d"]
    assert config.admin == options.AdminConfig("0.0.0.0:9905", "token", ["misrule.example"])
    assert config.health == options.HealthConfig("0.0.0.0:9906")
    assert config.log == options.LogConfig("text", "warning", "all")
    assert config.drain.grace == 120.0


def test_json_is_read_by_the_same_rules() -> None:
    as_json = msgspec.json.encode(yaml.safe_load(FULL))
    assert parse(as_json, "m.json") == parse(FULL.encode(), "m.yaml")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "misrule.yaml"
    file.write_text(FULL)
    config = load(str(file))
    assert config.rules == [str(tmp_path / "rules.yaml"), str(tmp_path / "rules.d")]
    assert config.admin is not None
    assert config.admin.token_file == str(tmp_path / "token")
    web, upstream = config.listeners[0].tls, config.upstreams["stable"].tls
    assert (web.certificate, web.client_ca) == (str(tmp_path / "a.pem"), str(tmp_path / "ca.pem"))
    assert upstream is not None
    assert (upstream.crl, upstream.key) == (str(tmp_path / "up.crl"), "")
    assert config.certs.dir == str(tmp_path / "certs")


def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.yaml")
    with pytest.raises(RulesError, match="cannot read the file: no such file or directory") as raised:
        load(missing)
    assert str(raised.value.problems[0]).startswith(f"{missing}: ")


def test_many_mistakes_are_reported_at_once_in_order_of_place() -> None:
    text = """\
version: 2
listeners:
  - name: Web
    address: 0.0.0.0:80800
    protocol: tcpp
    tls: {mode: terminating}
    limits: {head_size: 64, headrs: 3}
    timeouts: {head: 10}
    routes:
      - {upstream: nope}
upstreams:
  default: {address: localhost, balance: rnd}
workers: auto
log: {acess: all}
"""
    assert problems(text) == [
        "1:10: version: expected 1, the version of this format, got 2",
        "3:11: listeners[0].name: expected a name of a-z, 0-9, dot, dash and underscore, at most 63 "
        'characters, got "Web"',
        '4:14: listeners[0].address: a port is a number from 0 to 65535, got "80800" in "0.0.0.0:80800"',
        '5:15: listeners[0].protocol: expected auto, http, http1, http2 or tcp, got "tcpp"; did you mean '
        '"tcp"?',
        "6:17: listeners[0].tls.mode: expected none, terminate, passthrough or auto, got "
        '"terminating"; did you mean "terminate"?',
        "7:25: listeners[0].limits.head_size: expected a size such as 100B, 64KiB or 1MB, got 64; a bare "
        "number has no unit: use B, KB, MB, GB, KiB, MiB or GiB",
        '7:29: listeners[0].limits.headrs: unknown key "headrs"; did you mean "headers"?',
        "8:22: listeners[0].timeouts.head: expected a duration such as 100ms, 1.5s, 10m or 1h, got 10; a bare"
        " number has no unit: use ms, s, m or h",
        '10:20: listeners[0].routes[0].upstream: there is no upstream "nope"; upstreams: default',
        '12:22: upstreams.default.address: "localhost" has no port; expected an address (host:port, '
        "[ipv6]:port or unix:/path)",
        '12:42: upstreams.default.balance: expected round_robin, least_requests or random, got "rnd"; '
        'did you mean "random"?',
        '13:10: workers: "auto": more than one worker is not supported by this version yet',
        '14:7: log.acess: unknown key "acess"; did you mean "access"?',
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("tracing: {}", '5:1: tracing: "tracing" is not supported by this version'),
        ("workers: 2", "5:10: workers: 2: more than one worker is not supported by this version yet"),
        ("admin: {tls: {}}", '5:9: admin.tls: "tls" is not supported by this version'),
        ("adminn: {}", '5:1: adminn: unknown key "adminn"; did you mean "admin"?'),
    ],
)
def test_keys_of_later_versions_are_refused_by_name(line: str, problem: str) -> None:
    (found,) = problems(SMALL + line + "\n")
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("system", ("system",)),
        ("10.0.0.2", ("10.0.0.2:53",)),
        ("[10.0.0.2, '10.0.0.3:5353']", ("10.0.0.2:53", "10.0.0.3:5353")),
        ("['::1', '[::1]', '[fd00::1]:5353']", ("[::1]:53", "[::1]:53", "[fd00::1]:5353")),
    ],
)
def test_resolvers_are_read_with_their_ports(written: str, read: tuple[str, ...]) -> None:
    assert parse((SMALL + f"dns: {{resolvers: {written}}}\n").encode(), "m.yaml").dns.resolvers == read


def test_the_dns_listener_is_read() -> None:
    assert parse((SMALL + "dns: {listen: ':5353'}\n").encode(), "m.yaml").dns.listen == "0.0.0.0:5353"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SMALL + "dns: {listen: unix:/run/dns}\n", "dns.listen: expected an address"),
        (SMALL + "dns: {listen: ':8080'}\n", "dns.listen: 0.0.0.0:8080 is taken by listener"),
        (SMALL.replace("name: web", "name: dns") + "dns: {listen: ':53'}\n", 'the name "dns" is taken by'),
    ],
)
def test_a_dns_listener_that_cannot_be_is_refused(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert problem in found


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("[]", "dns.resolvers: expected a list"),
        ("[system, 10.0.0.2]", "dns.resolvers: system stands alone"),
        ("ns.example", "dns.resolvers: expected system, or the IP address of a resolver"),
        ("5", "dns.resolvers: expected system, or the IP address of a resolver"),
        ("10.0.0.2:0", "dns.resolvers: a port is a number from 1"),
    ],
)
def test_resolvers_that_are_none_are_refused(written: str, problem: str) -> None:
    (found,) = problems(SMALL + f"dns: {{resolvers: {written}}}\n")
    assert problem in found


LISTENER = '{name: web, address: ":8080", routes: [{upstream: default}]'
UPSTREAM = '"127.0.0.1:3000"'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SMALL.replace("{address:", "{protocol: udp, address:"), "default.protocol: expected auto, http1,"),
        (
            SMALL.replace("{address:", "{health: {}, address:"),
            "4:31: upstreams.default.health: expected exactly one of http, grpc, tcp; got none",
        ),
        (
            SMALL.replace("{address:", '{health: {http: /, grpc: ""}, address:'),
            "4:31: upstreams.default.health: expected exactly one of http, grpc, tcp; got http and grpc",
        ),
        (
            SMALL.replace("{address:", "{health: {tcp: true, host: a}, address:"),
            "4:49: upstreams.default.health.host: a tcp check has no use for it; only with http or grpc",
        ),
        (
            SMALL.replace("{address:", "{health: {grpc: a.B, expect: 200}, address:"),
            "4:51: upstreams.default.health.expect: a grpc check has no use for it; only with http",
        ),
        (
            SMALL.replace("{address:", "{health: {grpc: a.B}, protocol: http1, address:"),
            "4:38: upstreams.default.health.grpc: gRPC is spoken over HTTP/2, and the protocol of this",
        ),
        (
            SMALL.replace("{address:", "{health: {http: healthz}, address:"),
            'health.http: expected a path such as /healthz, of visible ASCII, got "healthz"',
        ),
        (
            SMALL.replace("{address:", "{health: {tcp: true, interval: 50ms}, address:"),
            "health.interval: expected a duration from 100ms to 24h",
        ),
        (
            SMALL.replace("{address:", "{health: {tcp: true, when_all_unhealthy: use}, address:"),
            'when_all_unhealthy: expected use_all or fail, got "use"; did you mean "use_all"?',
        ),
        (SMALL.replace("upstream: default", "upstream: defualt"), 'did you mean "default"?'),
        (SMALL.replace("upstream: default", "upstreams: []"), "listeners[0].routes[0].upstreams: expected"),
        (SMALL.replace("{upstream: default}", "{}"), "expected exactly one of upstream, upstreams; got none"),
        (SMALL.replace("[{upstream: default}]", "[]"), "listeners[0].routes: expected a list"),
        (
            SMALL.replace("upstream: default", "upstreams: [default, {upstream: other}]"),
            'listeners[0].routes[0].upstreams[1].upstream: there is no upstream "other"',
        ),
        (
            SMALL.replace("upstream: default", "upstreams: [default, default]"),
            'listeners[0].routes[0].upstreams: "default" is given twice',
        ),
        (SMALL.replace(UPSTREAM, "[]"), "upstreams.default.address: expected"),
        (SMALL.replace(UPSTREAM, '["a:1", "a:1"]'), 'upstreams.default.address: "a:1" is given twice'),
        (SMALL.replace(UPSTREAM, '"127.0.0.1:8080"'), 'is listener "web": requests would go round'),
        (SMALL.replace(UPSTREAM, '["a:1", "localhost:8080"]'), "upstreams.default.address[1]"),
        (SMALL.replace(UPSTREAM, '"127.0.0.1:9905"') + "admin: {}\n", "no traffic may reach it this"),
        (SMALL.replace(":8080", "127.0.0.1:9905") + "admin:\n", "127.0.0.1:9905 is taken by listener"),
        (SMALL.replace(":8080", ":9905") + "admin: {}\n", "127.0.0.1:9905 is taken by listener"),
        (SMALL + 'health: {address: ":8080"}\n', 'health.address: 0.0.0.0:8080 is taken by listener "web"'),
        (SMALL + 'admin: {address: ":9905"}\n', "admin.address: 0.0.0.0:9905 can be reached"),
        (SMALL + "admin: {address: box:9905}\n", "give a token_file (--token-file), or listen on 127.0.0.1"),
    ],
)  # fmt: skip
def test_each_mistake_is_found(text: str, found: str) -> None:
    (problem,) = problems(text)
    assert found in problem


def two(first: str, second: str) -> str:
    """A configuration with two listeners."""
    items = "".join(f"  - {{{item}, routes: [{{upstream: default}}]}}\n" for item in (first, second))
    return f'version: 1\nlisteners:\n{items}upstreams: {{default: {{address: "h:1"}}}}\n'


def test_two_listeners_may_not_share_a_name_or_an_address() -> None:
    text = two('name: web, address: "127.0.0.1:80"', 'name: web, address: ":80"')
    assert problems(text) == [
        '4:12: listeners[1].name: the name "web" is taken by listeners[0]',
        '4:26: listeners[1].address: 0.0.0.0:80 is taken by listener "web"; each needs an address of its own',
    ]


def test_two_listeners_may_both_ask_for_a_free_port() -> None:
    assert warnings(two('name: a, address: "127.0.0.1:0"', 'name: b, address: "127.0.0.1:0"')) == []


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ("[{upstream: a}, {match: {path: /x}, upstream: b}]", ["takes every request"]),
        ("[{match: {}, upstream: a}, {upstream: b}]", ["takes every request"]),
        ("[{match: {path: /x}, upstream: a}, {match: {path: /x}, upstream: b}]", ["has the same match"]),
        ("[{match: {path: /x}, upstream: a}, {upstream: b}]", []),
    ],
)
def test_routes_that_are_never_reached_are_warned_of(routes: str, expected: list[str]) -> None:
    text = f'version: 1\nlisteners:\n  - {{name: w, address: ":1", routes: {routes}}}\n'
    found = warnings(text + 'upstreams: {a: {address: "h:1"}, b: {address: "h:2"}}\n')
    assert len(found) == len(expected)
    for problem, words in zip(found, expected, strict=True):
        assert words in problem
        assert "listeners[0].routes[1]: this route is never reached" in problem


def test_an_upstream_without_a_route_is_warned_of() -> None:
    text = SMALL.replace("}}\n", '}, spare: {address: "h:1"}}\n')
    assert warnings(text) == ['4:51: upstreams.spare: no route leads to the upstream "spare"']


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        (":80", "0.0.0.0:80"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[0:0::1]:80", "[::1]:80"),
        ("a_b.example.:65535", "a_b.example.:65535"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_addresses_have_one_form(value: str, canonical: str) -> None:
    assert Address(listen=True).parse(value) == canonical


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (8080, 'write ":8080" for all interfaces'),
        ("localhost", "has no port"),
        ("a:65536", "a port is a number from 0 to 65535"),
        ("a:-1", "a port is a number"),
        ("a:٣", "a port is a number"),
        ("::1:80", "an IPv6 address stands in brackets"),
        ("[::g]:80", "is not an IPv6 address"),
        ("300.1.1.1:80", "is not an IPv4 address"),
        ("a b:80", "is neither an IP address nor a host name"),
        ("http://a:80", "without a scheme"),
        ("unix:run/x", "unix: with an absolute path"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
        ("", "expected an address"),
        (None, "expected an address"),
        (80.5, "expected an address"),
    ],
)
def test_addresses_that_cannot_be(value: object, words: str) -> None:
    with pytest.raises(BadValue) as raised:
        Address(listen=True).parse(value)
    assert words in str(raised.value)


@pytest.mark.parametrize("value", [":80", "a:0", 80])
def test_an_upstream_needs_host_and_port(value: object) -> None:
    with pytest.raises(BadValue):
        Address(listen=False).parse(value)


def test_addresses_are_split_and_judged() -> None:
    assert split_address("[::1]:80") == ("::1", 80)
    assert split_address("unix:/x") == ("/x", -1)
    assert [is_loopback(a) for a in ("127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/x")] == [True] * 4
    assert [is_loopback(a) for a in ("0.0.0.0:1", "[::]:1", "10.0.0.1:1", "a.localhost:1")] == [False] * 4
    assert collide("0.0.0.0:80", "10.0.0.1:80")
    assert collide("unix:/x", "unix:/x")
    assert not collide("127.0.0.1:80", "10.0.0.1:80")
    assert not collide("0.0.0.0:0", "0.0.0.0:0")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://h", "h:80"),
        ("h2c://h:50051", "h:50051"),
        ("grpc://h:50051", "h:50051"),
        ("http://h:3000/", "h:3000"),
        ("http://[::1]", "[::1]:80"),
        ("http://[::1]:81", "[::1]:81"),
        ("unix:/run/x", "unix:/run/x"),
        ("tcp://h:5432", "h:5432"),
    ],
)
def test_an_upstream_of_the_command_line_is_a_url(url: str, address: str) -> None:
    assert upstream_address(url) == address


@pytest.mark.parametrize(
    ("listen", "address", "protocol"),
    [
        (":8080", "0.0.0.0:8080", "auto"),
        ("unix:/run/x", "unix:/run/x", "auto"),
        ("http://127.0.0.1:1", "127.0.0.1:1", "auto"),
        ("h2c://127.0.0.1:1/", "127.0.0.1:1", "http2"),
    ],
)
def test_where_the_command_line_listens(listen: str, address: str, protocol: str) -> None:
    (web,) = from_options(listen, ["http://h"]).listeners
    assert (web.address, web.protocol) == (address, protocol)


@pytest.mark.parametrize(
    ("listen", "protocol", "tls"),
    [
        (":1", "tcp", "none"),
        ("tcp://:1", "tcp", "none"),
        ("https://:1", "tcp", "terminate"),
    ],
)
def test_a_tcp_upstream_makes_the_listener_one_of_tcp(listen: str, protocol: str, tls: str) -> None:
    config = from_options(listen, ["tcp://h:5432", "tcp://g:5432"])
    (web,) = config.listeners
    assert (web.protocol, web.tls.mode) == (protocol, tls)
    assert config.upstreams["default"].protocol == "tcp"


def test_requests_are_not_sent_to_a_tcp_upstream() -> None:
    with pytest.raises(OptionsError, match="use protocol: tcp for both"):
        from_options("h2c://:1", ["tcp://h:5432"])
    with pytest.raises(OptionsError, match="one upstream speak one protocol"):
        from_options(":1", ["tcp://h:5432", "http://h:80"])


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("tcp://h", '"h" has no port'),
        ("h:80", "expected http://host:port, https://, h2c://, grpc://, grpcs:// or tcp://, got"),
        ("ftp://h", "expected http://host:port, https://, h2c://, grpc://, grpcs:// or tcp://, got"),
        ("http://h/path", "and no more"),
        ("http://u:p@h", "and no more"),
        ("http://", "has no host"),
    ],
)
def test_upstreams_that_cannot_be(url: str, words: str) -> None:
    with pytest.raises(BadValue) as raised:
        upstream_address(url)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("url", "address", "protocol"), [("https://h", "h:443", "auto"), ("grpcs://h:1", "h:1", "http2")]
)
def test_tls_on_the_command_line(url: str, address: str, protocol: str) -> None:
    config = from_options("https://:8443", [url], certs="folder")
    (web,), default = config.listeners, config.upstreams["default"]
    assert (web.address, web.protocol, web.tls.mode) == ("0.0.0.0:8443", "auto", "terminate")
    assert (default.addresses, default.protocol, default.tls) == ([address], protocol, options.UpstreamTls())
    assert config.certs.dir == "folder"


def test_upstreams_speak_tls_together() -> None:
    with pytest.raises(OptionsError, match="either all addresses of one upstream speak TLS, or none"):
        from_options(":80", ["http://a", "https://b"])


TLS = LISTENER + ", tls: "


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TLS + "{key: k}", "listeners[0].tls.key: a key needs the certificate that it belongs to"),
        (TLS + "{client_auth: optional}", "listeners[0].tls.client_auth: client certificates need client_ca"),
        (TLS + "{client_ca: c}", "listeners[0].tls.client_ca: client_ca needs client_auth: optional or"),
        (TLS + "{forward_client_certificate: true}", "forward_client_certificate needs client_auth"),
        (TLS + "{mode: none, key: k}", "listeners[0].tls.key: with mode: none TLS does not end here"),
        (TLS + "{mode: passthrough, client_ca: c}", "client_ca: with mode: passthrough TLS does not end"),
        (TLS + "{min_version: 1.1}", "listeners[0].tls.min_version: expected 1.2 or 1.3, got 1.1"),
    ],
)
def test_listeners_over_tls_that_cannot_be(text: str, found: str) -> None:
    assert found in "; ".join(problems(SMALL.replace(LISTENER, text)))


def test_what_is_passed_on_unread_has_no_path_and_no_tls_of_ours() -> None:
    listener = (
        TLS.replace("upstream: default", "upstream: default, match: {path: /a}") + "{mode: passthrough}"
    )
    text = SMALL.replace(LISTENER, listener).replace("{address:", "{tls: {}, address:")
    assert [line.partition(": ")[2] for line in problems(text)] == [
        "listeners[0].routes[0].match.path: with tls: {mode: passthrough} only the host is known; "
        "path is not",
        'upstreams.default.tls: listener "web" passes TLS on as it is, so there is none of ours',
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{key: k}", "upstreams.default.tls.key: a key needs the certificate that it belongs to"),
        ("{verify: false, ca: c}", "upstreams.default.tls.ca: with verify: false nothing is verified"),
        ("{server_name: a b}", "upstreams.default.tls.server_name: expected a host name without port"),
    ],
)
def test_upstreams_over_tls_that_cannot_be(text: str, found: str) -> None:
    assert found in "; ".join(problems(SMALL.replace("{address:", f"{{tls: {text}, address:")))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('certs: {url: "http://a:9906"}', "certs.url: nobody answers there: add a health listener"),
        ('health: {}\ncerts: {url: "https://a:9906"}', "certs.url: expected a URL such as http://proxy"),
        ('health: {}\ncerts: {url: "http://a:9906/x"}', "certs.url: expected a URL such as http://proxy"),
    ],
)
def test_where_revocation_is_told_that_cannot_be(text: str, found: str) -> None:
    assert found in "; ".join(problems(SMALL + text + "\n"))


TCP = "protocol: tcp, "


@pytest.mark.parametrize(
    ("listener", "upstream", "found"),
    [
        (TCP, TCP, ""),
        (TCP, "", ""),
        ("tls: {mode: passthrough}, ", TCP, ""),
        ("", TCP, '"default" speaks tcp, and requests are read here: use protocol: tcp for both'),
        (TCP, "protocol: http2, ", 'bytes pass unread here, and "default" speaks http2: give it tcp or auto'),
    ],
)
def test_bytes_go_where_bytes_are_taken(listener: str, upstream: str, found: str) -> None:
    text = SMALL.replace(LISTENER, LISTENER.replace("routes:", listener + "routes:"))
    text = text.replace("{address:", "{" + upstream + "address:")
    if found:
        (problem,) = problems(text)
        assert problem.endswith(found)
    else:
        parse(text.encode(), "m.yaml")


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ("path: /a", "match.path: with protocol: tcp there is no path"),
        ("headers: {a: b}", "match.headers: with protocol: tcp there is no headers"),
        ("host: a", "match.host: of protocol: tcp only TLS names a host; here is none"),
    ],
)
def test_routes_of_tcp_look_at_no_request(match: str, found: str) -> None:
    line = LISTENER.replace("routes:", TCP + "routes:")
    line = line.replace("upstream: default", f"upstream: default, match: {{{match}}}")
    (problem,) = problems(SMALL.replace(LISTENER, line))
    assert problem.endswith(found)
    if match.startswith("host"):
        parse(SMALL.replace(LISTENER, line + ", tls: {mode: passthrough}").encode(), "m.yaml")


def test_options_make_one_listener_and_one_upstream() -> None:
    config = from_options(":8080", ["http://a:1", "http://b"], ["r.yaml"], admin="127.0.0.1:0", access="all")
    text = SMALL.replace(UPSTREAM, '["a:1", "b:80"]') + "rules: r.yaml\nlog: {access: all}\n"
    assert config == parse((text + 'admin: {address: "127.0.0.1:0"}\n').encode(), "x")


def test_admin_is_off_unless_asked_for() -> None:
    assert from_options(":8080", ["http://a"]).admin is None
    assert from_options(":8080", ["http://a"], admin="off").admin is None


def test_every_wrong_option_is_named_at_once() -> None:
    with pytest.raises(OptionsError) as raised:
        from_options("80", ["tcp://a", "x"], admin=":9905", access="al", log_level="loud", log_format="xml")
    names = [line.partition(":")[0] for line in raised.value.lines]
    assert sorted(names) == [
        "--access", "--admin", "--listen", "--log-format", "--log-level", "--upstream", "--upstream",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"token_file": "t"}, "--token-file: there is no admin endpoint"),
        ({"admin": "127.0.0.1:8080"}, '--admin: 127.0.0.1:8080 is taken by listener "web"'),
        ({"admin": "10.0.0.1:9905"}, "--admin: 10.0.0.1:9905 can be reached from other machines"),
    ],
)
def test_options_are_checked_together(given: dict[str, str], words: str) -> None:
    with pytest.raises(OptionsError) as raised:
        from_options("127.0.0.1:8080", ["http://a"], **given)
    assert words in raised.value.lines[0]
    assert len(raised.value.lines) == 1


def test_options_take_the_place_of_what_a_file_says() -> None:
    config = parse(FULL.encode(), "m.yaml")
    same = with_options(config)
    assert same == config
    changed = with_options(config, ["other"], admin="127.0.0.1:0", log_level="debug")
    assert changed.rules == ["other"]
    assert changed.admin == options.AdminConfig("127.0.0.1:0", "token", ["misrule.example"])
    assert changed.log == options.LogConfig("text", "debug", "all")
    assert with_options(config, admin="off").admin is None
    small = parse(SMALL.encode(), "m.yaml")
    assert with_options(small, access="none").log.access == "none"
    assert with_options(small, admin="127.0.0.1:0").admin == options.AdminConfig("127.0.0.1:0")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"admin": ":9905"}, "--admin: 0.0.0.0:9905 can be reached"),
        ({"admin": "127.0.0.1:8080"}, "--admin: 127.0.0.1:8080 is taken by"),
        ({"access": "some"}, "--access: expected all, injected or none"),
    ],
)
def test_options_are_checked_against_the_file(given: dict[str, str], words: str) -> None:
    with pytest.raises(OptionsError, match=words.replace("(", r"\(")):
        with_options(parse(SMALL.encode(), "m.yaml"), **given)


SECTIONS = [
    kind for kind in vars(options).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
]


@pytest.mark.parametrize(
    "section", [s for s in SECTIONS if s is not msgspec.Struct], ids=lambda s: s.__name__
)
def test_every_option_says_what_it_is_and_how_it_is_written(section: type[msgspec.Struct]) -> None:
    for key, meta, _ in described(section).values():
        kind = (meta.extra or {})["kind"]
        assert meta.description, key
        assert (
            kind in KINDS
            or kind in ("section", "sections", "named")
            or (section, key)
            == (
                options.RouteConfig,
                "targets",
            )
        )


def test_defaults_are_written_as_a_file_would() -> None:
    for name, expected in (("head_size", "64KiB"), ("drain", "16MiB"), ("headers", 100)):
        _, meta, default = described(options.Limits)[name]
        assert written(default, param_of(meta)) == expected
        assert param_of(meta).parse(expected) == default
    for name, expected in (("head", "10s"), ("idle", "5m")):
        _, meta, default = described(options.ListenerTimeouts)[name]
        assert written(default, param_of(meta)) == expected


def valid(document: Any) -> bool:
    """Whether the schema takes a document."""
    return jsonschema.Draft202012Validator(config_schema()).is_valid(document)


def test_the_schema_is_one_and_takes_what_the_reader_takes() -> None:
    jsonschema.Draft202012Validator.check_schema(config_schema())
    assert valid(yaml.safe_load(SMALL))
    assert valid(yaml.safe_load(FULL))


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"listeners": []},
        {"workers": 2},
        {"tracing": {}},
        {"log": {"level": "loud"}},
        {"upstreams": {"A": {"address": "h:1"}}},
        {"upstreams": {"a": {"address": "h"}}},
        {"upstreams": {"a": {"address": "h:1", "timeouts": {"connect": 5}}}},
        {"admin": {"adress": "h:1"}},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(change: dict[str, Any]) -> None:
    document = yaml.safe_load(SMALL) | change
    assert not valid(document)
    with pytest.raises(RulesError):
        parse(msgspec.json.encode(document), "m.json")


def test_the_type_of_the_whole_is_what_others_build_on() -> None:
    assert isinstance(parse(FULL.encode(), "m.yaml"), Config)
    with pytest.raises(AttributeError):
        parse(SMALL.encode(), "m.yaml").workers = 2  # type: ignore[misc]
